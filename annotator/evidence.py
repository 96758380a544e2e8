"""What a run saw on a photo, kept for the review screen: written with its proposals, read there.

One row a photo, bounded, replaced by the next run. It is a log of the machine and no state that a
person made, so the journal does not carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import cv2
import numpy as np
from sqlalchemy import delete, insert, select

from annotator import schema
from annotator.alternatives import about_the_same
from annotator.store import Transaction
from annotator.views import Photo, View
from engine.types import CoarseMap, Evidence, Instance, RankedMask, Rle

KEPT = 32  # candidates a photo: 20 KB on photos of half a megapixel, with the classical pipeline
KEPT_NEAR = 8  # of those, for each proposal, that may be meant instead of it
LONGEST_SIDE = 64  # of the map; finer ones are averaged, since they are looked at as a haze
MOST_PROMPTS = 1024  # a grid of 32 x 32


def replace(
    transaction: Transaction,
    image_id: int,
    *,
    run_id: int,
    evidence: Evidence,
    proposed: Sequence[Instance],
) -> None:
    """Keep the evidence of this run instead of what an earlier one left."""
    table = schema.evidence
    transaction.connection.execute(delete(table).where(table.c.image_id == image_id))
    if evidence.coarse is None and not evidence.prompts and not evidence.candidates:
        return
    coarse = None if evidence.coarse is None else _levels(evidence.coarse)
    transaction.connection.execute(
        insert(table).values(
            image_id=image_id,
            run_id=run_id,
            coarse=None if coarse is None else coarse.tobytes(),
            coarse_shape=None if coarse is None else list(coarse.shape),
            prompts=[[round(x, 1), round(y, 1)] for x, y in evidence.prompts[:MOST_PROMPTS]],
            candidates=[
                {"counts": one.rle.counts, "score": round(one.score, 4)}
                for one in worth_keeping(evidence.candidates, proposed)
            ],
        )
    )


def worth_keeping(
    candidates: Sequence[RankedMask], proposed: Sequence[Instance], *, kept: int = KEPT
) -> list[RankedMask]:
    """At most ``kept`` candidates, best first: those near each proposal, and the best others."""
    best_first = sorted(candidates, key=lambda one: -one.score)
    near = [about_the_same(one, best_first, longest=KEPT_NEAR) for one in proposed]
    # In turns, so that the twentieth object of a photo has its next-best as well.
    turns = [one for turn in zip_longest(*near) for one in turn if one is not None]
    chosen = set(list(dict.fromkeys([*turns, *best_first]))[:kept])
    return [one for one in dict.fromkeys(best_first) if one in chosen]


def _levels(coarse: CoarseMap) -> np.ndarray:
    """The map in 256 levels, at most LONGEST_SIDE cells a side."""
    height, width = coarse.shape
    shrink = LONGEST_SIDE / max(height, width)
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        shrunk = cv2.resize(np.asarray(coarse, np.float32), size, interpolation=cv2.INTER_AREA)
        coarse = np.asarray(shrunk, dtype=np.float32)
    return np.rint(np.clip(coarse, 0.0, 1.0) * 255.0).astype(np.uint8)


def overlays(view: View, image_id: int) -> Evidence:
    """The map (in steps of 1/255) and the prompts, without the candidates; empty where none are."""
    table = schema.evidence
    query = select(table.c.coarse, table.c.coarse_shape, table.c.prompts)
    row = view.connection.execute(query.where(table.c.image_id == image_id)).one_or_none()
    if row is None:
        return Evidence()
    coarse = None
    if row.coarse is not None:
        levels = np.frombuffer(row.coarse, dtype=np.uint8).reshape(row.coarse_shape)
        coarse = levels.astype(np.float32) / 255.0
    return Evidence(coarse, prompts=tuple((float(x), float(y)) for x, y in row.prompts))


def candidates(view: View, photo: Photo) -> list[RankedMask]:
    """The candidates kept for the photo, best first; empty where none are."""
    table = schema.evidence
    query = select(table.c.candidates).where(table.c.image_id == photo.id)
    kept: list[dict[str, Any]] = view.connection.execute(query).scalar() or []
    size = (photo.height, photo.width)
    return [RankedMask(Rle(size, one["counts"]), float(one["score"])) for one in kept]

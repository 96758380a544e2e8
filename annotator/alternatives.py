"""Which other masks may be meant where one is not right: an object and candidates in, a list out.

Pure. The list is what a person walks through with one key, so it is short, its best guess comes
first, and no two entries look the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from engine.gallery import Gallery
from engine.geometry import iou_boxes, mask_to_rle
from engine.types import PERSON, Box, Instance, Prompts, RankedMask, Rle

LONGEST = 12  # more presses than that cost more than a click
SAME = 0.98  # IoU with the present mask from which on nothing would seem to happen
ALIKE = 0.85  # IoU of two entries; each press shows something new (0.95: lists longer by 1.3
# entries, best of the first five worse by 0.005 IoU on 56 photos of pets and animals)
ABOUT = 0.2  # IoU of masks, or of boxes; less is another object
NEAREST = 40  # of a gallery's thousands, which are only drawn where they may be meant
CLOSE = 0.3  # … that the pipeline's next-best has to reach, to come first


def about_the_same(
    instance: Instance, candidates: Sequence[RankedMask], *, longest: int = LONGEST
) -> list[RankedMask]:
    """The candidates that may be meant instead of the instance's mask, best first.

    First comes the one of the highest score among those close to the present mask or box, then the
    others by score times overlap. Left out are those equal to the present mask, those that hardly
    overlap it, and those that look like a better one. Empty masks are never offered.
    """
    candidates = [one for one in candidates if box_of(one.rle) is not None]
    candidates = _not_equal(candidates, instance.rle)
    if not candidates:
        return []
    overlap = _overlaps(instance, candidates)
    scores = np.array([one.score for one in candidates])
    order = sorted(
        np.flatnonzero(overlap >= ABOUT),
        key=lambda at: (-scores[at] * overlap[at], -overlap[at], at),
    )
    close = [at for at in order if overlap[at] >= CLOSE]
    if close:
        first = max(close, key=lambda at: scores[at])
        order = [first, *(at for at in order if at != first)]
    ranked = [candidates[at] for at in order]
    return different(ranked, present=instance.rle)[:longest]


def different(ranked: Sequence[RankedMask], *, present: Rle | None) -> list[RankedMask]:
    """Without those equal to the present mask and those that look like an earlier one."""
    ranked = _not_equal(ranked, present)
    if not ranked:
        return []
    encoded = [_encoded(one.rle) for one in ranked]
    among = _iou(encoded, encoded)
    kept: list[int] = []
    for at in range(len(ranked)):
        if all(among[at, other] <= ALIKE for other in kept):
            kept.append(at)
    return [ranked[at] for at in kept]


def _not_equal(ranked: Sequence[RankedMask], present: Rle | None) -> list[RankedMask]:
    if not ranked or present is None:
        return list(ranked)
    equal = _iou([_encoded(one.rle) for one in ranked], [_encoded(present)])[:, 0]
    return [one for one, iou in zip(ranked, equal, strict=True) if iou <= SAME]


def of_gallery(instance: Instance, gallery: Gallery) -> list[RankedMask]:
    """Those of the gallery whose box is nearest to the object's, each with the gallery's score."""
    near = iou_boxes(gallery.boxes, [instance.box])[:, 0]
    best = [int(at) for at in np.argsort(-near, kind="stable")[:NEAREST] if near[at] >= ABOUT]
    return [RankedMask(mask_to_rle(gallery.mask(at)), float(gallery.scores[at])) for at in best]


def own_prompts(instance: Instance) -> Prompts | None:
    """What a person asked the segmenter for to get this object; None where a machine began it.

    Clicks where there are any inside, else the box. Clicks that mended a proposal say what was
    wrong with it, not what the object is.
    """
    if instance.source.pipeline != PERSON.pipeline:
        return None
    if any(label == 1 for _, _, label in instance.points):
        return Prompts(
            points=tuple((x, y) for x, y, _ in instance.points),
            labels=tuple(label for _, _, label in instance.points),
        )
    return Prompts(box=instance.box)


def box_of(rle: Rle) -> Box | None:
    """As `engine.geometry.mask_to_box`, without decoding the mask."""
    x, y, width, height = (float(value) for value in coco_mask.toBbox(_encoded(rle)))
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _overlaps(instance: Instance, candidates: Sequence[RankedMask]) -> NDArray[np.float64]:
    """IoU of each candidate with the present mask, or of its box with the present box.

    The better of both: half an object and all of it share few pixels, but often a box.
    """
    boxes = iou_boxes([box_of(one.rle) or (0, 0, 0, 0) for one in candidates], [instance.box])[:, 0]
    if instance.rle is None:
        return boxes
    masks = _iou([_encoded(one.rle) for one in candidates], [_encoded(instance.rle)])[:, 0]
    return np.maximum(masks, boxes)


def _encoded(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}


def _iou(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(n, m), computed on the runs."""
    return np.asarray(coco_mask.iou(first, second, [0] * len(second)), dtype=np.float64)

"""Errors planted in the labels of a set: photos with their truth in, wrong ones and a list out.

A third each are boxes in the wrong place, labels that are missing, and wrong classes. No label is
invented where there is nothing: that is a fourth kind, which is not planted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from engine.geometry import iou_boxes
from engine.types import Box, Instance, LabeledImage

Kind = Literal["shifted", "missing", "wrong class"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SHIFTED_IOU = (0.3, 0.6)
"""How much of a shifted box is still right: below most would no longer be about the object."""

FARTHEST, LARGEST = 0.5, 1.4  # of a shift in sides of the box, and how many times larger it gets
LEAST_SIDE = 4.0  # pixels of a shifted box
TRIES = 1000


@dataclass(frozen=True)
class Planted:
    """One error, and what is true there."""

    instance: int  # id; of a missing label the one that it had
    kind: Kind
    file_name: str
    box: Box
    category: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**vars(self), "box": list(self.box)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Planted:
        """The inverse of `as_dict`."""
        x0, y0, x1, y1 = value["box"]
        return cls(**{**value, "box": (x0, y0, x1, y1)})


def plant(
    images: Sequence[LabeledImage], *, share: float, classes: Sequence[str], seed: int
) -> tuple[list[LabeledImage], tuple[Planted, ...]]:
    """The photos with errors in that share of their labels, and these errors by instance id.

    Every instance must have an id and a class. Same arguments, same errors. ValueError for a share
    outside [0, 1], or where fewer than two classes leave no wrong one.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    if len(classes) < 2:
        raise ValueError(f"a wrong class needs at least two, got {list(classes)}")
    random = np.random.default_rng(seed)
    places = [(p, q) for p, image in enumerate(images) for q in range(len(image.instances))]
    count = round(share * len(places))
    chosen = random.permutation(len(places))[:count]
    kind_at = {places[k]: KINDS[turn % len(KINDS)] for turn, k in enumerate(chosen)}
    wrong, planted = [], []
    for p, image in enumerate(images):
        kept = []
        for q, one in enumerate(image.instances):
            kind = kind_at.get((p, q))
            if kind is None:
                kept.append(one)
                continue
            assert one.id is not None, "a label without id"
            assert one.category is not None, "a label without class"
            planted.append(Planted(one.id, kind, image.file_name, one.box, one.category))
            if kind == "shifted":
                others = [other.box for other in image.instances if other is not one]
                size = (image.width, image.height)
                box = shifted_box(one.box, others, size_wh=size, random=random)
                kept.append(replace(one, box=box, rle=None))
            elif kind == "wrong class":
                kept.append(_of_another_class(one, classes, random))
        wrong.append(replace(image, instances=tuple(kept)))
    return wrong, tuple(sorted(planted, key=lambda error: error.instance))


def shifted_box(
    box: Box, others: Sequence[Box], *, size_wh: tuple[int, int], random: np.random.Generator
) -> Box:
    """A box of another place and size inside the photo: its IoU with ``box`` is in `SHIFTED_IOU`.

    It is less on any of the ``others``; where a crowded photo has no such place, on as little of
    them as can be had. ValueError where no box is in the range.
    """
    low, high = SHIFTED_IOU
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    sides = np.array([box[2] - box[0], box[3] - box[1]])
    nearest: list[tuple[float, Box]] = []  # IoU with one of the others, in range
    for _ in range(TRIES):
        middle = centre + sides * random.uniform(-FARTHEST, FARTHEST, 2)
        half = sides / 2 * LARGEST ** random.uniform(-1, 1, 2)
        x0, y0 = np.clip(middle - half, 0, size_wh)
        x1, y1 = np.clip(middle + half, 0, size_wh)
        if min(x1 - x0, y1 - y0) < LEAST_SIDE:
            continue
        other: Box = (float(x0), float(y0), float(x1), float(y1))
        if not low <= iou_boxes([other], [box])[0, 0] <= high:
            continue
        near = float(iou_boxes([other], others).max(initial=0.0))
        if near < low:
            return other
        nearest.append((near, other))
    if not nearest:
        raise ValueError(f"no box beside {box} in a photo of {size_wh} pixels")
    return min(nearest)[1]


def _of_another_class(
    one: Instance, classes: Sequence[str], random: np.random.Generator
) -> Instance:
    others = [name for name in classes if name != one.category]
    return replace(one, category=others[int(random.integers(len(others)))])

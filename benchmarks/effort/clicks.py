"""Where the simulated person clicks: the truth and what is there now in, a point and a label out.

With a true mask: the middle of the largest piece that is missing (1) or too much (0), as in the
usual simulations of interactive segmentation. With a true box alone: the side on which the box is
wrong by the largest area, see `_by_box`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from benchmarks.effort.truth import TrueObject, pixels_of
from engine.types import Box, Instance, Mask

Click = tuple[float, float, int]  # x, y in pixels of the photo; 1 inside, 0 outside


def first_click(truth: TrueObject) -> Click:
    """In the middle of the object: of its mask, or of its box where there is no mask."""
    if truth.mask is not None:
        return (*middle_of(truth.mask), 1)
    return (*_centre(truth.box), 1)


def next_click(truth: TrueObject, instance: Instance) -> Click | None:
    """What a person would click to mend the instance; None where nothing is wrong any more."""
    if truth.mask is None:
        return _by_box(truth.box, instance)
    present = pixels_of(instance, truth.mask.shape)
    missing, surplus = (
        largest_piece(wrong) for wrong in (truth.mask & ~present, present & ~truth.mask)
    )
    label = 1 if missing.sum() >= surplus.sum() else 0
    wrong = missing if label else surplus
    return (*middle_of(wrong), label) if wrong.any() else None


def middle_of(mask: Mask) -> tuple[float, float]:
    """The centre of the pixel that lies deepest in the largest piece of a mask that is not empty.

    The frame of the photo counts as an edge.
    """
    depth = ndimage.distance_transform_edt(np.pad(largest_piece(mask), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return float(column) + 0.5, float(row) + 0.5


def largest_piece(mask: Mask) -> Mask:
    """The largest connected part; all False where the mask is."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(np.argmax(sizes)))


def _by_box(truth: Box, instance: Instance) -> Click | None:
    """The strip between the present and the true side where that is largest.

    Where the box falls short, the click goes inside, to the middle of the missing strip: the truth
    says no more about where in it the object is. Where the box reaches out, it goes outside, to the
    middle of what the mask has there.
    """
    strips = [
        (_area(strip), label, strip)
        for label, strips in (
            (1, _beyond(truth, instance.box)),
            (0, _beyond(instance.box, truth)),
        )
        for strip in strips
    ]
    area, label, strip = max(strips, key=lambda one: one[0])
    if area <= 0:
        return None
    if label == 0 and instance.rle is not None:
        pixels = pixels_of(instance, instance.rle.size)
        y, x = np.mgrid[0.5 : pixels.shape[0], 0.5 : pixels.shape[1]]
        x0, y0, x1, y1 = strip
        there = pixels & (x > x0) & (x < x1) & (y > y0) & (y < y1)
        if there.any():
            return (*middle_of(there), 0)
    return (*_centre(strip), label)


def _beyond(larger: Box, smaller: Box) -> list[Box]:
    """The part of ``larger`` beyond each side of ``smaller``; of no or negative size where none."""
    x0, y0, x1, y1 = larger
    return [
        (x0, y0, min(smaller[0], x1), y1),
        (x0, y0, x1, min(smaller[1], y1)),
        (max(smaller[2], x0), y0, x1, y1),
        (x0, max(smaller[3], y0), x1, y1),
    ]


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2

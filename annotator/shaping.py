"""How a gesture changes a mask: box drags, clicks and brush strokes in, box and mask out.

Pure but for the segmenter, which is handed in with its photo already set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engine.errors import ReviewError
from engine.geometry import (
    box_to_slices,
    clip_box,
    mask_to_box,
    mask_to_rle,
    rle_to_mask,
)
from engine.segmenters.interface import Segmenter
from engine.types import Box, Instance, Mask, Prompts, RankedMask, Rle

Points = tuple[tuple[float, float, int], ...]

SMALLEST_BOX = 1.0  # pixels; a smaller drag is a slip of the hand
SAME_SIZE = 0.03  # pixels by which the size of a box may differ for rounding alone


@dataclass(frozen=True)
class Shape:
    """A box and its mask as an instance keeps them; ``points`` are the clicks that made it."""

    box: Box
    rle: Rle | None
    points: Points = ()


def _of_mask(mask: Mask, points: Points) -> Shape | None:
    box = mask_to_box(mask)
    return None if box is None else Shape(box, mask_to_rle(mask), points)


def stored_mask(rle: Rle) -> Mask:
    """The mask of an instance; ReviewError where it was made for a photo of another size."""
    try:
        return rle_to_mask(rle)
    except ValueError as error:
        raise ReviewError(
            f"the mask of this object does not fit its photo of {rle.size[1]} by {rle.size[0]} "
            "pixels (was the file replaced?): delete or reject the object and draw it anew"
        ) from error


def clipped(box: Box, *, width: int, height: int) -> Box:
    """The box inside the photo; ReviewError where nothing, or less than a pixel, is left."""
    inside = clip_box(box, width=width, height=height)
    if inside is None or min(inside[2] - inside[0], inside[3] - inside[1]) < SMALLEST_BOX:
        raise ReviewError("this box lies outside the photo or is smaller than a pixel")
    return inside


def inside_box(mask: Mask, box: Box) -> Mask:
    """The part of the mask on the pixels that the box touches."""
    rows, columns = box_to_slices(box, shape_hw=(mask.shape[0], mask.shape[1]))
    cut = np.zeros_like(mask)
    cut[rows, columns] = mask[rows, columns]
    return cut


def from_box(segmenter: Segmenter, box: Box) -> Shape:
    """A new object from a drawn box: the box as drawn, the mask as the segmenter sees it."""
    candidates = segmenter.masks_for(Prompts(box=box))
    for candidate in candidates:
        mask = inside_box(candidate.mask, box)
        if mask.any():
            return Shape(box, mask_to_rle(mask))
    return Shape(box, None)


def kept_in_box(instance: Instance, box: Box, *, is_by_hand: bool) -> Shape | None:
    """The instance in the box that a person dragged, as far as its mask tells; else None.

    A box that moves takes the mask along, one that shrinks cuts it. One that grows asks for
    another mask (`from_box`), unless the mask ``is_by_hand``: nobody's strokes and clicks are
    thrown away. An instance without a mask stays without one.
    """
    if instance.rle is None:
        return Shape(box, None)
    mask, old = stored_mask(instance.rle), instance.box
    if _has_size_of(old, box):
        # From pixel to pixel, so that many small moves lead no other way than one large one.
        right, down = (math.floor(box[side] + 0.5) - math.floor(old[side] + 0.5) for side in (0, 1))
        moved = translated(mask, right=right, down=down)
        points = tuple((x + right, y + down, label) for x, y, label in instance.points)
        inside: Box = (0.0, 0.0, float(mask.shape[1]), float(mask.shape[0]))
        return _not_empty(box, moved, _points_inside(points, inside))
    shrinks = box[0] >= old[0] and box[1] >= old[1] and box[2] <= old[2] and box[3] <= old[3]
    if shrinks or is_by_hand:
        return _not_empty(box, inside_box(mask, box), _points_inside(instance.points, box))
    return None


def _has_size_of(first: Box, second: Box) -> bool:
    """Whether a box is another one moved; pages send hundredths of a pixel."""
    sizes = [(box[2] - box[0], box[3] - box[1]) for box in (first, second)]
    return all(abs(a - b) < SAME_SIZE for a, b in zip(*sizes, strict=True))


def _not_empty(box: Box, mask: Mask, points: Points) -> Shape | None:
    return Shape(box, mask_to_rle(mask), points) if mask.any() else None


def _points_inside(points: Points, box: Box) -> Points:
    return tuple(p for p in points if box[0] <= p[0] < box[2] and box[1] <= p[1] < box[3])


def translated(mask: Mask, *, right: int, down: int) -> Mask:
    """The mask moved by whole pixels; what leaves the photo is gone."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    if abs(right) < width and abs(down) < height:
        rows, columns = (slice(max(by, 0), min(by, 0) or None) for by in (-down, -right))
        to_rows, to_columns = (slice(max(by, 0), min(by, 0) or None) for by in (down, right))
        moved[to_rows, to_columns] = mask[rows, columns]
    return moved


def clicked(
    segmenter: Segmenter, instance: Instance | None, point: tuple[float, float, int]
) -> Shape:
    """The mask after one more click; without an instance, a new object under the click."""
    earlier: Points = () if instance is None else instance.points
    points = (*earlier, point)
    start = None if instance is None or instance.rle is None else stored_mask(instance.rle)
    prompts = Prompts(
        points=tuple((x, y) for x, y, _ in points),
        labels=tuple(label for _, _, label in points),
        mask=start,
        # A box without a mask is all that is known of where the object is.
        box=instance.box if instance is not None and instance.rle is None else None,
    )
    for candidate in segmenter.masks_for(prompts):
        shape = _of_mask(candidate.mask, points)
        if shape is not None:
            return shape
    raise ReviewError("nothing is left of the mask after this click; delete the object instead")


def answers(segmenter: Segmenter, prompts: Prompts) -> list[RankedMask]:
    """Every mask that the segmenter has for the prompts, best first, kept inside a drawn box."""
    found = []
    for candidate in segmenter.masks_for(prompts):
        mask = candidate.mask if prompts.box is None else inside_box(candidate.mask, prompts.box)
        found.append(RankedMask(mask_to_rle(mask), candidate.score))
    return found


def chosen(rle: Rle, *, points: Points) -> Shape:
    """A ready mask with its tight box; clicks that it contradicts are left out.

    ReviewError where it is empty.
    """
    mask = rle_to_mask(rle)
    obeyed = tuple(p for p in points if mask[int(p[1]), int(p[0])] == bool(p[2]))
    box = mask_to_box(mask)
    if box is None:
        raise ReviewError("this mask is empty; reject or delete the object instead")
    return Shape(box, rle, obeyed)


def brushed(
    start: Mask,
    *,
    mode: str,
    radius: float,
    path: Sequence[tuple[float, float]],
    points: Points = (),
) -> Shape:
    """The mask after a stroke: ``mode`` is ``add`` or ``erase``, radius and path in pixels.

    ReviewError where erasing leaves nothing.
    """
    stroke = rasterise_stroke(path, radius=radius, shape_hw=(start.shape[0], start.shape[1]))
    mask = start | stroke if mode == "add" else start & ~stroke
    shape = _of_mask(mask, points)
    if shape is None:
        raise ReviewError("this stroke would leave nothing of the mask; delete the object instead")
    return shape


def rasterise_stroke(
    path: Sequence[tuple[float, float]], *, radius: float, shape_hw: tuple[int, int]
) -> Mask:
    """A round brush of ``radius`` pixels along the path, as a bool (h, w) mask.

    A pixel belongs to the stroke where its centre is at most the radius away from the path; the
    pixel under the brush always does, however small the radius.
    """
    mask = np.zeros(shape_hw, dtype=bool)
    for first, second in pairwise([path[0], *path]):
        _add_segment(mask, first, second, radius=radius)
    columns, rows = np.floor(np.asarray(path, np.float64)).astype(int).T
    inside = (rows >= 0) & (rows < shape_hw[0]) & (columns >= 0) & (columns < shape_hw[1])
    mask[rows[inside], columns[inside]] = True
    return mask


def _add_segment(
    mask: Mask, first: tuple[float, float], second: tuple[float, float], *, radius: float
) -> None:
    """Set the pixels whose centre is within the radius of one straight piece of the path."""
    (x0, y0), (x1, y1) = first, second
    around = (
        min(x0, x1) - radius,
        min(y0, y1) - radius,
        max(x0, x1) + radius,
        max(y0, y1) + radius,
    )
    rows, columns = box_to_slices(around, shape_hw=(mask.shape[0], mask.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - y0
    x = np.arange(columns.start, columns.stop)[None, :] + 0.5 - x0
    along_x, along_y = x1 - x0, y1 - y0
    length_squared = along_x**2 + along_y**2
    share = np.clip((x * along_x + y * along_y) / length_squared, 0, 1) if length_squared else 0.0
    distance_squared = (x - share * along_x) ** 2 + (y - share * along_y) ** 2
    mask[rows, columns] |= distance_squared <= radius**2

"""How a gesture changes a mask: box drags, clicks and brush strokes in, box and mask out.

Pure but for the segmenter, which is handed in with its photo already set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from engine.errors import ReviewError
from engine.geometry import (
    box_to_slices,
    clip_box,
    mask_to_box,
    mask_to_rle,
    rle_to_mask,
)
from engine.segmenters import Segmenter
from engine.types import Box, Instance, Mask, Prompts, Rle

Points = tuple[tuple[float, float, int], ...]

SMALLEST_BOX = 1.0  # pixels; a smaller drag is a slip of the hand


@dataclass(frozen=True)
class Shape:
    """A box and its mask as an instance keeps them; ``points`` are the clicks that made it."""

    box: Box
    rle: Rle | None
    points: Points = ()


def _of_mask(mask: Mask, points: Points) -> Shape | None:
    box = mask_to_box(mask)
    return None if box is None else Shape(box, mask_to_rle(mask), points)


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


def moved_to_box(segmenter: Segmenter, instance: Instance, box: Box) -> Shape:
    """The instance in the box that a person dragged.

    A box that only shrinks cuts the mask; one that grows or moves asks the segmenter again. An
    instance without a mask stays without one.
    """
    if instance.rle is None:
        return Shape(box, None)
    old = instance.box
    shrinks = box[0] >= old[0] and box[1] >= old[1] and box[2] <= old[2] and box[3] <= old[3]
    if shrinks:
        mask = inside_box(rle_to_mask(instance.rle), box)
        if mask.any():
            return Shape(box, mask_to_rle(mask), _points_inside(instance.points, box))
    return from_box(segmenter, box)


def _points_inside(points: Points, box: Box) -> Points:
    return tuple(p for p in points if box[0] <= p[0] < box[2] and box[1] <= p[1] < box[3])


def clicked(
    segmenter: Segmenter, instance: Instance | None, point: tuple[float, float, int]
) -> Shape:
    """The mask after one more click; without an instance, a new object under the click."""
    earlier: Points = () if instance is None else instance.points
    points = (*earlier, point)
    start = None if instance is None or instance.rle is None else rle_to_mask(instance.rle)
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

    A pixel belongs to the stroke where its centre is at most the radius away; the pixel under the
    brush always does, however small the radius.
    """
    fraction_bits = 4  # OpenCV draws with 1/16 pixel precision
    scale = 1 << fraction_bits
    canvas = np.zeros(shape_hw, np.uint8)
    # Pixel i spans [i, i + 1), so its centre i + 0.5 is OpenCV's integer coordinate i.
    corners = np.round((np.asarray(path, np.float64) - 0.5) * scale).astype(np.int32)
    for first, second in pairwise(corners):
        _draw_segment(canvas, first, second, radius=radius, scale=scale)
    for corner in corners:
        cv2.circle(
            canvas, corner.tolist(), round(radius * scale), 1, cv2.FILLED, shift=fraction_bits
        )
    columns, rows = np.floor(np.asarray(path)).astype(int).T
    inside = (rows >= 0) & (rows < shape_hw[0]) & (columns >= 0) & (columns < shape_hw[1])
    canvas[rows[inside], columns[inside]] = 1
    return canvas.astype(bool)


def _draw_segment(
    canvas: np.ndarray, first: np.ndarray, second: np.ndarray, *, radius: float, scale: int
) -> None:
    """Fill the rectangle swept between two ends of a stroke; the round ends are drawn apart."""
    direction = (second - first).astype(np.float64)
    length = np.hypot(*direction)
    if length == 0:
        return
    across = np.array([-direction[1], direction[0]]) / length * radius * scale
    polygon = np.round([first + across, second + across, second - across, first - across])
    cv2.fillConvexPoly(canvas, polygon.astype(np.int32), 1, shift=scale.bit_length() - 1)

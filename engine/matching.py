"""Which mask of a gallery fits a coarse map best (Pro2SAM, eq. 11): grids in, one score a mask out.

A coarse map is (g, g) float in [0, 1]; eq. 11 cuts it to cells (bool) and takes the intersection
over union with each mask's cells. The soft rule compares shares of area instead of cells.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import OptionError
from engine.types import Box, Mask

GridRule = Literal["any4", "mean", "nearest"]
ScoreRule = Literal["iou", "soft"]

Cells = NDArray[np.bool_]  # (..., g, g)
Coverage = NDArray[np.float32]  # (..., g, g) in [0, 1]


def coarse_to_cells(coarse: NDArray[np.floating], tau_b: float = 0.2) -> Cells:
    """The cells whose value is above ``tau_b``; equal is not above.

    The map is taken as it is, not stretched to [0, 1] first. The paper states no threshold; its
    code uses 0.2.
    """
    return np.asarray(coarse > tau_b)


def mask_cells(mask: Mask, grid: int, rule: GridRule = "any4") -> Cells:
    """(..., h, w) bool masks as (..., grid, grid) cells.

    "any4": a cell is on if any of the (up to) four pixels around its centre is: what a bilinear
    resize without antialiasing, then non-zero, gives. Things that miss all centres are lost.
    "mean": more than half of the cell's area is on. "nearest": the pixel at the centre is on.
    """
    height, width = mask.shape[-2:]
    if rule == "any4":
        top, bottom = pixels_at_centres(height, grid)
        left, right = pixels_at_centres(width, grid)
        rows = mask[..., top, :] | mask[..., bottom, :]
        return np.asarray(rows[..., left] | rows[..., right])
    if rule == "mean":
        return np.asarray(2 * _area_units(mask, grid) > height * width)
    if rule == "nearest":
        centres = 2 * np.arange(grid) + 1
        rows = mask[..., centres * height // (2 * grid), :]
        return np.asarray(rows[..., centres * width // (2 * grid)])
    raise OptionError(f"unknown grid rule {rule!r}; known are any4, mean, nearest")


def pixels_at_centres(length: int, grid: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Along one side, the two pixels between which each cell's centre lies, (grid,) each.

    Twice the same where the centre is on a pixel, or beyond the last one.
    """
    doubled = (2 * np.arange(grid) + 1) * length - grid  # 2 * grid * (centre - 0.5)
    lower = doubled // (2 * grid)
    upper = lower + (doubled % (2 * grid) > 0)
    return np.clip(lower, 0, length - 1), np.clip(upper, 0, length - 1)


def coverage(mask: Mask, grid: int) -> Coverage:
    """(..., h, w) bool masks as the share of each cell's area that is on, (..., grid, grid)."""
    height, width = mask.shape[-2:]
    return (_area_units(mask, grid) / (height * width)).astype(np.float32)


def overlaps(length: int, grid: int) -> NDArray[np.float64]:
    """(grid, length): how far cell i and pixel j of one side overlap, in 1 / grid of a pixel."""
    cells, pixels = np.arange(grid)[:, None] * length, np.arange(length)[None, :] * grid
    ends = np.minimum(cells + length, pixels + grid)
    return np.clip(ends - np.maximum(cells, pixels), 0, None).astype(np.float64)


def scores(
    coarse: NDArray[np.generic], gallery: NDArray[np.generic], rule: ScoreRule = "iou"
) -> NDArray[np.float64]:
    """How well each of n masks fits the coarse map, (n,) in [0, 1]; 0 where both are empty.

    "iou" is eq. 11 on cells: ``coarse`` bool (g, g), ``gallery`` bool (n, g, g). "soft" is the
    sum of the minima over the sum of the maxima: floats in [0, 1] of the same shapes.
    """
    if gallery.ndim != 3 or gallery.shape[1:] != coarse.shape:
        raise ValueError(f"a map of {coarse.shape} does not fit a gallery of {gallery.shape}")
    if rule not in ("iou", "soft"):
        raise OptionError(f"unknown score rule {rule!r}; known are iou, soft")
    if rule == "iou" and (coarse.dtype != bool or gallery.dtype != bool):
        raise ValueError(f"rule iou compares cells (bool), got {coarse.dtype}, {gallery.dtype}")
    first = coarse.astype(np.float32)
    second = gallery.astype(np.float32)
    shared = np.minimum(first, second).sum(axis=(1, 2), dtype=np.float64)
    # min + max = first + second, cell by cell.
    together = first.sum(dtype=np.float64) + second.sum(axis=(1, 2), dtype=np.float64) - shared
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)


def best(values: ArrayLike) -> int | None:
    """The index of the highest of (n,) scores, the lowest index among equals; None of nothing."""
    array = np.asarray(values)
    return int(np.argmax(array)) if array.size else None


def union_box(mask: Mask, min_area: int = 10) -> Box:
    """The box around all of a bool (h, w) mask but its specks, as Pro2SAM's code takes it.

    Closing with a 3 x 3 square, then the 8-connected parts of at least ``min_area`` pixels. Where
    none remains the box is the whole frame.
    """
    height, width = mask.shape
    _, parts = _closed_parts(mask)
    kept = parts[1:][parts[1:, cv2.CC_STAT_AREA] >= min_area]  # 0 is the background
    if len(kept) == 0:
        return (0.0, 0.0, float(width), float(height))
    corner = kept[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    end = corner + kept[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    (x0, y0), (x1, y1) = corner.min(axis=0), end.max(axis=0)
    return (float(x0), float(y0), float(x1), float(y1))


def without_specks(mask: Mask, min_area: int = 10) -> Mask:
    """A bool (h, w) mask without the parts that `union_box` leaves out.

    Parts are told as there, after closing; no pixel is added. A mask of nothing but specks stays
    as it is.
    """
    numbers, parts = _closed_parts(mask)
    is_kept = parts[:, cv2.CC_STAT_AREA] >= min_area
    is_kept[0] = False
    if not is_kept.any():
        return mask
    return np.asarray(mask & is_kept[numbers])


def _closed_parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The 8-connected parts after closing: (h, w) their numbers, and OpenCV's facts of each."""
    square = np.ones((3, 3), dtype=np.uint8)
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, square)
    _, numbers, parts, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    return np.asarray(numbers), np.asarray(parts)


def spans_frame(mask: Mask, min_area: int = 10) -> bool:
    """Whether the union box is the whole frame: such masks are dropped before matching.

    True for empty masks, for nothing but specks, and also for real objects that reach all edges.
    """
    height, width = mask.shape
    return union_box(mask, min_area) == (0.0, 0.0, width, height)


def iou_with_inclusive_pixels(first: Box, second: Box) -> float:
    """IoU as the localisation papers count it: x1 and y1 are the last pixel, so widths get +1.

    Only for comparing with them; everything else here is half-open (`engine.geometry.iou_boxes`).
    """
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]) + 1)
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def _area_units(mask: Mask, grid: int) -> NDArray[np.float64]:
    """(..., grid, grid): area that is on, in units of which a cell holds height * width.

    Whole numbers, because pixels are grid units long and cells are height (width) units.
    """
    height, width = mask.shape[-2:]
    rows, columns = overlaps(height, grid), overlaps(width, grid)
    return np.asarray(rows @ mask.astype(np.float64) @ columns.T)

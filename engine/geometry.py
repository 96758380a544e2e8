"""Boxes and masks, pure numpy around pycocotools' RLE: boxes in, boxes and masks out.

All boxes are half-open ``x0, y0, x1, y1`` pixels (see `engine.types`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

from engine.types import Box, Mask, RankedMask, Rle


def mask_to_rle(mask: Mask) -> Rle:
    """Encode a bool (h, w) mask as COCO compressed RLE. Exact."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle.from_dict(encoded)


def rle_to_mask(rle: Rle) -> Mask:
    """Decode to a C-ordered bool (h, w) mask. Exact inverse of `mask_to_rle`."""
    encoded = {"size": list(rle.size), "counts": rle.counts.encode("ascii")}
    # pycocotools returns Fortran order, which OpenCV's drawing functions refuse.
    return np.ascontiguousarray(coco_mask.decode(encoded)).astype(bool)


def ranked_masks(found: Iterable[tuple[Mask, float]]) -> tuple[RankedMask, ...]:
    """Masks and scores as they are kept, in their order: equal masks once, scores in [0, 1]."""
    different: dict[Rle, float] = {}
    for mask, score in found:
        different.setdefault(mask_to_rle(mask), round(min(max(score, 0.0), 1.0), 4))
    return tuple(RankedMask(rle, score) for rle, score in different.items())


def mask_to_box(mask: Mask) -> Box | None:
    """The tight half-open box of a bool (h, w) mask, or None where the mask is empty."""
    columns = np.flatnonzero(mask.any(axis=0))
    if columns.size == 0:
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def clip_box(box: Box, *, width: int, height: int) -> Box | None:
    """The part of the box inside the image, or None where none is left."""
    x0, y0 = max(box[0], 0.0), max(box[1], 0.0)
    x1, y1 = min(box[2], float(width)), min(box[3], float(height))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def box_area(box: Box) -> float:
    """Width times height, in pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def box_to_slices(box: Box, *, shape_hw: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the whole pixels that the box touches, clipped to the image."""
    height, width = shape_hw
    x0, y0 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    x1, y1 = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
    return slice(y0, max(y1, y0)), slice(x0, max(x1, x0))


def iou_boxes(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """IoU of every box of (n, 4) with every box of (m, 4), as (n, m). Empty inputs give empty."""
    a = np.asarray(first, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(second, dtype=np.float64).reshape(-1, 4)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(bottom_right - top_left, 0.0, None).prod(axis=-1)
    areas_a = (a[:, 2:] - a[:, :2]).prod(axis=-1)
    areas_b = (b[:, 2:] - b[:, :2]).prod(axis=-1)
    union = areas_a[:, None] + areas_b[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def iou_masks(first: Mask, second: Mask) -> float:
    """IoU of two bool masks of the same shape; 1.0 where both are empty."""
    if first.shape != second.shape:
        raise ValueError(f"masks differ in shape: {first.shape} and {second.shape}")
    union = int(np.logical_or(first, second).sum())
    return 1.0 if union == 0 else int(np.logical_and(first, second).sum()) / union

"""A photo's small copy, and masks of it: without cracks, at the photo's size, smooth of outline."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import Image, Mask

CRACK = 5  # pixels of the copy: +0.01 mask IoU on pets and caltech, boxes as good
LARGEST_HOLE = 0.2  # of the mask; larger ones are more often meant


def shrunk(image: Image, side: int) -> tuple[Image, float]:
    """A copy with at most ``side`` pixels on its long side, and its pixels a pixel of the photo.

    Any photo from 1 x 1; small ones stay as large as they are.
    """
    height, width = image.shape[:2]
    scale = min(side / max(height, width), 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), scale


def enlarged(mask: Mask, shape_hw: tuple[int, int]) -> Mask:
    """The mask of the copy at the photo's size, with a smooth outline; never empty."""
    if mask.shape == shape_hw:
        return mask
    size = (shape_hw[1], shape_hw[0])
    smooth: Mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    if smooth.any():
        return smooth
    nearest = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return nearest.astype(bool)


def tidied(mask: Mask) -> Mask:
    """The mask of a copy without cracks and small holes, which GrabCut leaves; it never shrinks."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CRACK, CRACK))
    # Repeating the rim keeps an object that leaves the photo closed there.
    rim = np.pad(mask.astype(np.uint8), CRACK, mode="edge")
    closed = cv2.morphologyEx(rim, cv2.MORPH_CLOSE, kernel)[CRACK:-CRACK, CRACK:-CRACK].astype(bool)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (~closed).astype(np.uint8), connectivity=4
    )
    height, width = mask.shape
    x, y, w, h, areas = np.asarray(stats).T
    is_inside = (x > 0) & (y > 0) & (x + w < width) & (y + h < height)
    is_hole = np.asarray(is_inside & (areas <= LARGEST_HOLE * int(closed.sum())))
    is_hole[0] = False  # label 0 is the mask itself
    return np.asarray(closed | is_hole[labels])

"""Masks of a photo's small copy: without cracks, and at the photo's size with a smooth outline."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import Mask

CRACK = 5  # pixels of the copy: +0.01 mask IoU on pets and caltech, boxes as good
LARGEST_HOLE = 0.2  # of the mask; larger ones are more often meant


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

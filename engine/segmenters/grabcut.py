"""A box to a mask, without weights: photo and box in, one bool mask of the whole photo out.

GrabCut (Rother et al., SIGGRAPH 2004) on a small copy of the box and its surroundings; where it
loses or swallows the box, watershed from the box's centre against what lies outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from engine.errors import OptionError
from engine.geometry import box_to_slices, clip_box
from engine.types import Box, Image, Mask


@dataclass(frozen=True)
class GrabCutOptions:
    """How a box becomes a mask; lengths are fractions of the box unless a unit is named."""

    margin: float = 0.15  # surroundings on each side, from which the background is learned
    long_side: int = 192  # pixels of the working copy; 256 costs twice the time for +0.01 IoU
    short_copy: int = 96  # smaller boxes are enlarged to this long side: +0.03 IoU on small ones
    core: float = 0.2  # radius of the central ellipse that is surely object; 1 is the inscribed one
    corners: float = 1.2  # beyond this radius the box starts as probable background
    rounds: int = 5
    smallest_share: float = 0.1  # of the box: less counts as collapsed
    largest_share: float = 0.97  # of the box: more counts as collapsed
    smallest_part: float = 0.1  # of the largest part; smaller crumbs are dropped
    largest_hole: float = 0.01  # of the object; smaller holes are filled


@dataclass(frozen=True)
class _Crop:
    """The working copy: where it lies in the photo, and the box drawn into it."""

    rows: slice
    columns: slice
    pixels: Image  # (sh, sw, 3), scaled
    inside: Mask  # (sh, sw): the box
    radius: NDArray[np.float64]  # (sh, sw): 1 on the ellipse inscribed in the box


def box_to_mask(image: Image, box: Box, *, options: GrabCutOptions | None = None) -> Mask:
    """The object that fills the box, as bool (h, w); never empty, and never outside the box by
    more than the pixels that the box touches.

    OptionError where the box lies outside the photo.
    """
    options = options or GrabCutOptions()
    height, width = image.shape[:2]
    clipped = clip_box(box, width=width, height=height)
    if clipped is None:
        raise OptionError(
            f"The box {tuple(round(value, 1) for value in box)} lies outside the photo of "
            f"{width}×{height} pixels; draw it inside."
        )
    crop = _cut_out(image, clipped, options)
    small = _drop_crumbs(_segment(crop, options), options) & crop.inside
    height_width = crop.rows.stop - crop.rows.start, crop.columns.stop - crop.columns.start
    mask = np.zeros((height, width), dtype=bool)
    mask[crop.rows, crop.columns] = _enlarge(small, height_width)
    within = box_to_slices(clipped, shape_hw=(height, width))
    result = np.zeros_like(mask)
    result[within] = mask[within]
    if not result.any():
        result[within] = True
    return result


def _cut_out(image: Image, box: Box, options: GrabCutOptions) -> _Crop:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    margin_x = max((x1 - x0) * options.margin, 3.0)
    margin_y = max((y1 - y0) * options.margin, 3.0)
    around = (x0 - margin_x, y0 - margin_y, x1 + margin_x, y1 + margin_y)
    rows, columns = box_to_slices(around, shape_hw=(height, width))
    pixels = np.ascontiguousarray(image[rows, columns])
    crop_height, crop_width = pixels.shape[:2]
    long_side = max(crop_height, crop_width)
    wanted = min(max(long_side, options.short_copy), options.long_side)
    size = (
        max(1, round(crop_width * wanted / long_side)),
        max(1, round(crop_height * wanted / long_side)),
    )
    method = cv2.INTER_AREA if wanted < long_side else cv2.INTER_CUBIC
    pixels = cv2.resize(pixels, size, interpolation=method).astype(np.uint8, copy=False)
    xs = (np.arange(size[0]) + 0.5) * crop_width / size[0] + columns.start
    ys = (np.arange(size[1]) + 0.5) * crop_height / size[1] + rows.start
    u = (xs - (x0 + x1) / 2) / ((x1 - x0) / 2)
    v = (ys - (y0 + y1) / 2) / ((y1 - y0) / 2)
    inside = (np.abs(v) <= 1)[:, None] & (np.abs(u) <= 1)[None, :]
    radius = np.hypot(u[None, :], v[:, None])
    # A box thinner than a working pixel may hold no pixel centre: take the nearest.
    inside.flat[np.argmin(radius)] = True
    return _Crop(rows, columns, pixels, inside, radius)


def _segment(crop: _Crop, options: GrabCutOptions) -> Mask:
    trimap = np.full(crop.inside.shape, cv2.GC_BGD, dtype=np.uint8)
    trimap[crop.inside] = cv2.GC_PR_FGD
    trimap[crop.inside & (crop.radius > options.corners)] = cv2.GC_PR_BGD
    trimap[crop.radius <= options.core] = cv2.GC_FGD
    trimap.flat[np.argmin(crop.radius)] = cv2.GC_FGD
    if np.all(trimap % 2 == 1):  # a few pixels, all of them the box: nothing to tell apart
        return crop.inside
    cv2.setRNGSeed(0)  # the mixture starts from random centres: same box, same mask
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    no_box, mode = (0, 0, 0, 0), cv2.GC_INIT_WITH_MASK
    cv2.grabCut(crop.pixels, trimap, no_box, background, foreground, options.rounds, mode)
    found = np.asarray(trimap % 2 == 1)
    share = found.sum() / crop.inside.sum()
    if options.smallest_share < share < options.largest_share:
        return found
    return _watershed(crop)


def _watershed(crop: _Crop) -> Mask:
    """Flood the colour gradient from the central ellipse of 35 % and from outside the box."""
    lab = cv2.cvtColor(crop.pixels, cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(lab, -1, 1, 0), cv2.Sobel(lab, -1, 0, 1)
    gradient = np.sqrt((across**2 + down**2).reshape(*crop.inside.shape, -1).sum(axis=-1))
    markers = np.zeros(crop.inside.shape, dtype=np.int32)
    markers[~crop.inside | (crop.radius > 1.3)] = 1
    markers[crop.radius <= 0.35] = 2
    markers.flat[np.argmin(crop.radius)] = 2
    return np.asarray(watershed(gradient, markers) == 2)


def _drop_crumbs(mask: Mask, options: GrabCutOptions) -> Mask:
    """Without the parts far smaller than the largest, and without pinholes."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    kept = (areas >= options.smallest_part * areas.max())[labels] & mask
    holes, count = ndimage.label(~kept)
    if count == 0:
        return np.asarray(kept)
    areas = np.bincount(holes.ravel())
    small = areas < options.largest_hole * kept.sum()
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        small[edge] = False  # open to the outside: not a hole
    small[0] = False
    return np.asarray(kept | small[holes])


def _enlarge(mask: Mask, shape_hw: tuple[int, int]) -> Mask:
    size = (shape_hw[1], shape_hw[0])
    return np.asarray(
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    )

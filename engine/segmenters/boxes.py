"""A box to a mask, without weights: photo and box in, one bool mask of the whole photo out.

On regions of the box and its surroundings, place in the box and colour say where the object is,
and a random walk joins them (`walks`). Large boxes then get GrabCut's opinion (Rother et al.,
SIGGRAPH 2004) on what the walk left open; small ones have too few pixels for its colour mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import OptionError
from engine.geometry import box_to_slices, clip_box
from engine.segmenters.regions import Floats, Regions, split_photo
from engine.segmenters.walks import colour_odds, walk
from engine.types import Box, Image, Mask


@dataclass(frozen=True)
class BoxOptions:
    """How a box becomes a mask. Radius 1 is the ellipse inscribed in the box."""

    margin: float = 0.2  # of the box, on each side: the surroundings that the colours of the
    # background are learned from
    short_copy: int = 128  # pixels; smaller crops are enlarged to this long side
    centre_odds: float = 1.5  # log-odds of being object at the centre of the box …
    even_radius: float = 0.9  # … and the radius where they have fallen to 0
    rounds: int = 3  # of learning the colours and walking
    colour_trust: float = 1.25  # factor on the odds that colours give
    cut_short_side: int = 64  # pixels of the box; from here on GrabCut is asked too
    cut_long_side: int = 160  # pixels of its working copy; its time grows with the area
    cut_rounds: int = 3
    cut_sure: float = 0.25  # chances below this, or above one minus it, are not open to GrabCut
    cut_share: float = 0.3  # of the vote
    smallest_part: float = 0.1  # of the largest part; smaller crumbs are dropped
    largest_hole: float = 0.01  # of the object; smaller holes are filled


def box_to_mask(image: Image, box: Box, *, options: BoxOptions | None = None) -> Mask:
    """The object that fills the box, as bool (h, w); never empty, and only on pixels that the
    box touches.

    OptionError where the box lies outside the photo.
    """
    options = options or BoxOptions()
    height, width = image.shape[:2]
    clipped = clip_box(box, width=width, height=height)
    if clipped is None:
        raise OptionError(
            f"The box {tuple(round(value, 1) for value in box)} lies outside the photo of "
            f"{width}×{height} pixels; draw it inside."
        )
    crop, chances = _chances(image, clipped, options)
    if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) >= options.cut_short_side:
        cut = _grabcut(crop.pixels, chances, options).astype(np.float32)
        chances = (1.0 - options.cut_share) * chances + options.cut_share * cut
    inside = box_to_slices(clipped, shape_hw=(height, width))
    mask = np.zeros((height, width), dtype=bool)
    mask[crop.rows, crop.columns] = _resized(chances, crop.shape_hw) > 0.5
    found = _without_crumbs(mask[inside], options)
    mask[:] = False
    mask[inside] = found if found.any() else True
    return mask


@dataclass(frozen=True)
class _Crop:
    """The box and its surroundings: where they lie in the photo, and an enlarged copy if small."""

    rows: slice
    columns: slice
    pixels: Image

    @property
    def shape_hw(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def _chances(image: Image, box: Box, options: BoxOptions) -> tuple[_Crop, NDArray[np.float32]]:
    """The crop, and for each pixel of its copy the chance of being object."""
    crop = _cut_out(image, box, options)
    regions = split_photo(crop.pixels)
    within, radius_squared = _places(regions, crop, box)
    outside = within < 0.5
    if outside.all():  # the box is smaller than a region: keep the one it covers most
        outside[int(np.argmax(within))] = False
    centre = options.centre_odds * (1.0 - radius_squared / options.even_radius**2)
    centre = np.clip(centre, -4.0, 4.0)
    chances = within / (1.0 + np.exp(-centre))
    for _ in range(options.rounds):
        if not 0.0 < chances.sum() < regions.count:
            break
        colours = colour_odds(regions, chances * regions.areas, (1.0 - chances) * regions.areas)
        odds = np.where(outside, -8.0, centre + options.colour_trust * colours)
        chances = walk(regions, odds)
    return crop, regions.enlarge(chances)


def _cut_out(image: Image, box: Box, options: BoxOptions) -> _Crop:
    x0, y0, x1, y1 = box
    margin_x = max((x1 - x0) * options.margin, 4.0)
    margin_y = max((y1 - y0) * options.margin, 4.0)
    around = (x0 - margin_x, y0 - margin_y, x1 + margin_x, y1 + margin_y)
    rows, columns = box_to_slices(around, shape_hw=(image.shape[0], image.shape[1]))
    pixels = np.ascontiguousarray(image[rows, columns])
    scale = options.short_copy / max(pixels.shape[:2])
    if scale > 1.0:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        enlarged = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        pixels = np.asarray(enlarged, dtype=np.uint8)
    return _Crop(rows, columns, pixels)


def _places(regions: Regions, crop: _Crop, box: Box) -> tuple[Floats, Floats]:
    """(n,) each: the share of a region inside the box, and its mean squared radius."""
    height, width = regions.labels.shape
    x0, y0, x1, y1 = box
    xs = crop.columns.start + (np.arange(width) + 0.5) * crop.shape_hw[1] / width
    ys = crop.rows.start + (np.arange(height) + 0.5) * crop.shape_hw[0] / height
    u = (xs - (x0 + x1) / 2) / ((x1 - x0) / 2)
    v = (ys - (y0 + y1) / 2) / ((y1 - y0) / 2)
    inside = (np.abs(v) <= 1)[:, None] & (np.abs(u) <= 1)[None, :]
    return regions.means_of(inside), regions.means_of(v[:, None] ** 2 + u[None, :] ** 2)


def _grabcut(pixels: Image, chances: NDArray[np.float32], options: BoxOptions) -> Mask:
    """GrabCut on a small copy, started from the chances; the walk's own answer if it has no say."""
    height, width = chances.shape
    scale = min(1.0, options.cut_long_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    likely = np.asarray(cv2.resize(chances, size, interpolation=cv2.INTER_AREA))
    trimap = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[likely > 1.0 - options.cut_sure] = cv2.GC_FGD
    trimap[likely < options.cut_sure] = cv2.GC_BGD
    is_object = trimap % 2 == 1
    if not 0 < is_object.sum() < is_object.size:
        return np.asarray(chances > 0.5)
    cv2.setRNGSeed(0)  # the mixtures start from random centres: same box, same mask
    no_box, mode = (0, 0, 0, 0), cv2.GC_INIT_WITH_MASK
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, trimap, no_box, background, foreground, options.cut_rounds, mode)
    return _resized((trimap % 2 == 1).astype(np.float32), (height, width)) > 0.5


def _without_crumbs(mask: Mask, options: BoxOptions) -> Mask:
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
    small = np.bincount(holes.ravel()) < options.largest_hole * kept.sum()
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        small[edge] = False  # open to the outside: not a hole
    small[0] = False
    return np.asarray(kept | small[holes])


def _resized(values: NDArray[np.float32], shape_hw: tuple[int, int]) -> NDArray[np.float32]:
    if values.shape == shape_hw:
        return values
    method = cv2.INTER_AREA if values.shape[0] > shape_hw[0] else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(values, (shape_hw[1], shape_hw[0]), interpolation=method), dtype=np.float32
    )

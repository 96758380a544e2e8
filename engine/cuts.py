"""Masks of one object each, grown from seeds by GrabCut: small photo and its maps in, masks out.

Seeds are the saliency map cut at several heights, the map of colour distance to the border, and
central ellipses of several sizes: each fails on other photos, and a judge picks afterwards.
GrabCut is Rother, Kolmogorov, Blake (SIGGRAPH 2004), as OpenCV has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.localizers.saliency import Map, SaliencyMaps
from engine.types import Image, Mask

HEIGHTS = (1.0, 1.5, 2.0, 2.6)
"""Where the saliency map is cut, as multiples of its mean (twice is Achanta et al., CVPR 2009)."""

HIGHEST_CUT = 0.92  # of the map's maximum, so that something is always above
SURE_SHARE = 0.3  # of what lies above the cut is surely foreground: its highest part
BACKGROUND_SHARE = 0.15  # of the photo is surely background: where the map is lowest
ELLIPSES = (0.45, 0.7, 0.9)  # axes of the central ellipses, as shares of the photo's sides
ELLIPSE_CORE = 0.12  # surely foreground below this squared radius
FRAME = 0.03  # of the sides: the rim that a central object is assumed to leave free
FAR_AWAY = 1.8  # squared radius of a small ellipse beyond which all is background
ROUNDS = 3
LEAST_PIXELS = 30  # of either kind; GrabCut fits five Gaussians to each
SMALLEST_SIBLING = 0.25  # of the largest part's area; less is more often clutter than a twin
MOST_SIBLINGS = 30
SMALLEST_OPENED = 200  # pixels; thinner things would vanish in the opening


@dataclass(frozen=True, eq=False)
class Cut:
    """The largest part of a cut, and the smaller parts beside it; all bool (h, w), not empty."""

    mask: Mask
    siblings: tuple[Mask, ...] = ()


def candidate_cuts(image: Image, maps: SaliencyMaps) -> list[Cut]:
    """Cuts whose largest part may be the object, of the image's size, duplicates left out.

    ``image`` is a copy of about 192 pixels: at 256 GrabCut takes twice the time and is no better.
    The last candidate is the whole photo, so the list is never empty.
    """
    found: list[Mask] = []
    for height in HEIGHTS:
        above = _above(maps.saliency, height)
        found += [_cut(image, _seeds_of_map(maps.saliency, above), fallback=above), above]
    above = _above(maps.distance, 1.5)
    found.append(_cut(image, _seeds_of_map(maps.distance, above), fallback=above))
    for size in ELLIPSES:
        seeds, ellipse = _seeds_of_ellipse(image.shape[0], image.shape[1], size)
        found.append(_cut(image, seeds, fallback=ellipse))
    cuts = [_parts(_opened(mask)) for mask in found if mask.any()]
    cuts.append(Cut(np.ones(image.shape[:2], dtype=bool)))
    # The first of equal ones stays.
    return list({cut.mask.tobytes(): cut for cut in reversed(cuts)}.values())[::-1]


def _parts(mask: Mask) -> Cut:
    """The 8-connected parts, largest first; of the others, those of some size."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = [int(part) for part in np.argsort(-areas, kind="stable")]
    least = SMALLEST_SIBLING * int(areas[order[0]])
    masks = [labels == part + 1 for part in order if areas[part] >= least]
    return Cut(masks[0], tuple(masks[1 : 1 + MOST_SIBLINGS]))


def _opened(mask: Mask) -> Mask:
    """Without hairs and bridges of one pixel, unless the mask is small itself."""
    if int(mask.sum()) <= SMALLEST_OPENED:
        return mask
    kernel = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel).astype(bool)
    return opened if opened.any() else mask


def _above(values: Map, height: float) -> Mask:
    mask: Mask = values >= min(height * float(values.mean()), HIGHEST_CUT)
    return mask


def _seeds_of_map(values: Map, above: Mask) -> NDArray[np.uint8]:
    """GrabCut's four labels from a map that was cut."""
    seeds = np.full(values.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[above] = cv2.GC_PR_FGD
    if above.any() and not above.all():
        low = min(float(np.quantile(values, BACKGROUND_SHARE)), 0.3 * float(values[above].min()))
        seeds[values <= low] = cv2.GC_BGD
        seeds[values >= np.quantile(values[above], 1 - SURE_SHARE)] = cv2.GC_FGD
    return seeds


def _seeds_of_ellipse(height: int, width: int, size: float) -> tuple[NDArray[np.uint8], Mask]:
    """GrabCut's four labels for an object in the middle, and the ellipse itself."""
    y = (np.arange(height)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width)[None, :] + 0.5) / width - 0.5
    radius = (x**2 + y**2) / (size / 2) ** 2
    rim = 0.5 - np.maximum(abs(x), abs(y)) < FRAME
    seeds = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    seeds[radius < 1] = cv2.GC_PR_FGD
    seeds[rim | (radius > FAR_AWAY) if size == ELLIPSES[0] else rim] = cv2.GC_BGD
    seeds[radius < ELLIPSE_CORE] = cv2.GC_FGD
    return seeds, radius < 1


def _cut(image: Image, seeds: NDArray[np.uint8], *, fallback: Mask) -> Mask:
    """What GrabCut makes of the seeds; the fallback where it cannot start or finds nothing."""
    foreground = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    if min(int(foreground.sum()), int((~foreground).sum())) < LEAST_PIXELS:
        return fallback
    background_model, foreground_model = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # it starts its Gaussians by k-means; the same photo, the same mask
    cv2.grabCut(
        np.ascontiguousarray(image),
        seeds,
        (0, 0, 0, 0),  # the rectangle is not looked at in this mode
        background_model,
        foreground_model,
        ROUNDS,
        cv2.GC_INIT_WITH_MASK,
    )
    mask: Mask = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    return mask if mask.any() else fallback

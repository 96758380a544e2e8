"""Clicks to masks, without weights: regions of a photo and prompts in, ranked masks out.

Each region gets the odds that it is object, from three things: whether it is nearer (in colour
change along the way) to the inside clicks or to the outside clicks and the photo's border; whose
colours it has; what the given mask says. A random walk with that prior (`walks`) makes the answer
smooth along the edges of the photo.

Two rules make corrections safe: a click inside never shrinks the mask and a click outside never
grows it, and only the part that hangs together with the click changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from engine.geometry import box_to_slices, iou_masks
from engine.segmenters.regions import Floats, Regions
from engine.segmenters.walks import colour_odds, log_odds, walk
from engine.types import Candidate, Mask, Prompts

Click = tuple[float, float, int]  # x, y in pixels of the photo; 1 inside, 0 outside


@dataclass(frozen=True)
class ClickOptions:
    """How clicks become masks. Lab distances are in CIE Lab units, odds are natural logarithms."""

    border_distance: float = 10.0  # Lab distance by which the border counts as farther than a click
    sharpness: float = 1.5  # power of the distances where inside and outside compete
    colour_reach: float = 15.0  # Lab distance over which a click vouches for the colours around it
    mask_odds: float = 0.3  # how much the odds of the given mask count
    mask_colours: float = 0.2  # how much the regions of the given mask count as colour samples
    largest_growth: float = 1.0  # of the given mask's area: what one click inside may add
    largest_loss: float = 0.5  # of the given mask's area: what one click outside may take away
    scale_odds: float = 2.0  # bias of the smaller and the larger candidate of a single click
    outside_box: float = -4.0  # odds added to the regions outside the prompt's box


DEFAULTS = ClickOptions()


def masks_from_clicks(
    regions: Regions, prompts: Prompts, *, start: Mask | None, options: ClickOptions = DEFAULTS
) -> list[Candidate]:
    """Masks for the clicks, best first: up to three for a single one, else one.

    ``start`` is the mask which the clicks correct, one after the other; without it they make a
    new one. Empty where nothing is left, or where there is no start and no click inside.
    """
    clicks = [(x, y, label) for (x, y), label in zip(prompts.points, prompts.labels, strict=True)]
    outside_box = _outside_box(regions, prompts, options)
    if start is None:
        if not any(label for _, _, label in clicks):
            return []
        masks = _new_masks(regions, clicks, outside_box, options)
    else:
        masks = [_corrected(regions, start, clicks, outside_box, options)]
    return [Candidate(mask, outline_score(regions, mask)) for mask in masks if mask.any()]


def outline_score(regions: Regions, mask: Mask) -> float:
    """In [0, 1]: how much of the mask's outline runs along colour edges of the photo."""
    inside = regions.shares_of(mask) > 0.5
    cut = inside[regions.pairs[:, 0]] != inside[regions.pairs[:, 1]]
    if not cut.any():
        return 0.0
    strength = 1.0 - np.exp(-regions.contrast[cut] / 10.0)  # Lab 10: plainly another colour
    return float(np.average(strength, weights=regions.lengths[cut]))


def _outside_box(regions: Regions, prompts: Prompts, options: ClickOptions) -> Floats:
    """Odds (n,) for being outside the box; zeros without a box."""
    if prompts.box is None:
        return np.zeros(regions.count)
    box = np.zeros(regions.shape_hw, dtype=bool)
    box[box_to_slices(prompts.box, shape_hw=regions.shape_hw)] = True
    return options.outside_box * (1.0 - regions.shares_of(box))


def _new_masks(
    regions: Regions, clicks: list[Click], outside_box: Floats, options: ClickOptions
) -> list[Mask]:
    """One mask, or for a single click also a smaller and a larger one where they differ."""
    odds = _odds(regions, clicks, None, options) + outside_box
    biases = (0.0, -options.scale_odds, options.scale_odds) if len(clicks) == 1 else (0.0,)
    inside, outside = _clicked(regions, clicks)
    masks: list[Mask] = []
    for bias in biases:
        chances = walk(regions, odds + bias, inside=inside, outside=outside)
        mask = _with_clicks_obeyed(regions.enlarge(chances) > 0.5, clicks)
        mask = _parts_at(mask, [(x, y) for x, y, label in clicks if label])
        if all(iou_masks(mask, other) < 0.9 for other in masks):
            masks.append(mask)
    return masks


def _corrected(
    regions: Regions,
    mask: Mask,
    clicks: list[Click],
    outside_box: Floats,
    options: ClickOptions,
) -> Mask:
    """The mask after one click after the other; those that it follows already change nothing."""
    for number, (x, y, label) in enumerate(clicks, start=1):
        row, column = _pixel(mask, x, y)
        if mask[row, column] == bool(label):
            continue
        known = clicks[:number]
        odds = _odds(regions, known, mask, options) + outside_box
        inside, outside = _clicked(regions, known)
        chances = walk(regions, odds, inside=inside, outside=outside)
        chances = _within_limits(regions, chances, mask, grow=bool(label), options=options)
        wanted = _with_clicks_obeyed(regions.enlarge(chances) > 0.5, known)
        change = _parts_at(wanted & ~mask if label else mask & ~wanted, [(x, y)])
        mask = mask | change if label else mask & ~change
    return mask


def _odds(
    regions: Regions, clicks: list[Click], mask: Mask | None, options: ClickOptions
) -> Floats:
    """(n,) log-odds of being object."""
    inside, outside = _clicked(regions, clicks)
    shares = np.zeros(regions.count) if mask is None else regions.shares_of(mask)
    to_outside = np.minimum(
        regions.distances_from(regions.on_border) + options.border_distance,
        regions.distances_from(outside),
    )
    to_inside = regions.distances_from(inside or _heart(regions, shares, outside))
    nearer = to_outside**options.sharpness
    chance = nearer / (nearer + to_inside**options.sharpness + 1e-9)
    # The given mask vouches for colours too, and where it says nothing it must not say "outside".
    trust = 0.0 if mask is None else options.mask_colours
    object_colours = (np.exp(-to_inside / options.colour_reach) + trust * shares) * regions.areas
    other_colours = np.exp(-to_outside / options.colour_reach) + trust * (1.0 - shares)
    odds = log_odds(chance, 1e-3)
    odds += colour_odds(regions, object_colours, other_colours * regions.areas)
    if mask is not None:
        odds += options.mask_odds * log_odds(shares, 0.05)
    return odds


def _heart(regions: Regions, shares: Floats, outside: list[int]) -> list[int]:
    """Regions of the mask that are surely meant while all clicks are outside: the far half."""
    covered = np.flatnonzero(shares > 0.9)
    if covered.size == 0:
        covered = np.array([int(np.argmax(shares))])
    distances = regions.distances_from(outside)[covered]
    return [int(region) for region in covered[distances >= np.median(distances)]]


def _within_limits(
    regions: Regions, chances: Floats, mask: Mask, *, grow: bool, options: ClickOptions
) -> Floats:
    """Chances moved so that what crosses one half changes no more of the mask than is allowed."""
    shares = regions.shares_of(mask)
    area = float(shares @ regions.areas)
    if grow:
        sure, allowed = chances, options.largest_growth * area
        changed = (1.0 - shares) * regions.areas
    else:
        sure, allowed = 1.0 - chances, options.largest_loss * area
        changed = shares * regions.areas
    for cut in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98):
        if changed[sure > cut].sum() <= allowed:
            break
    above = 0.5 + 0.5 * (sure - cut) / (1.0 - cut)
    moved = np.where(sure > cut, above, 0.5 * sure / cut)
    return moved if grow else 1.0 - moved


def _clicked(regions: Regions, clicks: list[Click]) -> tuple[list[int], list[int]]:
    """The regions under the inside and under the outside clicks; those under both are neither."""
    inside = {regions.at(x, y) for x, y, label in clicks if label}
    outside = {regions.at(x, y) for x, y, label in clicks if not label}
    if inside and inside <= outside:
        return sorted(inside), sorted(outside - inside)
    return sorted(inside - outside), sorted(outside - inside)


def _with_clicks_obeyed(mask: Mask, clicks: list[Click]) -> Mask:
    """A dot of the right kind under each click; where dots meet, each pixel goes to the nearest."""
    radius = max(1, round(0.004 * max(mask.shape)))
    nearest = np.full(mask.shape, np.inf)
    result = mask.copy()
    for x, y, label in clicks:
        row, column = _pixel(mask, x, y)
        rows = slice(max(row - radius, 0), row + radius + 1)
        columns = slice(max(column - radius, 0), column + radius + 1)
        height, width = nearest[rows, columns].shape
        ys = np.arange(height)[:, None] + rows.start - row
        apart = np.hypot(ys, np.arange(width)[None, :] + columns.start - column)
        # The newer click wins a tie: it was made knowing the older one.
        closer = (apart <= radius) & (apart <= nearest[rows, columns])
        nearest[rows, columns][closer] = apart[closer]
        result[rows, columns][closer] = bool(label)
    return result


def _parts_at(mask: Mask, points: list[tuple[float, float]]) -> Mask:
    """The connected parts of the mask (diagonals count) that hold one of the points."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    kept = {int(labels[_pixel(mask, x, y)]) for x, y in points} - {0}
    return np.isin(labels, sorted(kept))


def _pixel(mask: Mask, x: float, y: float) -> tuple[int, int]:
    """Row and column of the pixel under a point; the nearest one for points outside."""
    height, width = mask.shape
    return min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)

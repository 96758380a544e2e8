"""Mask matching on photos with truth: maps in, the mask that each rule chose of each gallery out.

The gallery is that of merged regions (`engine.gallery`), which needs no weights, in SAM's place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.wsol.answers import Floats
from benchmarks.wsol.photo_sets import TruePhoto
from engine import matching, selection
from engine.gallery import Gallery, build_gallery
from engine.geometry import iou_masks
from engine.selection import PAPER, MatchOptions
from engine.types import CoarseMap, Mask

RULES: dict[str, MatchOptions] = {
    "mask": PAPER,
    "mask, cells by mean": MatchOptions(rule="iou", grid_rule="mean"),
    "mask, cells by nearest": MatchOptions(rule="iou", grid_rule="nearest"),
    "mask, areas (ours)": MatchOptions(),
    "bbox": MatchOptions(rule="iou", compared="bbox"),
    "mask and bbox": MatchOptions(rule="iou", compared="both"),
}
"""Names of table 6 and more; all cut the map at 0.2 but that by areas."""

DEAR = frozenset(RULES) - {"mask", "mask, areas (ours)"}
"""Rules that look at every mask pixel by pixel: a hundred times the cost of the others."""

TRUE_MAP = "the true mask as the map"
BEST_MASK = "the mask nearest to the true one"
CANDIDATES = 8  # masks whose exact IoU is looked at for `BEST_MASK`

Chosen = dict[str, list[Mask]]


def chosen_masks(
    maps: Mapping[str, Floats],
    photos: Sequence[TruePhoto],
    *,
    rules_of: Mapping[str, Sequence[str]],
    dear_photos: int,
    tell: Callable[[int], None] = lambda _: None,
) -> Chosen:
    """For each map (n, g, g) and each of its rules, "map / rule", a mask of each of the n photos.

    Of the rules in `DEAR` only for the first ``dear_photos``, so these lists are shorter.
    Beside them `TRUE_MAP`, what the default rule makes of a map without a fault, and `BEST_MASK`:
    the limits of rule and gallery.
    """
    chosen: Chosen = {}
    for number, photo in enumerate(photos):
        gallery = build_gallery(photo.image)
        for name, rules in rules_of.items():
            for rule in rules if number < dear_photos else [r for r in rules if r not in DEAR]:
                mask = chosen_by(maps[name][number], gallery, photo, RULES[rule])
                chosen.setdefault(f"{name} / {rule}", []).append(mask)
        grid = len(next(iter(maps.values()))[number])
        perfect = matching.coverage(photo.mask, grid)
        chosen.setdefault(TRUE_MAP, []).append(chosen_by(perfect, gallery, photo, MatchOptions()))
        chosen.setdefault(BEST_MASK, []).append(_best_of(gallery, photo))
        tell(number + 1)
    return chosen


def chosen_by(coarse: CoarseMap, gallery: Gallery, photo: TruePhoto, options: MatchOptions) -> Mask:
    """The best-fitting mask; where the gallery has none, the map's own cells."""
    values = selection.match(coarse, gallery, options)
    best = next(selection.ranking(values, gallery, options), None)
    if best is None:
        height, width = photo.mask.shape
        return selection.drawn_from(coarse, (height, width), options.tau_b)
    return gallery.mask(best)


def _best_of(gallery: Gallery, photo: TruePhoto) -> Mask:
    """Nearly the mask of the highest IoU: the best of those that fit well on a fine grid."""
    fine = 16
    values = matching.scores(
        matching.coverage(photo.mask, fine), gallery.coverage(fine), rule="soft"
    )
    candidates = [gallery.mask(int(index)) for index in np.argsort(-values)[:CANDIDATES]]
    return max(candidates, key=lambda mask: iou_masks(mask, photo.mask))

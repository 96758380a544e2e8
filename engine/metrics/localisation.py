"""Localisation with known classes (GT-Known): photos with truth and predictions in, shares out.

One pair is one photo and one class of its truth. Its prediction is the highest-scored instance of
that class; its box IoU is the best over all true boxes of that class, so one hit suffices. Beside
it stands what a box as large as the photo gets: the score for doing nothing.

This is not the papers' protocol to the pixel. CAM, TS-CAM and their successors scale image and
truth to 224 x 224 (or a crop), truncate the truth to whole pixels, count both end pixels (+1) in
widths, and have one class a photo. Here everything is half-open in the photo's own pixels, and a
photo counts once for each of its classes. The threshold is >= as in theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.geometry import iou_boxes, iou_masks, rle_to_mask
from engine.types import Box, Instance, Mask, Rle, Status, check_box

THRESHOLDS = (0.5, 0.7, 0.9)
"""Box IoUs from which on a pair is a hit; the first is that of GT-Known."""


@dataclass(frozen=True)
class TrueObject:
    """One object as it really is; ``mask`` None where only its box is known."""

    category: str
    box: Box
    mask: Rle | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", check_box(self.box, what="true box"))


@dataclass(frozen=True, kw_only=True)
class PhotoToJudge:
    """One photo of ``width`` x ``height`` pixels; every mask must have that size (ValueError)."""

    truth: Sequence[TrueObject]
    predictions: Sequence[Instance]
    width: int
    height: int

    def __post_init__(self) -> None:
        masks = [thing.mask for thing in self.truth] + [made.rle for made in self.predictions]
        for mask in masks:
            if mask is not None and mask.size != (self.height, self.width):
                expected = (self.height, self.width)
                raise ValueError(f"a mask is {mask.size}, its photo is {expected} (h, w)")


@dataclass(frozen=True)
class Measures:
    """One column of the table, over all pairs; None where there was nothing to measure.

    ``hits[k]`` pairs have a box IoU of at least ``THRESHOLDS[k]``, a share ``shares[k]`` of them.
    ``mean_mask_iou`` is over the pairs with a true mask.
    """

    hits: tuple[int, ...]
    shares: tuple[float | None, ...]
    mean_box_iou: float | None
    mean_mask_iou: float | None

    @property
    def gt_known(self) -> float | None:
        """The share of pairs with a box IoU of at least 0.5."""
        return self.shares[0]


@dataclass(frozen=True, kw_only=True)
class LocalisationResult:
    """Counts of what was judged, and the measures of the predictions and of whole-photo boxes."""

    photos: int
    pairs: int  # photo and class of its truth
    pairs_without_prediction: int  # they count as IoU 0
    pairs_with_true_mask: int
    pairs_without_predicted_mask: int  # of those with a true mask; they count as mask IoU 0
    ours: Measures
    whole_photo: Measures

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        columns = {"ours": self.ours, "whole_photo": self.whole_photo}
        return {
            "photos": self.photos,
            "pairs": self.pairs,
            "pairs_without_prediction": self.pairs_without_prediction,
            "pairs_with_true_mask": self.pairs_with_true_mask,
            "pairs_without_predicted_mask": self.pairs_without_predicted_mask,
            **{
                name: {
                    "hits": dict(zip(map(str, THRESHOLDS), column.hits, strict=True)),
                    "shares": dict(zip(map(str, THRESHOLDS), column.shares, strict=True)),
                    "mean_box_iou": column.mean_box_iou,
                    "mean_mask_iou": column.mean_mask_iou,
                }
                for name, column in columns.items()
            },
        }

    def table(self) -> str:
        """Aligned plain text: ours and the whole-photo box side by side, counts below."""
        ours, whole = self.ours, self.whole_photo
        rows = [("", "ours", "whole photo")]
        for threshold, left, right in zip(THRESHOLDS, ours.shares, whole.shares, strict=True):
            name = "GT-Known (box IoU ≥ 0.5)" if threshold == 0.5 else f"box IoU ≥ {threshold}"
            rows.append((name, _percent(left), _percent(right)))
        rows.append(("mean box IoU", _number(ours.mean_box_iou), _number(whole.mean_box_iou)))
        rows.append(("mean mask IoU", _number(ours.mean_mask_iou), _number(whole.mean_mask_iou)))
        width = max(len(name) for name, _, _ in rows)
        lines = [f"{name:<{width}}  {left:>8}  {right:>11}" for name, left, right in rows]
        counts = (
            f"{self.pairs} pairs of photo and class in {self.photos} photos; "
            f"{self.pairs_without_prediction} without a prediction; "
            f"{self.pairs_with_true_mask} with a true mask, "
            f"{self.pairs_without_predicted_mask} of them without a predicted one"
        )
        return "\n".join([*lines, counts])


@dataclass(frozen=True)
class _PairScore:
    """Box and mask IoU of one answer; ``mask_iou`` None where the pair has no true mask."""

    box_iou: float
    mask_iou: float | None


def evaluate_localisation(photos: Iterable[PhotoToJudge]) -> LocalisationResult:
    """Judge each class of each photo's truth; see the top of this file for the rules.

    Rejected instances are no predictions; a score of None counts as 1 (a person made it); the
    first wins among equals. The mask IoU is with the true mask of the best-matching box among
    those that have a mask. Without photos or truth all measures are None.
    """
    ours: list[_PairScore] = []
    whole: list[_PairScore] = []
    photo_count = missing = maskless = 0
    for photo in photos:
        photo_count += 1
        frame = (0.0, 0.0, float(photo.width), float(photo.height))
        everything = np.ones((photo.height, photo.width), dtype=bool)
        for category in dict.fromkeys(thing.category for thing in photo.truth):
            truth = [thing for thing in photo.truth if thing.category == category]
            chosen = _highest_scored(photo.predictions, category)
            mask = None
            if chosen is not None and chosen.rle is not None:
                mask = rle_to_mask(chosen.rle)
            ours.append(_score(truth, box=None if chosen is None else chosen.box, mask=mask))
            whole.append(_score(truth, box=frame, mask=everything))
            missing += chosen is None
            maskless += mask is None and ours[-1].mask_iou is not None
    return LocalisationResult(
        photos=photo_count,
        pairs=len(ours),
        pairs_without_prediction=missing,
        pairs_with_true_mask=sum(score.mask_iou is not None for score in ours),
        pairs_without_predicted_mask=maskless,
        ours=_measures(ours),
        whole_photo=_measures(whole),
    )


def _highest_scored(predictions: Sequence[Instance], category: str) -> Instance | None:
    candidates = [
        made
        for made in predictions
        if made.category == category and made.status is not Status.REJECTED
    ]
    return max(candidates, key=lambda made: 1.0 if made.score is None else made.score, default=None)


def _score(truth: Sequence[TrueObject], *, box: Box | None, mask: Mask | None) -> _PairScore:
    """The best box IoU, and the mask IoU with the best-matching object that has a mask."""
    overlaps = np.zeros(len(truth))
    if box is not None:
        overlaps = iou_boxes([box], [thing.box for thing in truth])[0]
    masked = [(overlap, thing.mask) for overlap, thing in zip(overlaps, truth, strict=True)]
    true_masks = [(overlap, rle) for overlap, rle in masked if rle is not None]
    mask_iou = None
    if true_masks:
        _, rle = max(true_masks, key=lambda entry: entry[0])
        mask_iou = 0.0 if mask is None else iou_masks(mask, rle_to_mask(rle))
    return _PairScore(float(overlaps.max()), mask_iou)


def _measures(scores: Sequence[_PairScore]) -> Measures:
    box_ious = [score.box_iou for score in scores]
    hits = tuple(sum(iou >= threshold for iou in box_ious) for threshold in THRESHOLDS)
    return Measures(
        hits=hits,
        shares=tuple(count / len(scores) if scores else None for count in hits),
        mean_box_iou=_mean(box_ious),
        mean_mask_iou=_mean([score.mask_iou for score in scores if score.mask_iou is not None]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

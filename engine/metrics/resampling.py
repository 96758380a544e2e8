"""How sure a detector's score is, and a difference of two: percentile bootstrap over photos.

Photos are drawn with replacement, as many as there are; objects and detections of one photo stay
together, and two detectors are compared on the same draws (Efron and Tibshirani 1993, ch. 13, 16).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from engine.errors import OptionError
from engine.metrics.average_precision import Values, Weights, average_precision
from engine.metrics.detected import DetectedPhoto
from engine.metrics.detection import COCO_THRESHOLDS, located
from engine.metrics.matched import CocoMatching, What

Measure = Literal["ap", "ap50", "ap75", "mask_ap50", "mask_ap75", "corloc"]
Statistic = Callable[[Weights], Values]

AP_MEASURES: dict[str, tuple[What, tuple[float, ...]]] = {
    "ap": ("box", COCO_THRESHOLDS),
    "ap50": ("box", (0.5,)),
    "ap75": ("box", (0.75,)),
    "mask_ap50": ("mask", (0.5,)),
    "mask_ap75": ("mask", (0.75,)),
}


@dataclass(frozen=True)
class Interval:
    """A value with what it may as well have been on other photos of the same kind."""

    value: float
    low: float
    high: float
    confidence: float


def interval(
    photos: Sequence[DetectedPhoto],
    measure: Measure = "ap50",
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """The measure with its interval; None where no photo has an object to be found.

    A draw without any such object is left out. Equal seeds give equal intervals.
    """
    statistic = _statistic(photos, measure)
    return _interval([statistic], len(photos), resamples, confidence=confidence, seed=seed)


def paired_difference(
    old: Sequence[DetectedPhoto],
    new: Sequence[DetectedPhoto],
    measure: Measure = "ap50",
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """How much better the new detector is than the old one on the same photos; as `interval`.

    ValueError where the photos do not have the same true objects in the same order.
    """
    if [photo.truth for photo in old] != [photo.truth for photo in new]:
        raise ValueError("two detectors can be compared on the same photos only")
    statistics = [_statistic(new, measure), _statistic(old, measure)]
    return _interval(statistics, len(old), resamples, confidence=confidence, seed=seed)


def _interval(
    statistics: Sequence[Statistic], photos: int, resamples: int, *, confidence: float, seed: int
) -> Interval | None:
    """Of the first statistic, less the second where there are two."""
    if resamples < 1 or not 0.0 < confidence < 1.0:
        raise OptionError(
            f"resamples must be at least 1 and confidence between 0 and 1, got {resamples} and "
            f"{confidence}"
        )
    if not photos:
        return None
    drawn = np.random.default_rng(seed).multinomial(photos, [1 / photos] * photos, size=resamples)
    weights = np.concatenate([np.ones((1, photos)), drawn])
    values = statistics[0](weights)
    for other in statistics[1:]:
        values = values - other(weights)
    if np.isnan(values[0]):
        return None
    known = values[1:][~np.isnan(values[1:])]
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (values[0], values[0])
    return Interval(float(values[0]), float(low), float(high), confidence)


# What is drawn anew -----------------------------------------------------------------------------


def _statistic(photos: Sequence[DetectedPhoto], measure: Measure) -> Statistic:
    """The measure as a function of the weights of the photos; the matching is done here, once."""
    if measure == "corloc":
        return _corloc_statistic(photos)
    what, thresholds = AP_MEASURES[measure]
    matching = CocoMatching(photos, thresholds=thresholds, what=what)
    rankings = [
        matching.ranking(category=category, threshold=threshold)
        for threshold in range(len(thresholds))
        for category in range(len(matching.categories))
    ]
    return partial(
        _mean_of,
        [partial(average_precision, ranking, "101-point") for ranking in rankings],
    )


def _corloc_statistic(photos: Sequence[DetectedPhoto]) -> Statistic:
    parts: list[Statistic] = []
    for answers in located(photos, counted="any", threshold=0.5, strict=True).values():
        counted, right = np.zeros(len(photos)), np.zeros(len(photos))
        counted[list(answers)] = 1.0
        right[list(answers)] = [float(value) for value in answers.values()]
        parts.append(partial(_share, right, counted))
    return partial(_mean_of, parts)


def _share(right: Values, counted: Values, weights: Weights) -> Values:
    whole = weights @ counted
    nothing = np.full(len(weights), np.nan)
    return np.divide(weights @ right, whole, out=nothing, where=whole > 0)


def _mean_of(parts: Sequence[Statistic], weights: Weights) -> Values:
    """Over the classes that a draw has; not a number where it has none."""
    values = np.array([part(weights) for part in parts]).reshape(len(parts), len(weights))
    known = ~np.isnan(values)
    nothing = np.full(len(weights), np.nan)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=nothing, where=known.any(axis=0))

"""Average precision of ranked detections: VOC's 11-point and all-point rules, COCO's 101-point.

In: which of the detections, best first, hit an object. Out: a number in [0, 1]; or one for each
row of weights, when the photos are drawn anew: a photo of weight 2 counts as two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["11-point", "exact-11-point", "all-point", "101-point"]
Weights = NDArray[np.float64]  # (draws, photos), how often each photo was drawn
Values = NDArray[np.float64]  # (draws,), not a number where a draw holds no object of the class

AT_ONCE = 4_000_000  # numbers of one array while many draws are reckoned

RECALLS: dict[str, NDArray[np.floating]] = {
    # As VOC's program counts: 3 * 0.1 is above 0.3, so a recall of 3/10 misses its point.
    "11-point": np.arange(0.0, 1.1, 0.1),
    "exact-11-point": np.arange(11) / 10,
    "101-point": np.linspace(0.0, 1.0, 101),
}


@dataclass(frozen=True, eq=False)
class Ranking:
    """The detections of one class on all photos, best first; those to be ignored left out."""

    photos: NDArray[np.intp]  # (n,) the photo of each
    hits: NDArray[np.bool_]  # (n,) whether it found an object that no better one had found
    objects: NDArray[np.float64]  # (photos,) how many objects of the class are to be found


def average_precision(ranking: Ranking, rule: Rule, weights: Weights | None = None) -> Values:
    """One value for each row of weights; a single one, every photo once, without them."""
    if weights is None:
        weights = np.ones((1, len(ranking.objects)))
    parts = max(1, -(-len(weights) * len(ranking.photos) // AT_ONCE))
    return np.concatenate(
        [_average_precision(ranking, rule, rows) for rows in np.array_split(weights, parts)]
    )


def _average_precision(ranking: Ranking, rule: Rule, weights: Weights) -> Values:
    objects = weights @ ranking.objects
    recall, precision = _curve(ranking, weights, objects)
    if rule == "all-point":
        steps = np.diff(recall, axis=1, prepend=0.0)
        values = (steps * precision).sum(axis=1)
    else:
        points = RECALLS[rule]
        beyond = np.zeros((len(precision), 1))
        precision = np.concatenate([precision, beyond], axis=1)
        values = np.array(
            [
                one[np.searchsorted(reached, points, side="left")].mean()
                for reached, one in zip(recall, precision, strict=True)
            ]
        )
    return np.where(objects > 0, values, np.nan)


def _curve(
    ranking: Ranking, weights: Weights, objects: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and the best precision at that recall or more, both (draws, hits).

    A curve is highest at its hits, so nothing between them is needed.
    """
    at = np.flatnonzero(ranking.hits)
    drawn = weights[:, ranking.photos]
    found = np.cumsum(drawn[:, at], axis=1)
    looked_at = np.cumsum(drawn, axis=1)[:, at]
    recall = np.divide(found, objects[:, None], out=np.zeros_like(found), where=found > 0)
    precision = np.divide(found, looked_at, out=np.zeros_like(found), where=found > 0)
    return recall, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]

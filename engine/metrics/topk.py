"""Top-1 and Top-5 localisation, GT-Known and classification: one true class an image, shares out.

GT-Known is the share of images whose box reaches an IoU of 0.5 with some true box, Top-k those
whose true class is also among the k best. All shares are percent of images. Class-specific methods
are judged by the map of the true class (`prepare_map` with ``category``): among the k best classes
no other can be right. ``tscam`` wants more than 0.5 for Top-k and at least 0.5 for GT-Known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.metrics.map_boxes import Contours, check_contours, sweep_boxes
from engine.metrics.protocols import (
    Protocol,
    best_ious,
    check_protocol,
    check_thresholds,
    check_view_boxes,
)

HIT_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class ThresholdShares:
    """Localisation at one threshold, in percent of images; None where there were none."""

    threshold: float
    top1: float | None
    top5: float | None
    gt_known: float | None


@dataclass(frozen=True, kw_only=True)
class TopKResult:
    """Localisation at each threshold tried, and classification, in percent of images."""

    protocol: Protocol
    contours: Contours
    images: int
    images_without_truth: int  # all of it was cut away; they count as misses
    top1_classification: float | None
    top5_classification: float | None
    localisation: tuple[ThresholdShares, ...]

    @property
    def oracle(self) -> ThresholdShares:
        """The threshold with the highest GT-Known + Top-1, the lowest among equals.

        Papers choose it so on the very images they report. Of numbers that should hold for other
        images, choose the threshold on a part that was held out.
        """
        return max(self.localisation, key=lambda row: (row.gt_known or 0.0) + (row.top1 or 0.0))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "protocol": self.protocol,
            "contours": self.contours,
            "images": self.images,
            "images_without_truth": self.images_without_truth,
            "top1_classification": self.top1_classification,
            "top5_classification": self.top5_classification,
            "localisation": [asdict(row) for row in self.localisation],
            "oracle_threshold": self.oracle.threshold,
        }

    def table(self) -> str:
        """Aligned plain text: a line for each threshold, classification and counts below."""
        lines = [f"{'threshold':<10}{'Top-1 Loc':>11}{'Top-5 Loc':>11}{'GT-Known':>11}"]
        lines += [
            f"{row.threshold:<10g}" + "".join(f"{_shown(share):>11}" for share in shares)
            for row in self.localisation
            for shares in [(row.top1, row.top5, row.gt_known)]
        ]
        first, fifth = self.top1_classification, self.top5_classification
        lines.append(f"classification: Top-1 {_shown(first)}, Top-5 {_shown(fifth)}")
        counts = f"{self.images} images, {self.images_without_truth} of them without truth; "
        counts += f"protocol {self.protocol}, contours {self.contours}"
        return "\n".join([*lines, counts])


class TopKLocalisation:
    """Counts images whose class and place are right, image by image."""

    def __init__(
        self,
        *,
        protocol: Protocol,
        thresholds: Sequence[float],
        contours: Contours = "largest",
    ) -> None:
        check_protocol(protocol)
        check_contours(contours)
        self._protocol: Protocol = protocol
        self._contours: Contours = contours
        self._thresholds = check_thresholds(thresholds)
        # rows: Top-1, Top-5, GT-Known
        self._hits = np.zeros((3, len(self._thresholds)), dtype=np.int64)
        self._classified = np.zeros(2, dtype=np.int64)  # Top-1, Top-5
        self._images = 0
        self._without_truth = 0

    def add(
        self,
        score_map: NDArray[np.generic],
        truth: ArrayLike,
        *,
        class_scores: ArrayLike,
        true_class: int,
    ) -> None:
        """One image: its score map (`prepare_map`), its true boxes (`scale_truth`), (n, 4).

        ``class_scores`` (classes,) are logits or probabilities; of equal ones the first is better.
        """
        swept = sweep_boxes(
            score_map, self._thresholds, protocol=self._protocol, contours=self._contours
        )
        self._count(swept.best_ious(truth), truth, class_rank(class_scores, true_class))

    def add_boxes(
        self, boxes: ArrayLike, truth: ArrayLike, *, class_scores: ArrayLike, true_class: int
    ) -> None:
        """One image whose boxes do not depend on a threshold (of a mask: `mask_boxes`), (n, 4).

        No box is a miss.
        """
        found = best_ious(boxes, truth).max(initial=0.0)
        ious = np.full(len(self._thresholds), found)
        self._count(ious, truth, class_rank(class_scores, true_class))

    def result(self) -> TopKResult:
        """What the images up to now come to."""
        rows = zip(self._thresholds, self._hits.T.tolist(), strict=True)
        return TopKResult(
            protocol=self._protocol,
            contours=self._contours,
            images=self._images,
            images_without_truth=self._without_truth,
            top1_classification=self._percent(int(self._classified[0])),
            top5_classification=self._percent(int(self._classified[1])),
            localisation=tuple(
                ThresholdShares(
                    threshold=threshold,
                    top1=self._percent(top1),
                    top5=self._percent(top5),
                    gt_known=self._percent(gt_known),
                )
                for threshold, (top1, top5, gt_known) in rows
            ),
        )

    def _count(self, ious: NDArray[np.float64], truth: ArrayLike, rank: int) -> None:
        known = ious >= HIT_IOU
        placed = ious > HIT_IOU if self._protocol == "tscam" else known
        classified = np.array([rank < 1, rank < 5])
        self._hits += np.stack([*(placed & right for right in classified), known])
        self._classified += classified
        self._images += 1
        self._without_truth += len(check_view_boxes(truth)) == 0

    def _percent(self, count: int) -> float | None:
        return 100 * count / self._images if self._images else None


def class_rank(class_scores: ArrayLike, true_class: int) -> int:
    """How many classes are scored better than the true one: 0 is Top-1, below 5 Top-5.

    Of equal scores the first class is better. ValueError for NaN or a class that is not there.
    """
    scores = np.asarray(class_scores, dtype=np.float64)
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError(f"class scores must be (classes,) without NaN, got {scores}")
    if not 0 <= true_class < len(scores):
        raise ValueError(f"true class {true_class} is not one of the {len(scores)} scored, from 0")
    own = scores[true_class]
    return int((scores > own).sum() + (scores[:true_class] == own).sum())


def _shown(share: float | None) -> str:
    return "–" if share is None else f"{share:.2f}"

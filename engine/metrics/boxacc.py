"""MaxBoxAcc and MaxBoxAccV2 (Choe et al., wsolevaluation): score maps and truth in, shares out.

An image is a hit at a threshold where its best box reaches an IoU; the threshold, one for all
images, is the best one for each IoU apart. Beside these stand the shares at one fixed threshold,
which is what several papers print under the same name. All shares are percent of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import OptionError
from engine.metrics.map_boxes import Contours, check_contours, sweep_boxes
from engine.metrics.protocols import (
    Protocol,
    best_ious,
    check_protocol,
    check_thresholds,
    check_view_boxes,
)

THRESHOLDS = tuple(np.arange(0, 1, 0.001).tolist())
"""The 1000 of wsolevaluation's training runs; its stand-alone tool takes every tenth."""


@dataclass(frozen=True, kw_only=True)
class BoxAccResult:
    """How many of the images were hits, at each threshold and IoU; None where there were none."""

    protocol: Protocol
    contours: Contours
    images: int
    images_without_truth: int  # all of it was cut away; they count as misses
    thresholds: tuple[float, ...]
    deltas: tuple[float, ...]  # IoUs in percent from which on an image is a hit
    counts: tuple[tuple[int, ...], ...]  # [threshold][delta] images that were hits

    @property
    def best(self) -> tuple[float | None, ...]:
        """MaxBoxAcc of each delta, in percent of images."""
        return self._percent(self._counts().max(axis=0))

    @property
    def best_thresholds(self) -> tuple[float, ...]:
        """The lowest threshold that reaches it, for each delta."""
        return tuple(self.thresholds[index] for index in self._counts().argmax(axis=0))

    @property
    def mean(self) -> float | None:
        """MaxBoxAccV2: the mean of MaxBoxAcc over the deltas."""
        return _mean(self.best)

    def fixed(self, threshold: float) -> tuple[float | None, ...]:
        """The percentages at this threshold, for each delta; OptionError if it was not tried."""
        distances = np.abs(np.array(self.thresholds) - threshold)
        if not distances.min() < 1e-9:
            nearest = self.thresholds[int(distances.argmin())]
            raise OptionError(f"threshold {threshold} was not tried; the nearest is {nearest:g}")
        return self._percent(self._counts()[distances.argmin()])

    def as_dict(self, *, fixed_threshold: float | None = None) -> dict[str, Any]:
        """Plain JSON, with the shares at a fixed threshold where one is named."""
        names = [f"{delta:g}" for delta in self.deltas]
        content: dict[str, Any] = {
            "protocol": self.protocol,
            "contours": self.contours,
            "images": self.images,
            "images_without_truth": self.images_without_truth,
            "max_box_acc": dict(zip(names, self.best, strict=True)),
            "best_thresholds": dict(zip(names, self.best_thresholds, strict=True)),
            "mean": self.mean,
            "thresholds": list(self.thresholds),
            "deltas": list(self.deltas),
            "counts": [list(row) for row in self.counts],
        }
        if fixed_threshold is not None:
            fixed = self.fixed(fixed_threshold)
            content["fixed_threshold"] = {
                "threshold": fixed_threshold,
                "box_acc": dict(zip(names, fixed, strict=True)),
                "mean": _mean(fixed),
            }
        return content

    def table(self, *, fixed_threshold: float | None = None) -> str:
        """Aligned plain text: a column for each delta and their mean, counts below."""
        rows = [("", [f"IoU ≥ {delta:g} %" for delta in self.deltas], "mean")]
        rows.append(("MaxBoxAcc", [_shown(share) for share in self.best], _shown(self.mean)))
        rows.append(("at threshold", [f"{value:.3f}" for value in self.best_thresholds], ""))
        if fixed_threshold is not None:
            fixed = self.fixed(fixed_threshold)
            name = f"fixed threshold {fixed_threshold:g}"
            rows.append((name, [_shown(share) for share in fixed], _shown(_mean(fixed))))
        width = max(len(name) for name, _, _ in rows)
        lines = [
            f"{name:<{width}}" + "".join(f"  {cell:>10}" for cell in [*cells, last])
            for name, cells, last in rows
        ]
        counts = f"{self.images} images, {self.images_without_truth} of them without truth; "
        counts += f"protocol {self.protocol}, contours {self.contours}"
        return "\n".join([*(line.rstrip() for line in lines), counts])

    def _counts(self) -> NDArray[np.int64]:
        return np.array(self.counts, dtype=np.int64)

    def _percent(self, counts: NDArray[np.int64]) -> tuple[float | None, ...]:
        if self.images == 0:
            return (None,) * len(counts)
        return tuple((100 * counts / self.images).tolist())


class BoxAccuracy:
    """Counts hits, image by image.

    The defaults are MaxBoxAccV2; MaxBoxAcc of the first version is ``contours="largest",
    deltas=(50,)``, Pro2SAM's table has ``deltas=(50, 70, 90)``.
    """

    def __init__(
        self,
        *,
        protocol: Protocol = "wsol",
        contours: Contours = "all",
        deltas: Sequence[float] = (30, 50, 70),
        thresholds: Sequence[float] | NDArray[np.float64] = THRESHOLDS,
    ) -> None:
        check_protocol(protocol)
        check_contours(contours)
        if not deltas or not all(0 < delta <= 100 for delta in deltas):
            raise OptionError(
                f"deltas {tuple(deltas)} must be IoUs in percent, above 0 and up to 100"
            )
        self._protocol: Protocol = protocol
        self._contours: Contours = contours
        self._deltas = tuple(deltas)
        self._thresholds = check_thresholds(thresholds)
        self._counts = np.zeros((len(self._thresholds), len(self._deltas)), dtype=np.int64)
        self._images = 0
        self._without_truth = 0

    def add(self, score_map: NDArray[np.generic], truth: ArrayLike) -> None:
        """One image: its score map (`prepare_map`) and its true boxes (`scale_truth`), (n, 4)."""
        swept = sweep_boxes(
            score_map, self._thresholds, protocol=self._protocol, contours=self._contours
        )
        self._count(swept.best_ious(truth), truth)

    def add_boxes(self, boxes: ArrayLike, truth: ArrayLike) -> None:
        """One image whose boxes do not depend on a threshold (of a mask: `mask_boxes`), (n, 4).

        No box is a miss.
        """
        found = best_ious(boxes, truth).max(initial=0.0)
        self._count(np.full(len(self._thresholds), found), truth)

    def result(self) -> BoxAccResult:
        """What the images up to now come to."""
        return BoxAccResult(
            protocol=self._protocol,
            contours=self._contours,
            images=self._images,
            images_without_truth=self._without_truth,
            thresholds=self._thresholds,
            deltas=self._deltas,
            counts=tuple(tuple(row) for row in self._counts.tolist()),
        )

    def _count(self, ious: NDArray[np.float64], truth: ArrayLike) -> None:
        self._counts += ious[:, None] >= np.array(self._deltas) / 100
        self._images += 1
        self._without_truth += len(check_view_boxes(truth)) == 0


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _shown(share: float | None) -> str:
    return "–" if share is None else f"{share:.2f}"

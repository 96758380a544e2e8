"""PxAP (Choe et al., wsolevaluation): score maps and true pixels in, an area under a curve out.

The average precision of "is this pixel foreground?" over the pixels of all images together, on a
histogram of the scores. Pixels to ignore do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import OptionError
from engine.metrics.protocols import VIEW_SIZE, check_score_map
from engine.types import Mask

BACKGROUND, FOREGROUND, IGNORE = 0, 1, 255

PixelTruth = NDArray[np.uint8]  # (h, w) of the above


def pixel_truth(
    masks: Sequence[Mask], *, ignore: Sequence[Mask] = (), size: int = VIEW_SIZE
) -> PixelTruth:
    """The truth of one view: foreground is in any mask, ignored what else is in any of ``ignore``.

    Each (h, w) bool mask is resized to (size, size) by taking the nearest pixels. Without masks
    all is background.
    """
    truth = np.full((size, size), BACKGROUND, dtype=np.uint8)
    for value, regions in ((IGNORE, ignore), (FOREGROUND, masks)):  # foreground wins
        for region in regions:
            pixels = np.ascontiguousarray(region, dtype=np.uint8)
            resized = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_NEAREST)
            truth[resized > 0] = value
    return truth


@dataclass(frozen=True, kw_only=True)
class PxapResult:
    """Pixels by their score; bin k holds scores from ``edges[k]`` up to below ``edges[k + 1]``."""

    images: int
    edges: tuple[float, ...]  # those below 1, then 1, 2, 3: a score of 1 has a bin of its own
    foreground: tuple[int, ...]
    background: tuple[int, ...]

    @property
    def pxap(self) -> float:
        """The area in percent; OptionError where no pixel of the truth is foreground."""
        precision, recall = self.curve()
        return float(100 * (precision * np.diff(recall, prepend=0.0)).sum())

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision and recall, (bins,) each, from the highest bin down.

        Precision is 0 where nothing is found yet. OptionError as in `pxap`.
        """
        found = np.cumsum(self.foreground[::-1], dtype=np.float64)
        mistaken = np.cumsum(self.background[::-1], dtype=np.float64)
        if found[-1] == 0:
            raise OptionError(
                f"PxAP of {self.images} images without a single foreground pixel is not defined; "
                "give it images with true masks"
            )
        taken = found + mistaken
        precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
        return precision, found / found[-1]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "pxap": self.pxap,
            "images": self.images,
            "edges": list(self.edges),
            "foreground": list(self.foreground),
            "background": list(self.background),
        }

    def table(self) -> str:
        """Plain text: the area, and the pixels behind it."""
        inside, outside = sum(self.foreground), sum(self.background)
        share = 100 * inside / (inside + outside) if inside else 0.0
        return (
            f"PxAP             {self.pxap:>6.2f}\n"
            f"a constant map   {share:>6.2f}\n"
            f"{self.images} images, {inside} foreground and {outside} background pixels"
        )


class PixelPrecision:
    """Sorts pixels into bins of ``interval``, in (0, 1], image by image; else OptionError."""

    def __init__(self, *, interval: float = 0.001) -> None:
        if not 0 < interval <= 1:
            raise OptionError(f"interval {interval} of the bins must lie in (0, 1]; 0.001 is usual")
        self._edges = np.append(np.arange(0, 1, interval), [1.0, 2.0, 3.0])
        self._counts = np.zeros((2, len(self._edges) - 1), dtype=np.int64)
        self._images = 0

    def add(self, score_map: NDArray[np.generic], truth: PixelTruth | Mask) -> None:
        """One image: its score map (h, w) in [0, 1] and its `pixel_truth`, or a mask, (h, w)."""
        values = check_score_map(score_map)
        pixels = np.asarray(truth)
        if pixels.shape != values.shape:
            raise ValueError(
                f"the truth is {pixels.shape}, the score map {values.shape}; give both the same "
                "size in prepare_map and pixel_truth"
            )
        unknown = set(np.unique(pixels).tolist()) - {BACKGROUND, FOREGROUND, IGNORE}
        if unknown:
            raise ValueError(f"the truth holds {min(unknown)}; allowed are 0, 1, and 255 to ignore")
        for row, kind in enumerate((FOREGROUND, BACKGROUND)):
            self._counts[row] += np.histogram(values[pixels == kind], bins=self._edges)[0]
        self._images += 1

    def result(self) -> PxapResult:
        """What the images up to now come to."""
        foreground, background = self._counts.tolist()
        return PxapResult(
            images=self._images,
            edges=tuple(self._edges.tolist()),
            foreground=tuple(foreground),
            background=tuple(background),
        )

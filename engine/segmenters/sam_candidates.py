"""What happens to a mask of SAM's before it is in a gallery: score, stability, boxes that overlap.

The rules, the names and the arithmetic are those of `SamAutomaticMaskGenerator`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.segmenters.sam_enlarging import Patch
from engine.types import Mask

OFFSET = 1.0
"""The generator's stability_score_offset: how far the threshold is moved up and down."""

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1 of the first and the last pixels, as the generator's boxes are."""


@dataclass(frozen=True)
class Filters:
    """Which masks stay; the first two pass everything where they are 0, as in the generator."""

    pred_iou_thresh: float
    stability_score_thresh: float
    box_nms_thresh: float

    def may_pass(self, scores: Tensor, *, error: float = 0.0) -> Tensor:
        """Which of the scores may be good, where they are so far off at most."""
        if self.pred_iou_thresh <= 0.0:
            return torch.ones_like(scores, dtype=torch.bool)
        return scores > self.pred_iou_thresh - error

    def is_close(self, score: float, *, error: float) -> bool:
        """Whether an error of that size could decide whether the score is good."""
        return self.pred_iou_thresh > 0.0 and abs(score - self.pred_iou_thresh) <= error

    def is_good(self, score: float) -> bool:
        """Whether the score, a float32, is above the threshold."""
        limit = self.pred_iou_thresh
        return limit <= 0.0 or bool(np.float32(score) > np.float32(limit))

    def is_stable(self, value: float) -> bool:
        """Whether the stability, a float32, is enough; that of empty masks (nan) never is."""
        limit = self.stability_score_thresh
        return limit <= 0.0 or bool(np.float32(value) >= np.float32(limit))


def stability(patch: Patch, threshold: float, offset: float, *, error: float = 0.0) -> float:
    """Pixels above the raised threshold over those above the lowered one; nan of nothing.

    The error moves both limits away from the threshold: the least stability where logits are so
    far off at most, and the highest where it is negative.
    """
    inside = int((patch.logits > threshold + offset + error).sum())
    around = int((patch.logits > threshold - offset - error).sum())
    return float(np.float32(inside) / np.float32(around)) if around else float("nan")


def box_of(patch: Patch, threshold: float) -> PixelBox | None:
    """Of the pixels above; None where there are none."""
    above = patch.logits > threshold
    rows = torch.nonzero(above.any(dim=1))[:, 0]
    if len(rows) == 0:
        return None
    columns = torch.nonzero(above.any(dim=0))[:, 0]
    left, top = patch.left, patch.top
    return (
        left + int(columns[0]),
        top + int(rows[0]),
        left + int(columns[-1]),
        top + int(rows[-1]),
    )


def pasted(patch: Patch, threshold: float, *, shape_hw: tuple[int, int]) -> Mask:
    """The pixels above, as a mask of the whole photo."""
    mask = np.zeros(shape_hw, dtype=bool)
    above = (patch.logits > threshold).cpu().numpy()
    rows, columns = above.shape
    mask[patch.top : patch.top + rows, patch.left : patch.left + columns] = above
    return mask


def suppressed(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float
) -> list[int]:
    """Which of n boxes remain, best first, where none may overlap a better one too much.

    As torchvision's nms: among equal scores the first is better.
    """
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while waiting.size:
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        waiting = waiting[~(iou_with_boxes(boxes[best], boxes[waiting]) > threshold)]
    return kept


def iou_with_boxes(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of one (4,) box with (n, 4) others in torchvision's float32 steps; nan without area."""
    left, top = np.maximum(box[0], others[:, 0]), np.maximum(box[1], others[:, 1])
    right, bottom = np.minimum(box[2], others[:, 2]), np.minimum(box[3], others[:, 3])
    shared = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    own = (box[2] - box[0]) * (box[3] - box[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        # The threshold is a double there: comparing as float32 would move it.
        return np.asarray((shared / (own + areas - shared)).astype(np.float64))

"""One photo seen at several sizes and mirrored: the detections of all views become one list.

Faster R-CNN's way in WeakSAM (§6.2): the union of the views' detections, each with what its own
suppression left, then suppression class by class once more and the best hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import batched_nms

SAME_OBJECT = 0.5  # IoU
MOST = 100  # detections of a photo


@dataclass(frozen=True, eq=False)
class Found:
    """What one look found, best first; boxes are half-open pixels of the photo."""

    boxes: Tensor  # (n, 4)
    labels: Tensor  # (n,) from 1
    scores: Tensor  # (n,)
    patches: Tensor | None  # (n, m, m) in [0, 1]: how sure it is of each cell of the box

    def picked(self, chosen: Tensor) -> Found:
        """Those at the positions, in their order."""
        patches = None if self.patches is None else self.patches[chosen]
        return Found(self.boxes[chosen], self.labels[chosen], self.scores[chosen], patches)

    def mirrored(self, width: int) -> Found:
        """What was found on the mirrored photo of this width, on the photo itself."""
        boxes = torch.stack(
            [
                width - self.boxes[:, 2],
                self.boxes[:, 1],
                width - self.boxes[:, 0],
                self.boxes[:, 3],
            ],
            dim=1,
        )
        patches = None if self.patches is None else self.patches.flip(-1)
        return replace(self, boxes=boxes, patches=patches)


def merged(views: Sequence[Found]) -> Found:
    """The union of the views, each object of a class once; a single view stays as it is."""
    if len(views) == 1:
        return views[0]
    patches = [one.patches for one in views if one.patches is not None]
    union = Found(
        torch.cat([one.boxes for one in views]),
        torch.cat([one.labels for one in views]),
        torch.cat([one.scores for one in views]),
        torch.cat(patches) if patches else None,
    )
    return union.picked(batched_nms(union.boxes, union.scores, union.labels, SAME_OBJECT)[:MOST])

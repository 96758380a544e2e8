"""What may be called background on a photo that nobody looked at in full.

On a complete photo everything unmarked is background. On an incomplete one an unmarked place may
hold an object that waits for its review, so only two kinds of places are known:

* where a person refused an object of a class, there is none of that class;
* a box that overlaps a curated one by 0.1 to 0.5, and has its centre in it, is a bad box of that
  object.

Whose centre lies elsewhere may be a neighbour that nobody marked, however much the two overlap. Of
the rest most is background too. Who learns nothing of it sees objects everywhere; so it counts
as background except where the network, once it knows something, sees an object itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

Target = dict[str, Tensor]
"""As torchvision's, with ``boxes`` (n, 4) and ``labels`` (n,), and beyond that

* ``ids`` (n,): the store's; ``curated`` (n,) bool: false for pseudo labels;
* ``has_mask`` (n,) bool; where false, the row of ``masks`` is empty and means nothing;
* ``refused_boxes`` (m, 4) in shares of the photo, since torchvision resizes only ``boxes``;
* ``refused_labels`` (m,); ``complete``: one bool.
"""

Unreviewed = Literal["doubtful", "unknown", "background"]
"""What unmarked places of incomplete photos are: background unless the network doubts it, or
nothing at all, or background."""

SAME_PLACE = 0.5  # IoU with a refused box from which on it is meant
BESIDE = 0.1  # IoU with a curated box from which on a place is about that object


@dataclass(frozen=True, eq=False)
class Known:
    """Of each box, what is known beyond the matches."""

    refused: Tensor  # (boxes, classes + 1) bool: it is none of these
    beside: Tensor  # (boxes,) bool: about a curated object, and not its box


def refused_boxes(target: Target, *, size_hw: tuple[int, int]) -> Tensor:
    """(m, 4) in pixels of the resized photo."""
    height, width = size_hw
    shares = target["refused_boxes"]
    return shares * shares.new_tensor((width, height, width, height))


def refused_there(
    boxes: Tensor, target: Target, *, size_hw: tuple[int, int], classes: int
) -> Tensor:
    """(b, classes + 1) bool: which classes a person refused at ``boxes`` (b, 4) in pixels.

    ``classes`` counts no background.
    """
    if not len(target["refused_boxes"]):
        return torch.zeros((len(boxes), classes + 1), dtype=torch.bool, device=boxes.device)
    there = refused_boxes(target, size_hw=size_hw).to(boxes.dtype)
    same = box_iou(boxes, there) >= SAME_PLACE
    of_class = torch.nn.functional.one_hot(target["refused_labels"], classes + 1)
    return (same.to(boxes.dtype) @ of_class.to(boxes.dtype)) > 0


def known_of(boxes: Tensor, target: Target, *, size_hw: tuple[int, int], classes: int) -> Known:
    """``boxes`` (b, 4) in pixels of the resized photo; ``classes`` counts no background."""
    refused = refused_there(boxes, target, size_hw=size_hw, classes=classes)
    beside = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    curated = target["boxes"][target["curated"]].to(boxes.dtype)
    if len(curated):
        overlap = box_iou(boxes, curated)
        about = (overlap >= BESIDE) & _centred_in(boxes, curated)
        beside = about.any(dim=1) & (overlap.amax(dim=1) < SAME_PLACE)
    return Known(refused, beside)


def _centred_in(boxes: Tensor, others: Tensor) -> Tensor:
    """(b, o) bool: whether the centre of each box lies in each other one, edges left out."""
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return ((centres > others[:, :2]) & (centres < others[:, 2:])).all(dim=2)


def unknown(labels: Tensor, known: Known, *, by_class: bool) -> Tensor:
    """(b,) bool: background by its label (b,) that is not known to be any.

    With ``by_class`` a place where some class is refused is known, because its loss can say just
    that; without, all classes must be refused there.
    """
    classes = known.refused[:, 1:]
    refused = classes.any(dim=1) if by_class else classes.all(dim=1)
    return (labels == 0) & ~(refused | known.beside)

"""Many boxes of one photo to masks: one batch where the segmenter can, else one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from engine.segmenters.interface import Segmenter
from engine.types import Box, Mask, Prompts


@runtime_checkable
class TakesBoxes(Protocol):
    """A segmenter that answers many boxes of the current photo at once."""

    def masks_for_boxes(self, boxes: Sequence[Box]) -> list[Mask | None]:
        """What `masks_for` would give first for each box; None where it would give nothing."""


def masks_for_boxes(segmenter: Segmenter, boxes: Sequence[Box]) -> list[Mask | None]:
    """The object that fills each box of the current photo; None where there is none."""
    if isinstance(segmenter, TakesBoxes):
        return segmenter.masks_for_boxes(boxes)
    masks: list[Mask | None] = []
    for box in boxes:
        found = segmenter.masks_for(Prompts(box=box))
        masks.append(found[0].mask if found else None)
    return masks

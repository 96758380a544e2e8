"""Real stand-ins with exact answers, so that expected values can be worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.types import Candidate, Image, Instance, Mask, Prompts, Source, Status


class SquareSegmenter:
    """Answers a box with its inner half-open pixels, and clicks with 11x11 squares around them.

    Positive clicks add their square to the given mask, negative ones take it away.
    """

    name = "squares"

    def __init__(self) -> None:
        self.prepared: list[tuple[int, int]] = []  # sizes, in the order of preparing
        self._size = (0, 0)

    def prepare(self, image: Image) -> tuple[int, int]:
        size = (image.shape[0], image.shape[1])
        self.prepared.append(size)
        return size

    def set_prepared(self, prepared: Any) -> None:
        self._size = prepared

    def set_image(self, image: Image) -> None:
        self.set_prepared(self.prepare(image))

    def masks_for(self, prompts: Prompts) -> list[Candidate]:
        mask = np.zeros(self._size, dtype=bool) if prompts.mask is None else prompts.mask.copy()
        if prompts.box is not None and prompts.mask is None:
            x0, y0, x1, y1 = (int(value) for value in prompts.box)
            mask[y0:y1, x0:x1] = True
        for (x, y), label in zip(prompts.points, prompts.labels, strict=True):
            rows = slice(max(int(y) - 5, 0), int(y) + 6)
            columns = slice(max(int(x) - 5, 0), int(x) + 6)
            mask[rows, columns] = bool(label)
        return [Candidate(mask, 0.9)]


def square_mask(size_hw: tuple[int, int], box: tuple[int, int, int, int]) -> Mask:
    """True on the half-open box."""
    mask = np.zeros(size_hw, dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def proposal(
    box: tuple[float, float, float, float], *, category: str | None = "cat", score: float = 0.5
) -> Instance:
    """What a pipeline would propose, a box without a mask."""
    return Instance(
        box=box,
        category=category,
        status=Status.PROPOSED,
        source=Source("classical", options={"seed": 1}),
        score=score,
    )


def proposals(boxes: Sequence[tuple[float, float, float, float]]) -> list[Instance]:
    """One proposal a box."""
    return [proposal(box) for box in boxes]

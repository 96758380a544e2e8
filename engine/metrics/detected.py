"""What the detection metrics compare: the true objects of a photo and the detections on it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import Box, Rle, check_box


@dataclass(frozen=True)
class TrueBox:
    """An object that a person stands behind; a difficult one is neither to be found nor wrong.

    The box is half-open pixels, so that its plain IoU is the VOC code's with + 1 on inclusive
    ones. ``mask`` is needed for what compares masks.
    """

    box: Box
    category: str
    difficult: bool = False
    mask: Rle | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", check_box(self.box))


@dataclass(frozen=True)
class ScoredBox:
    """A detection: half-open pixels, a class and a score, of which only the order matters."""

    box: Box
    category: str
    score: float
    mask: Rle | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", check_box(self.box))


@dataclass(frozen=True)
class DetectedPhoto:
    """A photo with all of its true objects, and what a detector found on it in any order."""

    truth: tuple[TrueBox, ...]
    detections: tuple[ScoredBox, ...]

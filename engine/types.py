"""The vocabulary that every package shares: frozen, validated where it is made.

Conventions, stated here once:

* A box is half-open pixel floats ``(x0, y0, x1, y1)`` in the EXIF-oriented image, so a mask of one
  pixel has a box of width 1 and height 1, as in pycocotools. Pixel ``i`` spans ``[i, i + 1)``.
* An image is ``(h, w, 3)`` uint8 RGB, oriented; a mask is bool ``(h, w)``.
* In files, in the store and on the wire a mask is COCO compressed RLE (`Rle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (h, w, 3) RGB, oriented
Mask = NDArray[np.bool_]  # (h, w)
CoarseMap = NDArray[np.float32]  # (h/16, w/16) or any other grid over the whole photo, in [0, 1]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1; half-open pixels


class Status(StrEnum):
    """Where an instance stands between the machine and the person."""

    PROPOSED = "proposed"  # a machine made it, nobody looked
    ACCEPTED = "accepted"  # a person agreed
    EDITED = "edited"  # a person changed box, mask or class of a proposal
    REJECTED = "rejected"  # a person said no; kept, because it is a known negative
    DRAWN = "drawn"  # a person made it from nothing


CURATED = frozenset({Status.ACCEPTED, Status.EDITED, Status.DRAWN})
"""What a person stands behind: the only thing that trains and exports by default."""


def check_box(box: Box, *, what: str = "box") -> Box:
    """Return the box as plain floats; ValueError unless it is finite with x0 < x1 and y0 < y1."""
    values = tuple(float(value) for value in box)
    if len(values) != 4 or not all(np.isfinite(values)):
        raise ValueError(f"{what}: expected four finite numbers x0, y0, x1, y1, got {box!r}")
    x0, y0, x1, y1 = values
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"{what}: expected x0 < x1 and y0 < y1, got {values}")
    return (x0, y0, x1, y1)


@dataclass(frozen=True)
class Rle:
    """A mask as COCO compressed RLE: ``size`` is (h, w), ``counts`` the ASCII string."""

    size: tuple[int, int]
    counts: str

    def __post_init__(self) -> None:
        height, width = self.size
        if height < 1 or width < 1:
            raise ValueError(f"RLE size must be at least 1x1, got {self.size}")
        object.__setattr__(self, "size", (int(height), int(width)))

    def as_dict(self) -> dict[str, Any]:
        """As pycocotools and COCO JSON write it: ``{"size": [h, w], "counts": str}``."""
        return {"size": list(self.size), "counts": self.counts}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Rle:
        """The inverse of `as_dict`; counts may be bytes as pycocotools returns them."""
        counts = value["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else str(counts)
        height, width = value["size"]
        return cls((int(height), int(width)), text)


@dataclass(frozen=True)
class Source:
    """What made an instance; kept for ever beside it."""

    pipeline: str  # "classical", "pro2sam", "person", the name of an imported file …
    checkpoint: str = ""  # empty where no weights were used
    run: int | None = None  # the run in the project's store
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "pipeline": self.pipeline,
            "checkpoint": self.checkpoint,
            "run": self.run,
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Source:
        """The inverse of `as_dict`; missing keys take their defaults."""
        return cls(
            pipeline=str(value["pipeline"]),
            checkpoint=str(value.get("checkpoint", "")),
            run=value.get("run"),
            options=dict(value.get("options", {})),
        )


PERSON = Source("person")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One object: box, mask, class, score, source and status.

    ``id`` is the store's (from 1, never used again), or None before it is stored. ``category`` is
    a class name, or None where a photo has no tags and nobody chose one yet. ``score`` lies in
    [0, 1], None for what a person drew. ``rle`` is None for a box without a mask. ``points`` are
    the clicks ``(x, y, label)`` that refined the mask, label 1 inside and 0 outside. ``edited``
    remembers through a rejection that a person changed box, mask or class.
    """

    box: Box
    category: str | None
    status: Status
    source: Source
    rle: Rle | None = None
    score: float | None = None
    points: tuple[tuple[float, float, int], ...] = ()
    edited: bool = False
    id: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", check_box(self.box))
        object.__setattr__(self, "status", Status(self.status))
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score must lie in [0, 1], got {self.score!r}")


@dataclass(frozen=True, kw_only=True)
class LabeledImage:
    """A photo with its tags and instances, as exports and training see it.

    ``file_name`` is relative and POSIX; width and height are those of the oriented image; ``id``
    is the store's, from 1.
    """

    id: int
    file_name: str
    width: int
    height: int
    tags: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    split: str = ""


@dataclass(frozen=True)
class Prompts:
    """What a segmenter is asked: clicks, a box, a mask to start from; any of them together.

    ``points`` are ``(x, y)`` pixels, ``labels`` 1 for inside and 0 for outside, ``box`` half-open
    pixels, ``mask`` the mask that the clicks correct.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.labels):
            raise ValueError(f"{len(self.points)} points but {len(self.labels)} labels")
        if not set(self.labels) <= {0, 1}:
            raise ValueError(f"labels must be 0 or 1, got {self.labels}")
        if not self.points and self.box is None and self.mask is None:
            raise ValueError("a prompt needs at least one point, a box or a mask")
        if self.box is not None:
            object.__setattr__(self, "box", check_box(self.box, what="prompt box"))


@dataclass(frozen=True)
class Candidate:
    """One mask that a segmenter offers: bool (h, w) of the whole image, and a score in [0, 1]."""

    mask: Mask
    score: float


@dataclass(frozen=True)
class RankedMask:
    """A candidate as it is kept: its mask packed, and a score in [0, 1]."""

    rle: Rle
    score: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a pipeline saw on a photo: for a person to look at, and to choose another mask from.

    ``coarse`` is the map of where the foreground is, None where there was none. ``prompts`` are
    the ``(x, y)`` pixels that the segmenter was asked about. ``candidates`` are other masks of the
    photo, best first.
    """

    coarse: CoarseMap | None = None
    prompts: tuple[tuple[float, float], ...] = ()
    candidates: tuple[RankedMask, ...] = ()


@dataclass(frozen=True, eq=False)
class Suggestion:
    """What a pipeline proposes for a photo, highest score first, and what it rests on."""

    instances: tuple[Instance, ...]
    evidence: Evidence = field(default_factory=Evidence)

"""What was meant and what another reader found in the file come in; how they compare comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import FormatError
from engine.types import Box, Instance, LabeledImage, Rle
from exports.contours import iou_rles
from exports.progress import COMPARING, OnProgress, counted, silent

MASK_IOU = 0.99
"""Least agreement of a mask with its copy in the file."""

BOX_ERROR = 0.01
"""Largest distance of a box side from where it should be, in pixels."""


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """How a file compares with what was meant; ``ok`` where nothing is wrong."""

    reader: str  # what read the file back
    images: int  # in the file
    instances: int
    masks: int  # instances with a mask, polygon or RLE
    box_error: float  # largest, in pixels; 0.0 without instances
    mask_iou: float  # smallest; 1.0 without masks
    self_ap: float | None  # box AP of a COCO file against itself; None elsewhere, or if empty
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the file says what was meant."""
        return not self.problems

    def summary(self) -> str:
        """One line to show."""
        if not self.ok:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            return f"the file is wrong: {self.problems[0]}{more}"
        return (
            f"{self.images} photos, {self.instances} instances, {self.masks} masks;"
            f" boxes within {self.box_error:.3g} px, masks IoU at least {self.mask_iou:.4f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "problems": list(self.problems), "ok": self.ok}


@dataclass(frozen=True)
class Seen:
    """An object as another reader sees it."""

    category: str | None
    box: Box | None
    rle: Rle | None = None


def compare(
    images: Sequence[LabeledImage],
    seen: Mapping[str, Sequence[Seen]],
    *,
    reader: str,
    on_progress: OnProgress = silent,
) -> VerifyReport:
    """Compare the photos with what was seen on them, object by object in the order of the file.

    ``images`` are what the format can hold of what was meant, so every difference is a problem.
    """
    problems = [f"photo {name!r} is not meant" for name in seen.keys() - _names(images)]
    box_errors, ious, masks = [0.0], [1.0], 0
    for image in counted(COMPARING, images, len(images), on_progress):
        found = seen.get(image.file_name)
        if found is None:
            problems.append(f"photo {image.file_name!r} is missing")
            continue
        if len(found) != len(image.instances):
            problems.append(
                f"photo {image.file_name!r}: {len(found)} objects in the file,"
                f" {len(image.instances)} meant"
            )
            continue
        for place, (one, meant) in enumerate(zip(found, image.instances, strict=True), start=1):
            what = f"object {meant.id or place} of photo {image.file_name!r}"
            if one.category != meant.category:
                problems.append(
                    f"{what} should be of class {meant.category!r}, and is of {one.category!r}"
                )
            error, iou = _distance(one, meant)
            box_errors.append(error)
            ious.append(iou)
            masks += one.rle is not None
            if error > BOX_ERROR:
                problems.append(f"{what}: its box is off by {error:.3g} pixels")
            if iou < MASK_IOU:
                problems.append(f"{what}: its mask came back with IoU {iou:.3f}")
    return VerifyReport(
        reader=reader,
        images=len(seen),
        instances=sum(map(len, seen.values())),
        masks=masks,
        box_error=max(box_errors),
        mask_iou=min(ious),
        self_ap=None,
        problems=tuple(problems),
    )


def broken(reader: str, error: FormatError) -> VerifyReport:
    """The report on files that cannot be read back at all."""
    return VerifyReport(
        reader=reader,
        images=0,
        instances=0,
        masks=0,
        box_error=0.0,
        mask_iou=1.0,
        self_ap=None,
        problems=(str(error),),
    )


def _names(images: Sequence[LabeledImage]) -> set[str]:
    return {image.file_name for image in images}


def _distance(seen: Seen, meant: Instance) -> tuple[float, float]:
    """Largest error of a box side in pixels, and IoU of the masks (1.0 where none is meant)."""
    error = 0.0
    if seen.box is not None:
        error = max(abs(a - b) for a, b in zip(seen.box, meant.box, strict=True))
    if seen.rle is None or meant.rle is None:
        return error, 1.0 if seen.rle is None and meant.rle is None else 0.0
    if seen.rle.size != meant.rle.size:
        return error, 0.0
    return error, iou_rles(seen.rle, meant.rle)

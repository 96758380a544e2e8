"""Instances of a project into a file, then read back and compared: what was written is proven.

The one path of the command line and of the app.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotator.store import Project
from engine.errors import FormatError, OptionError
from engine.types import CURATED, LabeledImage, Status
from exports.coco import write_coco
from exports.verify import VerifyReport
from exports.verify_coco import verify_coco

FORMATS = ("coco",)
STATUS_CHOICES = ("curated", "all", *(status.value for status in Status))
"""What may be exported: `curated` is accepted, edited and drawn; `all` leaves out the rejected."""

EXPORTS = "exports"  # folder of the project that the app writes into


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what reading it back found."""

    path: Path
    format: str
    statuses: tuple[str, ...]
    photos: int
    photos_with_instances: int
    instances: int
    unclassed: int  # left out: nobody gave them a class
    verified: VerifyReport

    def summary(self) -> str:
        """What a person wants to know, in a few lines."""
        lines = [
            f"{self.instances} instances on {self.photos_with_instances} of {self.photos} photos "
            f"written to {self.path}",
            f"read back: {self.verified.summary()}",
        ]
        if self.unclassed:
            lines.append(f"left out: {self.unclassed} instances that have no class yet")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "statuses": list(self.statuses),
            "photos": self.photos,
            "photos_with_instances": self.photos_with_instances,
            "instances": self.instances,
            "unclassed": self.unclassed,
            "verified": self.verified.as_dict(),
        }


def choose_statuses(choices: Sequence[str]) -> frozenset[Status]:
    """The statuses behind the choices; OptionError for an unknown one or none."""
    chosen: set[Status] = set()
    for choice in choices:
        if choice == "curated":
            chosen |= CURATED
        elif choice == "all":
            chosen |= set(Status) - {Status.REJECTED}
        elif choice in STATUS_CHOICES:
            chosen.add(Status(choice))
        else:
            raise OptionError(
                f"status '{choice}' is unknown; choose from {', '.join(STATUS_CHOICES)}"
            )
    if not chosen:
        raise OptionError(f"choose at least one status of {', '.join(STATUS_CHOICES)}")
    return frozenset(chosen)


def export(
    project: Project, format_name: str, path: Path, *, statuses: frozenset[Status] = CURATED
) -> ExportReport:
    """Write the instances of these statuses, read the file back and compare.

    Photos without instances are kept: that nothing is on them is knowledge too. FormatError where
    the file cannot be written, OptionError for an unknown format.
    """
    if format_name not in FORMATS:
        raise OptionError(f"format '{format_name}' is unknown; choose from {', '.join(FORMATS)}")
    with project.read() as view:
        images, unclassed = _with_classes(list(view.labeled(statuses)))
        categories = list(view.category_names().items())
        name = view.setting("name", "")
    if not path.parent.is_dir():
        raise FormatError(f"cannot write {str(path)!r}: there is no folder {path.parent}")
    write_coco(
        path,
        images,
        categories=categories,
        description=name,
        date_created=datetime.now(UTC).isoformat(timespec="seconds"),
        statuses=statuses,
    )
    return ExportReport(
        path=path,
        format=format_name,
        statuses=tuple(sorted(statuses)),
        photos=len(images),
        photos_with_instances=sum(bool(image.instances) for image in images),
        instances=sum(len(image.instances) for image in images),
        unclassed=unclassed,
        verified=verify_coco(path, images, statuses=statuses),
    )


def _with_classes(images: list[LabeledImage]) -> tuple[list[LabeledImage], int]:
    """The images without the instances that have no class yet, and how many those were."""
    kept = [
        replace(image, instances=tuple(one for one in image.instances if one.category is not None))
        for image in images
    ]
    before, after = (sum(len(image.instances) for image in some) for some in (images, kept))
    return kept, before - after

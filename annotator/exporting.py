"""Instances of a project into a file, then read back and compared: what was written is proven.

The one path of the command line and of the app: `plan` says what will be in the file and what
cannot be, `write` writes that, reads it back and keeps the report beside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotator.labelstudio.contents import key_of
from annotator.own_files import stamp_of
from annotator.store import Project
from engine.errors import FormatError, OptionError
from engine.options import as_dict, from_dict
from engine.types import CURATED, Status
from exports.choices import Choices, Selection, select
from exports.contents import Loss
from exports.formats import About, Writer, formats_to_write
from exports.progress import OnProgress, silent
from exports.verify import VerifyReport
from exports.whole_files import write_whole

FORMATS = tuple(formats_to_write())
STATUS_CHOICES = ("curated", "all", *(status.value for status in Status))
"""What may be exported: `curated` is accepted, edited and drawn; `all` leaves out the rejected."""

EXPORTS = "exports"  # folder of the project that the app writes into
REPORT = ".report.json"  # ending of the report beside a file
SERVER_FORMAT = "labelstudio"  # what is written may be put on a server by hand


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a file will hold, and what of the project it will not."""

    format: str
    options: Any  # of the format
    statuses: tuple[str, ...]
    selection: Selection  # as the format can hold it
    left_out: tuple[Loss, ...]  # by the choices
    losses: tuple[Loss, ...]  # by the format
    about: About

    def lines(self) -> list[str]:
        """What will not be in the file, a line each."""
        lines = []
        if self.selection.unclassed:
            lines.append(f"left out: {self.selection.unclassed} instances that have no class yet")
        lines += [f"left out: {loss}" for loss in self.left_out]
        return lines + [f"cannot be held: {loss}" for loss in self.losses]

    def summary(self) -> str:
        """What would be written."""
        first = (
            f"{self.selection.instances} instances on {len(self.selection.images)} photos"
            f" would be written as {self.format}"
        )
        return "\n".join([first, *self.lines()])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        images = self.selection.images
        return {
            "format": self.format,
            "options": as_dict(self.options),
            "statuses": list(self.statuses),
            "photos": len(images),
            "photos_with_instances": sum(bool(image.instances) for image in images),
            "instances": self.selection.instances,
            "unclassed": self.selection.unclassed,
            "left_out": [loss.as_dict() for loss in self.left_out],
            "losses": [loss.as_dict() for loss in self.losses],
        }


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what reading it back found."""

    path: Path
    plan: Plan
    verified: VerifyReport

    @property
    def report_path(self) -> Path:
        """Where this report is kept."""
        return self.path.with_name(self.path.name + REPORT)

    def summary(self) -> str:
        """What a person wants to know, in a few lines."""
        facts = self.plan.as_dict()
        lines = [
            f"{facts['instances']} instances on {facts['photos_with_instances']} of"
            f" {facts['photos']} photos written to {self.path}",
            f"read back by {self.verified.reader}: {self.verified.summary()}",
        ]
        return "\n".join(lines + self.plan.lines())

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "path": str(self.path),
            **self.plan.as_dict(),
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


def plan(
    project: Project,
    format_name: str,
    *,
    choices: Choices | None = None,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """What `write` would write; nothing is written here.

    ``options`` are those of the format by their names. OptionError for an unknown format, option,
    class or split; FormatError where the format cannot hold a name.
    """
    choices = choices or Choices()
    writer = writer_of(format_name)
    own = from_dict(formats_to_write()[format_name].options, options or {})
    with project.read() as view:
        categories = list(view.category_names().items())
        selection = select(view.labeled(choices.statuses), categories, choices)
        about = About(
            description=str(view.setting("name", "")),
            date_created=datetime.now(UTC).isoformat(timespec="seconds"),
            stamp=stamp_of(view),
        )
    if format_name == SERVER_FORMAT:
        about = replace(about, project=key_of(project))
    held = writer.hold(selection, own)
    return Plan(
        format=format_name,
        options=own,
        statuses=tuple(sorted(choices.statuses)),
        selection=replace(selection, images=held.images),
        left_out=selection.left_out,
        losses=held.losses,
        about=about,
    )


def write(planned: Plan, path: Path, *, on_progress: OnProgress = silent) -> ExportReport:
    """Write the file or folder, read it back and compare; the report stands beside it.

    ``on_progress`` hears of each step by its name, counted in photos or in objects.

    FormatError where it cannot be written. What reading back finds wrong stands in the report.
    """
    if not path.parent.is_dir():
        raise FormatError(f"cannot write {str(path)!r}: there is no folder {path.parent}")
    writer = writer_of(planned.format)
    writer.write(path, planned.selection, planned.about, planned.options, on_progress)
    verified = writer.verify(path, planned.selection, planned.options, on_progress)
    report = ExportReport(path=path, plan=planned, verified=verified)
    write_whole(report.report_path, json.dumps(report.as_dict(), ensure_ascii=False, indent=1))
    return report


def export(
    project: Project,
    format_name: str,
    path: Path,
    *,
    choices: Choices | None = None,
    options: Mapping[str, Any] | None = None,
) -> ExportReport:
    """`plan` and `write` in one go."""
    return write(plan(project, format_name, choices=choices, options=options), path)


def packed(path: Path) -> Path:
    """What can be downloaded: the file itself, or a zip in place of the folder.

    Masks in a folder of the project could be taken for photos when photos are added.
    """
    if not path.is_dir():
        return path
    target = path.with_name(path.name + ".zip")
    try:
        made = shutil.make_archive(str(path.with_name(f".{path.name}.part")), "zip", root_dir=path)
        os.replace(made, target)
        shutil.rmtree(path)
    except OSError as error:
        raise FormatError(f"cannot pack {str(path)!r}: {error.strerror or error}") from error
    return target


def writer_of(format_name: str) -> Writer:
    """How the format is written; OptionError for one that is not."""
    found = formats_to_write().get(format_name)
    if found is None or found.writer is None:
        raise OptionError(f"format '{format_name}' is unknown; choose from {', '.join(FORMATS)}")
    return found.writer

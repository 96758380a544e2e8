"""A project against the truth: its instances and a COCO file in, localisation figures out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator import runs
from annotator.store import Project
from engine.errors import FormatError, OptionError
from engine.metrics.localisation import (
    LocalisationResult,
    PhotoToJudge,
    TrueObject,
    evaluate_localisation,
)
from engine.types import LabeledImage, Status
from exports.coco import read_coco


@dataclass(frozen=True)
class Evaluation:
    """What `annotator evaluate` answers."""

    result: LocalisationResult
    photos_missing: int  # photos of the truth that the project does not have
    notes: tuple[str, ...]  # annotations of the truth that were left out, and why
    seconds_a_photo: float | None  # of the newest run, on one core; None before the first

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **self.result.as_dict(),
            "photos_missing": self.photos_missing,
            "notes": list(self.notes),
            "seconds_a_photo": self.seconds_a_photo,
        }

    def table(self) -> str:
        """The table, and below it what was left out."""
        lines = [self.result.table()]
        if self.seconds_a_photo is not None:
            lines.append(f"the newest run took {self.seconds_a_photo:.2f} s a photo on one core")
        if self.photos_missing:
            lines.append(f"{self.photos_missing} photos of the truth are not in the project")
        return "\n".join([*lines, *self.notes])


def evaluate(
    project: Project, truth: Path, *, split: str | None, statuses: frozenset[Status]
) -> Evaluation:
    """Judge the instances of these statuses by the truth file, photo by photo.

    Photos are matched by file name. FormatError where the truth cannot be read or its photos have
    another size; OptionError where no photo is left to judge.
    """
    file = read_coco(truth)
    wanted = [one for one in file.images if split is None or one.split == split]
    if not wanted:
        splits = sorted({one.split for one in file.images if one.split})
        raise OptionError(
            f"{truth} has no photo of split '{split}'; it has {', '.join(splits) or 'no splits'}"
        )
    with project.read() as view:
        ours = {image.file_name: image for image in view.labeled(statuses)}
        proposing = [run for run in runs.all_runs(view) if run.kind == runs.PROPOSE]
        newest = next((run for run in proposing if run.done), None)
    known = [one for one in wanted if one.file_name in ours]
    if not known:
        raise OptionError(
            f"none of the {len(wanted)} photos of {truth} is in this project "
            f"(the first is '{wanted[0].file_name}')"
        )
    return Evaluation(
        result=evaluate_localisation(_pairs(known, ours)),
        photos_missing=len(wanted) - len(known),
        notes=tuple(file.notes),
        seconds_a_photo=None if newest is None else newest.seconds / newest.done,
    )


def _pairs(truth: list[LabeledImage], ours: dict[str, LabeledImage]) -> Iterator[PhotoToJudge]:
    for image in truth:
        mine = ours[image.file_name]
        if (mine.width, mine.height) != (image.width, image.height):
            raise FormatError(
                f"'{image.file_name}' is {mine.width}x{mine.height} here and "
                f"{image.width}x{image.height} in the truth; is it the same photo?"
            )
        objects = [
            TrueObject(one.category, one.box, one.rle)
            for one in image.instances
            if one.category is not None
        ]
        yield PhotoToJudge(
            truth=objects, predictions=mine.instances, width=mine.width, height=mine.height
        )

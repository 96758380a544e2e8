"""What a model has seen: the photos of a project that taught it, or a model that it began with.

Models are told by what is in their files, not by their names: another project has a model of the
same name, and a run folder has every model once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from annotator import models
from annotator import training_files as files
from annotator.store import Project
from annotator.training_kinds import DETECTOR, KINDS
from engine.errors import FormatError
from exports.coco import read_json

FINGERPRINT = "fingerprint"  # in `kept.json`: of the model that came into the project
WEIGHTS_FINGERPRINT = "weights_fingerprint"  # in `request.json`: of the file that it began with


@dataclass(frozen=True)
class Ancestry:
    """What is known of where a model comes from."""

    photos: frozenset[int]  # ids in this project
    unknown: tuple[str, ...]  # models of which nobody knows here what they learned from


def ancestry(project: Project, name: str) -> Ancestry:
    """Of the model with this name: of itself, of what it began with, and so on."""
    folders = files.numbered_folders(project).values()
    made_by = {mark: folder for folder in folders if (mark := _mark_of_model(folder))}
    path = project.folder / models.MODELS / (name + models.ENDING)
    pending = [(path, models.fingerprint(path))]
    seen: set[int] = set()
    known: set[Path] = set()
    unknown: list[str] = []
    while pending:
        path, mark = pending.pop()
        folder = made_by.get(mark) or _by_place(project, path)
        if folder in known:
            continue
        taught = None if folder is None else _taught(folder)
        if folder is None or taught is None:
            unknown.append(_title(path))
        if folder is None:
            continue
        known.add(folder)
        seen |= taught or set()
        if (begun_with := _begun_with(folder)) is not None:
            pending.append(begun_with)
    return Ancestry(frozenset(seen), tuple(dict.fromkeys(unknown)))


def _begun_with(folder: Path) -> tuple[Path, str] | None:
    """The file that a training began with, and its mark: as the trainer wrote down, else as asked.

    What was asked for is not all: flags were passed on to the trainer, and it may be another one.
    """
    request, used = (files.read_note(folder, name) for name in (files.REQUEST, files.SETTINGS))
    asked = request.get("weights")
    weights = used["weights"] if "weights" in used else _passed_on(request) or asked
    if not weights:
        return None
    mark = request.get(WEIGHTS_FINGERPRINT) if weights == asked else None
    return Path(weights), mark or models.fingerprint(Path(weights))


def _passed_on(request: Mapping[str, Any]) -> str:
    """The file in flags that were passed on; of two, the trainer takes the last."""
    found, words = "", [str(word) for word in request.get("passed_on", [])]
    for word, following in pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        if flag == "--weights":
            found = value if equals else following
    return found


def _mark_of_model(folder: Path) -> str:
    kept = files.read_note(folder, files.KEPT).get(FINGERPRINT)
    return str(kept or models.fingerprint(folder / files.MODEL))


def _by_place(project: Project, path: Path) -> Path | None:
    """The training whose model stood there, where the file is gone or was written again since.

    A name belongs to one training of a project for ever, and so does its folder.
    """
    folders = list(files.numbered_folders(project).values())
    for folder in folders:
        if path.name == files.MODEL and path.parent.resolve() == folder.resolve():
            return folder
    if path.parent.resolve() != (project.folder / models.MODELS).resolve():
        return None
    named = {files.read_note(folder, files.REQUEST).get("name"): folder for folder in folders}
    return named.get(path.stem)


def _taught(folder: Path) -> set[int] | None:
    """The ids of the photos that the training of this folder used; None where nobody knows."""
    if files.kind_of(files.read_note(folder, files.REQUEST)).name != DETECTOR:
        return None
    try:
        images = read_json(folder / KINDS[DETECTOR].data)["images"]
        # What chose among its networks taught it, too. Once, those that judge stood there as well.
        return {one["id"] for one in images if one["part"] in ("train", "validation")}
    except (FormatError, KeyError, TypeError):
        return None  # tidied away


def _title(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.name == files.MODEL else path.stem

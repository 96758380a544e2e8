"""What a model has seen: the photos of a project that taught it, or a model that it began with.

Models are told by what is in their files, not by their names: another project has a model of the
same name, and a run folder has every model once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
        request = files.read_note(folder, files.REQUEST)
        if weights := request.get("weights"):
            begun_with = request.get(WEIGHTS_FINGERPRINT) or models.fingerprint(Path(weights))
            pending.append((Path(weights), begun_with))
    return Ancestry(frozenset(seen), tuple(dict.fromkeys(unknown)))


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

"""The folder of one training: what was asked for, its photos and tags, and notes on its process.

`<project>/training/<number>-<model>/` holds `request.json` (what was asked for; a folder without it
was never finished, and `reserved.json` tells who prepares it), `tags.csv` or `data.json` and at
need `photos/` for the trainer, `process.json`, `stop.json`, `exit.json` and `kept.json` (notes,
each with one writer), `output.txt` (what the trainer printed), and what the trainer itself writes:
`settings.json`, `log.jsonl`, `last.pt`, `model.safetensors`, of a detector `instances.json` and
`samples/` as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotator.store import Project
from annotator.training_kinds import KINDS, LOCALIZER, TrainingKind
from annotator.views import Photo
from engine.errors import StoreError
from exports.whole_files import write_whole

TRAINING = "training"  # folder of the project
REQUEST, PROCESS, STOP, EXIT, KEPT = (
    f"{name}.json" for name in ("request", "process", "stop", "exit", "kept")
)
SETTINGS, LOG, MODEL = "settings.json", "log.jsonl", "model.safetensors"
RESERVED = "reserved.json"  # who prepares the folder, as long as it has no request
OUTPUT, PHOTOS, SAMPLES = "output.txt", "photos", "samples"

_NUMBERED = re.compile(r"([1-9]\d*)-.+")
_OUTPUT_READ = 8000  # bytes


def numbered_folders(project: Project) -> dict[int, Path]:
    """The folders of all trainings that were prepared to the end, oldest first."""
    place = project.folder / TRAINING
    listed = list(place.iterdir()) if place.is_dir() else []
    found = {_number(path): path for path in listed if (path / REQUEST).is_file()}
    return {number: found[number] for number in sorted(found) if number}


def new_folder(project: Project, model: str) -> tuple[int, Path]:
    """The next free number and its folder; call it inside `Project.write`."""
    place = project.subfolder(TRAINING)
    number = 1 + max((_number(path) for path in place.iterdir()), default=0)
    folder = place / f"{number}-{model}"
    try:
        folder.mkdir()
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
    return number, folder


def reservations(project: Project) -> list[dict[str, Any]]:
    """What is noted in the folders of trainings that are being prepared, or never were to the end.

    Each with ``name``, ``process`` and ``identity``.
    """
    places = sorted((project.folder / TRAINING).glob(f"*/{RESERVED}"))
    notes = [read_note(place.parent, RESERVED) for place in places]
    return [one for one in notes if {"name", "process", "identity"} <= one.keys()]


def _number(path: Path) -> int:
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else 0


def read_note(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of the folder; empty where it is not there, or no JSON object."""
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_note(folder: Path, name: str, value: Mapping[str, Any]) -> None:
    """Write a JSON object whole or not at all."""
    write_whole(folder / name, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def size_of(path: Path) -> int:
    """Bytes; 0 where there is no such file."""
    return path.stat().st_size if path.is_file() else 0


def last_output(folder: Path, *, offset: int) -> list[str]:
    """The last lines that the trainer printed behind this place of `output.txt`; no blank ones."""
    path = folder / OUTPUT
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(offset, size_of(path) - _OUTPUT_READ))
        text = file.read().decode("utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def kind_of(request: Mapping[str, Any]) -> TrainingKind:
    """What the training learns; those from before there were detectors learn a localizer."""
    return KINDS.get(str(request.get("what")), KINDS[LOCALIZER])


def photo_folder(
    project: Project, folder: Path, kind: TrainingKind, photos: Sequence[Photo]
) -> Path:
    """The one folder in which the trainer finds every photo of its data under its name there.

    Where they lie in one folder, that. Where they lie in several, `photos/` with links: hard ones,
    because a folder of photos may not lead outside of itself; copies on another disk.
    """
    names = kind.photo_names(folder)
    taking_part = [photo for photo in photos if photo.file_name in names]
    places = {
        project.folder / photo.folder if photo.path == photo.file_name else None
        for photo in taking_part
    }
    common = places.pop() if len(places) == 1 else None
    if common is not None:
        return common
    for photo in taking_part:
        _link(project.photo_path(photo), folder / PHOTOS / photo.file_name)
    return folder / PHOTOS


def _link(source: Path, link: Path) -> None:
    if link.exists() or not source.is_file():
        return  # what was linked once stays readable, wherever the photo has gone
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, link)
        except OSError:  # another disk, a file system without links, or somebody else's photo
            shutil.copyfile(source, link)
    except OSError as error:
        raise StoreError(f"cannot put {source} into {link.parent}: {error.strerror}") from error

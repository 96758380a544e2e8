"""The localizers that were trained in a project: files of `<project>/models`, told by their cards.

Only the head of each file is read. Nothing here ever deletes a model.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotator.store import Project
from engine.errors import AnnotatorError, OptionError, StoreError
from engine.localizers.saved import LocalizerCard, read_card

MODELS = "models"  # folder of the project
ENDING = ".safetensors"


@dataclass(frozen=True)
class Model:
    """One file, and what its card says; without a card, the problem in one sentence."""

    name: str
    path: Path
    bytes: int
    made_at: datetime
    card: LocalizerCard | None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **asdict(self),
            "path": str(self.path),
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "card": None if self.card is None else asdict(self.card),
        }


def paths(project: Project) -> list[Path]:
    """The files, newest first."""
    found = [path for path in (project.folder / MODELS).glob("*" + ENDING) if path.is_file()]
    visible = [path for path in found if not path.name.startswith(".")]
    return sorted(visible, key=lambda path: (-path.stat().st_mtime, path.name))


def all_models(project: Project) -> list[Model]:
    """Every model of the project, newest first; one that cannot be read says why."""
    return [_read(path) for path in paths(project)]


def _read(path: Path) -> Model:
    facts = path.stat()
    made_at = datetime.fromtimestamp(facts.st_mtime, UTC)
    try:
        card, problem = read_card(path), ""
    except AnnotatorError as error:
        card, problem = None, str(error)
    return Model(path.stem, path, facts.st_size, made_at, card, problem)


def path_of(project: Project, name: str) -> Path:
    """The file of the model with this name; OptionError with the names that there are."""
    known = {path.stem: path for path in paths(project)}
    if name not in known:
        there = f"choose from {', '.join(known)}" if known else "train one: annotator train"
        raise OptionError(f"this project has no model {name!r}; {there}")
    return known[name]


def file_of(project: Project, name_or_file: str) -> Path:
    """A model of the project by its name, or any file; OptionError where there is neither."""
    path = Path(name_or_file).expanduser()
    return path.resolve() if path.is_file() else path_of(project, name_or_file)


def newest(project: Project) -> Model | None:
    """The model that was made last and can be read."""
    return next((model for model in all_models(project) if model.card is not None), None)


def take_in(project: Project, source: Path, name: str) -> Path:
    """Copy a trained model into the project, whole or not at all; StoreError where it cannot be."""
    target = project.subfolder(MODELS) / (name + ENDING)
    beside = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        try:
            shutil.copyfile(source, beside)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot copy {source} to {target}: {error.strerror or error}") from error
    return target

"""The models that were trained in a project: files of `<project>/models`, told by their cards.

Only the head of each file is read. Nothing here ever deletes a model.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotator.store import Project
from annotator.training_kinds import CLASSIFIER, DETECTOR, LOCALIZER
from engine.cards import Card, read_any_card
from engine.classifier_card import ClassifierCard
from engine.detectors.saved import DetectorCard
from engine.errors import AnnotatorError, OptionError, StoreError
from engine.localizers.saved import LocalizerCard

MODELS = "models"  # folder of the project
ENDING = ".safetensors"
JUDGEMENT_ENDING = ".judgement"  # of the folder beside a model's file; `annotator.judgements`
_HEAD = 1_000_000  # bytes


@dataclass(frozen=True)
class Model:
    """One file, and what its card says; without a card, the problem in one sentence."""

    name: str
    path: Path
    bytes: int
    made_at: datetime
    card: Card | None
    problem: str = ""

    @property
    def what(self) -> str:
        """Which of `annotator.training_kinds` it is; empty where it cannot be read."""
        kinds = {DetectorCard: DETECTOR, LocalizerCard: LOCALIZER, ClassifierCard: CLASSIFIER}
        return "" if self.card is None else kinds[type(self.card)]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **asdict(self),
            "what": self.what,
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
        card, problem = read_any_card(path), ""
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


def of_kind(project: Project, what: str) -> list[Model]:
    """The localizers, or the detectors, that can be read, newest first."""
    return [model for model in all_models(project) if model.what == what]


def newest(project: Project, what: str = LOCALIZER) -> Model | None:
    """The model of this kind that was made last and can be read."""
    return next(iter(of_kind(project, what)), None)


def fingerprint(path: Path) -> str:
    """What tells a model's file from an earlier one of the same name; empty where it is gone."""
    try:
        facts = path.stat()
        return _fingerprint(path, facts.st_size, facts.st_mtime_ns)
    except OSError:
        return ""


@functools.lru_cache(maxsize=256)  # pages ask every second
def _fingerprint(path: Path, size: int, changed_at: int) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD)  # the card, and the first of the weights
    return f"{size}-{hashlib.sha256(head).hexdigest()[:16]}"


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

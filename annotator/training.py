"""Training a model from a project: start, look at, stop, resume; the model at its end.

A training is a process of its own (`annotator.trainer`), which outlives the page and the server.
How it stands is never remembered but looked up: in its log and in whether its process is still
there. So a killed server, a killed trainer and a second window all see the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotator import background, models, processes, promotion, trainer
from annotator import training_files as files
from annotator.ancestry import FINGERPRINT, WEIGHTS_FINGERPRINT
from annotator.store import Project, now
from annotator.training_kinds import KINDS
from annotator.training_log import TrainingLog
from annotator.training_material import gather
from annotator.training_options import AnyOptions, check_passed_on
from annotator.views import View
from engine.errors import AnnotatorError, JobError, OptionError

WAITING, RUNNING, STOPPING = "waiting", "running", "stopping"
DONE, STOPPED, FAILED, INTERRUPTED = "done", "stopped", "failed", "interrupted"
ACTIVE = frozenset({WAITING, RUNNING, STOPPING})

KILL_AFTER_SECONDS = 20.0  # from the first Stop on, a second one kills: a step may take so long

_NAME = re.compile(r"\w[\w .()+-]{0,99}")


@dataclass(frozen=True)
class Training:
    """One training as the app and the command line show it."""

    number: int
    folder: Path
    what: str  # of annotator.training_kinds
    name: str  # of the model that it makes
    options: dict[str, Any]
    status: str
    message: str
    photos: int
    classes: dict[str, int]  # name -> photos with that tag, or instances
    created_at: str
    step: int
    steps: int  # 0 as long as the trainer has not said
    epoch: int | None
    epochs: int | None
    seconds_a_step: float | None
    seconds_left: float | None
    metrics: dict[str, float]
    stop_asked_at: float | None  # seconds since the epoch, while it is stopping

    @property
    def is_active(self) -> bool:
        """Whether a process is at it."""
        return self.status in ACTIVE

    @property
    def is_resumable(self) -> bool:
        """Whether there is something left to do and nobody at it."""
        return self.status in (STOPPED, FAILED, INTERRUPTED)

    @property
    def can_be_killed(self) -> bool:
        """Whether it was asked to stop so long ago that asking again kills it."""
        asked_at = self.stop_asked_at
        return asked_at is not None and time.time() - asked_at >= KILL_AFTER_SECONDS

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "folder": str(self.folder)}


# -- looking ---------------------------------------------------------------------------------------


class Trainings:
    """The trainings of a project, looked up; keeps the logs it has read, so that asking is cheap.

    Whoever looks also brings the models of finished trainings into the project.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._logs: dict[Path, TrainingLog] = {}

    def all(self) -> list[Training]:
        """Every training, newest first."""
        folders = files.numbered_folders(self.project)
        return [self._look(number, folders[number]) for number in reversed(folders)]

    def get(self, number: int) -> Training:
        """One training; JobError where there is none with this number."""
        return self._look(number, _folder(self.project, number))

    def log(self, number: int) -> TrainingLog:
        """Its log as far as it has been written."""
        return self._log(_folder(self.project, number))

    def _log(self, folder: Path) -> TrainingLog:
        return self._logs.setdefault(folder, TrainingLog(folder / files.LOG)).refresh()

    def _look(self, number: int, folder: Path) -> Training:
        return _describe(self.project, number, folder, self._log(folder))


def _folder(project: Project, number: int) -> Path:
    folders = files.numbered_folders(project)
    if number not in folders:
        there = f"there are {', '.join(map(str, folders))}" if folders else "there is none yet"
        raise JobError(f"this project has no training number {number}; {there}")
    return folders[number]


def _describe(project: Project, number: int, folder: Path, log: TrainingLog) -> Training:
    request = files.read_note(folder, files.REQUEST)
    name = str(request.get("name", folder.name))
    status, message = _status(folder, log)
    if status == DONE:
        message = _keep(project, folder, name)
    return Training(
        number=number,
        folder=folder,
        what=files.kind_of(request).name,
        name=name,
        options=request.get("options", {}),
        status=status,
        message=message,
        photos=request.get("photos", 0),
        classes=request.get("classes", {}),
        created_at=request.get("created_at", ""),
        step=log.done_steps,
        steps=log.total_steps,
        epoch=log.last.epoch if log.last else None,
        epochs=log.epochs,
        seconds_a_step=log.seconds_a_step,
        seconds_left=log.seconds_left if status == RUNNING else None,
        metrics=log.metrics,
        stop_asked_at=files.read_note(folder, files.STOP).get("at") if status == STOPPING else None,
    )


def _status(folder: Path, log: TrainingLog) -> tuple[str, str]:
    """How it stands, and what there is to say about it."""
    begun_at = files.read_note(folder, files.PROCESS).get("log_offset", 0)
    ending = log.ending if log.ending and log.ending.offset >= begun_at else None
    if ending is not None and ending.event == DONE:
        return DONE, ""
    asked = bool(files.read_note(folder, files.STOP))
    has_started = log.start is not None and log.start_offset >= begun_at
    if background.is_running(folder):
        if asked or ending is not None:
            return STOPPING, "it finishes the step at hand and saves"
        return (RUNNING, "") if has_started else (WAITING, "")
    if ending is not None:
        return ending.event, ending.message
    if asked:
        return STOPPED, ""
    has_failed, words = background.last_words(folder, has_started=has_started)
    return FAILED if has_failed else INTERRUPTED, words


def _keep(project: Project, folder: Path, name: str) -> str:
    """Bring the model of a finished training into the project, once; what hindered it."""
    if files.read_note(folder, files.KEPT):
        return ""  # whoever deleted it since then wants it so
    source = folder / files.MODEL
    if not source.is_file():
        return f"there is no {files.MODEL} in {folder}"
    try:
        path = models.take_in(project, source, name)
        files.write_note(
            folder,
            files.KEPT,
            {"model": path.name, "at": now(), FINGERPRINT: models.fingerprint(path)},
        )
    except AnnotatorError as error:
        return str(error)
    return ""


def area_prior(training: Training) -> float | None:
    """The share of a photo that the trainer expects to be foreground; None before it has said."""
    recipe = files.read_note(training.folder, files.SETTINGS).get("recipe")
    value = recipe.get("area_prior") if isinstance(recipe, dict) else None
    return float(value) if isinstance(value, int | float) else None


# -- starting and stopping -------------------------------------------------------------------------


def start(
    project: Project,
    options: AnyOptions,
    *,
    name: str = "",
    truth: Path | None = None,
    weights: str = "",
    passed_on: Sequence[str] = (),
) -> int:
    """Prepare a run folder and start a trainer in it; the number of the training.

    ``name`` is the model's, by default made of network and number; ``truth`` is a COCO file to
    measure a localizer against; ``weights`` a model of the project, or a file, to begin with;
    ``passed_on`` goes to the trainer as it is. OptionError where the project has nothing to learn
    from, the name is taken, a file is not there, or a flag is passed on that is not the trainer's.
    """
    if truth is not None and not truth.is_file():
        raise OptionError(f"there is no truth file {str(truth)!r}; give a COCO file")
    check_passed_on(passed_on)
    begins_with = str(models.file_of(project, weights)) if weights else None
    with project.read() as view:
        gathered = gather(project, view, options)
    number, folder, name = _reserve(project, options.model, name)
    with contextlib.ExitStack() as undone:
        undone.callback(shutil.rmtree, folder, ignore_errors=True)
        # Thousands of photos may have to be copied: nobody waits for it to save a decision.
        gathered.write(folder / KINDS[options.what].data)
        photos = files.photo_folder(project, folder, KINDS[options.what], gathered.photos)
        undone.pop_all()
    request = {
        "number": number,
        "what": options.what,
        "name": name,
        "options": asdict(options),
        "flags": options.flags(),
        "truth": None if truth is None else str(truth.resolve()),
        "weights": begins_with,
        WEIGHTS_FINGERPRINT: models.fingerprint(Path(begins_with)) if begins_with else None,
        "passed_on": list(passed_on),
        "photos": len(gathered.photos),
        "missing": list(gathered.missing),
        "classes": gathered.classes,
        **gathered.facts,
        "created_at": now(),
    }
    with project.write():  # whoever sees the request sees the trainer, too
        files.write_note(folder, files.REQUEST, request)
        (folder / files.RESERVED).unlink(missing_ok=True)
        trainer.launch(folder, request, photos)
    return number


def _reserve(project: Project, model: str, name: str) -> tuple[int, Path, str]:
    """Number, folder and name of a training that is being prepared, which nobody else takes."""
    with project.write() as transaction:
        if name:
            name = _checked_name(project, transaction, name)
        number, folder = files.new_folder(project, model)
        try:
            name = name or _checked_name(project, transaction, f"{model}-{number}")
        except OptionError:
            folder.rmdir()
            raise
        process = os.getpid()
        note = {"name": name, "process": process, "identity": processes.identity(process)}
        files.write_note(folder, files.RESERVED, note)
    return number, folder, name


def _checked_name(project: Project, view: View, name: str) -> str:
    name = unicodedata.normalize("NFC", name.strip())
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"a model cannot be called {name!r}; use letters, digits, blanks and . ( ) + - _"
        )
    if name in _names_taken(project, view):
        raise OptionError(f"a model or a training is, or was, called {name!r}; choose another name")
    return name


def _names_taken(project: Project, view: View) -> set[str]:
    """Of models, trainings, judgements, and what was in use: none passes to another model."""
    taken = {path.stem for path in models.paths(project)}
    for folder in files.numbered_folders(project).values():
        taken.add(str(files.read_note(folder, files.REQUEST).get("name")))
    for note in files.reservations(project):
        if processes.is_running(note["process"], note["identity"]):  # not one killed meanwhile
            taken.add(note["name"])
    judged = (project.folder / models.MODELS).glob("*" + models.JUDGEMENT_ENDING)
    taken |= {folder.name.removesuffix(models.JUDGEMENT_ENDING) for folder in judged}
    return taken | {one.model for one in promotion.history(view)}


def resume(project: Project, number: int) -> None:
    """Go on with a training that was stopped, killed or failed; JobError for any other."""
    folder = _folder(project, number)
    with project.read() as view:
        photos = view.photos()
    _require_resumable(project, number)
    request = files.read_note(folder, files.REQUEST)
    photo_folder = files.photo_folder(project, folder, files.kind_of(request), photos)
    with project.write():  # two windows cannot start two trainers in one folder
        _require_resumable(project, number)
        trainer.launch(folder, request, photo_folder)


def _require_resumable(project: Project, number: int) -> None:
    training = Trainings(project).get(number)
    if not training.is_resumable:
        raise JobError(f"training {number} is {training.status}; there is nothing to resume")


def cancel(project: Project, number: int, *, patience: float = KILL_AFTER_SECONDS) -> None:
    """Ask the trainer to stop after the step at hand; asked again after ``patience``, kill it.

    ``patience`` is in seconds since the first time. JobError where it does not run.
    """
    folder = _folder(project, number)
    with project.write():  # not while somebody is about to start it
        training = Trainings(project).get(number)
        if not training.is_active:
            raise JobError(f"training {number} is {training.status}; there is nothing to stop")
        process = files.read_note(folder, files.PROCESS)
        asked_at = files.read_note(folder, files.STOP).get("at")
        if asked_at is None:
            files.write_note(folder, files.STOP, {"at": time.time()})
            processes.ask_to_stop(process["process"], process["identity"])
        elif time.time() - asked_at >= patience:
            processes.kill_session(process["process"], process["identity"])

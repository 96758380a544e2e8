"""Judgements of detectors, kept beside the models: start one as a process, look how it stands.

`<project>/models/<name>.judgement/` holds `judgement.json` (the result), `progress.json` (photos
done, of how many) and what `annotator.background` writes. The process is `annotator models judge`:
the networks never enter the server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from annotator import background, models, promotion, trainer
from annotator import training_files as files
from annotator.judging import Judgement
from annotator.store import Project
from annotator.training import DONE, FAILED, INTERRUPTED, RUNNING, Training
from annotator.training_kinds import DETECTOR
from engine.errors import JobError, StoreError

FOLDER = models.JUDGEMENT_ENDING
JUDGEMENT, PROGRESS = "judgement.json", "progress.json"


@dataclass(frozen=True)
class Judging:
    """How the judgement of one detector stands."""

    name: str
    status: str  # RUNNING, DONE, FAILED or INTERRUPTED of annotator.training
    message: str
    done: int  # photos
    total: int  # 0 as long as it is not known
    judgement: Judgement | None  # the newest that is whole, also while another one is made

    @property
    def is_active(self) -> bool:
        """Whether a process is at it."""
        return self.status == RUNNING


def folder_of(project: Project, name: str) -> Path:
    """Where the judgement of that model is kept."""
    return project.folder / models.MODELS / (name + FOLDER)


def look(project: Project, name: str) -> Judging | None:
    """How the judgement of that model stands; None where nobody asked for one."""
    folder = folder_of(project, name)
    if not folder.is_dir():
        return None
    kept = files.read_note(folder, JUDGEMENT)
    judgement = Judgement.from_dict(kept) if kept else None
    if judgement is not None and judgement.fingerprint != fingerprint(project, name):
        judgement = None  # another model had this name then
    process = files.read_note(folder, files.PROCESS)
    progress = files.read_note(folder, PROGRESS)
    if judgement is not None and judgement.at >= process.get("at", ""):
        return Judging(name, DONE, "", judgement.photos, judgement.photos, judgement)
    if problem := progress.get("problem"):
        return Judging(name, FAILED, str(problem), 0, 0, judgement)
    if background.is_running(folder):
        done, total = progress.get("done", 0), progress.get("total", 0)
        return Judging(name, RUNNING, "", done, total, judgement)
    if not process:
        return None
    has_failed, words = background.last_words(folder, has_started=False)
    status = FAILED if has_failed else INTERRUPTED
    return Judging(name, status, words.removeprefix("annotator: "), 0, 0, judgement)


def fingerprint(project: Project, name: str) -> str:
    """What tells the model's file from an earlier one of the same name; empty where it is gone."""
    return models.fingerprint(project.folder / models.MODELS / (name + models.ENDING))


def claim(project: Project, name: str) -> bool:
    """Become the process that judges this model; False where another one is at it."""
    promotion.require_detector(project, name)
    folder = _make_folder(project, name)
    with project.write():  # not two at once
        known = files.read_note(folder, files.PROCESS).get("process")
        # Whoever started us notes himself first, and us as soon as there is a number for us.
        if background.is_running(folder) and known not in (os.getpid(), os.getppid()):
            return False
        (folder / PROGRESS).unlink(missing_ok=True)
        background.note_this_process(folder)
    return True


def note_progress(project: Project, name: str, *, done: int, total: int) -> None:
    """Say how far it is, in photos."""
    files.write_note(folder_of(project, name), PROGRESS, {"done": done, "total": total})


def note_problem(project: Project, name: str, problem: str) -> None:
    """Say why there will be no judgement."""
    files.write_note(folder_of(project, name), PROGRESS, {"problem": problem})


def _make_folder(project: Project, name: str) -> Path:
    folder = folder_of(project, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder


def keep(project: Project, judgement: Judgement) -> None:
    """Write a judgement down, whole or not at all."""
    files.write_note(_make_folder(project, judgement.candidate), JUDGEMENT, judgement.as_dict())


def start(project: Project, name: str, *, by_rule: bool) -> None:
    """Judge this detector in a process of its own; with ``by_rule`` the rule may promote it.

    OptionError where it is no detector; JobError where it is being judged already.
    """
    promotion.require_detector(project, name)
    with project.write():  # two windows cannot start two
        found = look(project, name)
        if found is not None and found.is_active:
            raise JobError(f"{name} is being judged already")
        _launch(project, name, *["--by-rule"] * by_rule)


def _launch(project: Project, name: str, *flags: str) -> None:
    folder = _make_folder(project, name)
    (folder / PROGRESS).unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "annotator", "models", "judge", name]
    command += ["--project", str(project.folder), "--quiet", *flags]
    background.launch(
        folder, command, what=f"the judgement of {name}", environment=trainer.environment()
    )


def see_to(project: Project, trainings: Iterable[Training]) -> None:
    """Judge the detectors of trainings that have ended, each once, whoever looks first.

    One after the other, in the order of their trainings: two at once would be judged against the
    same detector. The rule then promotes what is better, unless the project leaves that to a
    person when it is known.
    """
    for one in sorted(trainings, key=lambda one: one.number):
        if one.what != DETECTOR or one.status != DONE or one.message:
            continue
        if look(project, one.name) is not None or not fingerprint(project, one.name):
            continue
        with project.write():
            if look(project, one.name) is None and not _is_anyone_judged(project):
                _launch(project, one.name, "--as-chosen")
        return


def _is_anyone_judged(project: Project) -> bool:
    folders = (project.folder / models.MODELS).glob("*" + FOLDER)
    found = [look(project, folder.name.removesuffix(FOLDER)) for folder in folders]
    return any(one is not None and one.is_active for one in found)

"""How long a training would take: its trainer times a few real steps, and nothing is changed.

The trainer runs as a process of its own on a folder that is removed afterwards. An estimate that
nobody asks about any more ends by itself: a page that is closed says nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from annotator import models, processes, trainer
from annotator import training_files as files
from annotator.store import Project
from annotator.training_kinds import KINDS
from annotator.training_material import gather
from annotator.training_options import AnyOptions, check_passed_on
from engine.errors import JobError

FORGOTTEN_SECONDS = 15.0  # without a question; a page asks every second
LONGEST_SECONDS = 600.0
LOOK_SECONDS = 0.2
PREFIX = "estimate-"  # of the folders in the project's cache
ASKER = "asker.json"  # the process that asks, and removes the folder unless it is killed


@dataclass(frozen=True)
class Estimate:
    """What the trainer found; times in seconds."""

    seconds: float
    steps: int
    seconds_a_step: float
    photos: int
    instances: int


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def ask(
    project: Project, options: AnyOptions, *, weights: str = "", passed_on: Sequence[str] = ()
) -> AskedEstimate:
    """Start to time a training with these options; arguments and errors as of `training.start`."""
    check_passed_on(passed_on)
    begins_with = str(models.file_of(project, weights)) if weights else None
    with project.read() as view:
        gathered = gather(project, view, options)
    _sweep(project)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=project.cache))
    with contextlib.ExitStack() as undone:
        undone.callback(shutil.rmtree, folder, ignore_errors=True)
        _note(folder, ASKER, os.getpid())
        kind = KINDS[options.what]
        gathered.write(folder / kind.data)
        request = {
            "what": options.what,
            "flags": options.flags(),
            "weights": begins_with,
            "passed_on": [*passed_on, "--estimate"],
        }
        photos = files.photo_folder(project, folder, kind, gathered.photos)
        asked = AskedEstimate(folder, trainer.command(folder, request, photos, out=folder / "run"))
        undone.pop_all()  # it removes its folder itself
    return asked


def _sweep(project: Project) -> None:
    """End and remove what was left by apps that were killed while they asked."""
    for folder in project.cache.glob(PREFIX + "*"):
        asker, timed = (files.read_note(folder, name) for name in (ASKER, files.PROCESS))
        if asker and not processes.is_running(asker["process"], asker["identity"]):
            if timed:
                processes.kill_session(timed["process"], timed["identity"])
            shutil.rmtree(folder, ignore_errors=True)


def _note(folder: Path, name: str, process: int) -> str | None:
    known = processes.identity(process)
    files.write_note(folder, name, {"process": process, "identity": known})
    return known


class AskedEstimate:
    """An estimate on its way; as a context it is cancelled at the end of the block."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._folder = folder
        self._begun_at = self._asked_at = time.monotonic()
        self._is_cancelled = threading.Event()
        try:
            with (folder / files.OUTPUT).open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                    env=trainer.environment(),
                )
        except OSError as error:
            raise JobError(f"the trainer cannot start: {error}") from error
        self._identity = _note(folder, files.PROCESS, self._process.pid)
        self._answer: Estimate | JobError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> AskedEstimate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return time.monotonic() - self._begun_at

    def found(self) -> Estimate | None:
        """The answer if it has come; JobError in the trainer's words where it could not answer."""
        self._asked_at = time.monotonic()
        if isinstance(self._answer, JobError):
            raise self._answer
        return self._answer

    def wait(self) -> Estimate:
        """The answer as soon as it comes."""
        while (found := self.found()) is None:
            self._thread.join(LOOK_SECONDS)
        return found

    def cancel(self) -> None:
        """End the trainer and remove its folder; nothing happens where it has ended already."""
        self._is_cancelled.set()
        processes.kill_session(self._process.pid, self._identity)
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            output = stream.read().decode("utf-8", errors="replace")
        code = self._process.wait()
        complaint = files.last_output(self._folder, offset=0)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._answer = self._understood(output, code, complaint)

    def _understood(self, output: str, code: int, complaint: list[str]) -> Estimate | JobError:
        if self._is_cancelled.is_set():
            return JobError("the estimate was cancelled")
        for line in reversed(output.splitlines()):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                return _estimate_of(json.loads(line))
        why = complaint[-1] if complaint else f"it ended with code {code} and said nothing"
        return JobError(f"the trainer cannot say how long it would take: {why}")

    def _watch(self) -> None:
        """End what nobody asks about, and what takes longer than anybody would wait."""
        while self._thread.is_alive():
            self._thread.join(1.0)
            is_forgotten = time.monotonic() - self._asked_at > FORGOTTEN_SECONDS
            if self._thread.is_alive() and (is_forgotten or self.seconds > LONGEST_SECONDS):
                self.cancel()


def _estimate_of(value: dict[str, Any]) -> Estimate:
    return Estimate(
        seconds=float(value["seconds"]),
        steps=int(value["steps"]),
        seconds_a_step=float(value["seconds_a_step"]),
        photos=int(value["photos"]),
        instances=int(value["instances"]),
    )

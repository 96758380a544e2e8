"""Trainings with the fake trainer, for tests of the store side, the command line and the app."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotator import training
from annotator import training_files as files
from annotator.training import Training, Trainings
from annotator.training_options import DetectorTrainingOptions, TrainingOptions
from tests.annotator.fake_trainer import GO_ON

FAKE_TRAINER = shlex.join([sys.executable, str(Path(__file__).with_name("fake_trainer.py"))])
FAKE_DETECTOR_TRAINER = FAKE_TRAINER + " --detectors"
PATIENCE = 180.0  # seconds; a busy machine is no defect


def wait_for(trainings: Trainings, number: int, until: Callable[[Training], bool]) -> Training:
    """Look until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not until(found := trainings.get(number)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def wait_for_end(trainings: Trainings, number: int) -> Training:
    """Look until nobody is at it."""
    return wait_for(trainings, number, lambda found: not found.is_active)


def wait_for_step(trainings: Trainings, number: int, step: int) -> Training:
    """Look until it has got so far."""
    return wait_for(trainings, number, lambda found: found.step >= step)


def hold_at(*steps: int) -> tuple[str, ...]:
    """Flags of a trainer that sits there after each of these steps, until `let_go` or a signal."""
    return tuple(word for step in steps for word in ("--hold-at", str(step)))


def let_go(trainings: Trainings, number: int) -> None:
    """From where it holds, or from where it will hold next."""
    (trainings.get(number).folder / GO_ON).touch()


@contextmanager
def stood_still(trainings: Trainings, number: int) -> Iterator[None]:
    """The trainer does nothing meanwhile, not even what a signal asks of it, unless that kills."""
    process, _ = process_of(trainings.get(number).folder)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def begin(trainings: Trainings, *passed_on: str, epochs: int = 2, **settings: Any) -> int:
    """Start the fake trainer: ten steps an epoch."""
    options = TrainingOptions(epochs=epochs)
    return training.start(trainings.project, options, passed_on=passed_on, **settings)


def begin_detector(trainings: Trainings, *passed_on: str, epochs: int = 2, **settings: Any) -> int:
    """Start the fake trainer of detectors."""
    chosen = {
        name: settings.pop(name) for name in ("model", "with_proposals", "drop") if name in settings
    }
    options = DetectorTrainingOptions(epochs=epochs, **chosen)
    return training.start(trainings.project, options, passed_on=passed_on, **settings)


def process_of(folder: Path) -> tuple[int, str]:
    """Number and identity of the trainer."""
    note = files.read_note(folder, files.PROCESS)
    return note["process"], note["identity"]


def started(folder: Path) -> dict[str, Any]:
    """What the trainer said at its start."""
    value: dict[str, Any] = json.loads((folder / files.LOG).read_text().splitlines()[0])
    return value


def kill(trainings: Trainings, number: int) -> None:
    """As the system does it when memory runs out."""
    os.kill(process_of(trainings.get(number).folder)[0], signal.SIGKILL)

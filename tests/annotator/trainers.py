"""Trainings with the fake trainer, for tests of the store side, the command line and the app."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from annotator.training import Training, Trainings

FAKE_TRAINER = shlex.join([sys.executable, str(Path(__file__).with_name("fake_trainer.py"))])
PATIENCE = 60.0  # seconds; a busy machine is no defect


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

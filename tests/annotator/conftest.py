"""Trainings with the fake trainer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from annotator import processes, trainer
from annotator.store import Project
from annotator.training import Trainings
from tests.annotator.trainers import (
    FAKE_DETECTOR_TRAINER,
    FAKE_TRAINER,
    process_of,
    wait_for_end,
)


@pytest.fixture
def fake_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training that is started learns nothing, in no time."""
    monkeypatch.setenv(trainer.TRAINER, FAKE_TRAINER)
    monkeypatch.setenv(trainer.DETECTOR_TRAINER, FAKE_DETECTOR_TRAINER)


@pytest.fixture
def trainings(project: Project) -> Iterator[Trainings]:
    """Those of the project; what still runs after the test is killed."""
    found = Trainings(project)
    yield found
    for one in found.all():
        if one.is_active:
            processes.kill_session(*process_of(one.folder))
            wait_for_end(found, one.number)

"""Trainings that are stopped, killed and go on; and that every program sees the same of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from pathlib import Path

import pytest

from annotator import models, processes, training
from annotator import training_files as files
from annotator.store import Project
from annotator.training import Trainings
from engine.errors import JobError
from tests.annotator.trainers import (
    begin,
    hold_at,
    kill,
    let_go,
    stood_still,
    wait_for,
    wait_for_end,
    wait_for_step,
)

pytestmark = pytest.mark.usefixtures("fake_trainer")


# -- stopping, killing, going on -------------------------------------------------------------------


def test_stopping_saves_and_resuming_goes_on_from_there(trainings: Trainings) -> None:
    number = begin(trainings, *hold_at(3))
    wait_for_step(trainings, number, 3)
    with stood_still(trainings, number):
        training.cancel(trainings.project, number)
        training.cancel(trainings.project, number)  # a second click changes nothing
        assert trainings.get(number).status == training.STOPPING
    found = wait_for_end(trainings, number)
    assert found.status == training.STOPPED
    assert found.step == 3
    assert found.is_resumable
    assert models.paths(trainings.project) == []
    training.resume(trainings.project, number)
    assert trainings.get(number).is_active
    assert wait_for_end(trainings, number).status == training.DONE
    log = (found.folder / files.LOG).read_text().splitlines()
    starts = [line for line in log if json.loads(line)["event"] == "start"]
    assert [json.loads(line)["step"] for line in starts] == [0, found.step]
    assert list(trainings.log(number).steps) == list(range(1, 21))


def test_while_it_stops_it_says_so(trainings: Trainings) -> None:
    number = begin(trainings, *hold_at(1))
    wait_for(trainings, number, lambda found: found.status == training.RUNNING)
    with stood_still(trainings, number):
        training.cancel(trainings.project, number)
        assert trainings.get(number).status == training.STOPPING
    assert wait_for_end(trainings, number).status == training.STOPPED


def test_a_trainer_that_does_not_stop_is_killed_when_asked_again(trainings: Trainings) -> None:
    number = begin(trainings, "--pace", "600")
    wait_for(trainings, number, lambda found: found.status == training.RUNNING)
    training.cancel(trainings.project, number)
    training.cancel(trainings.project, number, patience=600)
    assert trainings.get(number).status == training.STOPPING
    training.cancel(trainings.project, number, patience=0)
    assert wait_for_end(trainings, number).status == training.STOPPED


def test_stopping_before_the_trainer_has_come_holds(trainings: Trainings) -> None:
    number = begin(trainings, *hold_at(1))  # where this test is slower than the trainer
    training.cancel(trainings.project, number)
    assert wait_for_end(trainings, number).status == training.STOPPED
    assert models.paths(trainings.project) == []


def test_a_killed_trainer_is_interrupted_and_goes_on(trainings: Trainings) -> None:
    number = begin(trainings, *hold_at(12))
    wait_for_step(trainings, number, 12)
    kill(trainings, number)
    found = wait_for_end(trainings, number)
    assert (found.status, found.is_resumable) == (training.INTERRUPTED, True)
    assert found.seconds_left is None
    training.resume(trainings.project, number)
    found = wait_for_end(trainings, number)
    assert (found.status, found.step) == (training.DONE, 20)
    assert list(trainings.log(number).steps) == list(range(1, 21))
    assert len(models.paths(trainings.project)) == 1


@pytest.mark.slow
def test_killed_at_random_moments_again_and_again_it_ends_with_every_step_once(
    trainings: Trainings,
) -> None:
    chance = random.Random(1)
    places = (20, 40, 60, 80, 100)  # so that it cannot end before it was killed a few times
    number = begin(trainings, "--pace", "0.02", *hold_at(*places), epochs=12)
    kills = 0
    while trainings.get(number).is_active:
        # Longer and longer, so that it gets somewhere however slow the machine is.
        time.sleep(chance.uniform(0.0, 1.0 + 0.1 * kills))
        with contextlib.suppress(ProcessLookupError):  # it may end this very moment
            kill(trainings, number)
        kills += 1
        if wait_for_end(trainings, number).status == training.INTERRUPTED:
            training.resume(trainings.project, number)
    assert trainings.get(number).status == training.DONE
    assert kills > len(places)
    assert list(trainings.log(number).steps) == list(range(1, 121))
    assert [path.stem for path in models.paths(trainings.project)] == ["gtformer-1"]


def test_half_a_line_at_the_end_of_the_log_does_not_hide_how_it_goes_on(
    trainings: Trainings,
) -> None:
    number = begin(trainings, *hold_at(11, 15))
    wait_for_step(trainings, number, 11)
    kill(trainings, number)
    folder = wait_for_end(trainings, number).folder
    with (folder / files.LOG).open("a") as file:
        file.write('{"event": "step", "step": 99, "terms": {"cl')
    assert trainings.get(number).step < 99
    training.resume(trainings.project, number)
    wait_for(trainings, number, lambda found: found.status == training.RUNNING)
    let_go(trainings, number)
    assert wait_for_end(trainings, number).status == training.DONE


def test_only_what_is_not_at_work_and_not_done_can_be_resumed(trainings: Trainings) -> None:
    number = begin(trainings, *hold_at(5))
    with pytest.raises(JobError, match=r"training 1 is (waiting|running); there is nothing to res"):
        training.resume(trainings.project, number)
    let_go(trainings, number)
    wait_for_end(trainings, number)
    with pytest.raises(JobError, match="training 1 is done; there is nothing to resume"):
        training.resume(trainings.project, number)
    with pytest.raises(JobError, match="training 1 is done; there is nothing to stop"):
        training.cancel(trainings.project, number)
    with pytest.raises(JobError, match="no training number 7; there are 1"):
        training.cancel(trainings.project, 7)


def test_a_project_that_has_moved_resumes_with_its_photos(
    trainings: Trainings, photo_folder: Path, tmp_path: Path
) -> None:
    number = begin(trainings, *hold_at(11))
    wait_for_step(trainings, number, 11)
    kill(trainings, number)
    wait_for_end(trainings, number)
    trainings.project.close()
    photo_folder.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "project" / "photos")
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = Project.open(tmp_path / "moved")
    with moved.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE image SET folder = 'photos'")
    training.resume(moved, number)
    assert wait_for_end(Trainings(moved), number).status == training.DONE
    moved.close()
    (tmp_path / "moved").rename(tmp_path / "project")  # for what looks after the test


# -- nothing is remembered, everything is looked up ------------------------------------------------


def test_another_program_sees_the_same_and_brings_the_model_in(
    trainings: Trainings, project: Project
) -> None:
    number = begin(trainings, *hold_at(2))
    wait_for_step(trainings, number, 2)
    other = Project.open(project.folder)  # as a server that was killed and started again
    again = Trainings(other)
    assert again.get(number).status == training.RUNNING
    assert again.get(number).seconds_left is not None
    training.cancel(other, number)
    assert wait_for_end(again, number).status == training.STOPPED
    training.resume(other, number)
    assert wait_for_end(again, number).status == training.DONE
    assert len(models.paths(other)) == 1
    assert trainings.get(number).status == training.DONE
    other.close()


def test_a_process_number_that_was_given_away_is_not_the_trainer(trainings: Trainings) -> None:
    number = begin(trainings, *hold_at(2))
    wait_for_step(trainings, number, 2)
    kill(trainings, number)
    folder = wait_for_end(trainings, number).folder
    note = files.read_note(folder, files.PROCESS)
    # Our own process, which is certainly alive, now has the number of the trainer.
    files.write_note(folder, files.PROCESS, {**note, "process": os.getpid()})
    assert trainings.get(number).status == training.INTERRUPTED
    processes.ask_to_stop(os.getpid(), note["identity"])  # or the test would end here
    processes.kill_session(os.getpid(), note["identity"])


def test_a_folder_that_was_never_finished_is_no_training(trainings: Trainings) -> None:
    (trainings.project.subfolder("training") / "1-gtformer").mkdir()
    assert trainings.all() == []
    assert begin(trainings) == 2
    wait_for_end(trainings, 2)

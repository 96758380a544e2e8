"""Trainings as processes: they start, tell, stop, are killed, go on, and leave a model."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator import models, processes, training
from annotator import training_files as files
from annotator.intake import add_photos
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_options import TrainingOptions, material
from engine.errors import JobError, OptionError, StoreError
from exports.tags import read_tags
from tests.annotator.trainers import FAKE_TRAINER, wait_for, wait_for_end, wait_for_step
from tests.conftest import save_scene

SLOW = ("--pace", "0.05")  # seconds a step: time to look, and to stop


@pytest.fixture(autouse=True)
def _fake_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(training.TRAINER, FAKE_TRAINER)


@pytest.fixture
def trainings(project: Project) -> Iterator[Trainings]:
    found = Trainings(project)
    yield found
    for one in found.all():
        if one.is_active:
            process, known = process_of(one.folder)
            processes.kill_session(process, known)
            wait_for_end(found, one.number)


def begin(trainings: Trainings, *passed_on: str, epochs: int = 2, **settings: Any) -> int:
    options = TrainingOptions(epochs=epochs)
    return training.start(trainings.project, options, passed_on=passed_on, **settings)


def process_of(folder: Path) -> tuple[int, str]:
    note = files.read_note(folder, files.PROCESS)
    return note["process"], note["identity"]


def kill(trainings: Trainings, number: int) -> None:
    """As the system does it when memory runs out."""
    os.kill(process_of(trainings.get(number).folder)[0], signal.SIGKILL)


# -- from the start to the model -------------------------------------------------------------------


def test_a_training_runs_to_its_end_and_its_model_is_listed(trainings: Trainings) -> None:
    number = begin(trainings)
    found = wait_for_end(trainings, number)
    assert (found.status, found.message) == (training.DONE, "")
    assert (found.number, found.step, found.steps, found.epochs) == (1, 20, 20, 2)
    assert found.metrics == {"top1": 0.75, "gt_known": 0.5}
    assert found.folder == trainings.project.folder / "training" / "1-gtformer"
    (model,) = models.all_models(trainings.project)
    assert (model.name, model.problem) == ("gtformer-1", "")
    assert model.card is not None
    assert model.card.classes == ("cat", "dog")
    assert models.path_of(trainings.project, "gtformer-1") == model.path
    assert models.newest(trainings.project) == model


def test_photos_and_tags_reach_the_trainer_under_the_names_of_the_project(
    trainings: Trainings, photo_folder: Path
) -> None:
    folder = wait_for_end(trainings, begin(trainings)).folder
    labels = read_tags(folder / "tags.csv").labels_of
    assert labels == {"a.png": ("cat",), "b.png": ("cat", "dog"), "été/写真.png": ("dog",)}
    for name in labels:
        assert os.path.samefile(folder / "photos" / name, photo_folder / name)


def test_photos_of_two_folders_meet_in_one(trainings: Trainings, tmp_path: Path) -> None:
    save_scene(tmp_path / "more" / "a.png", seed=9)  # a name that is there already
    (tmp_path / "more.csv").write_text("file,labels\na.png,ours\n")
    add_photos(
        trainings.project, tmp_path / "more", actor="tester", tags_file=tmp_path / "more.csv"
    )
    found = wait_for_end(trainings, begin(trainings))
    assert found.status == training.DONE
    assert found.photos == 4
    labels = read_tags(found.folder / "tags.csv").labels_of
    (name,) = [name for name, tags in labels.items() if tags == ("ours",)]
    assert os.path.samefile(found.folder / "photos" / name, tmp_path / "more" / "a.png")


def test_photos_are_copied_where_links_cannot_be(
    trainings: Trainings, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    found = wait_for_end(trainings, begin(trainings))
    assert found.status == training.DONE
    copy = found.folder / "photos" / "a.png"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (photo_folder / "a.png").read_bytes()


def test_settings_reach_the_trainer_and_what_is_not_set_does_not(
    trainings: Trainings, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.json"
    truth.write_text("{}")
    options = TrainingOptions(model="sat", epochs=1, image_size=96, threads=2)
    number = training.start(
        trainings.project, options, name="Vögel 2 (neu)", truth=truth, passed_on=("--pace", "0")
    )
    found = wait_for_end(trainings, number)
    assert found.status == training.DONE, found.message
    request = json.loads((found.folder / "request.json").read_text(encoding="utf-8"))
    assert request["flags"] == [
        *("--model", "sat", "--epochs", "1", "--image-size", "96", "--threads", "2")
    ]
    assert request["truth"] == str(truth)
    assert [path.name for path in models.paths(trainings.project)] == ["Vögel 2 (neu).safetensors"]


def test_numbers_are_never_used_twice(trainings: Trainings) -> None:
    for _ in range(2):
        wait_for_end(trainings, begin(trainings, epochs=1))
    shutil.rmtree(trainings.get(1).folder)
    assert begin(trainings, epochs=1) == 3
    wait_for_end(trainings, 3)
    assert [one.number for one in trainings.all()] == [3, 2]


# -- what there is to train on ---------------------------------------------------------------------


def test_material_counts_photos_of_each_class(project: Project) -> None:
    with project.read() as view:
        found = material(view)
    assert (found.photos, found.tagged, found.classes) == (4, 3, {"cat": 2, "dog": 2})
    assert found.small_classes == ["cat", "dog"]


def test_one_class_is_nothing_to_learn_from(tmp_path: Path) -> None:
    save_scene(tmp_path / "photos" / "cat" / "a.png")
    made = Project.create(tmp_path / "one")
    add_photos(made, tmp_path / "photos", actor="tester", from_folders=True)
    with pytest.raises(OptionError, match="at least two different tags; this project has 1 on 1"):
        training.start(made, TrainingOptions())
    assert not (made.folder / "training").exists()
    made.close()


def test_photos_that_are_gone_are_left_out_and_counted(
    trainings: Trainings, photo_folder: Path
) -> None:
    (photo_folder / "a.png").unlink()
    found = wait_for_end(trainings, begin(trainings))
    assert (found.status, found.photos) == (training.DONE, 2)
    shutil.rmtree(photo_folder)
    with pytest.raises(OptionError, match="none of the tagged photos is where it was"):
        begin(trainings)
    assert [one.number for one in trainings.all()] == [1]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"model": "yolo"}, "no localizer 'yolo'; choose from .*gtformer"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"val_share": 1.0}, "val_share must be at least 0 and below 1, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        TrainingOptions(**settings)


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "a" * 101, " - ", "x\n"])
def test_a_model_cannot_have_a_name_that_is_no_file_name(trainings: Trainings, name: str) -> None:
    if name == "x\n":
        name = "x\ny"
    with pytest.raises(OptionError, match="cannot be called"):
        begin(trainings, name=name)
    assert trainings.all() == []


def test_a_name_belongs_to_one_training_and_is_free_when_its_model_was_deleted(
    trainings: Trainings,
) -> None:
    number = begin(trainings, *SLOW, name="birds")
    with pytest.raises(OptionError, match="called 'birds' already"):
        begin(trainings, name="birds")
    wait_for_end(trainings, number)
    with pytest.raises(OptionError, match="called 'birds' already"):
        begin(trainings, name="birds")
    models.path_of(trainings.project, "birds").unlink()
    assert trainings.get(number).status == training.DONE
    assert models.paths(trainings.project) == []  # what a person deleted does not come back
    wait_for_end(trainings, begin(trainings, name="birds"))
    assert models.path_of(trainings.project, "birds").is_file()


# -- stopping, killing, going on -------------------------------------------------------------------


def test_stopping_saves_and_resuming_goes_on_from_there(trainings: Trainings) -> None:
    number = begin(trainings, *SLOW)
    wait_for_step(trainings, number, 3)
    training.cancel(trainings.project, number)
    training.cancel(trainings.project, number)  # a second click changes nothing
    found = wait_for_end(trainings, number)
    assert found.status == training.STOPPED
    assert 3 <= found.step < 20
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
    number = begin(trainings, "--pace", "0.5")
    wait_for(trainings, number, lambda found: found.status == training.RUNNING)
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
    number = begin(trainings)
    training.cancel(trainings.project, number)
    assert wait_for_end(trainings, number).status == training.STOPPED
    assert models.paths(trainings.project) == []


def test_a_killed_trainer_is_interrupted_and_goes_on(trainings: Trainings) -> None:
    number = begin(trainings, *SLOW)
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


def test_half_a_line_at_the_end_of_the_log_does_not_hide_how_it_goes_on(
    trainings: Trainings,
) -> None:
    number = begin(trainings, *SLOW)
    wait_for_step(trainings, number, 11)
    kill(trainings, number)
    folder = wait_for_end(trainings, number).folder
    with (folder / files.LOG).open("a") as file:
        file.write('{"event": "step", "step": 99, "terms": {"cl')
    assert trainings.get(number).step < 99
    training.resume(trainings.project, number)
    wait_for(trainings, number, lambda found: found.status == training.RUNNING)
    assert wait_for_end(trainings, number).status == training.DONE


def test_only_what_is_not_at_work_and_not_done_can_be_resumed(trainings: Trainings) -> None:
    number = begin(trainings, *SLOW)
    with pytest.raises(JobError, match=r"training 1 is (waiting|running); there is nothing to res"):
        training.resume(trainings.project, number)
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
    number = begin(trainings, *SLOW)
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
    assert os.path.samefile(
        moved.folder / "training" / "1-gtformer" / "photos" / "a.png", moved.folder / "photos/a.png"
    )
    moved.close()
    (tmp_path / "moved").rename(tmp_path / "project")  # for what looks after the test


# -- failures --------------------------------------------------------------------------------------


def test_a_failure_is_told_in_the_trainers_own_sentence(trainings: Trainings) -> None:
    number = begin(trainings, "--fail-at", "7")
    found = wait_for_end(trainings, number)
    assert found.status == training.FAILED
    assert found.message == "the loss of step 7 is not finite: classification is nan"
    assert models.paths(trainings.project) == []


def test_a_flag_that_the_trainer_does_not_know_is_told(trainings: Trainings) -> None:
    number = begin(trainings, "--no-such-flag")
    found = wait_for_end(trainings, number)
    assert found.status == training.FAILED
    assert "unrecognized arguments: --no-such-flag" in found.message


def test_a_trainer_that_breaks_tells_its_last_line(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(training.TRAINER, "python3 -c 'raise ValueError(\"no room\")'")
    found = wait_for_end(trainings, begin(trainings))
    assert (found.status, found.message) == (training.FAILED, "ValueError: no room")


def test_a_trainer_that_is_not_there_is_told_at_once(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(training.TRAINER, "no-such-program-anywhere")
    with pytest.raises(JobError, match="the trainer cannot start"):
        begin(trainings)
    (found,) = trainings.all()
    assert found.status == training.INTERRUPTED
    monkeypatch.setenv(training.TRAINER, FAKE_TRAINER)
    training.resume(trainings.project, found.number)
    assert wait_for_end(trainings, found.number).status == training.DONE


def test_a_full_disk_at_the_end_is_told_and_the_model_comes_with_the_next_look(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Path:
        raise StoreError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(models, "take_in", full)
        found = wait_for_end(trainings, begin(trainings))
        assert (found.status, found.message) == (training.DONE, "no space left on device")
    assert trainings.get(1).message == ""
    assert len(models.paths(trainings.project)) == 1


def test_a_file_that_is_no_model_is_listed_with_its_problem(trainings: Trainings) -> None:
    wait_for_end(trainings, begin(trainings))
    (trainings.project.folder / "models" / "broken.safetensors").write_bytes(b"nothing")
    listed = {model.name: model for model in models.all_models(trainings.project)}
    assert listed["broken"].card is None
    assert "broken" in listed["broken"].problem
    newest = models.newest(trainings.project)
    assert newest is not None
    assert newest.name == "gtformer-1"
    with pytest.raises(OptionError, match="no model 'x'; choose from"):
        models.path_of(trainings.project, "x")


# -- nothing is remembered, everything is looked up ------------------------------------------------


def test_another_program_sees_the_same_and_brings_the_model_in(
    trainings: Trainings, project: Project
) -> None:
    number = begin(trainings, *SLOW)
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
    number = begin(trainings, *SLOW)
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

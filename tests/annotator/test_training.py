"""Trainings as processes: what they start with, how they end, and the model they leave."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from annotator import models, trainer, training
from annotator import training_files as files
from annotator.intake import add_photos
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_options import TrainingOptions, material
from engine.errors import JobError, OptionError, StoreError
from exports.tags import read_tags
from tests.annotator.trainers import (
    FAKE_TRAINER,
    PATIENCE,
    begin,
    hold_at,
    let_go,
    started,
    wait_for_end,
)
from tests.conftest import save_scene

pytestmark = pytest.mark.usefixtures("fake_trainer")


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
    assert started(folder)["photos"] == 3
    assert not (folder / "photos").exists()  # they lie in one folder: none is copied


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
    assert started(found.folder)["photos"] == 4


def test_photos_of_two_folders_are_copied_where_links_cannot_be(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    save_scene(tmp_path / "more" / "cat" / "z.png", seed=9)
    add_photos(trainings.project, tmp_path / "more", actor="tester", from_folders=True)
    found = wait_for_end(trainings, begin(trainings))
    assert (found.status, started(found.folder)["photos"]) == (training.DONE, 4)
    copy, source = found.folder / "photos" / "cat" / "z.png", tmp_path / "more" / "cat" / "z.png"
    assert not os.path.samefile(copy, source)
    assert copy.read_bytes() == source.read_bytes()


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


def test_a_training_begins_with_a_model_of_the_project_or_with_a_file(
    trainings: Trainings, tmp_path: Path
) -> None:
    wait_for_end(trainings, begin(trainings, epochs=1, name="first"))
    number = begin(trainings, epochs=1, weights="first")
    assert wait_for_end(trainings, number).status == training.DONE
    request = files.read_note(trainings.get(number).folder, files.REQUEST)
    assert request["weights"] == str(models.path_of(trainings.project, "first"))
    (tmp_path / "deit.pth").write_bytes(b"")
    wait_for_end(trainings, begin(trainings, epochs=1, weights=str(tmp_path / "deit.pth")))
    with pytest.raises(OptionError, match="no model 'none'; choose from"):
        begin(trainings, weights="none")


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


def test_a_name_belongs_to_one_training_though_its_model_was_deleted(
    trainings: Trainings,
) -> None:
    number = begin(trainings, *hold_at(1), name="birds")
    with pytest.raises(OptionError, match="is, or was, called 'birds'"):
        begin(trainings, name="birds")
    let_go(trainings, number)
    wait_for_end(trainings, number)
    with pytest.raises(OptionError, match="is, or was, called 'birds'"):
        begin(trainings, name="birds")
    models.path_of(trainings.project, "birds").unlink()
    assert trainings.get(number).status == training.DONE
    assert models.paths(trainings.project) == []  # what a person deleted does not come back
    with pytest.raises(OptionError, match="is, or was, called 'birds'"):
        begin(trainings, name="birds")


@pytest.mark.parametrize("what", ["start", "resume"])
def test_who_reviews_does_not_wait_while_photos_are_copied_for_a_trainer(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    project, copy, saved = trainings.project, files.photo_folder, []
    if what == "resume":
        number = begin(trainings, "--fail-at", "2")
        wait_for_end(trainings, number)

    def save() -> None:
        with project.write() as transaction:
            transaction.set_setting("a", "decision")
            saved.append(transaction.setting("a"))

    def copied(*arguments: Any) -> Path:
        reviewer = threading.Thread(target=save, daemon=True)
        reviewer.start()
        reviewer.join(PATIENCE)
        if what == "start":
            with pytest.raises(OptionError, match="is, or was, called 'birds'"):
                begin(trainings, name="birds")  # somebody else, at the same moment
        return copy(*arguments)

    monkeypatch.setattr(files, "photo_folder", copied)
    if what == "start":
        number = begin(trainings, name="birds")
        assert files.reservations(project) == []
    else:
        training.resume(project, number)
    assert saved == ["decision"]
    wait_for_end(trainings, number)


def test_what_cannot_be_prepared_leaves_no_folder_and_no_name_taken(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Path:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(files, "photo_folder", fail)
        with pytest.raises(StoreError, match="the disk is full"):
            begin(trainings, name="birds")
    place = trainings.project.folder / "training"
    assert list(place.iterdir()) == []
    (place / "1-cam").mkdir()  # of somebody who was killed in the middle of it
    dead = {"name": "birds", "process": 2**22 + 1, "identity": "nobody"}
    files.write_note(place / "1-cam", files.RESERVED, dead)
    found = wait_for_end(trainings, begin(trainings, name="birds", epochs=1))
    assert (found.number, found.name, found.status) == (2, "birds", training.DONE)


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
    monkeypatch.setenv(trainer.TRAINER, "python3 -c 'raise ValueError(\"no room\")'")
    found = wait_for_end(trainings, begin(trainings))
    assert (found.status, found.message) == (training.FAILED, "ValueError: no room")


def test_a_trainer_that_is_not_there_is_told_at_once(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trainer.TRAINER, "no-such-program-anywhere")
    with pytest.raises(JobError, match="the trainer cannot start"):
        begin(trainings)
    (found,) = trainings.all()
    assert found.status == training.INTERRUPTED
    monkeypatch.setenv(trainer.TRAINER, FAKE_TRAINER)
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

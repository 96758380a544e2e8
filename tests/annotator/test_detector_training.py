"""Detectors from what was accepted: what they learn from, and that they train as localizers do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator import (
    estimates,
    model_commands,
    models,
    processes,
    trainer,
    training,
)
from annotator import training_files as files
from annotator.__main__ import DONE
from annotator.estimates import Estimate
from annotator.journal import Change
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_kinds import KINDS
from annotator.training_options import DetectorTrainingOptions
from engine.errors import JobError
from engine.types import Status
from exports.detection_data import read_detection_data
from tests.annotator.command_line import answer, complaint
from tests.annotator.reviewed import put, reviewed_project, sorted_photos
from tests.annotator.trainers import (
    PATIENCE,
    begin,
    begin_detector,
    hold_at,
    kill,
    process_of,
    wait_for,
    wait_for_end,
    wait_for_step,
)

pytestmark = pytest.mark.usefixtures("fake_trainer")


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Trainings]:
    """Twelve reviewed photos; what still runs after the test is killed."""
    project = reviewed_project(tmp_path, photos=12, classes=("egg", "hen"))
    found = Trainings(project)
    yield found
    for one in found.all():
        if one.is_active:
            processes.kill_session(*process_of(one.folder))
            wait_for_end(found, one.number)
    project.close()


# -- from the start to the model -------------------------------------------------------------------


def test_the_model_that_proposed_most_of_it_is_the_parent(hens: Trainings) -> None:
    train, _ = sorted_photos(hens.project)
    for image_id in train[:3]:
        put(hens.project, image_id, status=Status.EDITED, checkpoint="maskrcnn-7")
    put(hens.project, train[3], checkpoint="gtformer-1")
    for image_id in train[3:8]:  # what was refused is nobody's heritage
        put(hens.project, image_id, status=Status.REJECTED, checkpoint="gtformer-1")
    found = wait_for_end(hens, begin_detector(hens))
    assert read_detection_data(found.folder / "data.json").parent == "maskrcnn-7"
    (model,) = models.all_models(hens.project)
    assert model.card is not None
    assert model.card.training["parent"] == "maskrcnn-7"
    assert (found.name, model.name, model.what) == ("maskrcnn-1", "maskrcnn-1", "detector")


# -- settings and lists ----------------------------------------------------------------------------


def test_settings_reach_the_trainer_of_detectors(hens: Trainings) -> None:
    options = DetectorTrainingOptions(model="fasterrcnn", epochs=1, batch=2, drop=False, threads=1)
    found = wait_for_end(hens, training.start(hens.project, options, name="Hühner 1"))
    assert found.status == training.DONE, found.message
    request = files.read_note(found.folder, files.REQUEST)
    assert request["flags"] == [
        *("--model", "fasterrcnn", "--epochs", "1", "--batch", "2", "--no-drop"),
        *("--threads", "1", "--least-steps", "0"),
    ]
    assert found.folder.name == "1-fasterrcnn"
    assert models.path_of(hens.project, "Hühner 1").is_file()


def test_a_localizer_and_a_detector_share_numbers_and_the_list_but_not_their_uses(
    hens: Trainings,
) -> None:
    with hens.project.write() as transaction:
        for image_id, name in ((1, "egg"), (2, "hen")):
            row = {"image_id": image_id, "category_id": transaction.category_ids()[name]}
            change = Change("image_tag", None, None, row)
            transaction.record("tag", [change], actor="tester", image_id=image_id)
    wait_for_end(hens, begin(hens, epochs=1))
    wait_for_end(hens, begin_detector(hens, epochs=1))
    assert [(one.number, one.what) for one in hens.all()] == [(2, "detector"), (1, "localizer")]
    newest = models.newest(hens.project)
    assert newest is not None
    assert newest.name == "gtformer-1"  # the detector is newer, and no localizer
    assert [one.name for one in models.of_kind(hens.project, "detector")] == ["maskrcnn-2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "gtformer"], "no detector 'gtformer'; choose from fasterrcnn, maskrcnn"),
        (["--image-size", "96"], "--image-size is no setting of a detector; leave it out"),
        (["--truth", "x.json"], "judged by the photos that the project holds back"),
        (["--with-proposals", "1.5"], "with_proposals is a score from 0 to 1, got 1.5"),
        (["--weights", "none"], "no model 'none'"),
        (["--resume", "1", "--with-proposals", "0.5"], "leave out --with-proposals"),
        (["--epochs", "1", "--", "--fail-at", "2"], "training 1 failed: the loss of step 2"),
    ],
)
def test_mistakes_are_told_in_one_line(
    hens: Trainings, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in complaint(capsys, "train", "detector", hens.project.folder, *words)


def test_the_settings_of_a_detector_are_none_of_a_localizer(
    hens: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "localizer", hens.project.folder, "--with-proposals", "0.5")
    assert "--with-proposals is no setting of a localizer" in complaint(capsys, *words)
    words = ("train", "localizer", hens.project.folder, "--estimate")
    assert "only the time of a detector can be estimated" in complaint(capsys, *words)


# -- how long it would take ------------------------------------------------------------------------


def test_an_estimate_is_the_trainers_and_leaves_nothing_behind(
    hens: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hens.project.folder
    train, _ = sorted_photos(hens.project)
    code, value = answer(capsys, "train", "detector", folder, "--estimate", "--epochs", "3")
    assert (code, value["steps"], value["seconds"]) == (DONE, 30, 750.0)
    assert (value["photos"], value["instances"]) == (len(train), len(train))
    sentence = model_commands.estimate_sentence(Estimate(**value))
    assert sentence.startswith("about 12 min: 30 steps of 0.5 s, on")
    assert list((folder / ".cache").glob("estimate-*")) == []
    assert hens.all() == []


def test_a_trainer_that_cannot_estimate_says_why(
    hens: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trainer.DETECTOR_TRAINER, "python3 -c 'raise ValueError(\"no room\")'")
    with (
        estimates.ask(hens.project, DetectorTrainingOptions()) as asked,
        pytest.raises(JobError, match="how long it would take: ValueError: no room"),
    ):
        asked.wait()
    monkeypatch.setenv(trainer.DETECTOR_TRAINER, "no-such-program-anywhere")
    with pytest.raises(JobError, match="the trainer cannot start"):
        estimates.ask(hens.project, DetectorTrainingOptions())
    assert list((hens.project.folder / ".cache").glob("estimate-*")) == []


def test_an_estimate_ends_when_it_is_cancelled_and_when_nobody_asks_any_more(
    hens: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DetectorTrainingOptions(epochs=1)
    slow = ("--pace", "600")
    begun = time.monotonic()
    asked = estimates.ask(hens.project, options, passed_on=slow)
    assert asked.found() is None
    asked.cancel()
    with pytest.raises(JobError, match="cancelled"):
        asked.found()
    monkeypatch.setattr(estimates, "FORGOTTEN_SECONDS", 0.0)
    forgotten = estimates.ask(hens.project, options, passed_on=slow)
    forgotten._thread.join(PATIENCE)
    assert not forgotten._thread.is_alive()
    assert time.monotonic() - begun < 600
    assert list((hens.project.folder / ".cache").glob("estimate-*")) == []


def test_what_a_killed_app_left_of_an_estimate_is_ended_and_swept_away(hens: Trainings) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from annotator import estimates; from annotator.store import Project\n"
        "from annotator.training_options import DetectorTrainingOptions\n"
        "project = Project.open(Path(sys.argv[1]))\n"
        "options = DetectorTrainingOptions(epochs=1)\n"
        "estimates.ask(project, options, passed_on=['--pace', '600']); print('asked')\n"
        "sys.stdout.flush(); sys.stdin.read()\n"
    )
    app = subprocess.Popen(
        [sys.executable, "-c", script, str(hens.project.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert app.stdout is not None
    assert app.stdout.readline() == b"asked\n"
    app.kill()
    app.communicate()
    (left,) = hens.project.cache.glob("estimate-*")
    trainer_of_it = process_of(left)
    assert processes.is_running(*trainer_of_it)
    with estimates.ask(hens.project, DetectorTrainingOptions(epochs=1)) as asked:
        assert not left.exists()
        assert len(list(hens.project.cache.glob("estimate-*"))) == 1  # our own
        estimates._sweep(hens.project)
        assert len(list(hens.project.cache.glob("estimate-*"))) == 1
        asked.cancel()
    deadline = time.monotonic() + PATIENCE
    while processes.is_running(*trainer_of_it):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89.4, "89 s"), (90, "2 min"), (5300, "88 min"), (5400, "1 h 30 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert estimates.duration(seconds) == text


# -- killed, and going on --------------------------------------------------------------------------


def test_a_killed_detector_trainer_goes_on_and_loses_no_step(hens: Trainings) -> None:
    number = begin_detector(hens, *hold_at(12))
    wait_for_step(hens, number, 12)
    kill(hens, number)
    found = wait_for_end(hens, number)
    assert (found.status, found.is_resumable) == (training.INTERRUPTED, True)
    assert hens.log(number).class_figures.keys() == {"egg", "hen"}
    training.resume(hens.project, number)
    assert wait_for_end(hens, number).status == training.DONE
    assert list(hens.log(number).steps) == list(range(1, 21))
    assert [model.name for model in models.all_models(hens.project)] == ["maskrcnn-1"]


def test_server_and_trainer_killed_together_leave_the_truth_behind(hens: Trainings) -> None:
    """The server is a process that starts the training, as the app does, and is killed."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from annotator import training; from annotator.store import Project\n"
        "from annotator.training_options import DetectorTrainingOptions\n"
        "project = Project.open(Path(sys.argv[1]))\n"
        "options = DetectorTrainingOptions(epochs=3)\n"
        f"training.start(project, options, passed_on={hold_at(12)}); time.sleep(600)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script, str(hens.project.folder)])
    try:
        deadline = time.monotonic() + PATIENCE
        while not hens.all():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        wait_for_step(hens, 1, 12)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert hens.get(1).status == training.RUNNING  # it outlives the server
    kill(hens, 1)
    other = Project.open(hens.project.folder)  # as a server that is started again
    again = Trainings(other)
    assert wait_for(again, 1, lambda one: not one.is_active).status == training.INTERRUPTED
    training.resume(other, 1)
    assert wait_for_end(again, 1).status == training.DONE
    assert list(again.log(1).steps) == list(range(1, 31))
    other.close()


def test_another_trainer_is_taken_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["detector"]
    assert set(trainer.presets(kind)) == {"fasterrcnn", "maskrcnn"}
    monkeypatch.delenv(trainer.DETECTOR_TRAINER)
    assert trainer.words_of(kind)[-2:] == ["-m", "training.detector"]

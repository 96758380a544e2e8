"""`annotator train`, and what `status` and `models` say of trainings, as a person types them."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from annotator import model_commands, trainer, training
from annotator.__main__ import DONE, INTERRUPTED, LEFT_OUT, main
from annotator.training import Trainings
from tests.annotator.command_line import answer, complaint
from tests.annotator.trainers import PATIENCE, hold_at, let_go, wait_for_end, wait_for_step

Captured = pytest.CaptureFixture[str]


def wait_for_first(trainings: Trainings, *, step: int) -> None:
    """Until there is a training and it has got so far."""
    deadline = time.monotonic() + PATIENCE
    while not trainings.all():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    wait_for_step(trainings, 1, step)


@pytest.fixture(autouse=True)
def _quick(fake_trainer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_commands, "LOOK_SECONDS", 0.02)


def test_training_from_the_command_line_ends_with_a_model(
    trainings: Trainings, capsys: Captured
) -> None:
    folder = str(trainings.project.folder)
    words = ["train", "localizer", folder, "--model", "tscam", "--epochs", "1", "--name", "birds"]
    assert main([*words, "--", "--pace", "0"]) == DONE
    out = capsys.readouterr().out
    assert "training 1 (tscam) done: step 10 of 10, top1 0.750 gt_known 0.500" in out
    assert "the model is called birds" in out
    assert main(["models", "--project", folder]) == DONE
    line = next(line for line in capsys.readouterr().out.splitlines() if "birds:" in line)
    for fact in ("tscam", "2 classes (cat, dog)", "64 px", "top1 0.750", "gt_known 0.500", "UTC"):
        assert fact in line
    code, value = answer(capsys, "models", "--project", folder)
    assert (code, [model["name"] for model in value["project_models"]]) == (DONE, ["birds"])
    assert value["project_models"][0]["card"]["classes"] == ["cat", "dog"]


def test_status_shows_trainings(trainings: Trainings, capsys: Captured) -> None:
    folder = trainings.project.folder
    assert answer(capsys, "status", folder)[1]["trainings"] == []
    code, value = answer(capsys, "train", "localizer", folder, "--epochs", "1", "--background")
    assert (code, value["number"]) == (DONE, 1)
    wait_for_end(trainings, 1)
    (shown,) = answer(capsys, "status", folder)[1]["trainings"]
    assert (shown["status"], shown["name"], shown["step"]) == ("done", "gtformer-1", 10)
    assert main(["status", str(folder)]) == DONE
    assert "training 1 (gtformer) done: step 10 of 10" in capsys.readouterr().out


def test_a_training_in_the_background_is_stopped_watched_and_resumed(
    trainings: Trainings, capsys: Captured
) -> None:
    train = ("train", "localizer", trainings.project.folder)
    held = ("--background", "--epochs", "2", "--", *hold_at(2))
    assert main([*map(str, train), *held]) == DONE
    assert "--watch 1" in capsys.readouterr().out
    wait_for_step(trainings, 1, 2)
    assert answer(capsys, *train, "--stop", "1")[1]["status"] in ("stopping", "stopped")
    code, value = answer(capsys, *train, "--watch", "1")
    assert (code, value["status"]) == (LEFT_OUT, "stopped")
    assert "reset" not in value["message"]
    code, value = answer(capsys, *train, "--resume", "1")
    assert (code, value["status"], value["step"]) == (DONE, "done", 20)


def test_ctrl_c_stops_the_trainer_cleanly(trainings: Trainings, capsys: Captured) -> None:
    def press_when_it_runs() -> None:
        wait_for_first(Trainings(trainings.project), step=2)
        _thread.interrupt_main()

    presser = threading.Thread(target=press_when_it_runs)
    presser.start()
    words = ["train", "localizer", str(trainings.project.folder), "--epochs", "9"]
    assert main([*words, "--", *hold_at(2)]) == INTERRUPTED
    presser.join()
    assert "go on with --resume 1" in capsys.readouterr().err
    assert trainings.get(1).status == training.STOPPED


def test_the_training_outlives_a_command_that_is_killed(trainings: Trainings) -> None:
    words = ["train", "localizer", str(trainings.project.folder), "--epochs", "2"]
    command = subprocess.Popen(
        [sys.executable, "-m", "annotator", *words, "--", *hold_at(2)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_first(trainings, step=2)
    finally:
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
    assert trainings.get(1).status == training.RUNNING
    let_go(trainings, 1)
    assert wait_for_end(trainings, 1).status == training.DONE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "yolo"], "no localizer 'yolo'"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--truth", "none.json"], "no truth file 'none.json'"),
        (["--weights", "x.pth"], "no model 'x.pth'"),
        (["--resume", "3"], "no training number 3; there is none yet"),
        (["--resume", "3", "--epochs", "2"], "leave out --epochs"),
        (["--stop", "1"], "no training number 1"),
        (["--name", "a/b"], "cannot be called 'a/b'"),
        (["--epochs", "1", "--", "--fail-at", "2"], "training 1 failed: the loss of step 2 is not"),
        (["--", "--lr-typo", "2"], "unrecognized arguments: --lr-typo"),
    ],
)
def test_mistakes_are_told_in_one_line(
    trainings: Trainings, capsys: Captured, words: list[str], said: str
) -> None:
    assert said in complaint(capsys, "train", "localizer", trainings.project.folder, *words)


def test_the_real_trainer_is_asked_unless_another_one_is_named(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(trainer.TRAINER)
    (tmp_path / "training").mkdir()  # a folder that is not the trainer's package
    (tmp_path / "training" / "wsol.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    words = ["train", "localizer", str(trainings.project.folder), "--background"]
    assert main([*words, "--", "--help"]) == DONE
    output = wait_for_end(trainings, 1).folder / "output.txt"
    assert "--photos" in output.read_text()

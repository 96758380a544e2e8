"""Killed, stopped and shared trainings of detectors end where an undisturbed one does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from annotator.training_log import TrainingLog
from engine.errors import JobError
from tests.ports import free_port
from tests.training.detector_runs import (
    detector_flags,
    some_photos,
    tiny_detector,
    uneven_photos,
    written,
)
from tests.training.runs import PATIENCE, start
from tests.training.test_detector_runs import assert_same_detector
from tests.training.test_runs import of_kind
from training.detector import main, train
from training.log import Event, read_log
from training.loop import Stopped
from training.run_folder import STOPPED
from training.state import NAME as STATE

# Several processes import torch, and wait for each other.
pytestmark = pytest.mark.timeout(2 * PATIENCE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    return written(folder, some_photos(folder))


RECIPE = {"epochs": 3, "drop_class": 1.0, "scales": (40, 48), "colour": 0.2}


def comparable(events: list[Event]) -> dict[int, tuple[object, ...]]:
    """What each step said, the last time it was told, without clocks."""
    return {
        event["step"]: (event["loss"], event["terms"], event["dropped"], event["lr"])
        for event in of_kind(events, "step")
    }


@pytest.mark.parametrize("model", ["fasterrcnn", "maskrcnn"])
def test_a_killed_run_goes_on_to_the_very_same_detector(
    model: str, photos: Path, tmp_path: Path
) -> None:
    at_once = train(tiny_detector(photos, tmp_path / "at once", model=model, recipe=RECIPE))
    out = tmp_path / "killed"
    interrupted(photos, out, at=3, model=model, recipe=RECIPE)
    with (out / "log.jsonl").open("ab") as file:
        file.write(b'{"event": "st')  # as a power cut would leave it
    assert torch.load(out / STATE, weights_only=True)["progress"]["step"] == 2
    gone_on: list[Event] = []
    settings = tiny_detector(photos, out, model=model, recipe=RECIPE, resume=True)
    resumed = train(settings, on_event=gone_on.append)
    assert (gone_on[0]["event"], gone_on[0]["step"]) == ("start", 2)
    assert_same_detector(at_once, resumed)
    logged = comparable(read_log(out / "log.jsonl"))
    assert logged == comparable(read_log(tmp_path / "at once" / "log.jsonl"))
    instances = [tmp_path / name / "instances.json" for name in ("at once", "killed")]
    assert instances[0].read_bytes() == instances[1].read_bytes()


def test_a_stop_is_answered_between_two_steps_and_loses_nothing(
    photos: Path, tmp_path: Path
) -> None:
    at_once = train(tiny_detector(photos, tmp_path / "at once", recipe=RECIPE))
    out = tmp_path / "run"

    def stop(event: Event) -> None:
        # The second step ends an epoch, so the stop comes before its validation.
        if event["event"] == "step" and event["step"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tiny_detector(photos, out, recipe=RECIPE), on_event=stop)
    events = read_log(out / "log.jsonl")
    assert events[-1]["event"] == "stopped"
    assert not of_kind(events, "validation")
    gone_on: list[Event] = []
    path = train(tiny_detector(photos, out, recipe=RECIPE, resume=True), on_event=gone_on.append)
    assert [event["epoch"] for event in of_kind(gone_on, "validation")] == [1, 2, 3]
    assert_same_detector(at_once, path)
    instances = [tmp_path / name / "instances.json" for name in ("at once", "run")]
    assert instances[0].read_bytes() == instances[1].read_bytes()


def test_short_epochs_that_nobody_judges_write_no_state(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    seen: list[int] = []

    def look(event: Event) -> None:
        if event["event"] == "step" and (out / STATE).exists():
            seen.append(torch.load(out / STATE, weights_only=True)["progress"]["step"])

    recipe = {**RECIPE, "epochs": 4, "validate_steps": 4}
    machine = {"save_seconds": 1000.0}
    settings = tiny_detector(photos, out, recipe=recipe, machine=machine)
    path = train(settings, on_event=look)
    assert seen == [4] * 4  # told before the last step is saved
    again = tmp_path / "again"
    interrupted(photos, again, at=7, recipe=recipe, machine=machine)
    resumed = tiny_detector(photos, again, recipe=recipe, machine=machine, resume=True)
    assert_same_detector(path, train(resumed))
    instances = [tmp_path / name / "instances.json" for name in ("run", "again")]
    assert instances[0].read_bytes() == instances[1].read_bytes()


def test_a_run_that_ended_early_stays_so(photos: Path, tmp_path: Path) -> None:
    recipe = {"epochs": 50, "learning_rate": 1e-9, "patience": 1, "average": 0.0}
    path = train(tiny_detector(photos, tmp_path / "run", recipe=recipe))
    before = path.read_bytes()
    told: list[Event] = []
    settings = tiny_detector(photos, tmp_path / "run", recipe=recipe, resume=True)
    train(settings, on_event=told.append)
    assert [event["event"] for event in told] == ["start", "done"]
    assert told[-1]["early"] is True
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "changed",
    [{"recipe": {"epochs": 4}}, {"network": {"head_width": 40}}, {"machine": {"seed": 1}}],
    ids=["recipe", "network", "seed"],
)
def test_a_run_does_not_go_on_with_other_settings(
    changed: dict[str, dict[str, int]], photos: Path, tmp_path: Path
) -> None:
    train(tiny_detector(photos, tmp_path / "run", recipe={"epochs": 1}))
    merged = {"recipe": {"epochs": 1}, **changed}
    with pytest.raises(JobError, match="other photos, tags or settings"):
        train(tiny_detector(photos, tmp_path / "run", resume=True, **merged))


def interrupted(photos: Path, out: Path, *, at: int, **others: Any) -> None:
    """A run that dies when it tells of that step, whose state is then that of the one before."""

    def dies(event: Event) -> None:
        if event["event"] == "step" and event["step"] == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny_detector(photos, out, **others), on_event=dies)


@pytest.mark.parametrize("loss", ["gone", "broken"])
@pytest.mark.parametrize("name", ["002.png", "006.png"], ids=["trains", "validates"])
def test_a_killed_run_goes_on_without_a_photo_that_is_lost_and_says_so(
    loss: str, name: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    interrupted(photos, out, at=3, recipe=RECIPE)
    content = (photos / name).read_bytes()
    if loss == "gone":
        (photos / name).unlink()
    else:
        (photos / name).write_bytes(b"spilt coffee")
    gone_on: list[Event] = []
    train(tiny_detector(photos, out, recipe=RECIPE, resume=True), on_event=gone_on.append)
    assert [event["step"] for event in gone_on[:2]] == [2, 2]
    assert gone_on[0]["left_out"]["unreadable"] == 1
    assert gone_on[1]["event"] == "note"
    assert f"without photo {name!r}" in gone_on[1]["text"]
    assert [event["step"] for event in of_kind(gone_on, "step")] == [3, 4, 5, 6]
    assert gone_on[-1]["event"] == "done"
    instances = json.loads((out / "instances.json").read_text(encoding="utf-8"))["instances"]
    assert sorted(map(int, instances)) == [10, 11, 20, 21, 30, 31, 40, 41]
    # It may come back, but not as another photo.
    (photos / name).write_bytes(content)
    gone_on.clear()
    train(tiny_detector(photos, out, recipe=RECIPE, resume=True), on_event=gone_on.append)
    assert [event["event"] for event in gone_on] == ["start", "done"]


def test_a_run_does_not_go_on_with_a_photo_that_has_changed(photos: Path, tmp_path: Path) -> None:
    interrupted(photos, tmp_path / "run", at=3)
    (photos / "002.png").write_bytes((photos / "003.png").read_bytes())
    with pytest.raises(JobError, match=r"photo '002\.png' has changed.* put back"):
        train(tiny_detector(photos, tmp_path / "run", resume=True))


def test_steps_stay_what_they_are_where_a_photo_does_not_open(photos: Path, tmp_path: Path) -> None:
    whole: list[Event] = []
    train(tiny_detector(photos, tmp_path / "whole", recipe={"epochs": 1}), on_event=whole.append)
    (photos / "001.png").unlink()
    fewer: list[Event] = []
    train(tiny_detector(photos, tmp_path / "fewer", recipe={"epochs": 1}), on_event=fewer.append)
    assert (whole[0]["photos"], fewer[0]["photos"]) == (4, 3)
    assert whole[0]["steps"] == fewer[0]["steps"] == 2


def test_a_run_does_not_go_on_with_other_objects(photos: Path, tmp_path: Path) -> None:
    train(tiny_detector(photos, tmp_path / "run", recipe={"epochs": 1}))
    fewer = some_photos(photos)
    written(photos, [fewer[0], *some_photos(photos, train=3, validation=0)[1:], *fewer[4:]])
    with pytest.raises(JobError, match="other photos"):
        train(tiny_detector(photos, tmp_path / "run", recipe={"epochs": 1}, resume=True))


@pytest.mark.slow
def test_sigterm_finishes_the_step_and_says_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = detector_flags(photos, out, "--epochs", "5000")
    process = start(["-m", "training.detector", *flags])
    log = out / "log.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not (log.exists() and b'"step", "at"' in log.read_bytes()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == STOPPED, said
    assert "--resume" in said
    events = read_log(log)
    assert events[-1]["event"] == "stopped"
    state = torch.load(out / STATE, weights_only=True)
    assert state["progress"]["step"] == events[-1]["step"]


def killed_after(
    process: subprocess.Popen[str], log: Path, *, already: int, steps: int, seconds: float
) -> None:
    """SIGKILL so many seconds after the log has told of so many more steps."""
    deadline = time.monotonic() + PATIENCE
    while not (log.exists() and log.read_bytes().count(b'"event": "step"') >= already + steps):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_process_that_is_killed_at_any_moment_goes_on_to_the_very_same_detector(
    seed: int, photos: Path, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    more = ("--epochs", "15", "--drop-class", "1.0", "--scales", "40", "48", "--colour", "0.2")
    assert main(detector_flags(photos, tmp_path / "at once", *more)) == 0
    out = tmp_path / "killed"
    command = ["-m", "training.detector", *detector_flags(photos, out, *more)]
    last: list[int] = []
    for number in range(2):
        log = out / "log.jsonl"
        already = log.read_bytes().count(b'"event": "step"') if number else 0
        process = start([*command, *["--resume"] * number])
        killed_after(
            process,
            log,
            already=already,
            steps=chance.randint(1, 6),
            seconds=chance.uniform(0.0, 0.1),
        )
        last.append(of_kind(read_log(log), "step")[-1]["step"])
    process = start([*command, "--resume"])
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert_same_detector(tmp_path / "at once" / "model.safetensors", out / "model.safetensors")
    events = read_log(out / "log.jsonl")
    assert len(of_kind(events, "start")) == 3
    begun = [event["step"] for event in of_kind(events, "start")]
    # A state is saved after each step, so at most the one that was told last is done again.
    assert all(there in (step - 1, step) for step, there in zip(last, begun[1:], strict=True))
    told = TrainingLog(out / "log.jsonl").refresh()
    assert list(told.steps) == list(range(1, 31))  # each once
    assert comparable(events) == comparable(read_log(tmp_path / "at once" / "log.jsonl"))
    instances = [tmp_path / name / "instances.json" for name in ("at once", "killed")]
    assert instances[0].read_bytes() == instances[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fasterrcnn", "maskrcnn"])
def test_two_processes_learn_what_one_learns(model: str, tmp_path: Path) -> None:
    """Also where one of them has four objects on a photo and the other one, and half is dropped."""
    folder = tmp_path / "photos"
    photos = written(folder, uneven_photos(folder))
    more = ("--epochs", "2", "--optimiser", "sgd", "--learning-rate", "0.01", "--average", "0")
    more = (*more, "--scales", "48", "64", "--network-rois-per-image", "64")
    more = (*more, "--drop-start", "0", "--drop-class", "1.2", "--drop-box", "0.5")
    alone = tmp_path / "alone"
    assert main(detector_flags(photos, alone, *more, model=model)) == 0
    shared = tmp_path / "shared"
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    arguments = ["-m", "training.detector", *detector_flags(photos, shared, *more, model=model)]
    processes = [
        start(arguments, RANK=rank, LOCAL_RANK=rank, GLOO_SOCKET_IFNAME="lo", **common)
        for rank in ("0", "1")
    ]
    for process in processes:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    assert_same_detector(alone / "model.safetensors", shared / "model.safetensors", tolerance=1e-5)
    events, alone_events = (read_log(one / "log.jsonl") for one in (shared, alone))
    assert events[0]["processes"] == 2
    for ours, theirs in zip(of_kind(events, "step"), of_kind(alone_events, "step"), strict=True):
        assert ours["terms"] == pytest.approx(theirs["terms"], abs=1e-4)
        assert ours["dropped"] == pytest.approx(theirs["dropped"], abs=1e-6)
    told = [(one / "instances.json").read_text(encoding="utf-8") for one in (alone, shared)]
    assert told[0].count('"seen"') == told[1].count('"seen"') == 10

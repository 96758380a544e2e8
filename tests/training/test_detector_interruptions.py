"""Killed, stopped and shared trainings of detectors end where an undisturbed one does."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch

from engine.errors import JobError
from tests.training.detector_runs import detector_flags, some_photos, tiny_detector, written
from tests.training.runs import start
from tests.training.test_detector_runs import assert_same_detector
from tests.training.test_runs import of_kind
from training.detector import main, train
from training.log import Event, read_log
from training.loop import Stopped
from training.run_folder import STOPPED
from training.state import NAME as STATE


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

    def dies(event: Event) -> None:
        if event["event"] == "step" and event["step"] == 3:  # whose state is that of step 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny_detector(photos, out, model=model, recipe=RECIPE), on_event=dies)
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

    def dies(event: Event) -> None:
        if event["event"] == "step" and event["step"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny_detector(photos, again, recipe=recipe, machine=machine), on_event=dies)
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
    deadline = time.monotonic() + 120
    while not (log.exists() and b'"step", "at"' in log.read_bytes()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == STOPPED, said
    assert "--resume" in said
    events = read_log(log)
    assert events[-1]["event"] == "stopped"
    state = torch.load(out / STATE, weights_only=True)
    assert state["progress"]["step"] == events[-1]["step"]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(photos: Path, tmp_path: Path) -> None:
    more = ("--epochs", "2", "--optimiser", "sgd", "--learning-rate", "0.01", "--average", "0")
    more = (*more, "--scales", "48", "64")
    alone = tmp_path / "alone"
    assert main(detector_flags(photos, alone, *more)) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = tmp_path / "shared"
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    arguments = ["-m", "training.detector", *detector_flags(photos, shared, *more)]
    processes = [
        start(arguments, RANK=rank, LOCAL_RANK=rank, GLOO_SOCKET_IFNAME="lo", **common)
        for rank in ("0", "1")
    ]
    for process in processes:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert_same_detector(alone / "model.safetensors", shared / "model.safetensors", tolerance=1e-5)
    events = read_log(shared / "log.jsonl")
    assert events[0]["processes"] == 2
    ours = [event["loss"] for event in of_kind(events, "step")]
    theirs = [event["loss"] for event in of_kind(read_log(alone / "log.jsonl"), "step")]
    assert ours == pytest.approx(theirs, abs=1e-4)
    told = [(one / "instances.json").read_text(encoding="utf-8") for one in (alone, shared)]
    assert told[0].count('"seen"') == told[1].count('"seen"') == 8

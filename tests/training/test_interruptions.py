"""Killed, stopped and shared trainings end where an undisturbed one does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from engine.errors import JobError
from tests.ports import free_port
from tests.training.runs import PATIENCE, flags, sixteen_photos, start, tiny
from tests.training.test_runs import assert_same_weights, of_kind
from training.log import Event, read_log
from training.loop import Stopped
from training.run_folder import STOPPED
from training.state import NAME as STATE
from training.wsol import main, train

# Several processes import torch, and wait for each other.
pytestmark = pytest.mark.timeout(2 * PATIENCE)

# Kills itself with -9 when the given step is logged, before that step is saved.
KILLED_AT = """
import os, signal, sys
from training.settings import parse
from training.wsol import train

def watch(event):
    if event["event"] == "step" and event["step"] == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

train(parse(sys.argv[2:]), on_event=watch)
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return sixteen_photos(tmp_path / "photos")


def comparable(events: list[Event]) -> dict[int, tuple[object, ...]]:
    """What each step said, the last time it was told, without clocks."""
    return {
        event["step"]: (event["loss"], event["terms"], event["area"], event["edge"], event["lr"])
        for event in of_kind(events, "step")
    }


@pytest.mark.parametrize("model", ["gtformer", "cam"])
def test_a_killed_run_goes_on_to_the_very_same_network(
    model: str, photos: Path, tmp_path: Path
) -> None:
    at_once = train(tiny(photos, tmp_path / "at once", model=model))
    out = tmp_path / "killed"
    if model == "cam":  # in this process: dies of an error at step 5, its state being that of 4

        def dies(event: Event) -> None:
            if event["event"] == "step" and event["step"] == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(tiny(photos, out, model=model), on_event=dies)
    else:
        process = start(["-c", KILLED_AT, "5", *flags(photos, out)])
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL, said
        with (out / "log.jsonl").open("ab") as file:
            file.write(b'{"event": "st')  # as a power cut would leave it
    assert torch.load(out / STATE, weights_only=True)["progress"]["step"] == 4
    gone_on: list[Event] = []
    resumed = train(tiny(photos, out, model=model, resume=True), on_event=gone_on.append)
    assert (gone_on[0]["event"], gone_on[0]["step"]) == ("start", 4)
    assert_same_weights(at_once, resumed)
    logged = comparable(read_log(out / "log.jsonl"))
    assert sorted(logged) == list(range(1, 13))
    assert logged == comparable(read_log(tmp_path / "at once" / "log.jsonl"))


def test_sigterm_finishes_the_step_and_the_run_can_go_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = flags(photos, out, "--epochs", "5000")
    process = start(["-m", "training.wsol", *arguments])
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
    assert events[-1]["step"] == of_kind(events, "step")[-1]["step"]
    state = torch.load(out / STATE, weights_only=True)
    assert state["progress"]["step"] == events[-1]["step"]


def test_a_stop_between_two_steps_loses_nothing(photos: Path, tmp_path: Path) -> None:
    at_once = train(tiny(photos, tmp_path / "at once"))
    out = tmp_path / "run"

    def stop(event: Event) -> None:
        if event["event"] == "step" and event["step"] == 4:  # the last one of an epoch
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tiny(photos, out), on_event=stop)
    stopped = read_log(out / "log.jsonl")[-1]
    assert (stopped["event"], stopped["step"]) == ("stopped", 5)
    assert_same_weights(at_once, train(tiny(photos, out, resume=True)))


def test_an_epoch_whose_validation_was_stopped_is_validated_when_the_run_goes_on(
    photos: Path, tmp_path: Path
) -> None:
    at_once = train(tiny(photos, tmp_path / "at once", val_share=0.4))
    out = tmp_path / "run"

    def stop(event: Event) -> None:
        if event["event"] == "step" and event["step"] % 2 == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tiny(photos, out, val_share=0.4), on_event=stop)
    first = read_log(out / "log.jsonl")
    assert first[-1]["event"] == "stopped"
    assert first[0]["steps"] == 3 * first[-1]["step"], "the stop is to fall on an epoch's end"
    assert not of_kind(first, "validation")
    gone_on: list[Event] = []
    path = train(tiny(photos, out, val_share=0.4, resume=True), on_event=gone_on.append)
    assert [event["epoch"] for event in of_kind(gone_on, "validation")] == [1, 2, 3]
    assert_same_weights(at_once, path)


def test_a_run_that_is_done_stays_done(photos: Path, tmp_path: Path) -> None:
    path = train(tiny(photos, tmp_path / "run", recipe={"epochs": 1}))
    before = path.read_bytes()
    told: list[Event] = []
    train(tiny(photos, tmp_path / "run", recipe={"epochs": 1}, resume=True), on_event=told.append)
    assert [event["event"] for event in told] == ["start", "done"]
    assert path.read_bytes() == before


def test_resuming_nothing_begins(photos: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    settings = tiny(photos, tmp_path / "run", recipe={"epochs": 1}, resume=True)
    train(settings, on_event=told.append)
    assert told[0]["step"] == 0
    assert told[-1]["event"] == "done"


@pytest.mark.parametrize(
    "changed",
    [{"recipe": {"epochs": 4}}, {"network": {"depth": 4}}, {"machine": {"seed": 1}}],
    ids=["recipe", "network", "seed"],
)
def test_a_run_does_not_go_on_with_other_settings(
    changed: dict[str, dict[str, int]], photos: Path, tmp_path: Path
) -> None:
    train(tiny(photos, tmp_path / "run"))
    with pytest.raises(JobError, match="other photos, tags or settings"):
        train(tiny(photos, tmp_path / "run", resume=True, **changed))


def test_a_run_does_not_go_on_with_other_photos(photos: Path, tmp_path: Path) -> None:
    train(tiny(photos, tmp_path / "run"))
    sixteen_photos(tmp_path / "others")
    (photos / "00.png").write_bytes((photos / "01.png").read_bytes())
    with pytest.raises(JobError, match="other photos"):
        train(tiny(photos, tmp_path / "run", resume=True))


def test_a_damaged_state_is_told(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny(photos, out))
    content = (out / STATE).read_bytes()
    (out / STATE).write_bytes(content[: len(content) // 2])
    with pytest.raises(JobError, match=r"last\.pt.*damaged"):
        train(tiny(photos, out, resume=True))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(photos: Path, tmp_path: Path) -> None:
    # Means of both halves lie above the prior, so the local area losses average to the whole's.
    more = ("--area-prior", "0.05", "--drop-path", "0", "--epochs", "2")
    alone = tmp_path / "alone"
    assert main(flags(photos, alone, *more)) == 0
    shared = tmp_path / "shared"
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    arguments = ["-m", "training.wsol", *flags(photos, shared, *more)]
    processes = [
        start(arguments, RANK=rank, LOCAL_RANK=rank, GLOO_SOCKET_IFNAME="lo", **common)
        for rank in ("0", "1")
    ]
    for process in processes:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    assert_same_weights(alone / "model.safetensors", shared / "model.safetensors", tolerance=1e-5)
    events = read_log(shared / "log.jsonl")
    assert events[0]["processes"] == 2
    ours = [event["loss"] for event in of_kind(events, "step")]
    theirs = [event["loss"] for event in of_kind(read_log(alone / "log.jsonl"), "step")]
    assert ours == pytest.approx(theirs, abs=1e-5)

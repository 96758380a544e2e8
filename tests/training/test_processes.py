"""Several processes of one training: how they join, and in which precision they compute."""

from __future__ import annotations

import json
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
import torch

from training import detector, processes, wsol
from training.processes import ProcessGroup, joined


def test_others_wait_for_hours_while_the_first_one_validates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}

    def join(backend: str, **more: Any) -> None:
        asked.update(backend=backend, **more)

    monkeypatch.setattr(processes.distributed, "init_process_group", join)
    monkeypatch.setattr(processes.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with joined("cpu") as group:
        assert (group.rank, group.count, group.leads) == (1, 2, False)
    assert asked["backend"] == "gloo"
    assert asked["timeout"] >= timedelta(hours=6)  # half an hour is torch's, ten minutes NCCL's


@pytest.mark.parametrize("has_it", [True, False])
def test_a_training_computes_in_bf16_on_gpus_that_have_it(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: has_it)
    assert ProcessGroup(0, 1, torch.device("cuda")).halves is has_it
    assert not ProcessGroup(0, 1, torch.device("cpu")).halves


@pytest.mark.parametrize("trainer", [detector, wsol])
def test_of_several_processes_the_first_one_alone_describes_the_presets(
    trainer: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app reads one JSON value from whatever command trains, torchrun included."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert trainer.main(["--describe"]) == 0
        said.append(capsys.readouterr().out)
    assert all("small" in presets for presets in json.loads(said[0]).values())
    assert said[1] == ""

"""The state that a killed training goes on from, where disk or version are in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.errors import JobError
from training.state import NAME, Progress, load_state, save_state


def test_a_disk_that_takes_no_more_keeps_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path, {}, Progress(), fingerprint="mine")
    before = (tmp_path / NAME).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(JobError, match=r"cannot write .*No space left on device.*make room"):
        save_state(tmp_path, {}, Progress(), fingerprint="mine")
    assert (tmp_path / NAME).read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [NAME]


def test_the_state_of_another_version_is_told_in_one_sentence(tmp_path: Path) -> None:
    save_state(tmp_path, {}, Progress(), fingerprint="mine")
    content = torch.load(tmp_path / NAME, weights_only=True)
    content["progress"]["field_of_tomorrow"] = 1
    torch.save(content, tmp_path / NAME)
    with pytest.raises(JobError, match="is damaged"):
        load_state(tmp_path, {}, fingerprint="mine")

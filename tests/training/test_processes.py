"""Several processes of one training: in which precision they compute."""

from __future__ import annotations

import pytest
import torch

from training.processes import ProcessGroup


@pytest.mark.parametrize("has_it", [True, False])
def test_a_training_computes_in_bf16_on_gpus_that_have_it(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: has_it)
    assert ProcessGroup(0, 1, torch.device("cuda")).halves is has_it
    assert not ProcessGroup(0, 1, torch.device("cpu")).halves

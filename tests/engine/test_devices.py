"""Where networks run, and in which precision."""

from __future__ import annotations

import pytest
import torch

from engine.devices import half_precision


@pytest.mark.parametrize("has_it", [True, False])
def test_a_gpu_that_only_imitates_bf16_computes_in_float32(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return has_it or including_emulation

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    expected = torch.bfloat16 if has_it else torch.float32
    assert half_precision(torch.device("cuda")) is expected


@pytest.mark.parametrize("has_it", [True, False])
def test_a_processor_computes_in_bf16_where_it_multiplies_it(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: has_it)
    expected = torch.bfloat16 if has_it else torch.float32
    assert half_precision(torch.device("cpu")) is expected

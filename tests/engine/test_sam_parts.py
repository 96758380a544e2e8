"""The parts of SAM's galleries against the network's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import nms

from engine.segmenters import sam_encoder
from engine.segmenters.sam_candidates import suppressed
from engine.segmenters.sam_decoder import ClickDecoder
from engine.segmenters.sam_encoder import PhotoEncoder
from engine.segmenters.sam_enlarging import ROUNDING, Enlarger
from tests.engine.small_sam import lively_sam, prepared, small_sam


@pytest.mark.parametrize(("height", "width"), [(96, 128), (128, 40), (1, 60), (200, 200)])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_decoder_agrees_with_the_network_to_rounding(
    height: int, width: int, count: int
) -> None:
    predictor = prepared(lively_sam(), height, width)
    clicks = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 200
    with torch.inference_mode():
        _, scores, logits = predictor.predict_torch(
            clicks[:, None], torch.ones(count, 1), multimask_output=True, return_logits=True
        )
        decoder = ClickDecoder(
            predictor.model,
            predictor.features,
            input_hw=predictor.input_size,
            dtype=torch.float32,
        )
        for _ in range(2):  # what is shared by all clicks must not change
            decoded = decoder.decode(clicks)
            found = decoder.logits(decoded, torch.arange(count))
    rows, columns = decoder.drawn_hw
    assert rows >= predictor.input_size[0] / 4
    assert columns >= predictor.input_size[1] / 4
    assert torch.allclose(decoded.scores, scores, atol=1e-5)
    difference = (found - logits)[..., :rows, :columns].abs().max() / logits.abs().max()
    assert float(difference) < 1e-5


def test_only_the_chosen_clicks_are_drawn() -> None:
    predictor = prepared(lively_sam(), 90, 120)
    clicks = torch.tensor([[10.0, 10.0], [60.0, 40.0], [100.0, 80.0], [3.0, 70.0], [55.0, 5.0]])
    with torch.inference_mode():
        decoder = ClickDecoder(
            predictor.model,
            predictor.features,
            input_hw=predictor.input_size,
            dtype=torch.float32,
        )
        decoded = decoder.decode(clicks)
        everything = decoder.logits(decoded, torch.arange(5))
        some = decoder.logits(decoded, torch.tensor([4, 1]))
        none = decoder.logits(decoded, torch.arange(0))
    assert torch.allclose(some, everything[[4, 1]], atol=1e-3)
    assert none.shape == (0, 3, 64, 64)


@pytest.mark.parametrize("rows_at_once", [7, 64, 1000])
def test_the_encoder_in_pieces_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(sam_encoder, "FEW_TOKENS", 0)
    monkeypatch.setattr(sam_encoder, "ROWS_AT_ONCE", rows_at_once)
    encoder = small_sam().image_encoder
    square = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.allclose(PhotoEncoder(encoder)(square), encoder(square), atol=1e-5)
        if rows_at_once >= 64:  # products of few rows may round otherwise
            assert torch.equal(PhotoEncoder(encoder)(square), encoder(square))


def test_half_precision_stays_near_and_leaves_the_weights_alone() -> None:
    encoder = small_sam().image_encoder
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    square = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        half = PhotoEncoder(encoder, dtype=torch.bfloat16)(square)
        whole = encoder(square)
    assert half.dtype == torch.float32
    assert float((half - whole).abs().mean() / whole.abs().mean()) < 0.02
    after = encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_enlarging_at_once_is_enlarging_twice(height: int, width: int, seed: int) -> None:
    scale = 128 / max(height, width)
    input_hw = (int(height * scale + 0.5), int(width * scale + 0.5))
    if min(input_hw) < 1:
        return
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    logits = functional.avg_pool2d(noise, 5, 1, 2) * 30 - 2
    large = functional.interpolate(logits, (128, 128), mode="bilinear", align_corners=False)
    large = large[..., : input_hw[0], : input_hw[1]]
    expected = functional.interpolate(large, (height, width), mode="bilinear", align_corners=False)[
        0, 0
    ]
    enlarger = Enlarger(
        side=32,
        square=128,
        input_hw=input_hw,
        original_hw=(height, width),
        device=torch.device("cpu"),
    )
    patch = enlarger.patch(logits[0, 0], above=-1.0)
    found = torch.full((height, width), -1.0)
    if patch is not None:
        rows, columns = patch.logits.shape
        found[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.logits
    difference = (found - expected).abs()[(found > -1.0) | (expected > -1.0)]
    assert difference.numel() == 0 or float(difference.max()) < ROUNDING * float(logits.abs().max())


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 4, st.integers(0, 4)), max_size=25))
def test_suppression_is_torchvisions(entries: list[tuple[int, ...]]) -> None:
    values = np.array(entries, dtype=np.float32).reshape(-1, 5)
    boxes = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    scores = values[:, 4] / 4
    for threshold in (0.5, 0.7, 1.0):
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
        assert suppressed(boxes, scores, threshold) == expected.tolist()


@pytest.mark.parametrize("seed", [0, 5, 6])
def test_in_half_precision_few_pixels_change_sides(seed: int) -> None:
    predictor = prepared(lively_sam(seed), 96, 128)
    clicks = torch.rand(12, 2, generator=torch.Generator().manual_seed(4)) * 190
    drawn = []
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            decoder = ClickDecoder(
                predictor.model, predictor.features, input_hw=predictor.input_size, dtype=dtype
            )
            decoded = decoder.decode(clicks)
            drawn.append((decoded.scores, decoder.logits(decoded, torch.arange(12)) > 0))
    (scores, masks), (half_scores, half_masks) = drawn
    rows, columns = decoder.drawn_hw
    assert masks.any()
    assert float((scores - half_scores).abs().max()) < 0.02
    assert float((masks != half_masks)[..., :rows, :columns].float().mean()) < 0.02

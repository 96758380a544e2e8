"""SAT and TS-CAM against the formulas written out, and what all transformers share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from engine.errors import OptionError
from engine.localizers import LOCALIZERS, build
from engine.localizers.kernel import smoothing_kernel
from engine.localizers.outputs import LocalizerOutput
from engine.localizers.vit import resampled_positions, self_attention_map
from tests.engine.localizers.twins import SMALL, literal_forward, literal_map, spread_out

CLASSES = 7
TRANSFORMERS = ["tscam", "sat", "gtformer"]


def small(arch: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return spread_out(build(arch, num_classes=CLASSES, **{**SMALL, **options}))


def photos(*shape: int) -> Tensor:
    return torch.randn(*(shape or (2, 3, 64, 64)), generator=torch.Generator().manual_seed(1))


def test_sat_equals_the_literal_formulas() -> None:
    network = small("sat")
    images = photos()
    with torch.no_grad():
        output = network(images)
        queries = (network.loc_token + network.loc_embed).expand(2, -1, -1)
        twin = literal_forward(network, images, queries=queries, gated_blocks=(2, 3, 4))
    maps = literal_map(twin.gates[-3:], 8)[:, 0]
    assert maps.max() - maps.min() > 0.15
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.coarse_map, maps, atol=1e-5, rtol=0)
    assert output.token_maps is None
    assert output.class_maps is None


def test_tscam_equals_the_literal_formulas() -> None:
    network = small("tscam", depth=12)
    images = photos()
    with torch.no_grad():
        output = network(images, return_attentions=True)
        twin = literal_forward(network, images, queries=None)
    rows = sum(attention.mean(1)[:, 0] for attention in twin.attentions)
    torch.testing.assert_close(rows.sum(1), torch.full((2,), 12.0), atol=1e-5, rtol=0)
    seen = rows[:, 1:].reshape(2, 1, 8, 8)
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.class_maps, seen * twin.scores, atol=1e-5, rtol=0)
    own_rows = sum(attention.mean(1)[:, 0] for attention in output.attentions)
    torch.testing.assert_close(own_rows, rows, atol=1e-5, rtol=0)
    assert output.coarse_map is None


@pytest.mark.parametrize("arch", TRANSFORMERS)
def test_attentions_come_on_request_and_change_nothing(arch: str) -> None:
    network = small(arch)
    images = photos(2, 3, 40, 64)
    with torch.no_grad():
        plain, asked = network(images), network(images, return_attentions=True)
    extra = {"tscam": 0, "sat": 1, "gtformer": 4}[arch]
    n = 1 + 5 * 8 + extra
    assert plain.attentions is None
    assert [one.shape for one in asked.attentions] == [(2, 3, n, n)] * 5
    for attention in asked.attentions:  # before the gates, so every row is a distribution
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, n))
    torch.testing.assert_close(asked.logits, plain.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arch", "classes", "options", "total", "trainable"),
    [
        ("gtformer", 1000, {}, 26_305_393, 26_305_384),
        ("gtformer", 200, {}, 23_539_793, 23_539_784),
        ("gtformer", 1000, {"global_tokens": 1}, 25_418_353, 25_418_344),
        ("gtformer", 1000, {"proj_mode": "reference"}, 26_305_393, 26_305_384),
        ("sat", 1000, {}, 25_123_441, 25_123_432),
        ("tscam", 1000, {}, 25_122_664, 25_122_664),
    ],
)
def test_parameters_are_as_many_as_published(
    arch: str, classes: int, options: dict[str, Any], total: int, trainable: int
) -> None:
    with torch.device("meta"):
        network = build(arch, num_classes=classes, **options)
    sizes = [(one.numel(), one.requires_grad) for one in network.parameters()]
    assert sum(size for size, _ in sizes) == total
    assert sum(size for size, learns in sizes if learns) == trainable


def test_the_kernel_has_the_published_values() -> None:
    kernel = smoothing_kernel()
    assert kernel.shape == (1, 1, 3, 3)
    corner, side, centre = 0.00262846, 0.0460116, 0.80543974
    expected = [[corner, side, corner], [side, centre, side], [corner, side, corner]]
    torch.testing.assert_close(kernel[0, 0], torch.tensor(expected), atol=1e-6, rtol=0)
    sums = F.conv2d(torch.ones(1, 1, 14, 14), kernel, padding=1)[0, 0]
    for cell, value in (((7, 7), 1.0), ((0, 7), 0.948731), ((0, 0), 0.900091)):
        assert float(sums[cell]) == pytest.approx(value, abs=1e-6)


def _constant(value: float) -> Tensor:
    return torch.full((14, 14), value)


def _block() -> Tensor:
    cells = torch.zeros(14, 14)
    cells[4:10, 4:10] = 1
    return cells


def _checkerboard() -> Tensor:
    return (torch.arange(14)[:, None] + torch.arange(14)) % 2 * 1.0


@pytest.mark.parametrize(
    ("cells", "edge"),
    [
        (_constant(0.25), 0.185623),
        (_constant(0.35), 0.225864),
        (_constant(0.5), 0.249788),
        (_constant(0.9), 0.099822),
        (_constant(1.0), 0.013747),
        (_constant(0.0), 0.0),
        (_block(), 0.011719),
        (_checkerboard(), 0.146128),
    ],
)
def test_the_edge_term_of_simple_maps_is_as_worked_out(cells: Tensor, edge: float) -> None:
    smooth = F.conv2d(cells[None, None], smoothing_kernel(), padding=1)
    assert float((smooth * (1 - smooth)).mean()) == pytest.approx(edge, abs=1e-6)


def test_positions_are_resampled_as_timm_does_it() -> None:
    positions = torch.randn(1, 1 + 6 * 6, 8)
    expected = resample_abs_pos_embed(positions, new_size=[9, 4], old_size=[6, 6])
    found = resampled_positions(positions, old=(6, 6), new=(9, 4))
    torch.testing.assert_close(found, expected)
    assert resampled_positions(positions, old=(6, 6), new=(6, 6)) is positions


def test_stochastic_depth_acts_in_training_alone() -> None:
    network = small("sat", drop_path=0.9)
    images = photos()
    with torch.no_grad():
        calm = [network(images).logits for _ in range(2)]
        network.train()
        torch.manual_seed(0)
        shaken = [network(images).logits for _ in range(2)]
    assert torch.equal(calm[0], calm[1])
    assert not torch.equal(shaken[0], shaken[1])


def test_stochastic_depth_grows_evenly_from_none_to_its_rate() -> None:
    network = small("tscam", drop_path=0.2)
    rates = [block.drop_path for block in network.blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert small("tscam", drop_path=0.2, depth=1).blocks[0].drop_path == 0


def test_without_stochastic_depth_training_mode_answers_the_same() -> None:
    network = small("gtformer", drop_path=0.0)
    images = photos()
    with torch.no_grad():
        assert torch.equal(network(images).logits, network.train()(images).logits)


def _looked_at(cells: list[list[float]]) -> LocalizerOutput:
    """One photo, four blocks of two heads, 2 x 2 cells; the first block looks elsewhere."""
    attentions = []
    for block in cells:
        attention = torch.zeros(1, 2, 6, 6)
        attention[0, 0, 0, 1:5] = 2 * torch.tensor(block)  # so the mean over heads is the block
        attentions.append(attention)
    return LocalizerOutput(
        logits=torch.zeros(1, 1), coarse_map=torch.zeros(1, 2, 2), attentions=tuple(attentions)
    )


def test_the_self_attention_map_is_the_mean_of_the_last_three_blocks_stretched() -> None:
    elsewhere, last = [9.0, 0, 0, 0], [[0.1, 0.2, 0, 0], [0.1, 0.2, 0.3, 0], [0.1, 0.2, 0.3, 0]]
    output = _looked_at([elsewhere, *last])
    # means .1 .2 .2 0, of which .2 is the most
    expected = torch.tensor([[[0.5, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(self_attention_map(output), expected)
    first = self_attention_map(output, blocks=[0])
    torch.testing.assert_close(first, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))


def test_a_self_attention_map_without_contrast_is_zero() -> None:
    assert not self_attention_map(_looked_at([[0.1] * 4] * 3)).any()


def test_a_self_attention_map_needs_attentions() -> None:
    network = small("tscam")
    with pytest.raises(ValueError, match="return_attentions"):
        self_attention_map(network(photos()))
    maps = self_attention_map(network(photos(), return_attentions=True))
    assert maps.shape == (2, 8, 8)
    torch.testing.assert_close(maps.amax((1, 2)), torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 60}, "nearest below is 56"),
        ({"embed_dim": 50}, "multiple of the 3 heads"),
        ({"depth": 0}, "depth"),
        ({"patch_size": 0}, "patch_size"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"size": "huge"}, "tiny, small, base"),
        ({"colour": 3}, "unknown option 'colour'"),
    ],
)
@pytest.mark.parametrize("arch", TRANSFORMERS)
def test_impossible_options_are_refused(arch: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        small(arch, **options)


def test_unknown_localizers_and_no_classes_are_refused() -> None:
    with pytest.raises(OptionError, match="no localizer called 'molten'; there are cam"):
        build("molten", num_classes=3)
    with pytest.raises(OptionError, match="at least one class, got 0"):
        build("sat", num_classes=0)


@pytest.mark.parametrize("arch", LOCALIZERS)
def test_every_localizer_learns_from_its_logits(arch: str) -> None:
    options = {"backbone": "small", "width": 8} if arch == "cam" else SMALL
    torch.manual_seed(0)
    network = build(arch, num_classes=2, **options)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    images, truth = photos(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(network(images).logits, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]

"""The terms of eq. 9 against closed forms, and against sums written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from engine.localizers import build
from engine.localizers.kernel import smoothing_kernel
from engine.localizers.outputs import LocalizerOutput
from training.losses import (
    LossWeights,
    area_loss,
    classification_loss,
    edge_loss,
    localizer_loss,
)

SIDE = 14


def constant_map(value: float, side: int = SIDE) -> torch.Tensor:
    return torch.full((1, side, side), value)


def edge_by_hand(values: torch.Tensor) -> float:
    """Smoothing cell by cell, nothing outside the map."""
    kernel = smoothing_kernel()[0, 0].double()
    height, width = values.shape
    total = 0.0
    for row in range(height):
        for column in range(width):
            smooth = sum(
                float(kernel[1 + down, 1 + right]) * float(values[row + down, column + right])
                for down in (-1, 0, 1)
                for right in (-1, 0, 1)
                if 0 <= row + down < height and 0 <= column + right < width
            )
            total += smooth * (1 - smooth)
    return total / (height * width)


def test_the_kernel_is_that_of_the_reference() -> None:
    kernel = smoothing_kernel()[0, 0]
    assert kernel[1, 1] == pytest.approx(0.80543974, abs=1e-6)
    for row, column in ((0, 1), (1, 0), (1, 2), (2, 1)):
        assert kernel[row, column] == pytest.approx(0.0460116, abs=1e-6)
    for row, column in ((0, 0), (0, 2), (2, 0), (2, 2)):
        assert kernel[row, column] == pytest.approx(0.00262846, abs=1e-6)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    assert kernel[1:].sum() == pytest.approx(0.948731, abs=1e-6)  # what is left at an edge
    assert kernel[1:, 1:].sum() == pytest.approx(0.900091, abs=1e-6)  # and in a corner


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.25, 0.185623), (0.35, 0.225864), (0.5, 0.249788), (0.9, 0.099822), (1.0, 0.013747), (0, 0)],
)
def test_the_edge_loss_of_a_constant_map(value: float, expected: float) -> None:
    assert edge_loss(constant_map(value)) == pytest.approx(expected, abs=1e-6)


def test_the_edge_loss_of_a_block_and_of_a_checkerboard() -> None:
    block = torch.zeros(1, SIDE, SIDE)
    block[:, 4:10, 4:10] = 1.0
    assert block.mean() == pytest.approx(0.183673, abs=1e-6)
    assert edge_loss(block) == pytest.approx(0.011719, abs=1e-6)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    board = ((rows + columns) % 2).float()[None]
    assert board.mean() == 0.5
    assert edge_loss(board) == pytest.approx(0.146128, abs=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (4, 3), (14, 14)])
def test_the_edge_loss_is_the_sum_written_out_on_any_grid(height: int, width: int) -> None:
    values = torch.rand(height, width, generator=torch.Generator().manual_seed(height))
    assert edge_loss(values[None]) == pytest.approx(edge_by_hand(values), abs=1e-6)


def test_a_single_pixel_of_one_is_smoothed_by_the_centre_of_the_kernel_alone() -> None:
    centre = 0.80543974
    assert edge_loss(torch.ones(1, 1, 1)) == pytest.approx(centre * (1 - centre), abs=1e-6)


def test_photos_may_differ_in_area_as_long_as_the_batch_hits_the_prior() -> None:
    maps = torch.cat([constant_map(0.1), constant_map(0.4)])
    assert area_loss(maps, prior=0.25) == pytest.approx(0.0, abs=1e-6)
    assert area_loss(maps[:1], prior=0.25) == pytest.approx(0.15, abs=1e-6)
    assert area_loss(maps[1:], prior=0.25) == pytest.approx(0.15, abs=1e-6)


def test_a_gtformer_without_attention_costs_what_the_formula_says() -> None:
    network = build(
        "gtformer", num_classes=3, embed_dim=24, depth=4, heads=3, image_size=224, drop_path=0.0
    )
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "attn.qkv" in name:
                parameter.zero_()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = network(images)
    assert torch.equal(output.coarse_map, torch.full((2, SIDE, SIDE), 0.5))
    weights = LossWeights(area_prior=0.25, coarse_map=1.0, token_maps=0.5)
    loss = localizer_loss(output, torch.tensor([0, 2]), weights=weights, multi_label=False)
    assert loss.area == 0.5
    assert loss.edge == pytest.approx(0.249788, abs=1e-6)
    expected = (1 + 4 * 0.5) * (0.25 + 0.249788)
    assert float(loss.total - loss.terms["classification"]) == pytest.approx(expected, abs=1e-5)
    assert expected == pytest.approx(1.499364, abs=1e-6)


def test_token_maps_are_summed_and_not_averaged() -> None:
    tokens = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    coarse = tokens.mean(1)
    logits = torch.zeros(2, 3)
    weights = LossWeights(area_prior=0.3, coarse_map=2.0, token_maps=0.5)
    loss = localizer_loss(
        LocalizerOutput(logits, coarse_map=coarse, token_maps=tokens),
        torch.tensor([1, 2]),
        weights=weights,
        multi_label=False,
    )
    edge = 2.0 * float(edge_loss(coarse)) + 0.5 * sum(
        float(edge_loss(tokens[:, token])) for token in range(4)
    )
    area = 2.0 * abs(float(coarse.mean()) - 0.3) + 0.5 * sum(
        abs(float(tokens[:, token].mean()) - 0.3) for token in range(4)
    )
    assert loss.terms["edge"] == pytest.approx(edge, abs=1e-6)
    assert loss.terms["area"] == pytest.approx(area, abs=1e-6)
    assert loss.terms["classification"] == pytest.approx(math.log(3), abs=1e-6)
    assert loss.total == pytest.approx(edge + area + math.log(3), abs=1e-6)


def test_a_network_without_a_coarse_map_learns_from_classes_alone() -> None:
    output = LocalizerOutput(torch.zeros(1, 2), class_maps=torch.rand(1, 2, 3, 3))
    weights = LossWeights(area_prior=0.25, token_maps=0.5)
    loss = localizer_loss(output, torch.tensor([0]), weights=weights, multi_label=False)
    assert list(loss.terms) == ["classification"]
    assert loss.edge is None
    assert loss.area is None


def test_several_tags_are_judged_class_by_class() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0]])
    targets = torch.tensor([[1, 0, 1]])

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    expected = -(math.log(sigmoid(2)) + math.log(1 - sigmoid(-1)) + math.log(sigmoid(0))) / 3
    found = classification_loss(logits, targets, multi_label=True)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_terms_are_in_float32_also_under_autocast() -> None:
    maps = torch.full((1, 4, 4), 0.9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = edge_loss(maps.bfloat16())
    assert loss.dtype == torch.float32
    loss.backward()
    assert maps.grad is not None

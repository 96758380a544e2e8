"""The three transformers as published, DeiT-S on 224 pixels, against the formulas written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.localizers import build
from tests.engine.localizers.test_gtformer import edge_of, photos
from tests.engine.localizers.twins import Literal, literal_forward, literal_map, spread_out

SIDE = 14  # cells
LAST = (9, 10, 11)  # the blocks that gate and make the maps
CLASSES = 200


def published(arch: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return spread_out(build(arch, num_classes=CLASSES, **options), factor=4)


def literal(network: nn.Module, images: Tensor, queries: Tensor | None, *, gated: bool) -> Literal:
    return literal_forward(
        network,
        images,
        queries=queries,
        gated_blocks=LAST if gated else (),
        image_size=224,
        patch_size=16,
    )


def sliced(network: nn.Module, images: Tensor) -> Tensor:
    """The global tokens straight from the photo's pixels, two projections for four phases."""
    first, second = network.global_projections[0], network.global_projections[1]
    phases = [(3, 3), (10, 3), (3, 10), (10, 10)]
    tokens = [
        (second if number else first)(images[:, :, row::14, column::14]).flatten(1)
        for number, (row, column) in enumerate(phases)
    ]
    return torch.stack(tokens, dim=1) + network.glo_embed


@pytest.mark.slow
@pytest.mark.parametrize("gta", [True, False])
def test_gtformer_in_the_published_reading(gta: bool) -> None:
    network, images = published("gtformer", proj_mode="reference", gta=gta), photos(2, 3, 224, 224)
    with torch.inference_mode():
        output = network(images)
        twin = literal(network, images, sliced(network, images), gated=gta)
        other = literal(network, images, sliced(network, images), gated=not gta)
    maps = literal_map([twin.gates[number] for number in LAST], SIDE)
    assert maps.min() < 0.35  # the span of the published check
    assert maps.max() > 0.60
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.coarse_map, maps.mean(1), atol=1e-5, rtol=0)
    assert (other.logits - twin.logits).abs().max() > 0.2  # the gate is no detail
    # Eleven answers in training: of the map and of each token, the last one first.
    ours = [output.coarse_map, *(output.token_maps[:, number] for number in (3, 2, 1, 0))]
    theirs = [maps.mean(1), *maps.flip(1).unbind(1)]
    for one, another in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.mean((1, 2)), another.mean((1, 2)), atol=1e-6, rtol=0)
        torch.testing.assert_close(edge_of(one), edge_of(another), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_sat_in_the_published_reading() -> None:
    network, images = published("sat"), photos(2, 3, 224, 224)
    with torch.inference_mode():
        output = network(images)
        query = network.loc_token.expand(2, -1, -1) + network.loc_embed
        twin = literal(network, images, query, gated=True)
    maps = literal_map([twin.gates[number] for number in LAST], SIDE)[:, 0]
    assert maps.max() - maps.min() > 0.15
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.coarse_map, maps, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_tscam_in_the_published_reading() -> None:
    network, images = published("tscam"), photos(2, 3, 224, 224)
    with torch.inference_mode():
        output = network(images)
        twin = literal(network, images, None, gated=False)
    rows = torch.stack([one.mean(1)[:, 0] for one in twin.attentions]).sum(0)  # (b, 1 + cells)
    torch.testing.assert_close(rows.sum(1), torch.full((2,), 12.0), atol=1e-5, rtol=0)
    seen = rows[:, 1:].reshape(2, 1, SIDE, SIDE)
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.class_maps, seen * twin.scores, atol=1e-5, rtol=0)


def test_a_reference_with_sixteen_tokens_has_as_many_parameters_as_counted() -> None:
    with torch.device("meta"):
        network = build("gtformer", num_classes=1000, global_tokens=16)
    assert sum(one.numel() for one in network.parameters()) == 29_853_553

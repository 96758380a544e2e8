"""GTFormer against the formulas written out, and what must hold whatever the weights are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import OptionError
from engine.localizers import build
from engine.localizers.kernel import smoothing_kernel
from tests.engine.localizers.twins import SMALL, literal_forward, literal_map, spread_out

CLASSES = 7


def gtformer(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return spread_out(build("gtformer", num_classes=CLASSES, **{**SMALL, **options}))


def photos(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*(shape or (2, 3, 64, 64)), generator=torch.Generator().manual_seed(seed))


def edge_of(maps: Tensor) -> Tensor:
    smooth = F.conv2d(maps[:, None], smoothing_kernel(), padding=1)
    return (smooth * (1 - smooth)).mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return gtformer()


def test_global_tokens_of_the_reference_are_slices_of_the_photo_through_two_projections() -> None:
    network = gtformer(image_size=224, patch_size=16, proj_mode="reference", depth=1)
    images = photos(2, 3, 224, 224)
    first, second = network.global_projections[0], network.global_projections[1]
    slices = [
        first(images[:, :, 3::14, 3::14]),
        second(images[:, :, 10::14, 3::14]),
        second(images[:, :, 3::14, 10::14]),
        second(images[:, :, 10::14, 10::14]),
    ]
    expected = torch.stack([part.flatten(1) for part in slices], dim=1)
    torch.testing.assert_close(network.global_tokens(images), expected, atol=1e-5, rtol=0)


def test_forward_equals_the_literal_formulas(network: nn.Module) -> None:
    images = photos()
    with torch.no_grad():
        output = network(images)
        queries = network.global_tokens(images) + network.glo_embed
        twin = literal_forward(network, images, queries=queries, gated_blocks=(2, 3, 4))
    maps = literal_map(twin.gates[-3:], 8)
    assert maps.max() - maps.min() > 0.15  # else nothing is told apart
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.score_maps, twin.scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.token_maps, maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.coarse_map, maps.mean(1), atol=1e-5, rtol=0)


def test_area_and_edge_of_each_token_are_those_of_the_literal_maps_in_sequence_order(
    network: nn.Module,
) -> None:
    images = photos(seed=3)
    with torch.no_grad():
        output = network(images)
        queries = network.global_tokens(images) + network.glo_embed
        twin = literal_forward(network, images, queries=queries, gated_blocks=(2, 3, 4))
    # The published code calls the last token's map mask0, so its list is this one from behind.
    masks = literal_map(twin.gates[-3:], 8).flip(1)
    areas, edges = [], []
    for number in range(4):
        maps = output.token_maps[:, 3 - number]
        areas.append(maps.mean(dim=(1, 2)))
        edges.append(edge_of(maps))
        torch.testing.assert_close(areas[-1], masks[:, number].mean((1, 2)), atol=1e-6, rtol=0)
        torch.testing.assert_close(edges[-1], edge_of(masks[:, number]), atol=1e-6, rtol=0)
    assert torch.stack(areas).std(dim=0).min() > 1e-4  # else the order would not matter


def test_without_attention_logits_every_map_is_a_half() -> None:
    # the published size, because the border's share in the edge term depends on the grid
    network = gtformer(image_size=224, patch_size=16)
    with torch.no_grad():
        for block in network.blocks:
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
        output = network(photos(2, 3, 224, 224))
    assert (output.token_maps == 0.5).all()
    assert (output.coarse_map == 0.5).all()
    edge, area = edge_of(output.coarse_map).mean(), (output.coarse_map.mean() - 0.25).abs()
    assert float(edge) == pytest.approx(0.249788, abs=1e-6)
    weights = 1.0 + 4 * 0.5  # mu, and lambda for each of four tokens
    assert float(weights * (edge + area)) == pytest.approx(1.499364, abs=1e-6)


def test_gated_values_equal_gated_attention(network: nn.Module) -> None:
    literal = gtformer(attention="literal")
    images = photos()
    with torch.no_grad():
        fused, slow = network(images), literal(images)
    torch.testing.assert_close(fused.logits, slow.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(fused.token_maps, slow.token_maps, atol=1e-5, rtol=0)


def test_switching_the_gate_off_changes_the_logits(network: nn.Module) -> None:
    off = gtformer(gta=False)
    images = photos()
    with torch.no_grad():
        gated, free = network(images), off(images)
        queries = off.global_tokens(images) + off.glo_embed
        twin = literal_forward(off, images, queries=queries)
    assert (gated.logits - free.logits).abs().max() > 0.01
    torch.testing.assert_close(free.logits, twin.logits, atol=1e-5, rtol=0)
    maps = literal_map(twin.gates[-3:], 8)
    torch.testing.assert_close(free.token_maps, maps, atol=1e-5, rtol=0)


def test_chosen_blocks_gate_and_make_the_maps() -> None:
    network = gtformer(gta_blocks=(3, 1))
    images = photos()
    with torch.no_grad():
        output = network(images)
        queries = network.global_tokens(images) + network.glo_embed
        twin = literal_forward(network, images, queries=queries, gated_blocks=(1, 3))
    maps = literal_map([twin.gates[1], twin.gates[3]], 8)
    torch.testing.assert_close(output.coarse_map, maps.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits, twin.logits, atol=1e-5, rtol=0)


def test_the_map_is_the_mean_of_the_token_maps_between_0_and_1(network: nn.Module) -> None:
    with torch.no_grad():
        output = network(photos(seed=5))
    assert ((output.coarse_map > 0) & (output.coarse_map < 1)).all()
    torch.testing.assert_close(output.coarse_map, output.token_maps.mean(1), atol=1e-7, rtol=0)
    assert output.class_maps is None
    assert output.attentions is None


def test_the_order_of_the_tokens_does_not_matter(network: nn.Module) -> None:
    images = photos()
    shuffle = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain = network(images)
        tokens, _ = network.embed(images)
        shuffled = torch.cat([tokens[:, :1], tokens[:, 1:][:, shuffle]], dim=1)
        queries = network.queries(images).flip(1)
        encoded = network.encode(
            torch.cat([shuffled, queries], dim=1),
            gate_tokens=4,
            gate_blocks=(2, 3, 4),
            apply_gates=True,
        )
    cells = torch.stack(encoded.gates).mean(0).mean(1)[:, 1:-4]
    expected = plain.coarse_map.flatten(1)[:, shuffle]
    torch.testing.assert_close(cells, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("attention", ["fused", "literal"])
@pytest.mark.parametrize("gta", [True, False])
def test_the_class_loss_reaches_the_gates_only_where_they_gate(gta: bool, attention: str) -> None:
    network = gtformer(gta=gta, attention=attention)
    told = []
    for block in network.blocks:
        block.attn.register_forward_hook(lambda _module, _input, output: told.append(output[1]))
    loss = F.cross_entropy(network(photos()).logits, torch.tensor([1, 4]))
    gates = [one.gates for one in told if one.gates is not None]
    assert len(gates) == 3
    gradients = torch.autograd.grad(loss, [*gates, network.glo_embed], allow_unused=True)
    for gradient in gradients[:3]:
        assert (gradient is not None and gradient.abs().max() > 0) == gta
    assert gradients[3].abs().max() > 0  # global tokens are keys too, so they learn either way


@pytest.mark.parametrize(
    ("proj_mode", "tokens", "owners"),
    [
        ("independent", 4, [0, 1, 2, 3]),
        ("reference", 4, [0, 1, 1, 1]),
        ("shared", 4, [0, 0, 0, 0]),
        ("independent", 1, [0]),
        ("reference", 1, [0]),
        ("independent", 16, list(range(16))),
    ],
)
def test_each_global_token_comes_from_its_phase_and_its_projection(
    proj_mode: str, tokens: int, owners: list[int]
) -> None:
    network = gtformer(proj_mode=proj_mode, global_tokens=tokens, depth=1)
    assert len(network.global_projections) == (1 if proj_mode == "shared" else tokens)
    side = network.copies_a_side
    images = photos(1, 3, 16 * side, 16 * side)  # no resizing, so the phases are exact
    found = network.global_tokens(images)
    for number, owner in enumerate(owners):
        phase = images[:, :, number % side :: side, number // side :: side]
        expected = network.global_projections[owner](phase).flatten(1)
        torch.testing.assert_close(found[:, number], expected, atol=1e-5, rtol=0)


def test_reference_projections_three_and_four_learn_nothing() -> None:
    network = gtformer(proj_mode="reference")
    network(photos()).logits.sum().backward()
    learned = [part.weight.grad is not None for part in network.global_projections]
    assert learned == [True, True, False, False]


@pytest.mark.parametrize("hw", [(64, 64), (96, 40), (8, 8), (128, 256)])
def test_photos_of_any_multiple_of_the_patch_go_through(
    network: nn.Module, hw: tuple[int, int]
) -> None:
    with torch.no_grad():
        output = network(photos(1, 3, *hw))
    assert output.logits.shape == (1, CLASSES)
    assert output.coarse_map.shape == (1, hw[0] // 8, hw[1] // 8)
    assert output.token_maps.shape == (1, 4, hw[0] // 8, hw[1] // 8)


@pytest.mark.parametrize("hw", [(60, 64), (64, 65), (0, 64)])
def test_photos_of_other_sizes_are_refused_with_the_size(
    network: nn.Module, hw: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=f"multiples of 8, got {hw[0]} x {hw[1]}"):
        network(photos(1, 3, *hw))


def test_no_photo_changes_what_is_said_about_another(network: nn.Module) -> None:
    images = photos(3, 3, 64, 64)
    with torch.no_grad():
        together = network(images)
        alone = network(images[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.coarse_map[1:2], alone.coarse_map, atol=1e-5, rtol=0)


def test_no_photos_give_no_answers(network: nn.Module) -> None:
    output = network(torch.zeros(0, 3, 64, 64))
    assert output.logits.shape == (0, CLASSES)
    assert output.coarse_map.shape == (0, 8, 8)


def test_bfloat16_keeps_maps_in_32_bits_and_near(network: nn.Module) -> None:
    images = photos(1, 3, 96, 64)  # another grid, so positions are resampled in 16 bits too
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            automatic = network(images)
        whole = gtformer().bfloat16()(images.bfloat16())
    for output in (automatic, whole):
        assert output.coarse_map.dtype == torch.float32
        assert output.logits.dtype == torch.bfloat16
        assert (output.coarse_map - exact.coarse_map).abs().max() < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gta_blocks": (5,)}, "0 to 4"),
        ({"gta_blocks": (1, 1)}, "different"),
        ({"gta_blocks": (-1,)}, "0 to 4"),
        ({"global_tokens": 9}, "1, 4, 16"),
        ({"proj_mode": "own"}, "independent"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        gtformer(**options)

"""Presets say what the papers and their codes say; learning rates step by step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.errors import OptionError
from engine.localizers import LOCALIZERS, build
from training.optimiser import make_optimiser, set_learning_rate
from training.recipes import PRESETS, Recipe, learning_rate, map_share, preset_of
from training.settings import presets_as_json

STEPS = 3  # an epoch


def rate_of_epoch(recipe: Recipe, epoch: int) -> float:
    """That of all its steps; epochs count from 1."""
    rates = {
        learning_rate(recipe, step=(epoch - 1) * STEPS + step, steps_an_epoch=STEPS)
        for step in range(STEPS)
    }
    assert len(rates) == 1
    return rates.pop()


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("cub", {range(1, 30): 5e-5, range(30, 60): 5e-6, range(60, 61): 5e-7}),
        (
            "ilsvrc",
            {range(1, 10): 5e-4, range(10, 12): 5e-5, range(12, 20): 5e-6, range(20, 21): 5e-7},
        ),
    ],
)
def test_tscam_learns_at_the_rates_of_its_code(preset: str, expected: dict[range, float]) -> None:
    recipe = preset_of("tscam", preset).recipe
    epochs = [epoch for some in expected for epoch in some]
    assert epochs == list(range(1, recipe.epochs + 1))
    for some, rate in expected.items():
        for epoch in some:
            assert rate_of_epoch(recipe, epoch) == pytest.approx(rate, rel=1e-12), epoch


def test_cam_learns_ten_times_slower_from_its_thirtieth_epoch_on() -> None:
    recipe = preset_of("cam", "cub").recipe
    assert rate_of_epoch(recipe, 29) == 0.01
    assert rate_of_epoch(recipe, 30) == pytest.approx(0.001)
    assert rate_of_epoch(recipe, 40) == pytest.approx(0.001)


@pytest.mark.parametrize("preset", ["cub", "ilsvrc", "cub_paper", "ilsvrc_paper"])
def test_the_rate_of_gtformer_never_changes(preset: str) -> None:
    recipe = preset_of("gtformer", preset).recipe
    rates = {rate_of_epoch(recipe, epoch) for epoch in range(1, recipe.epochs + 1)}
    assert rates == {1e-4 if preset.startswith("cub") else 1.5e-5}


def test_a_cosine_begins_high_after_its_warm_up_and_ends_low() -> None:
    recipe = Recipe(
        epochs=10, learning_rate=1.0, schedule="cosine", warm_up_epochs=2.0, lowest_rate=0.1
    )
    rates = [learning_rate(recipe, step=step, steps_an_epoch=5) for step in range(50)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0
    assert rates[30] == pytest.approx(0.55)  # half way
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.1 < rates[-1] < 0.11


def test_edge_and_area_can_be_held_back_at_first() -> None:
    recipe = Recipe(epochs=4, map_free=0.5)
    shares = [map_share(recipe, step=step, steps_an_epoch=5) for step in range(15)]
    assert shares == [0.0] * 10 + [1.0] * 5
    assert map_share(Recipe(), step=0, steps_an_epoch=5) == 1.0


def test_the_recipes_of_the_reference_codes() -> None:
    gtformer = preset_of("gtformer", "cub").recipe
    assert (gtformer.epochs, gtformer.batch, gtformer.area_prior) == (30, 256, 0.25)
    assert (gtformer.weight_decay, gtformer.momentum, gtformer.beta2) == (0.05, 0.9, 0.999)
    assert (gtformer.map_weight, gtformer.token_weight) == (1.0, 0.5)
    assert (gtformer.resize, gtformer.image_size, gtformer.flip) == (256, 224, 0.5)
    ilsvrc = preset_of("gtformer", "ilsvrc").recipe
    assert (ilsvrc.epochs, ilsvrc.batch, ilsvrc.area_prior) == (5, 512, 0.35)
    paper = preset_of("gtformer", "cub_paper").recipe
    assert (paper.batch, paper.weight_decay, paper.beta2) == (128, 5e-4, 0.99)
    assert preset_of("gtformer", "ilsvrc_paper").recipe.batch == 256
    sat = preset_of("sat", "ilsvrc").recipe
    assert (sat.epochs, sat.token_weight, sat.evaluation_view) == (1, 0.0, "crop")
    tscam = preset_of("tscam", "cub").recipe
    assert (tscam.batch, tscam.decay_embeddings, tscam.protocol) == (128, False, "tscam")
    cam = preset_of("cam", "cub").recipe
    assert (cam.optimiser, cam.batch, cam.epochs, cam.weight_decay) == ("sgd", 64, 40, 1e-4)


def test_every_preset_of_every_localizer_can_be_filled_in() -> None:
    described = presets_as_json()
    assert list(described) == list(PRESETS)
    assert set(described) == set(LOCALIZERS)
    for model, presets in described.items():
        assert {"cub", "ilsvrc", "small", "finetune"} <= set(presets), model
        for name, preset in presets.items():
            assert preset["network"]["image_size"] == preset["recipe"]["image_size"]
            assert preset["network"]["pretrained"] is not name.startswith("small")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch", 0),
        ("learning_rate", 0.0),
        ("flip", 1.5),
        ("smallest_crop", 0.0),
        ("drop_path", 1.0),
        ("resize", 100),
        ("decay_epochs", (0,)),
        ("weight_decay", -0.1),
    ],
)
def test_a_recipe_refuses_what_makes_no_sense(field: str, value: object) -> None:
    with pytest.raises(OptionError, match=field):
        Recipe(**{field: value})


def test_unknown_models_and_presets_are_told_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"'vgg'.*gtformer"):
        preset_of("vgg", "cub")
    with pytest.raises(OptionError, match=r"'coco'.*small"):
        preset_of("sat", "coco")


def small_gtformer() -> nn.Module:
    return build(
        "gtformer", num_classes=2, embed_dim=12, depth=3, heads=2, image_size=32, patch_size=16
    )


def decayed_names(network: nn.Module, optimiser: torch.optim.Optimizer) -> set[str]:
    decayed = {
        id(parameter)
        for group in optimiser.param_groups
        if group["weight_decay"] > 0
        for parameter in group["params"]
    }
    return {name for name, one in network.named_parameters() if id(one) in decayed}


def test_gtformer_decays_embeddings_and_tscam_does_not() -> None:
    network = small_gtformer()
    ours = decayed_names(network, make_optimiser(network, preset_of("gtformer", "cub").recipe))
    assert {"pos_embed", "cls_token", "glo_embed", "blocks.0.attn.qkv.weight"} <= ours
    assert not any(name.endswith("bias") or "norm" in name for name in ours)
    recipe = preset_of("tscam", "cub").recipe
    theirs = decayed_names(network, make_optimiser(network, recipe))
    assert ours - theirs == {"pos_embed", "cls_token", "glo_embed"}


def test_every_parameter_is_in_one_group() -> None:
    network = small_gtformer()
    optimiser = make_optimiser(network, preset_of("gtformer", "cub").recipe)
    grouped = [id(one) for group in optimiser.param_groups for one in group["params"]]
    trained = [id(one) for one in network.parameters() if one.requires_grad]
    assert sorted(grouped) == sorted(trained)


def test_cam_learns_ten_times_faster_on_the_side_of_the_classifier() -> None:
    network = build("cam", num_classes=2, backbone="resnet18", image_size=32)
    recipe = preset_of("cam", "cub").recipe
    fast = frozenset(network.fast_parameters())
    optimiser = make_optimiser(network, recipe, fast_parameters=fast)
    set_learning_rate(optimiser, 0.01)
    rates = {
        id(parameter): group["lr"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    named = {name: rates[id(one)] for name, one in network.named_parameters()}
    assert {rate for name, rate in named.items() if "fc." in name or "layer4." in name} == {0.1}
    assert {rate for name, rate in named.items() if "layer3." in name} == {0.01}
    assert all(group["nesterov"] and group["momentum"] == 0.9 for group in optimiser.param_groups)

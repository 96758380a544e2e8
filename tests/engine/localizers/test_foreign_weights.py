"""Weights from elsewhere: published checkpoints by their own names, and ImageNet's."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from engine.errors import OptionError, WeightsError
from engine.localizers import build
from engine.localizers.options import CamOptions, SatOptions
from engine.localizers.pretrained import load_deit, load_imagenet
from engine.localizers.reference import from_reference
from tests.engine.localizers.twins import SMALL

ARCHES = ["gtformer", "sat", "tscam"]
GUESSED = {"heads": 3}  # 48 channels are no width of a published model, so heads cannot be read


def published(arch: str, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network, and its weights under the names of the published code."""
    torch.manual_seed(0)
    if arch == "gtformer":
        options.setdefault("proj_mode", "reference")
    network = build(arch, num_classes=5, **{**SMALL, **options}).eval()
    weights = {}
    for name, value in network.state_dict().items():
        name = "weight" if name == "kernel" else name
        weights[name.replace("global_projections.", "patch_merging.proj")] = value
    return network, weights


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("wrapping", ["bare", "module", "model", "state_dict"])
def test_published_checkpoints_load_however_they_are_wrapped(arch: str, wrapping: str) -> None:
    network, weights = published(arch)
    checkpoint: dict[str, Any] = dict(weights)
    if wrapping != "bare":
        checkpoint = {f"module.{name}": value for name, value in weights.items()}
    if wrapping in ("model", "state_dict"):
        checkpoint = {wrapping: checkpoint, "epoch": 30, "optimizer": {"lr": 1e-4}}
    loaded = from_reference(checkpoint, arch=arch, **GUESSED)
    images = torch.randn(1, 3, 64, 64)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(network(images).logits, loaded(images).logits)


def test_gtformer_uses_the_projections_as_the_published_code_does() -> None:
    network, weights = published("gtformer")
    own, _ = published("gtformer", proj_mode="independent")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        as_published = from_reference(weights, arch="gtformer", **GUESSED)(images).logits
        as_written = from_reference(weights, arch="gtformer", proj_mode="independent", **GUESSED)(
            images
        ).logits
        assert torch.equal(as_published, network(images).logits)
        assert torch.equal(as_written, own(images).logits)
    assert not torch.equal(as_published, as_written)


def test_size_grid_and_classes_are_read_from_a_published_model() -> None:
    with torch.device("meta"):
        network = build("sat", num_classes=200)
    weights = {name: torch.zeros(value.shape) for name, value in network.state_dict().items()}
    weights["weight"] = weights.pop("kernel")
    loaded = from_reference(weights, arch="sat")
    assert loaded.blocks[0].attn.heads == 6
    assert loaded.trained_grid == (14, 14)
    assert loaded.head.out_channels == 200


def test_missing_and_unexpected_keys_are_named_as_the_checkpoint_names_them() -> None:
    _, weights = published("gtformer")
    del weights["patch_merging.proj2.weight"], weights["weight"]
    weights["head_dist.bias"] = torch.zeros(5)
    with pytest.raises(WeightsError) as error:
        from_reference(weights, arch="gtformer", **GUESSED)
    assert "missing: weight, patch_merging.proj2.weight;" in str(error.value)
    assert "unexpected: head_dist.bias" in str(error.value)


def test_a_checkpoint_of_another_model_is_refused() -> None:
    _, sat = published("sat")
    with pytest.raises(WeightsError, match="not one of gtformer: glo_embed missing"):
        from_reference(sat, arch="gtformer", **GUESSED)
    with pytest.raises(WeightsError, match="unexpected: weight, loc_token, loc_embed"):
        from_reference(sat, arch="tscam", **GUESSED)


@pytest.mark.parametrize("checkpoint", [{}, {"model": {}}, {"head.weight": torch.zeros(5, 48)}])
def test_what_is_no_such_checkpoint_is_refused(checkpoint: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="not one of tscam: pos_embed"):
        from_reference(checkpoint, arch="tscam")


def test_a_checkpoint_with_more_than_tensors_is_refused_with_their_names() -> None:
    with pytest.raises(WeightsError, match="epoch is no tensor"):
        from_reference({"epoch": 3, "net": torch.zeros(1)}, arch="sat")


def test_unknown_architectures_and_cam_have_no_published_checkpoints() -> None:
    with pytest.raises(OptionError, match="no localizer called 'vit'"):
        from_reference({}, arch="vit")
    with pytest.raises(WeightsError, match="no published CAM"):
        from_reference({}, arch="cam")


@pytest.mark.parametrize("arch", ARCHES)
def test_weights_of_deit_start_everything_but_the_head_and_the_query_tokens(arch: str) -> None:
    torch.manual_seed(3)
    deit = VisionTransformer(
        img_size=64, patch_size=8, embed_dim=48, depth=5, num_heads=3, num_classes=11
    )
    network = build(arch, num_classes=5, **SMALL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_deit(network, deit.state_dict())
    theirs = deit.state_dict()
    own = ("head.", "glo", "loc", "kernel")
    for name, value in network.state_dict().items():
        expected = before[name] if name.startswith(own) else theirs[name]
        assert torch.equal(value, expected), name
    assert sum(not name.startswith(own) for name in before) == len(theirs) - 2


def test_the_names_are_those_of_timms_deit() -> None:
    with torch.device("meta"):
        deit = timm.create_model("deit_small_patch16_224", pretrained=False)
        network = build("tscam", num_classes=5)
    shapes = {name: value.shape for name, value in deit.state_dict().items()}
    own = {name: value.shape for name, value in network.state_dict().items()}
    assert set(own) == set(shapes)
    assert [name for name in own if own[name] != shapes[name]] == ["head.weight", "head.bias"]


def test_positions_are_fitted_to_the_grid_of_the_network() -> None:
    deit = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=5, num_heads=3)
    network = build("tscam", num_classes=5, **SMALL)
    load_deit(network, deit.state_dict())
    assert network.pos_embed.shape == (1, 65, 48)
    expected = resample_abs_pos_embed(deit.pos_embed, new_size=[8, 8])
    torch.testing.assert_close(network.pos_embed, expected)


def test_weights_of_a_wider_transformer_are_refused() -> None:
    deit = VisionTransformer(img_size=64, patch_size=8, embed_dim=96, depth=5, num_heads=3)
    with pytest.raises(WeightsError, match=r"of another shape: cls_token \(1, 1, 96\)"):
        load_deit(build("tscam", num_classes=5, **SMALL), deit.state_dict())


def test_without_a_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(WeightsError, match=r"deit_tiny_patch16_224 cannot .* leave out pretrained"):
        build("sat", num_classes=2, size="tiny", pretrained=True)


def test_without_a_network_cam_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    options = CamOptions(backbone="resnet18")
    network = build("cam", num_classes=2, backbone="resnet18")
    with pytest.raises(WeightsError, match="resnet18 cannot be fetched"):
        load_imagenet(network, options)


def test_pretrained_networks_start_from_what_timm_hands_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deit = timm.create_model("deit_tiny_patch16_224", pretrained=False)
    asked = []

    def hand_over(name: str, *, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return deit

    monkeypatch.setattr("timm.create_model", hand_over)
    network = build("sat", num_classes=2, size="tiny", pretrained=True)
    assert asked == [("deit_tiny_patch16_224", True)]
    assert torch.equal(network.blocks[11].mlp.fc2.weight, deit.blocks[11].mlp.fc2.weight)


@pytest.mark.parametrize("options", [{"embed_dim": 48, "heads": 3}, {"patch_size": 8}])
def test_shapes_without_published_weights_are_refused_before_any_download(
    options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("timm.create_model")
    chosen = SatOptions(size="tiny", **options)
    with torch.device("meta"):
        network = build("sat", num_classes=2, size="tiny", **options)
    with pytest.raises(OptionError, match="tiny, small and base with patch_size 16"):
        load_imagenet(network, chosen)

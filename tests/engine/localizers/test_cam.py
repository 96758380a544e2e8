"""CAM: what its maps are, and how large, for each backbone."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from engine.errors import OptionError, WeightsError
from engine.localizers import build
from engine.localizers.pretrained import load_trunk

SMALL = {"backbone": "small", "width": 8}


def photos(*shape: int) -> Tensor:
    return torch.randn(*(shape or (2, 3, 64, 64)), generator=torch.Generator().manual_seed(1))


def test_maps_are_features_weighted_by_the_classifier() -> None:
    network = build("cam", num_classes=5, **SMALL).eval()
    images = photos()
    with torch.no_grad():
        output = network(images)
        features = network.neck(network.trunk(images))
    expected = torch.zeros(2, 5, 8, 8)
    for category in range(5):
        for channel in range(32):
            expected[:, category] += network.fc.weight[category, channel] * features[:, channel]
    torch.testing.assert_close(output.class_maps, expected)
    # the mean of a map and the bias are the logit: what makes it the class's evidence
    means = output.class_maps.mean((2, 3)) + network.fc.bias
    torch.testing.assert_close(output.logits, means, atol=1e-5, rtol=0)
    assert output.coarse_map is None
    assert output.attentions is None


def test_maps_of_inception_are_its_class_channels() -> None:
    network = build("cam", num_classes=3, backbone="inception_v3").eval()
    with torch.no_grad():
        output = network(photos(1, 3, 64, 64))
    assert output.class_maps.shape == (1, 3, 4, 4)
    torch.testing.assert_close(output.logits, output.class_maps.mean((2, 3)))


def test_maps_carry_no_gradient_but_logits_do() -> None:
    output = build("cam", num_classes=5, **SMALL)(photos())
    assert not output.class_maps.requires_grad
    assert output.logits.requires_grad


@pytest.mark.parametrize(
    ("backbone", "large_map", "cells"),
    [
        ("resnet50", False, 14),
        ("resnet50", True, 28),
        ("vgg16", False, 14),
        ("vgg16", True, 28),
        ("inception_v3", False, 14),
        ("inception_v3", True, 28),
        ("resnet18", False, 14),
        ("resnet18", True, 28),
        ("small", False, 28),
        ("small", True, 56),
    ],
)
def test_each_backbone_has_its_grid_at_224(backbone: str, large_map: bool, cells: int) -> None:
    with torch.device("meta"):  # shapes without the arithmetic
        network = build("cam", num_classes=7, backbone=backbone, large_map=large_map)
        output = network(torch.zeros(2, 3, 224, 224))
    assert output.class_maps.shape == (2, 7, cells, cells)
    assert output.logits.shape == (2, 7)


@pytest.mark.parametrize("hw", [(32, 32), (96, 48), (70, 65)])
def test_photos_need_not_be_square(hw: tuple[int, int]) -> None:
    network = build("cam", num_classes=2, **SMALL).eval()
    with torch.no_grad():
        output = network(photos(1, 3, *hw))
    assert output.class_maps.shape == (1, 2, -(-hw[0] // 8), -(-hw[1] // 8))


def test_bfloat16_runs() -> None:
    network = build("cam", num_classes=2, **SMALL).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = network(photos())
    assert output.logits.isfinite().all()
    assert output.class_maps.isfinite().all()


@pytest.mark.parametrize(
    ("backbone", "fast"),
    [
        ("resnet18", {"trunk.layer4", "fc"}),
        ("vgg16", {"neck.0", "fc"}),
        ("inception_v3", {"neck.1", "neck.4", "fc"}),
        ("small", {"fc"}),
    ],
)
def test_the_side_of_the_classifier_learns_faster(backbone: str, fast: set[str]) -> None:
    with torch.device("meta"):
        network = build("cam", num_classes=7, backbone=backbone)
    named = network.fast_parameters()
    assert {name for name in fast if any(one.startswith(name) for one in named)} == fast
    assert all(one.startswith(tuple(fast)) for one in named)
    assert set(named) < {name for name, _ in network.named_parameters()}


def test_the_last_stride_is_taken_out_and_nothing_else_changes() -> None:
    """With the strides put back, it is torchvision's network."""
    network = build("cam", num_classes=5, backbone="resnet18").eval()
    published = torchvision.models.resnet18(weights=None).eval()
    load_trunk(network, published.state_dict())
    stages = [published.conv1, published.bn1, published.relu, published.maxpool]
    images = photos()
    with torch.no_grad():
        expected = images
        for stage in [*stages, published.layer1, published.layer2, published.layer3]:
            expected = stage(expected)
        torch.testing.assert_close(network.trunk[:7](images), expected)
        network.trunk.layer4[0].conv1.stride = (2, 2)
        network.trunk.layer4[0].downsample[0].stride = (2, 2)
        torch.testing.assert_close(network.trunk(images), published.layer4(expected))


@pytest.mark.parametrize("backbone", ["vgg16", "inception_v3", "resnet50"])
@pytest.mark.parametrize("large_map", [False, True])
def test_published_weights_of_torchvision_fit_by_name(backbone: str, large_map: bool) -> None:
    extra = {"init_weights": False} if backbone != "resnet50" else {}
    with torch.device("meta"):
        network = build("cam", num_classes=5, backbone=backbone, large_map=large_map)
        published = getattr(torchvision.models, backbone)(weights=None, **extra)
    own, theirs = network.trunk.state_dict(), published.state_dict()
    assert {name: one.shape for name, one in own.items()} == {
        name: one.shape for name, one in theirs.items() if name in own
    }


def test_weights_of_another_network_are_refused_by_name() -> None:
    network = build("cam", num_classes=5, backbone="resnet18")
    with pytest.raises(WeightsError, match=r"missing: conv1\.weight"):
        load_trunk(network, {"features.0.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet99"}, "resnet50, vgg16"),
        ({"image_size": 16}, "at least 32, got 16"),
        ({"width": 7}, "even"),
        ({"backbone": "small", "pretrained": True}, "no ImageNet weights for the backbone 'small'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build("cam", num_classes=2, **options)

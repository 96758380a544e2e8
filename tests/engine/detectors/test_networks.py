"""torchvision's detectors in any size: their layers, what learns, and what options are refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.detectors import DETECTORS, build, kind_of
from engine.errors import OptionError
from engine.options import from_dict
from tests.engine.detectors.small import CLASSES, SMALL, options_of, small, targets

PUBLISHED = {
    ("fasterrcnn", "resnet50"): detection.fasterrcnn_resnet50_fpn,
    ("fasterrcnn", "resnet50_v2"): detection.fasterrcnn_resnet50_fpn_v2,
    ("fasterrcnn", "mobilenet"): detection.fasterrcnn_mobilenet_v3_large_fpn,
    ("maskrcnn", "resnet50"): detection.maskrcnn_resnet50_fpn,
    ("maskrcnn", "resnet50_v2"): detection.maskrcnn_resnet50_fpn_v2,
}


def without_weights(name: str, num_classes: int, **options: Any) -> nn.Module:
    """As `build`, but nothing is fetched and no memory taken."""
    kind = kind_of(name)
    with torch.device("meta"):
        return kind.build(from_dict(kind.options, options), num_classes)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    state = network.state_dict()
    return {name: tuple(state[name].shape) for name in state if "num_batches" not in name}


@pytest.mark.parametrize(("name", "backbone"), PUBLISHED)
@pytest.mark.parametrize("weights", ["coco", "backbone"])
def test_layers_are_those_of_torchvision(name: str, backbone: str, weights: str) -> None:
    ours = without_weights(name, 4, backbone=backbone, weights=weights)
    with torch.device("meta"):
        theirs = PUBLISHED[name, backbone](weights=None, weights_backbone=None, num_classes=5)
    assert shapes(ours) == shapes(theirs)
    assert type(ours) is type(theirs)
    for part in ("rpn", "roi_heads", "transform"):
        ours_part, theirs_part = getattr(ours, part), getattr(theirs, part)
        for setting in ("_pre_nms_top_n", "batch_size_per_image", "nms_thresh", "min_size"):
            assert getattr(ours_part, setting, None) == getattr(theirs_part, setting, None)
    assert ours.rpn.anchor_generator.sizes == theirs.rpn.anchor_generator.sizes


@pytest.mark.parametrize("stages", range(6))
def test_the_same_stages_of_a_resnet_learn_as_in_torchvision(stages: int) -> None:
    ours = without_weights("fasterrcnn", 2, weights="backbone", trainable_layers=stages)
    with torch.device("meta"):
        theirs = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, trainable_layers=stages
        )
    assert learning(ours.backbone) == learning(theirs)


@pytest.mark.parametrize("stages", range(7))
def test_the_same_stages_of_mobilenet_learn_as_in_torchvision(stages: int) -> None:
    ours = without_weights(
        "fasterrcnn", 2, backbone="mobilenet", weights="coco", trainable_layers=stages
    )
    with torch.device("meta"):
        theirs = mobilenet_backbone(
            backbone_name="mobilenet_v3_large", weights=None, fpn=True, trainable_layers=stages
        )
    assert learning(ours.backbone) == learning(theirs)


def learning(network: nn.Module) -> set[str]:
    return {name for name, one in network.named_parameters() if one.requires_grad}


def test_with_weights_three_stages_learn_and_from_nothing_all() -> None:
    started = without_weights("fasterrcnn", 2, weights="backbone")
    stages = {name.partition(".")[0] for name in learning(started.backbone.body)}
    assert stages == {"layer2", "layer3", "layer4"}
    fresh = without_weights("fasterrcnn", 2)
    assert len(learning(fresh)) == len(list(fresh.parameters()))


def norms(network: nn.Module) -> set[type[nn.Module]]:
    kinds = (nn.BatchNorm2d, nn.GroupNorm, FrozenBatchNorm2d)
    return {type(one) for one in network.modules() if isinstance(one, kinds)}


def test_norms_are_groups_from_nothing_and_frozen_with_weights() -> None:
    assert norms(without_weights("maskrcnn", 2)) == {nn.GroupNorm}
    assert norms(without_weights("maskrcnn", 2, norm="batch")) == {nn.BatchNorm2d}
    assert norms(without_weights("maskrcnn", 2, weights="coco")) == {FrozenBatchNorm2d}
    heads = without_weights("maskrcnn", 2, backbone="resnet50_v2", weights="backbone")
    assert norms(heads.backbone.body) == {FrozenBatchNorm2d}
    assert norms(heads.roi_heads) == {nn.BatchNorm2d}  # frozen ones would never be filled


def test_no_group_is_a_channel_alone() -> None:
    for one in small("maskrcnn").modules():
        if isinstance(one, nn.GroupNorm):
            assert one.num_channels // one.num_groups >= 4


def test_the_first_published_detectors_divide_by_the_bare_deviation() -> None:
    def eps(**options: Any) -> set[float]:
        network = without_weights("fasterrcnn", 2, **options)
        return {one.eps for one in network.modules() if isinstance(one, FrozenBatchNorm2d)}

    assert eps(weights="coco") == {0.0}
    assert eps(weights="backbone") == {1e-5}
    assert eps(weights="coco", backbone="resnet50_v2") == {1e-5}


@pytest.mark.parametrize("name", DETECTORS)
def test_every_weight_of_a_small_detector_learns(name: str) -> None:
    network = small(name)
    torch.manual_seed(0)
    photos = [torch.rand(3, 48, 64), torch.rand(3, 64, 50)]
    truth = [targets(48, 64), targets(64, 50)]
    losses = network(photos, truth)
    expected = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert set(losses) == expected | ({"loss_mask"} if kind_of(name).has_masks else set())
    sum(losses.values()).backward()
    without = {key for key, one in network.named_parameters() if one.grad is None}
    assert not without
    assert all(torch.isfinite(one.grad).all() for one in network.parameters())


@pytest.mark.parametrize("name", DETECTORS)
def test_a_photo_without_objects_trains_too(name: str) -> None:
    nothing = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 48, 64, dtype=torch.uint8),
    }
    losses = small(name)([torch.rand(3, 48, 64)], [nothing])
    assert all(torch.isfinite(one) for one in losses.values())


def test_training_may_put_its_own_class_in_place_of_the_heads() -> None:
    seen = []

    class Watched(RoIHeads):
        def forward(self, *given: Any, **named: Any) -> Any:
            seen.append(self.training)
            return super().forward(*given, **named)

    network = small("maskrcnn")
    network.roi_heads.__class__ = Watched
    network([torch.rand(3, 48, 64)], [targets(48, 64)])
    network.eval()([torch.rand(3, 48, 64)])
    assert seen == [True, False]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fasterrcnn", {"backbone": "vgg16"}, "backbone"),
        ("fasterrcnn", {"min_size": 16}, "min_size must be at least 32"),
        ("fasterrcnn", {"min_size": 800, "max_size": 700}, "got 800 and 700"),
        ("fasterrcnn", {"fpn_channels": 20}, "multiple of 8, got 20"),
        ("fasterrcnn", {"rois_per_image": 0}, "rois_per_image"),
        ("fasterrcnn", {"positive_fraction": 1.0}, "between 0 and 1, got 1.0"),
        ("fasterrcnn", {"trainable_layers": 6}, "between 0 and 5"),
        ("fasterrcnn", {"anchor_sizes": [8, 16]}, "must be 5 numbers"),
        ("fasterrcnn", {"anchor_sizes": [0, 1, 2, 3, 4]}, "at least 1"),
        ("fasterrcnn", {"anchor_ratios": []}, "above 0"),
        ("fasterrcnn", {"backbone_width": 16}, "is for the backbone 'resnet18'"),
        ("fasterrcnn", {"weights": "coco", "norm": "group"}, "no published weights with group"),
        ("fasterrcnn", {"weights": "coco", "backbone": "resnet18"}, "no detector of COCO"),
        ("fasterrcnn", {"weights": "coco", "head_width": 64}, "their own head_width"),
        ("fasterrcnn", {"norm": "frozen"}, "nothing to freeze"),
        ("fasterrcnn", {"mask_width": 8}, "unknown option 'mask_width'"),
        ("maskrcnn", {"mask_width": 12}, "multiple of 8, got 12"),
        ("maskrcnn", {"weights": "coco", "backbone": "mobilenet"}, "no Mask R-CNN of COCO"),
        ("detr", {}, "There is no detector called 'detr'; there are fasterrcnn, maskrcnn"),
    ],
)
def test_what_cannot_be_built_is_told(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build(name, num_classes=2, **options)


def test_a_detector_without_classes_is_refused() -> None:
    with pytest.raises(OptionError, match="at least one class, got 0"):
        build("fasterrcnn", num_classes=0, **SMALL)


def test_mobilenet_takes_any_number_of_anchors() -> None:
    options = {**options_of("fasterrcnn"), "backbone": "mobilenet", "backbone_width": 64}
    network = build("fasterrcnn", num_classes=2, **{**options, "anchor_sizes": [16, 32]})
    assert network.rpn.anchor_generator.num_anchors_per_location() == [6, 6, 6]
    found = network.eval()([torch.rand(3, 40, 40)])
    assert set(found[0]) == {"boxes", "labels", "scores"}


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet"])
def test_regions_are_cut_at_the_strides_of_the_pyramid(backbone: str) -> None:
    options = {**options_of("maskrcnn"), "backbone": backbone, "backbone_width": 64}
    if backbone == "mobilenet":
        options["anchor_sizes"] = [16, 32]
    network: Any = build("maskrcnn", num_classes=2, **{**options, "max_size": 64}).eval()
    for pool in (network.roi_heads.box_roi_pool, network.roi_heads.mask_roi_pool):
        ours, pool.scales = (pool.scales, vars(pool.map_levels)), None
        with torch.inference_mode():
            maps = network.backbone(torch.rand(1, 3, 64, 64))
            pool(maps, [torch.tensor([[0.0, 0.0, 9.0, 9.0]])], [(64, 64)])
        assert ours == (pool.scales, vars(pool.map_levels))  # as torchvision guesses them


def test_a_narrow_first_photo_changes_nothing_for_those_after_it() -> None:
    network = small("maskrcnn", seed=3).eval()
    photo, narrow = torch.rand(3, 64, 80), torch.rand(3, 36, 96)
    with torch.inference_mode():
        network([narrow])
        (after,) = network([photo])
        (alone,) = small("maskrcnn", seed=3).eval()([photo])
    assert len(alone["boxes"])
    assert all(torch.equal(after[name], alone[name]) for name in alone)


def test_labels_run_from_one_to_the_number_of_classes() -> None:
    with torch.inference_mode():
        found = small("fasterrcnn").eval()([torch.rand(3, 48, 64)])[0]
    assert len(found["labels"])
    assert set(found["labels"].tolist()) <= set(range(1, len(CLASSES) + 1))


def test_the_list_of_detectors_their_options_and_pipelines_load_no_torch() -> None:
    code = (
        "import sys; from engine.detectors import DETECTORS; from engine.options import *\n"
        "from engine import pipelines, cards\n"
        "[defaults_of(kind.options) for kind in DETECTORS.values()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""torchvision's Faster R-CNN and Mask R-CNN, of any size: options in, a network out.

With the default sizes the layers are those of torchvision's builders, name by name, so published
weights fit; smaller ones train on a CPU. Ren et al. 2015, He et al. 2017, Lin et al. 2017 (FPN).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torchvision
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import (
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    TwoMLPHead,
)
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import poolers
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.detectors.options import (
    RESNET18_WIDTH,
    DetectorOptions,
    FasterRcnnOptions,
    MaskRcnnOptions,
)

Normaliser = Callable[[int], nn.Module]

GROUPS = 32  # of group normalisation at most
CHANNELS_A_GROUP = 4  # at least: of one alone nothing but the shape would be left
POOLED = 7  # cells a side of what the head sees of a region
RESNET_STAGES = ("conv1", "layer1", "layer2", "layer3", "layer4")
STRIDES = {"mobilenet": (32, 32)}  # of the pyramid's levels that regions are cut from
RESNET_STRIDES = (4, 8, 16, 32)
MOBILENET_LEVELS = 2  # its last two stages go into the pyramid
PUBLISHED_EPS = 0.0  # of the frozen norms of torchvision's first COCO detectors


def faster_rcnn(options: FasterRcnnOptions, num_classes: int) -> FasterRCNN:
    """Faster R-CNN for so many classes without the background, weights random."""
    network = FasterRCNN(**_parts(options, num_classes))
    return _with_known_strides(_with_published_eps(network, options), options)


def mask_rcnn(options: MaskRcnnOptions, num_classes: int) -> MaskRCNN:
    """Mask R-CNN for so many classes without the background, weights random."""
    head = MaskRCNNHeads(
        options.fpn_channels, [options.mask_width] * 4, 1, norm_layer=_head_norm(options)
    )
    network = MaskRCNN(
        **_parts(options, num_classes),
        mask_head=head,
        mask_predictor=MaskRCNNPredictor(options.mask_width, options.mask_width, num_classes + 1),
    )
    return _with_known_strides(_with_published_eps(network, options), options)


def _parts(options: DetectorOptions, num_classes: int) -> dict[str, Any]:
    """The keywords that both networks take."""
    backbone = _backbone(options)
    anchors = _anchors(options)
    proposing = RPNHead(
        options.fpn_channels,
        anchors.num_anchors_per_location()[0],
        conv_depth=2 if options.backbone == "resnet50_v2" else 1,
    )
    return {
        "backbone": backbone,
        "min_size": options.min_size,
        "max_size": options.max_size,
        "rpn_anchor_generator": anchors,
        "rpn_head": proposing,
        "rpn_pre_nms_top_n_train": options.train_proposals,
        "rpn_post_nms_top_n_train": options.train_proposals,
        "rpn_pre_nms_top_n_test": options.test_proposals,
        "rpn_post_nms_top_n_test": options.test_proposals,
        "rpn_batch_size_per_image": options.anchors_per_image,
        "box_head": _box_head(options),
        "box_predictor": FastRCNNPredictor(options.head_width, num_classes + 1),
        "box_batch_size_per_image": options.rois_per_image,
        "box_positive_fraction": options.positive_fraction,
    }


def _box_head(options: DetectorOptions) -> nn.Module:
    channels = options.fpn_channels
    if options.backbone == "resnet50_v2":
        return FastRCNNConvFCHead(
            (channels, POOLED, POOLED),
            [channels] * 4,
            [options.head_width],
            norm_layer=_head_norm(options),
        )
    return TwoMLPHead(channels * POOLED**2, options.head_width)


def _anchors(options: DetectorOptions) -> AnchorGenerator:
    if options.backbone == "mobilenet":
        sizes = (options.anchor_sizes,) * (MOBILENET_LEVELS + 1)
    else:
        sizes = tuple((size,) for size in options.anchor_sizes)
    return AnchorGenerator(sizes, (options.anchor_ratios,) * len(sizes))


def _with_known_strides(network: Any, options: DetectorOptions) -> Any:
    """torchvision guesses them from the first photo it sees, once and for all.

    A photo of 33 to 45 pixels' height is padded to 64, and then the guess is half of the truth.
    """
    strides = STRIDES.get(options.backbone, RESNET_STRIDES)
    for pool in (network.roi_heads.box_roi_pool, network.roi_heads.mask_roi_pool):
        if pool is not None:
            pool.scales = [1.0 / stride for stride in strides]
            pool.map_levels = poolers.initLevelMapper(
                *(int(math.log2(stride)) for stride in (strides[0], strides[-1])),
                canonical_scale=pool.canonical_scale,
                canonical_level=pool.canonical_level,
            )
    return network


# The backbone and its pyramid -------------------------------------------------------------------


def _backbone(options: DetectorOptions) -> BackboneWithFPN:
    if options.backbone == "mobilenet":
        return _mobilenet(options)
    body = _resnet(options)
    learning = RESNET_STAGES[len(RESNET_STAGES) - options.trained_stages :]
    for name, parameter in body.named_parameters():
        stage = "conv1" if name.startswith("bn1") else name.partition(".")[0]
        parameter.requires_grad_(stage in learning)
    widths = [body.inplanes // 8 * 2**level for level in range(4)]
    levels = {f"layer{level + 1}": str(level) for level in range(4)}
    return BackboneWithFPN(
        body, levels, widths, options.fpn_channels, norm_layer=_head_norm(options)
    )


def _resnet(options: DetectorOptions) -> ResNet:
    normaliser = _backbone_norm(options)
    if options.backbone == "resnet18":
        return _NarrowResNet([2, 2, 2, 2], width=options.backbone_width, norm_layer=normaliser)
    return torchvision.models.resnet50(weights=None, norm_layer=normaliser)


class _NarrowResNet(ResNet):
    """A ResNet of basic blocks with any number of channels; at 64 it is torchvision's."""

    def __init__(self, layers: list[int], *, width: int, norm_layer: Normaliser) -> None:
        self._width = width
        super().__init__(BasicBlock, layers, norm_layer=norm_layer)

    def _make_layer(self, block: Any, planes: int, *rest: Any, **named: Any) -> nn.Sequential:
        return super()._make_layer(block, planes * self._width // RESNET18_WIDTH, *rest, **named)


def _mobilenet(options: DetectorOptions) -> BackboneWithFPN:
    """MobileNetV3-Large; a stage begins where the map gets smaller, as torchvision counts them."""
    body = torchvision.models.get_model(
        "mobilenet_v3_large", weights=None, norm_layer=_backbone_norm(options)
    ).features
    inner = [place for place, block in enumerate(body) if getattr(block, "_is_cn", False)]
    stages = [0, *inner, len(body) - 1]
    trained = options.trained_stages
    first = stages[len(stages) - trained] if trained else len(body)
    for block in body[:first]:
        block.requires_grad_(False)
    used = stages[-MOBILENET_LEVELS:]
    levels = {str(stage): str(level) for level, stage in enumerate(used)}
    widths = [body[stage].out_channels for stage in used]
    return BackboneWithFPN(
        body, levels, widths, options.fpn_channels, norm_layer=_head_norm(options)
    )


# Normalisation ----------------------------------------------------------------------------------


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, channels // CHANNELS_A_GROUP), channels)


def _backbone_norm(options: DetectorOptions) -> Normaliser:
    normalisers: dict[str, Normaliser] = {
        "frozen": FrozenBatchNorm2d,
        "batch": nn.BatchNorm2d,
        "group": _group_norm,
    }
    return normalisers[options.used_norm]


def _head_norm(options: DetectorOptions) -> Normaliser | None:
    """Of pyramid and heads: what the second ResNet detectors have, and whoever starts from nothing.

    A frozen one that no published weights fill would do nothing, so it is a living one instead.
    """
    if options.used_norm == "group":
        return _group_norm
    if options.backbone != "resnet50_v2":
        return None
    is_filled = options.weights == "coco" and options.used_norm == "frozen"
    return FrozenBatchNorm2d if is_filled else nn.BatchNorm2d


def _with_published_eps(network: Any, options: DetectorOptions) -> Any:
    """torchvision's first COCO detectors with a ResNet divide by the bare deviation."""
    if options.weights == "coco" and options.backbone == "resnet50":
        for module in network.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = PUBLISHED_EPS
    return network

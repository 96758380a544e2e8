"""CAM (Zhou et al., CVPR 2016) on the networks of wsolevaluation: photos in, class maps out.

The trunks are torchvision's with the last strides taken out, so that the map has 14 x 14 cells
for 224 pixels (28 x 28 with ``large_map``); their parameters keep torchvision's names.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.inception import InceptionB

from engine.localizers.options import CamOptions
from engine.localizers.outputs import LocalizerOutput

WIDE = 1024  # channels of the convolutions that VGG and Inception get instead of their classifier


class CamNetwork(nn.Module):
    """Features, their mean, one linear layer; the layer's weights make the maps.

    ``fast_parameters`` are those that wsolevaluation trains at ten times the learning rate.
    Starts as PyTorch and torchvision start their layers.
    """

    def __init__(self, options: CamOptions, num_classes: int) -> None:
        super().__init__()
        make = _TRUNKS[options.backbone]
        self.trunk, self.neck, channels = make(options)
        self.by_convolution = options.backbone == "inception_v3"
        self.fc = (
            nn.Conv2d(channels, num_classes, kernel_size=1)
            if self.by_convolution
            else nn.Linear(channels, num_classes)
        )
        self._fast = ("neck.", "fc.") + (
            ("trunk.layer4.",) if options.backbone.startswith("resnet") else ()
        )

    def forward(self, images: Tensor, return_attentions: bool = False) -> LocalizerOutput:
        """Logits and ``class_maps`` (b, classes, h, w), without gradient; there is no attention.

        A map is the sum of the features by the weights of its class, without bias (Inception:
        its class channel, with it), and may be negative.
        """
        features = self.neck(self.trunk(images))  # (b, channels, h, w)
        if self.by_convolution:
            maps = self.fc(features)
            return LocalizerOutput(logits=maps.mean(dim=(2, 3)), class_maps=maps.detach())
        logits = self.fc(features.mean(dim=(2, 3)))
        weights = self.fc.weight.detach()[:, :, None, None].to(features.dtype)
        return LocalizerOutput(logits=logits, class_maps=F.conv2d(features.detach(), weights))

    def fast_parameters(self) -> list[str]:
        """Names of the parameters on the side of the classifier."""
        return [name for name, _ in self.named_parameters() if name.startswith(self._fast)]


Parts = tuple[nn.Module, nn.Module, int]
"""Trunk, what lies between it and the classifier, and the channels that come out."""


def _resnet(options: CamOptions) -> Parts:
    make = getattr(torchvision.models, options.backbone)
    network = make(weights=None)
    channels = network.fc.in_features
    _without_stride(network.layer4)
    if options.large_map:
        _without_stride(network.layer3)
    trunk = nn.Sequential()
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        trunk.add_module(name, getattr(network, name))
    return trunk, nn.Identity(), channels


def _without_stride(layer: nn.Module) -> None:
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)


def _vgg16(options: CamOptions) -> Parts:
    features = torchvision.models.vgg16(weights=None).features
    pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    for dropped in pools[-2:] if options.large_map else pools[-1:]:
        features[dropped] = nn.Identity()  # so the others keep their numbers, and ImageNet fits
    trunk = nn.Sequential()
    trunk.add_module("features", features)
    neck = nn.Sequential(nn.Conv2d(512, WIDE, kernel_size=3, padding=1), nn.ReLU())
    return trunk, neck, WIDE


def _small(options: CamOptions) -> Parts:
    """Four pairs of convolutions, cells of 8 pixels (4 with ``large_map``), from nothing."""
    width = options.width
    strides = (2, 2, 1 if options.large_map else 2, 1)
    trunk = nn.Sequential()
    before = 3
    for stage, (channels, stride) in enumerate(
        zip((width // 2, width, 2 * width, 4 * width), strides, strict=True)
    ):
        trunk.add_module(
            f"stage{stage}",
            nn.Sequential(_convolution(before, channels, stride), _convolution(channels, channels)),
        )
        before = channels
    return trunk, nn.Identity(), before


def _convolution(before: int, after: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class _WideInceptionB(InceptionB):
    """Mixed_6a that keeps its size: stride 1 and one pixel of padding in all three branches."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for branch in (self.branch3x3, self.branch3x3dbl_3):
            branch.conv.stride, branch.conv.padding = (1, 1), (1, 1)

    def forward(self, features: Tensor) -> Tensor:
        deep = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        pooled = F.max_pool2d(features, kernel_size=3, stride=1, padding=1)
        return torch.cat([self.branch3x3(features), deep, pooled], dim=1)


def _inception_v3(options: CamOptions) -> Parts:
    network = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.Conv2d_1a_3x3.conv.padding = (1, 1)
    layers: list[tuple[str, nn.Module]] = [
        *((name, getattr(network, name)) for name in _STEM[:3]),
        ("pool1", nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
        *((name, getattr(network, name)) for name in _STEM[3:]),
        ("pool2", nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
        *((name, getattr(network, name)) for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d")),
    ]
    if not options.large_map:
        layers.append(("pool3", nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)))
    layers.append(("Mixed_6a", _WideInceptionB(288)))
    layers += [(name, getattr(network, name)) for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d")]
    layers.append(("Mixed_6e", network.Mixed_6e))
    trunk = nn.Sequential()
    for name, layer in layers:
        trunk.add_module(name, layer)
    neck = nn.Sequential(
        *(nn.Dropout(0.5), nn.Conv2d(768, WIDE, kernel_size=3, padding=1), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Conv2d(WIDE, WIDE, kernel_size=3, padding=1), nn.ReLU()),
        nn.Dropout(0.5),
    )
    return trunk, neck, WIDE


_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")

_TRUNKS: dict[str, Callable[[CamOptions], Parts]] = {
    "resnet50": _resnet,
    "resnet18": _resnet,
    "vgg16": _vgg16,
    "inception_v3": _inception_v3,
    "small": _small,
}

"""What each detector network can be told: frozen option classes, read without loading torch.

Every class goes through `engine.options`: flags, plain JSON beside the weights, and back. The
defaults are torchvision's, so published weights fit them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from engine.errors import OptionError

Backbone = Literal["resnet50", "resnet50_v2", "mobilenet", "resnet18"]
Weights = Literal["none", "backbone", "coco"]
Norm = Literal["frozen", "batch", "group"]

STAGES: dict[str, int] = {"resnet50": 5, "resnet50_v2": 5, "mobilenet": 6, "resnet18": 5}
"""How many parts of each backbone can be trained or left as they are, the first layer included."""

RESNET18_WIDTH = 64  # channels of its first stage as published
RESNET_LEVELS = 5  # maps of the pyramid, from a quarter of the photo's size on
RESNET_ANCHORS = (32, 64, 128, 256, 512)  # one a level; mobilenet has all on each of its three
TRAINED_STAGES = 3  # of a backbone that comes with weights, as torchvision leaves it
SHAPES = ("fpn_channels", "head_width", "anchor_sizes", "anchor_ratios", "mask_width")
"""Options that change the shape of a weight, so that published ones fit their defaults only."""


@dataclass(frozen=True)
class DetectorOptions:
    """What both detectors share. OptionError for values out of range or that exclude each other."""

    backbone: Backbone = field(
        default="resnet50",
        metadata={"help": "what sees the photo; mobilenet and resnet18 for small machines"},
    )
    weights: Weights = field(
        default="none",
        metadata={
            "help": "start from nothing, from an ImageNet backbone, or from a detector of COCO; "
            "downloaded once"
        },
    )
    norm: Norm | None = field(
        default=None,
        metadata={"help": "normalisation; none means frozen with weights, group without"},
    )
    trainable_layers: int | None = field(
        default=None,
        metadata={"help": "stages of the backbone that learn; none means 3 with weights, else all"},
    )
    min_size: int = field(
        default=800, metadata={"help": "short side in pixels that photos are resized to"}
    )
    max_size: int = field(
        default=1333, metadata={"help": "long side in pixels that photos never exceed"}
    )
    backbone_width: int = field(
        default=RESNET18_WIDTH,
        metadata={"help": "channels of the first stage of resnet18; a multiple of 8"},
    )
    fpn_channels: int = field(
        default=256, metadata={"help": "channels of the pyramid; a multiple of 8"}
    )
    head_width: int = field(
        default=1024, metadata={"help": "width of the layers that judge a region"}
    )
    anchor_sizes: tuple[int, ...] = field(
        default=RESNET_ANCHORS,
        metadata={"help": "sides in pixels of the resized photo of the boxes that it starts from"},
    )
    anchor_ratios: tuple[float, ...] = field(
        default=(0.5, 1.0, 2.0), metadata={"help": "heights of these boxes in their widths"}
    )
    train_proposals: int = field(
        default=2000, metadata={"help": "regions a photo that are looked at while training"}
    )
    test_proposals: int = field(
        default=1000, metadata={"help": "regions a photo that are looked at afterwards"}
    )
    rois_per_image: int = field(
        default=512, metadata={"help": "regions a photo that train the classes and boxes"}
    )
    positive_fraction: float = field(
        default=0.25, metadata={"help": "share of these that may be on an object"}
    )
    anchors_per_image: int = field(
        default=256, metadata={"help": "anchors a photo that train the proposals"}
    )

    def __post_init__(self) -> None:
        counts = (
            "min_size",
            "max_size",
            "backbone_width",
            "fpn_channels",
            "head_width",
            "train_proposals",
            "test_proposals",
            "rois_per_image",
            "anchors_per_image",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise OptionError(f"option {name!r} got {getattr(self, name)}; allowed: 1 and more")
        if self.min_size < 32 or self.max_size < self.min_size:
            raise OptionError(
                f"min_size must be at least 32 and max_size no less than it, got {self.min_size} "
                f"and {self.max_size}"
            )
        for name in ("backbone_width", "fpn_channels"):
            if getattr(self, name) % 8:
                raise OptionError(f"{name} must be a multiple of 8, got {getattr(self, name)}")
        if not 0.0 < self.positive_fraction < 1.0:
            raise OptionError(
                f"positive_fraction must lie between 0 and 1, got {self.positive_fraction}"
            )
        stages = STAGES[self.backbone]
        if self.trainable_layers is not None and not 0 <= self.trainable_layers <= stages:
            raise OptionError(
                f"trainable_layers must lie between 0 and {stages} for {self.backbone}, "
                f"got {self.trainable_layers}"
            )
        self._check_anchors()
        self._check_weights()

    @property
    def used_norm(self) -> Norm:
        """The normalisation, with the default filled in."""
        return self.norm or ("group" if self.weights == "none" else "frozen")

    @property
    def trained_stages(self) -> int:
        """How many stages of the backbone learn, with the default filled in."""
        if self.trainable_layers is not None:
            return self.trainable_layers
        return STAGES[self.backbone] if self.weights == "none" else TRAINED_STAGES

    def _check_anchors(self) -> None:
        if not self.anchor_sizes or min(self.anchor_sizes) < 1:
            raise OptionError(
                f"anchor_sizes must be numbers of at least 1, got {list(self.anchor_sizes)}"
            )
        if self.backbone != "mobilenet" and len(self.anchor_sizes) != RESNET_LEVELS:
            raise OptionError(
                f"anchor_sizes must be {RESNET_LEVELS} numbers for {self.backbone}, one a level, "
                f"got {list(self.anchor_sizes)}"
            )
        if not self.anchor_ratios or min(self.anchor_ratios) <= 0:
            raise OptionError(
                f"anchor_ratios must be numbers above 0, got {list(self.anchor_ratios)}"
            )

    def _check_weights(self) -> None:
        is_narrow = self.backbone_width != RESNET18_WIDTH
        if is_narrow and (self.backbone != "resnet18" or self.weights != "none"):
            raise OptionError(
                f"backbone_width {self.backbone_width} is for the backbone 'resnet18' with the "
                f"weights 'none'; leave it out."
            )
        if self.weights == "none":
            return
        if self.norm == "group":
            raise OptionError(
                "There are no published weights with group normalisation; leave out norm, or "
                "take the weights 'none'."
            )
        if self.weights == "coco":
            if self.backbone == "resnet18":
                raise OptionError(
                    "There is no detector of COCO with the backbone 'resnet18'; take the weights "
                    "'backbone', or another backbone."
                )
            defaults = {one.name: one.default for one in fields(self)}
            changed = [
                name
                for name in SHAPES
                if name in defaults and getattr(self, name) != defaults[name]
            ]
            if changed:
                raise OptionError(
                    f"The detectors of COCO have their own {', '.join(changed)}; leave these out, "
                    f"or take the weights 'backbone'."
                )


@dataclass(frozen=True)
class FasterRcnnOptions(DetectorOptions):
    """Faster R-CNN has nothing of its own to set."""


@dataclass(frozen=True)
class MaskRcnnOptions(DetectorOptions):
    """Mask R-CNN: a mask for each box."""

    mask_width: int = field(
        default=256, metadata={"help": "channels of the layers that draw a mask; a multiple of 8"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask_width < 8 or self.mask_width % 8:
            raise OptionError(f"mask_width must be a multiple of 8, got {self.mask_width}")

    def _check_weights(self) -> None:
        super()._check_weights()
        if self.weights == "coco" and self.backbone == "mobilenet":
            raise OptionError(
                "There is no Mask R-CNN of COCO with the backbone 'mobilenet'; take the weights "
                "'backbone', or another backbone."
            )


LONGEST_SIDE = 2000  # pixels of a view at one of several scales, as WeakSAM has it


@dataclass(frozen=True)
class ViewOptions:
    """How often a photo is looked at; the defaults are once, as the network was trained."""

    scales: tuple[int, ...] = field(
        default=(),
        metadata={"help": "short sides in pixels at which a photo is seen; none: as trained"},
    )
    flips: bool = field(default=False, metadata={"help": "see each of them mirrored too"})

    def __post_init__(self) -> None:
        if self.scales and min(self.scales) < 32:
            raise OptionError(f"scales must be at least 32 pixels, got {list(self.scales)}")

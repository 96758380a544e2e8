"""What each localizer network can be told: frozen option classes, read without loading torch.

Every class goes through `engine.options`: flags, plain JSON beside the weights, and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import OptionError

Size = Literal["tiny", "small", "base"]
ProjMode = Literal["independent", "reference", "shared"]
AttentionForm = Literal["fused", "literal"]
CamBackbone = Literal["resnet50", "vgg16", "inception_v3", "resnet18", "small"]

SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
}
"""Embedding width, blocks and heads of the three DeiT models."""

LAST_BLOCKS = 3  # SAT and GTFormer gate the last three blocks of twelve


@dataclass(frozen=True)
class VitOptions:
    """What all vision transformers share. The defaults are DeiT-S at 224 pixels."""

    size: Size = field(
        default="small", metadata={"help": "DeiT model: width, blocks and heads of the network"}
    )
    embed_dim: int | None = field(
        default=None, metadata={"help": "width of a token, instead of that of the size"}
    )
    depth: int | None = field(
        default=None, metadata={"help": "number of blocks, instead of that of the size"}
    )
    heads: int | None = field(
        default=None, metadata={"help": "number of attention heads, instead of that of the size"}
    )
    image_size: int = field(
        default=224, metadata={"help": "side in pixels of the photos that it is trained on"}
    )
    patch_size: int = field(default=16, metadata={"help": "side in pixels of a cell of the map"})
    drop_path: float = field(
        default=0.1,
        metadata={"help": "stochastic depth of the last block while training; the first has 0"},
    )
    attention: AttentionForm = field(
        default="fused",
        metadata={"help": "literal computes every attention matrix: slow, same numbers"},
    )
    pretrained: bool = field(
        default=False, metadata={"help": "start from ImageNet weights, which are downloaded once"}
    )

    def __post_init__(self) -> None:
        for name in ("embed_dim", "depth", "heads", "image_size", "patch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"option {name!r} got {value}; allowed: 1 and more")
        if self.image_size % self.patch_size:
            raise OptionError(
                f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}; "
                f"the nearest below is {self.image_size // self.patch_size * self.patch_size}"
            )
        width, _, heads = self.shape
        if width % heads:
            raise OptionError(f"embed_dim {width} must be a multiple of the {heads} heads")
        if not 0 <= self.drop_path < 1:
            raise OptionError(f"drop_path must be at least 0 and below 1, got {self.drop_path}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Embedding width, blocks, heads: those given, else those of the size."""
        width, depth, heads = SIZES[self.size]
        return self.embed_dim or width, self.depth or depth, self.heads or heads


@dataclass(frozen=True)
class TscamOptions(VitOptions):
    """TS-CAM has nothing of its own to set."""


@dataclass(frozen=True)
class GatedOptions(VitOptions):
    """What SAT and GTFormer share: query tokens whose attention gates the keys."""

    gta: bool = field(
        default=True, metadata={"help": "let the maps gate the attention; off is the ablation"}
    )
    gta_blocks: tuple[int, ...] = field(
        default=(),
        metadata={"help": "blocks that make the maps, counted from 0; none means the last three"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        depth = self.shape[1]
        wrong = [block for block in self.gta_blocks if not 0 <= block < depth]
        if wrong or len(set(self.gta_blocks)) < len(self.gta_blocks):
            raise OptionError(
                f"gta_blocks must be different numbers from 0 to {depth - 1}, "
                f"got {list(self.gta_blocks)}"
            )

    @property
    def map_blocks(self) -> tuple[int, ...]:
        """The blocks that make the maps, with the default filled in."""
        depth = self.shape[1]
        return tuple(sorted(self.gta_blocks)) or tuple(range(max(0, depth - LAST_BLOCKS), depth))


@dataclass(frozen=True)
class SatOptions(GatedOptions):
    """SAT has one learned query token and nothing more to set."""


@dataclass(frozen=True)
class GtformerOptions(GatedOptions):
    """GTFormer: global tokens made from the photo itself."""

    global_tokens: Literal[1, 4, 16] = field(
        default=4, metadata={"help": "how many subsampled copies of the photo become a token each"}
    )
    proj_mode: ProjMode = field(
        default="independent",
        metadata={
            "help": "projections of the copies: one each, as the published code has it (the "
            "second one for all but the first copy), or one for all"
        },
    )

    @property
    def copies_a_side(self) -> int:
        """s of the s x s copies."""
        return math.isqrt(self.global_tokens)


@dataclass(frozen=True)
class CamOptions:
    """CAM: a convolutional network whose classifier weights its last features."""

    backbone: CamBackbone = field(
        default="resnet50",
        metadata={"help": "the convolutional network; small has no ImageNet weights"},
    )
    image_size: int = field(
        default=224, metadata={"help": "side in pixels of the photos that it is trained on"}
    )
    large_map: bool = field(
        default=False, metadata={"help": "cells half as large, at about twice the cost"}
    )
    width: int = field(
        default=32, metadata={"help": "channels of the second stage of the small backbone"}
    )
    pretrained: bool = field(
        default=False, metadata={"help": "start from ImageNet weights, which are downloaded once"}
    )

    def __post_init__(self) -> None:
        if self.image_size < 32:
            raise OptionError(f"image_size must be at least 32, got {self.image_size}")
        if self.width < 2 or self.width % 2:
            raise OptionError(f"width must be even and at least 2, got {self.width}")
        if self.pretrained and self.backbone == "small":
            raise OptionError(
                "There are no ImageNet weights for the backbone 'small'; leave out pretrained, or "
                "take resnet18."
            )

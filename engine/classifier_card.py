"""What a classifier's file says about itself, without loading torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import OptionError, WeightsError
from engine.options import as_dict, from_dict

KIND = "classifier"


@dataclass(frozen=True)
class ClassifierOptions:
    """Which network it is and how it looks at a photo."""

    arch: str = field(
        default="tf_efficientnet_b7", metadata={"help": "name of a classifier of timm"}
    )
    resize: int = field(
        default=685, metadata={"help": "side in pixels of the square the photo is squeezed to"}
    )
    crop: int = field(
        default=600, metadata={"help": "side in pixels of the part at its centre that is seen"}
    )
    pretrained: bool = field(
        default=False, metadata={"help": "start from ImageNet weights, which are downloaded once"}
    )

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise OptionError(
                f"crop must lie from 1 to resize, got crop {self.crop} and resize {self.resize}"
            )


@dataclass(frozen=True)
class ClassifierCard:
    """What a file of weights says about itself; everything in it is plain JSON."""

    options: dict[str, Any]  # of `ClassifierOptions`
    classes: tuple[str, ...]  # in the order of the outputs
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)  # where it came from

    @property
    def arch(self) -> str:
        """Name of the network in timm."""
        return str(self.options["arch"])

    @property
    def image_size(self) -> int:
        """Side in pixels of what it sees of a photo."""
        return int(self.options["crop"])


def card_of(path: Path, values: Mapping[str, Any]) -> ClassifierCard:
    """The card of what was read from the header of the file; WeightsError for one unknown here."""
    try:
        options = from_dict(ClassifierOptions, values["options"])
        classes = tuple(str(name) for name in values["classes"])
    except (KeyError, TypeError, OptionError) as error:
        raise WeightsError(
            f"{path} asks for a classifier that this version does not know: {error}"
        ) from error
    return ClassifierCard(
        options=as_dict(options),
        classes=classes,
        metrics=dict(values.get("metrics") or {}),
        training=dict(values.get("training") or {}),
    )

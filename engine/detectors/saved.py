"""A trained detector as one file: weights, and a card that says how to build and use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import weight_files
from engine.detectors import kind_of
from engine.errors import OptionError, WeightsError
from engine.options import from_dict

if TYPE_CHECKING:
    from torch import nn

KIND = "detector"


@dataclass(frozen=True)
class DetectorCard:
    """What a file of weights says about itself; everything in it is plain JSON."""

    arch: str  # a name of engine.detectors.DETECTORS
    options: dict[str, Any]  # of that architecture, as engine.options.as_dict gives them
    classes: tuple[str, ...]  # the network's class 1 is the first; 0 is the background
    metrics: dict[str, Any] = field(default_factory=dict)  # of the last validation
    training: dict[str, Any] = field(default_factory=dict)  # recipe, data, parent, seed …

    @property
    def has_masks(self) -> bool:
        """Whether the detector answers with masks beside the boxes."""
        return kind_of(self.arch).has_masks


def save_detector(path: Path, network: nn.Module, card: DetectorCard) -> None:
    """Write the file, whole or not at all; WeightsError where it cannot be written."""
    weight_files.write(
        path,
        {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        kind=KIND,
        card=dataclasses.asdict(card),
    )


def read_card(path: Path) -> DetectorCard:
    """The card alone: loads neither torch nor the weights.

    WeightsError where the file is missing, broken, not a detector or of an unknown architecture.
    """
    return card_of(path, weight_files.read_card(Path(path), kind=KIND))


def load_detector(path: Path, device: str = "cpu") -> tuple[nn.Module, DetectorCard]:
    """The network in evaluation mode on the device, and its card. Never downloads.

    WeightsError as in `read_card`, and where the weights do not fit what the card says.
    """
    path = Path(path)
    card = read_card(path)
    network = kind_of(card.arch).build(_options_of(path, card), len(card.classes))
    weight_files.load_into(network, path)
    return network.eval().to(device), card


def card_of(path: Path, values: Mapping[str, Any]) -> DetectorCard:
    """The card of what was read from the header of the file; WeightsError as in `read_card`."""
    known = {one.name for one in dataclasses.fields(DetectorCard)}
    required = {"arch", "options", "classes"}
    kinds = {"arch": str, "options": dict, "classes": list, "metrics": dict, "training": dict}
    if not required <= set(values) <= known or not all(
        isinstance(value, kinds[name]) for name, value in values.items()
    ):
        raise WeightsError(
            f"The card of {path} is not readable (it has {', '.join(values) or 'nothing'}); it "
            f"may come from another version of this program."
        )
    card = DetectorCard(**{**values, "classes": tuple(values["classes"])})
    _options_of(path, card)
    return card


def _options_of(path: Path, card: DetectorCard) -> Any:
    try:
        return from_dict(kind_of(card.arch).options, card.options)
    except OptionError as error:
        raise WeightsError(
            f"{path} asks for a network that this version does not know: {error}"
        ) from error

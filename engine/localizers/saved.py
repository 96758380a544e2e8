"""A trained localizer as one file: weights, and a card that says how to build and use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import weight_files
from engine.errors import OptionError, WeightsError
from engine.localizers import kind_of
from engine.options import from_dict

if TYPE_CHECKING:
    from torch import nn

KIND = "localizer"


@dataclass(frozen=True)
class LocalizerCard:
    """What a file of weights says about itself; everything in it is plain JSON."""

    arch: str  # a name of engine.localizers.LOCALIZERS
    options: dict[str, Any]  # of that architecture, as engine.options.as_dict gives them
    classes: tuple[str, ...]  # in the order of the logits
    image_size: int  # side in pixels that photos are resized to
    multi_label: bool  # several tags a photo: sigmoid, not softmax
    metrics: dict[str, Any] = field(default_factory=dict)  # of the last validation
    training: dict[str, Any] = field(default_factory=dict)  # recipe, epochs, data, seed …


def save_localizer(path: Path, network: nn.Module, card: LocalizerCard) -> None:
    """Write the file, whole or not at all; WeightsError where it cannot be written."""
    weight_files.write(
        path,
        {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        kind=KIND,
        card=dataclasses.asdict(card),
    )


def read_card(path: Path) -> LocalizerCard:
    """The card alone: loads neither torch nor the weights.

    WeightsError where the file is missing, broken, not a localizer or of an unknown architecture.
    """
    return card_of(path, weight_files.read_card(Path(path), kind=KIND))


def load_localizer(path: Path, device: str = "cpu") -> tuple[nn.Module, LocalizerCard]:
    """The network in evaluation mode on the device, and its card. Never downloads.

    WeightsError as in `read_card`, and where the weights do not fit what the card says.
    """
    path = Path(path)
    card = read_card(path)
    network = kind_of(card.arch).build(_options_of(path, card), len(card.classes))
    weight_files.load_into(network, path)
    return network.eval().to(device), card


def card_of(path: Path, values: Mapping[str, Any]) -> LocalizerCard:
    """The card of what was read from the header of the file; WeightsError as in `read_card`."""
    known = {field.name for field in dataclasses.fields(LocalizerCard)}
    required = known - {"metrics", "training"}
    kinds = {"arch": str, "options": dict, "classes": list, "image_size": int, "multi_label": bool}
    if not required <= set(values) <= known or not all(
        isinstance(values[name], kind) for name, kind in kinds.items()
    ):
        raise WeightsError(
            f"The card of {path} is not readable (it has {', '.join(values) or 'nothing'}); it "
            f"may come from another version of this program."
        )
    card = LocalizerCard(**{**values, "classes": tuple(values["classes"])})
    _options_of(path, card)
    return card


def _options_of(path: Path, card: LocalizerCard) -> Any:
    """The options of the card; its weights replace ImageNet's, so none are asked for."""
    try:
        options = from_dict(kind_of(card.arch).options, card.options)
    except OptionError as error:
        raise WeightsError(
            f"{path} asks for a network that this version does not know: {error}"
        ) from error
    return dataclasses.replace(options, pretrained=False)

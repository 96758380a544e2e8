"""One safetensors file that says itself what it holds: tensors, and a JSON card in its header.

The card lies under the metadata key "tag2mask", and its "kind" tells localizers, classifiers and
detectors apart. Reading a card loads neither torch nor the tensors.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from engine.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

KEY = "tag2mask"


def write(path: Path, tensors: Mapping[str, Tensor], *, kind: str, card: Mapping[str, Any]) -> None:
    """Write the file whole or not at all: what was there before stays until then.

    WeightsError where the folder cannot be written or the disk is full. ValueError for a card
    that is no JSON, which is a mistake of the program.
    """
    from safetensors.torch import save

    described = json.dumps({**card, "kind": kind}, allow_nan=False)
    whole = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {KEY: described})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it is renamed, so it outlives a with
            dir=path.parent, prefix=path.name, suffix=".part", delete=False
        )
        try:
            with part:
                part.write(whole)
                part.flush()
                os.fsync(part.fileno())
            os.chmod(part.name, 0o644)  # temporary files are private; a checkpoint is to be shared
            os.replace(part.name, path)
        finally:
            Path(part.name).unlink(missing_ok=True)  # there only where something went wrong
    except OSError as error:
        raise WeightsError(
            f"Cannot write {path} ({error.strerror or error}); check the folder and the disk."
        ) from error


def read_card(path: Path, *, kind: str) -> dict[str, Any]:
    """The card of the file, without its "kind"; from the header alone.

    WeightsError where the file is missing, broken, not one of ours, or of another kind.
    """
    found, card = read_any_card(path)
    if found != kind:
        raise WeightsError(f"{path} holds a {found}, not a {kind}; name another file.")
    return card


def read_any_card(path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of the file and its card; WeightsError where it is missing, broken or not ours."""
    if not path.is_file():
        raise WeightsError(f"There is no file {path}; train one, or name another one.")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY)
        card = json.loads(text) if text is not None else None
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is broken ({error}); copy or train it again, or name another one."
        ) from error
    if not isinstance(card, dict) or "kind" not in card:
        raise WeightsError(
            f"{path} does not say which network it is for, so it was not made by this program; "
            f"name a model.safetensors of a training run."
        )
    return str(card.pop("kind")), card


def load_into(network: nn.Module, path: Path) -> None:
    """Give the network the tensors of the file; every one, and no other.

    WeightsError where the file is broken or belongs to another network, with the names.
    """
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is broken ({error}); copy or train it again, or name another one."
        ) from error
    fill(network, tensors, source=str(path))


def fill(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    called: Callable[[str], str] = str,
) -> None:
    """Load the tensors; WeightsError with what is missing, unexpected or of another shape.

    The network is left as it was where anything is wrong. ``called`` turns a name of ours into
    the one that the reader of the message knows.
    """
    own = network.state_dict()
    missing = [called(name) for name in own if name not in tensors]
    unexpected = [called(name) for name in tensors if name not in own]
    misshapen = [
        f"{called(name)} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    complaints = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]
    if complaints:
        raise WeightsError(
            f"{source} does not fit {type(network).__name__} ({'; '.join(complaints)}); "
            f"check the architecture and its options."
        )
    network.load_state_dict(dict(tensors))

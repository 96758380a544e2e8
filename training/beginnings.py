"""The network that a training begins with: random, of ImageNet, or what an earlier one learnt."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from torch import nn

from engine.errors import WeightsError
from engine.localizers import build
from engine.localizers.cam import CamNetwork
from engine.localizers.pretrained import load_deit, load_trunk
from engine.localizers.saved import load_localizer
from engine.torch_files import state_dict_of
from training.settings import Settings

CLASSIFIER = ("head.", "fc.")  # parameters whose shape depends on the classes
ADDED = {"sat": ("loc_", "kernel"), "gtformer": ("glo_embed", "global_projections.", "kernel")}
"""What SAT and GTFormer have and TS-CAM has not."""


def make_network(
    settings: Settings, classes: tuple[str, ...], *, goes_on: bool, device: torch.device
) -> nn.Module:
    """The network on the device, in training mode; the seed alone decides what is random.

    One that ``goes_on`` gets its weights from elsewhere, so none are fetched or read. WeightsError
    where weights are asked for and cannot be had, or do not fit.
    """
    torch.manual_seed(settings.machine.seed)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
    begins_with = None if goes_on else settings.weights
    options = dict(settings.network)
    if goes_on or begins_with is not None:
        options["pretrained"] = False
    network = build(settings.model, num_classes=len(classes), **options)
    if settings.recipe.linear_gain and not options["pretrained"]:
        _spread_linear(network, settings.recipe.linear_gain)
    if begins_with is not None:
        _fill(network, begins_with, model=settings.model, classes=classes)
    return network.to(device)


def _spread_linear(network: nn.Module, gain: float) -> None:
    """Normal weights of gain / sqrt(inputs), cut at two of these: narrow networks need it."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            spread = gain / math.sqrt(module.in_features)
            nn.init.trunc_normal_(module.weight, std=spread, a=-2 * spread, b=2 * spread)


def _fill(network: nn.Module, path: Path, *, model: str, classes: tuple[str, ...]) -> None:
    if path.suffix == ".safetensors":
        _fill_from_localizer(network, path, model=model, classes=classes)
    elif isinstance(network, CamNetwork):
        load_trunk(network, state_dict_of(path))
    else:
        load_deit(network, state_dict_of(path))  # type: ignore[arg-type]


def _fill_from_localizer(
    network: nn.Module, path: Path, *, model: str, classes: tuple[str, ...]
) -> None:
    """Everything of an earlier training; its classifier only where the classes are the same.

    TS-CAM is the plain transformer that SAT and GTFormer add tokens to, so these begin with it too.
    """
    trained, card = load_localizer(path)
    taken = trained.state_dict()
    own = network.state_dict()
    if card.arch == "tscam" and model in ADDED:
        taken |= {name: value for name, value in own.items() if name.startswith(ADDED[model])}
    elif card.arch != model:
        raise WeightsError(f"{os.fspath(path)!r} is a {card.arch}, not a {model}; train that one")
    if card.classes != classes:
        taken |= {name: value for name, value in own.items() if name.startswith(CLASSIFIER)}
    other = [
        name
        for name in own.keys() | taken.keys()
        if name not in own or name not in taken or own[name].shape != taken[name].shape
    ]
    if other:
        raise WeightsError(
            f"{os.fspath(path)!r} is a {model} of another shape ({min(other)} differs);"
            " give its network options and image_size"
        )
    network.load_state_dict(taken)

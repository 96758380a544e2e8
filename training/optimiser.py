"""Which parameters decay and how fast each learns: a network and a recipe in, an optimiser out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from training.detector_recipes import DetectorRecipe
from training.recipes import Recipe

EMBEDDINGS = ("cls_token", "pos_embed", "glo_embed", "loc_token", "loc_embed")


def make_optimiser(
    network: nn.Module, recipe: Recipe, *, fast_parameters: Collection[str] = ()
) -> Optimizer:
    """Groups by decay and by rate; each group's ``factor`` is what its rate is multiplied by.

    Biases and other 1-D tensors never decay with AdamW; SGD decays all, as wsolevaluation does.
    The ``fast_parameters``, by name, learn ``head_factor`` times faster.
    """

    def decay_and_factor(name: str, parameter: nn.Parameter) -> tuple[float, float]:
        decay = recipe.weight_decay if _decays(name, parameter, recipe) else 0.0
        return decay, recipe.head_factor if name in fast_parameters else 1.0

    described = _grouped(network, recipe.learning_rate, decay_and_factor)
    if recipe.optimiser == "sgd":
        return SGD(described, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    return AdamW(described, lr=recipe.learning_rate, betas=(recipe.momentum, recipe.beta2))


def make_detector_optimiser(network: nn.Module, recipe: DetectorRecipe) -> Optimizer:
    """The same for a detector: what is 1-D never decays, the backbone has a rate of its own."""

    def decay_and_factor(name: str, parameter: nn.Parameter) -> tuple[float, float]:
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        return decay, recipe.backbone_factor if name.startswith("backbone.body.") else 1.0

    described = _grouped(network, recipe.learning_rate, decay_and_factor)
    if recipe.optimiser == "sgd":
        return SGD(described, lr=recipe.learning_rate, momentum=recipe.momentum)
    return AdamW(described, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))


def _grouped(
    network: nn.Module,
    learning_rate: float,
    decay_and_factor: Callable[[str, nn.Parameter], tuple[float, float]],
) -> list[dict[str, Any]]:
    """The parameters that learn, together with those of the same decay and factor."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(decay_and_factor(name, parameter), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "factor": factor, "lr": learning_rate}
        for (decay, factor), members in groups.items()
    ]


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """The rate of the schedule, times each group's factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]


def _decays(name: str, parameter: torch.Tensor, recipe: Recipe) -> bool:
    if recipe.optimiser == "sgd":
        return True
    if parameter.ndim <= 1:
        return False
    return recipe.decay_embeddings or name not in EMBEDDINGS

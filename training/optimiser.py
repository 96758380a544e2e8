"""Which parameters decay and how fast each learns: a network and a recipe in, an optimiser out."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from training.recipes import Recipe

EMBEDDINGS = ("cls_token", "pos_embed", "glo_embed", "loc_token", "loc_embed")


def make_optimiser(
    network: nn.Module, recipe: Recipe, *, fast_parameters: Collection[str] = ()
) -> Optimizer:
    """Groups by decay and by rate; each group's ``factor`` is what its rate is multiplied by.

    Biases and other 1-D tensors never decay with AdamW; SGD decays all, as wsolevaluation does.
    The ``fast_parameters``, by name, learn ``head_factor`` times faster.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = recipe.weight_decay if _decays(name, parameter, recipe) else 0.0
        factor = recipe.head_factor if name in fast_parameters else 1.0
        groups.setdefault((decay, factor), []).append(parameter)
    described = [
        {"params": members, "weight_decay": decay, "factor": factor, "lr": recipe.learning_rate}
        for (decay, factor), members in groups.items()
    ]
    if recipe.optimiser == "sgd":
        return SGD(described, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    return AdamW(described, lr=recipe.learning_rate, betas=(recipe.momentum, recipe.beta2))


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

"""One step of a localizer's training: photos and tags in, gradients and figures out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.localizers.views import normalised
from training.batches import Batch
from training.loop import Figures, Learnt, Training
from training.losses import LossTerms, LossWeights, localizer_loss
from training.recipes import Recipe, learning_rate, map_share


@dataclass(frozen=True, eq=False, kw_only=True)
class LocalizerTraining(Training[Batch]):
    """A localizer, its recipe and how its classes are meant."""

    recipe: Recipe
    multi_label: bool

    @property
    def steps(self) -> int:
        """In all epochs."""
        return self.recipe.epochs * self.plan.steps_an_epoch

    @property
    def gradient_limit(self) -> float:
        """As the recipe says."""
        return self.recipe.gradient_limit

    def learning_rate(self, step: int) -> float:
        """As the recipe says."""
        return learning_rate(self.recipe, step=step, steps_an_epoch=self.plan.steps_an_epoch)

    def learn(self, batch: Batch, *, step: int) -> Learnt:
        """The batch goes through the network in pieces of ``forward_batch``.

        The area loss looks at the mean of each piece, everything else is as with one piece.
        """
        recipe = self.recipe
        maps = map_share(recipe, step=step, steps_an_epoch=self.plan.steps_an_epoch)
        weights = LossWeights(
            recipe.area_prior, maps * recipe.map_weight, maps * recipe.token_weight
        )
        terms: dict[str, Tensor] = {}
        watched: dict[str, Tensor] = {}
        size = len(batch.photos)
        piece = recipe.forward_batch or size
        for start in range(0, size, piece):
            part = slice(start, start + piece)
            loss = self._loss(batch.photos[part], batch.targets[part], weights)
            share = len(batch.photos[part]) / size
            (loss.total * share).backward()
            seen = {"edge": loss.edge, "area": loss.area}
            _add(terms, loss.terms, share)
            _add(watched, {name: one for name, one in seen.items() if one is not None}, share)
        return Learnt(terms, watched)

    def told(self, figures: Figures) -> dict[str, Any]:
        """Area and edge of the map, None where the network has none."""
        return {name: figures.watched.get(name) for name in ("area", "edge")}

    def _loss(self, photos: Tensor, targets: Tensor, weights: LossWeights) -> LossTerms:
        device = self.group.device
        if device.type == "cuda":
            photos, targets = photos.pin_memory(), targets.pin_memory()
        images = normalised(photos.to(device, non_blocking=True))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.amp):
            output = self.network(images)
        return localizer_loss(
            output,
            targets.to(device, non_blocking=True),
            weights=weights,
            multi_label=self.multi_label,
        )


def _add(sums: dict[str, Tensor], values: dict[str, Tensor], share: float) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + share * value.detach().cpu()

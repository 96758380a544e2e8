"""One step of a detector's training: photos with objects in, gradients and figures out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.averages import Average
from training.detection_set import DetectionBatch
from training.detector_recipes import DetectorRecipe, detector_learning_rate
from training.known_background import Target
from training.loop import Figures, Learnt, Training
from training.roi_heads import RoiRecord
from training.step_counts import StepCounts
from training.tally import Tally

TERMS = {
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_mask": "mask",
}
"""torchvision's names of the losses, and ours."""
PLACES = ("fg", "bg")


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorTraining(Training[DetectionBatch]):
    """A detector that `training.roi_heads.learning` prepared, its recipe and what is counted."""

    recipe: DetectorRecipe
    min_size: int  # of the network's own options
    tally: Tally
    average: Average

    @property
    def epochs(self) -> int:
        """With those that the least number of steps asks for."""
        return self.recipe.epochs_of(self.plan.steps_an_epoch)

    @property
    def steps(self) -> int:
        """In all epochs."""
        return self.epochs * self.plan.steps_an_epoch

    @property
    def gradient_limit(self) -> float:
        """As the recipe says."""
        return self.recipe.gradient_limit

    def learning_rate(self, step: int) -> float:
        """As the recipe says."""
        return detector_learning_rate(self.recipe, step=step, steps=self.steps)

    def learn(self, batch: DetectionBatch, *, step: int) -> Learnt:
        """The batch goes through the network in pieces of ``forward_batch``.

        Gradients are those of one piece and one process; where there are several pieces, all go
        through the network once more before, to be counted.
        """
        knows = step >= self.recipe.drop_start * self.steps
        drops = self.recipe.drop and knows
        counts = StepCounts(self.group)
        self._prepare(drops=drops, doubts=knows, counts=counts)
        size = len(batch.examples)
        piece = self.recipe.forward_batch or size
        pieces = [slice(start, start + piece) for start in range(0, size, piece)]
        if len(pieces) > 1:
            with counts.survey(), norms_at_rest(self.network):
                for part in pieces:
                    self._losses(batch, part)
        terms: dict[str, Tensor] = {}
        shares = {place: torch.zeros(()) for place in PLACES}
        records: list[RoiRecord] = []
        for part in pieces:
            losses = self._losses(batch, part)
            torch.stack(list(losses.values())).sum().backward()
            for name, value in losses.items():
                terms[name] = terms.get(name, torch.zeros(())) + value.detach().cpu()
            record = self._owner.roi_heads.record
            if record is not None:
                records.append(record)
                for place in PLACES:
                    shares[place] = shares[place] + record.shares[place].cpu()
        self.tally.add(records, drops=drops, group=self.group)
        return Learnt(terms, shares)

    def told(self, figures: Figures) -> dict[str, Any]:
        """The shares of RoIs on objects and on background that were dropped."""
        return {"dropped": {place: figures.watched[place] for place in PLACES}}

    def stepped(self, *, step: int) -> None:
        """The average takes in the new weights."""
        self.average.update()

    def is_saved_after(self, epoch: int) -> bool:
        """Where it is judged: with few photos an epoch may be three steps."""
        return self.recipe.is_judged(epoch, steps_an_epoch=self.plan.steps_an_epoch)

    @property
    def _owner(self) -> Any:
        return self.network

    def _prepare(self, *, drops: bool, doubts: bool, counts: StepCounts) -> None:
        self.network.train()
        self._owner.roi_heads.drops = drops
        self._owner.roi_heads.doubts = self._owner.rpn.doubts = doubts
        self._owner.roi_heads.counts = self._owner.rpn.counts = counts
        self._owner.transform.min_size = self.recipe.scales or (self.min_size,)

    def _losses(self, batch: DetectionBatch, part: slice) -> dict[str, Tensor]:
        """Of a part of the batch, by our names; none in a survey."""
        examples, seeds = batch.examples[part], batch.seeds[part]
        self._owner.transform.seeds = tuple(seed + 2 for seed in seeds)
        self._owner.rpn.fg_bg_sampler.seeds = seeds
        self._owner.roi_heads.fg_bg_sampler.seeds = tuple(seed + 1 for seed in seeds)
        device = self.group.device
        photos = [pixels_of(one.photo, device) for one in examples]
        targets = [on_device(one.target, device) for one in examples]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.amp):
            losses = self.network(photos, targets)
        return {ours: losses[theirs] for theirs, ours in TERMS.items() if theirs in losses}


@contextlib.contextmanager
def norms_at_rest(network: nn.Module) -> Iterator[None]:
    """Passes in here leave the running figures of batch norms alone."""
    norms = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    before = [one.momentum for one in norms]
    for one in norms:
        one.momentum = 0.0
    try:
        yield
    finally:
        for one, momentum in zip(norms, before, strict=True):
            one.momentum = momentum


def pixels_of(photo: Tensor, device: torch.device) -> Tensor:
    """(3, h, w) uint8 as the network takes it, in 0..1."""
    return photo.to(device, non_blocking=True).float() / 255.0


def on_device(target: Target, device: torch.device) -> Target:
    """All tensors of a target there."""
    return {name: one.to(device, non_blocking=True) for name, one in target.items()}

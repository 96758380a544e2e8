"""The training loop: a network, batches and a recipe in; a better network, a log and states out.

What is random in a step (dropped paths) is seeded by the step's number, so a run that goes on
after a kill repeats what it would have done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from engine.errors import JobError
from training.batches import Batch, Plan
from training.log import RunLog
from training.losses import LossTerms, LossWeights, localizer_loss
from training.optimiser import set_learning_rate
from training.processes import ProcessGroup
from training.recipes import Recipe, learning_rate, map_share
from training.state import Progress
from training.transforms import normalised


class NonFiniteLoss(JobError):
    """The loss of a step is no number; ``terms`` says which part of it."""

    def __init__(self, step: int, terms: dict[str, float]) -> None:
        wrong = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
        super().__init__(
            f"at step {step} {' and '.join(wrong)}, so the training stopped before it;"
            " lower learning_rate or lengthen warm_up_epochs"
        )
        self.step = step
        self.terms = terms


class Stopped(JobError):
    """Somebody asked the training to stop; it can go on."""


@dataclass(frozen=True)
class Figures:
    """What one step says, as a mean over processes."""

    terms: dict[str, float]
    edge: float | None
    area: float | None
    gradient: float  # its length
    stop: bool  # on any process

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return sum(self.terms.values())


@dataclass(frozen=True, eq=False)
class Training:
    """Everything that stays the same from step to step."""

    network: nn.Module
    optimiser: Optimizer
    recipe: Recipe
    plan: Plan
    group: ProcessGroup
    multi_label: bool
    amp: bool  # bf16 on CUDA
    stop_asked: Callable[[], bool]

    @property
    def steps(self) -> int:
        """In all epochs."""
        return self.recipe.epochs * self.plan.steps_an_epoch


@dataclass(frozen=True)
class Hooks:
    """What the loop has done at the right moments; each may raise."""

    save: Callable[[Progress], None]
    close_epoch: Callable[[Progress, int], None]  # the epoch that ended, from 1


def train_step(training: Training, batch: Batch, *, step: int) -> Figures:
    """One update of the weights; NonFiniteLoss before it where the loss or gradient is no number.

    ``step`` counts from 0. The batch goes through the network in pieces of ``forward_batch``;
    the area loss looks at the mean of each piece, everything else is as with one piece.
    """
    _seed(training.plan.seed, step, training.group.rank)
    recipe, optimiser, group = training.recipe, training.optimiser, training.group
    rate = learning_rate(recipe, step=step, steps_an_epoch=training.plan.steps_an_epoch)
    set_learning_rate(optimiser, rate)
    optimiser.zero_grad(set_to_none=True)
    maps = map_share(recipe, step=step, steps_an_epoch=training.plan.steps_an_epoch)
    weights = LossWeights(recipe.area_prior, maps * recipe.map_weight, maps * recipe.token_weight)
    names, sums = [], torch.zeros(())
    size = len(batch.photos)
    piece = recipe.forward_batch or size
    for start in range(0, size, piece):
        part = slice(start, start + piece)
        loss = _loss(training, batch.photos[part], batch.targets[part], weights)
        share = len(batch.photos[part]) / size
        (loss.total * share).backward()
        names = list(loss.terms)
        watched = [one for one in (loss.edge, loss.area) if one is not None]
        sums = sums + share * torch.stack([*loss.terms.values(), *watched]).detach().cpu()
    parameters = [one for one in training.network.parameters() if one.requires_grad]
    group.average_gradients(parameters)
    gradients = [one.grad for one in parameters if one.grad is not None]
    length = torch.nn.utils.get_total_norm(gradients)
    stop = torch.tensor([float(training.stop_asked())])
    told = torch.cat([sums, length.detach().cpu().reshape(1), stop])
    values = group.mean(told.to(group.device)).tolist()
    figures = Figures(
        terms=dict(zip(names, values, strict=False)),
        edge=values[len(names)] if len(values) > len(names) + 2 else None,
        area=values[len(names) + 1] if len(values) > len(names) + 2 else None,
        gradient=values[-2],
        stop=values[-1] > 0,
    )
    checked = {**figures.terms, "gradient": figures.gradient}
    if not all(math.isfinite(value) for value in checked.values()):
        raise NonFiniteLoss(step + 1, checked)
    if recipe.gradient_limit:
        torch.nn.utils.clip_grads_with_norm_(parameters, recipe.gradient_limit, length)
    optimiser.step()
    return figures


def run(
    training: Training,
    made: Iterator[Batch],
    progress: Progress,
    *,
    log: RunLog,
    hooks: Hooks,
    log_steps: int,
    save_seconds: float,
) -> None:
    """All steps from the progress on; Stopped, with everything saved, where that is asked.

    Fills ``progress`` in place; ``made`` gives the batch of each remaining step.
    """
    an_epoch = training.plan.steps_an_epoch
    started = saved = told = time.monotonic()
    seconds_before, told_step = progress.seconds, progress.step
    _close_epoch(training, progress, hooks)
    for batch in made:
        figures = train_step(training, batch, step=progress.step)
        progress.step += 1
        now = time.monotonic()
        progress.seconds = seconds_before + now - started
        ends_epoch = progress.step % an_epoch == 0
        if progress.step % log_steps == 0 or ends_epoch or figures.stop or progress.step == 1:
            seconds = (now - told) / (progress.step - told_step)
            _tell(log, training, figures, step=progress.step, seconds=seconds)
            told, told_step = now, progress.step
        if ends_epoch or figures.stop or now - saved >= save_seconds:
            hooks.save(progress)
            saved = time.monotonic()
        if figures.stop:
            raise Stopped(f"the training was asked to stop at step {progress.step}")
        if ends_epoch:
            _close_epoch(training, progress, hooks)
            told = time.monotonic()  # validation is no part of a step


def _close_epoch(training: Training, progress: Progress, hooks: Hooks) -> None:
    """Validate and keep the network, once an epoch, whatever happened in between."""
    epoch = progress.step // training.plan.steps_an_epoch
    if epoch > progress.closed_epochs:
        hooks.close_epoch(progress, epoch)
        progress.closed_epochs = epoch
        hooks.save(progress)


def _loss(training: Training, photos: Tensor, targets: Tensor, weights: LossWeights) -> LossTerms:
    device = training.group.device
    if device.type == "cuda":
        photos, targets = photos.pin_memory(), targets.pin_memory()
    images = normalised(photos.to(device, non_blocking=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=training.amp):
        output = training.network(images)
    return localizer_loss(
        output,
        targets.to(device, non_blocking=True),
        weights=weights,
        multi_label=training.multi_label,
    )


def _seed(seed: int, step: int, rank: int) -> None:
    """All of torch's random numbers in this step, on every device."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0]))


def _tell(log: RunLog, training: Training, figures: Figures, *, step: int, seconds: float) -> None:
    fields: dict[str, Any] = {
        "epoch": (step - 1) // training.plan.steps_an_epoch + 1,
        "loss": figures.loss,
        "terms": figures.terms,
        "area": figures.area,
        "edge": figures.edge,
        "gradient": figures.gradient,
        "lr": learning_rate(
            training.recipe, step=step - 1, steps_an_epoch=training.plan.steps_an_epoch
        ),
        "seconds": round(seconds, 6),
        "photos_a_second": round(training.plan.batch / max(seconds, 1e-9), 3),
        "seconds_left": round(seconds * (training.steps - step), 1),
    }
    log.write("step", step=step, **fields)

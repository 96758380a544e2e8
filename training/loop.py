"""The training loop: a network, batches and a recipe in; a better network, a log and states out.

What is random in a step (dropped paths) is seeded by the step's number, so a run that goes on
after a kill repeats what it would have done.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from engine.errors import JobError
from training.batches import Plan
from training.log import RunLog
from training.optimiser import set_learning_rate
from training.processes import ProcessGroup
from training.state import Progress

Made = TypeVar("Made")  # what one step of a process sees


class NonFiniteLoss(JobError):
    """The loss of a step is no number; ``terms`` says which part of it."""

    def __init__(self, step: int, terms: dict[str, float]) -> None:
        wrong = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
        super().__init__(
            f"at step {step} {' and '.join(wrong)}, so the training stopped before it;"
            " lower learning_rate or lengthen the warm-up"
        )
        self.step = step
        self.terms = terms


class Stopped(JobError):
    """Somebody asked the training to stop; it can go on."""


@dataclass(frozen=True)
class Learnt:
    """What the backward pass of a step found, all without gradients."""

    terms: Mapping[str, Tensor]  # of the loss
    watched: Mapping[str, Tensor]  # what else the log tells


@dataclass(frozen=True)
class Figures:
    """What one step says, as a mean over processes."""

    terms: dict[str, float]
    watched: dict[str, float]
    gradient: float  # its length
    stop: bool  # on any process

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return sum(self.terms.values())


@dataclass(frozen=True, eq=False, kw_only=True)
class Training(ABC, Generic[Made]):
    """Everything that stays the same from step to step; steps count from 0."""

    network: nn.Module
    optimiser: Optimizer
    plan: Plan
    group: ProcessGroup
    amp: bool  # bf16 on CUDA
    stop_asked: Callable[[], bool]

    @property
    @abstractmethod
    def steps(self) -> int:
        """In all epochs."""

    @property
    @abstractmethod
    def gradient_limit(self) -> float:
        """Longer gradients are cut; 0: none is."""

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """Of the schedule."""

    @abstractmethod
    def learn(self, batch: Made, *, step: int) -> Learnt:
        """Forward and backward: adds to the gradients of the network."""

    @abstractmethod
    def told(self, figures: Figures) -> dict[str, Any]:
        """What the log says of a step beside terms, gradient, rate and time."""

    def stepped(self, *, step: int) -> None:
        """Called when the weights have changed."""

    def is_saved_after(self, epoch: int) -> bool:
        """Whether the state is written at an epoch's end, from 1, however short the epoch was."""
        return True


@dataclass(frozen=True)
class Hooks:
    """What the loop has done at the right moments; each may raise."""

    save: Callable[[Progress], None]
    close_epoch: Callable[[Progress, int], None]  # the epoch that ended, from 1


def train_step(training: Training[Made], batch: Made, *, step: int) -> Figures:
    """One update of the weights; NonFiniteLoss before it where the loss or gradient is no number.

    ``step`` counts from 0.
    """
    _seed(training.plan.seed, step, training.group.rank)
    group = training.group
    set_learning_rate(training.optimiser, training.learning_rate(step))
    training.optimiser.zero_grad(set_to_none=True)
    learnt = training.learn(batch, step=step)
    parameters = [one for one in training.network.parameters() if one.requires_grad]
    group.average_gradients(parameters)
    gradients = [one.grad for one in parameters if one.grad is not None]
    length = torch.nn.utils.get_total_norm(gradients)
    stop = torch.tensor(float(training.stop_asked()))
    told = [*learnt.terms.values(), *learnt.watched.values(), length, stop]
    together = torch.stack([one.detach().cpu().float() for one in told])
    values = group.mean(together.to(group.device)).tolist()
    terms = dict(zip(learnt.terms, values, strict=False))
    watched = dict(zip(learnt.watched, values[len(terms) :], strict=False))
    figures = Figures(terms=terms, watched=watched, gradient=values[-2], stop=values[-1] > 0)
    checked = {**figures.terms, "gradient": figures.gradient}
    if not all(math.isfinite(value) for value in checked.values()):
        raise NonFiniteLoss(step + 1, checked)
    if training.gradient_limit:
        torch.nn.utils.clip_grads_with_norm_(parameters, training.gradient_limit, length)
    training.optimiser.step()
    training.stepped(step=step)
    return figures


def run(
    training: Training[Made],
    made: Iterator[Made],
    progress: Progress,
    *,
    log: RunLog,
    hooks: Hooks,
    log_steps: int,
    save_seconds: float,
) -> None:
    """All steps from the progress on; Stopped, with everything saved, where that is asked.

    Fills ``progress`` in place; ``made`` gives the batch of each remaining step. Ends early where
    closing an epoch said that the training is finished.
    """
    an_epoch = training.plan.steps_an_epoch
    started = saved = told = time.monotonic()
    seconds_before, told_step = progress.seconds, progress.step
    _close_epoch(training, progress, hooks)
    for batch in made if not progress.finished else ():
        figures = train_step(training, batch, step=progress.step)
        progress.step += 1
        now = time.monotonic()
        progress.seconds = seconds_before + now - started
        ends_epoch = progress.step % an_epoch == 0
        if progress.step % log_steps == 0 or ends_epoch or figures.stop or progress.step == 1:
            seconds = (now - told) / (progress.step - told_step)
            _tell(log, training, figures, step=progress.step, seconds=seconds)
            told, told_step = now, progress.step
        ends_saved = ends_epoch and training.is_saved_after(progress.step // an_epoch)
        if ends_saved or figures.stop or now - saved >= save_seconds:
            hooks.save(progress)
            saved = time.monotonic()
        if figures.stop:
            raise Stopped(f"the training was asked to stop at step {progress.step}")
        if ends_epoch:
            _close_epoch(training, progress, hooks)
            told = time.monotonic()  # validation is no part of a step
        if progress.finished:
            break


def _close_epoch(training: Training[Made], progress: Progress, hooks: Hooks) -> None:
    """Validate and keep the network, once an epoch, whatever happened in between."""
    epoch = progress.step // training.plan.steps_an_epoch
    if epoch > progress.closed_epochs:
        hooks.close_epoch(progress, epoch)
        progress.closed_epochs = epoch
        if training.is_saved_after(epoch):
            hooks.save(progress)


def _seed(seed: int, step: int, rank: int) -> None:
    """All of torch's random numbers in this step, on every device."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0]))


def _tell(
    log: RunLog, training: Training[Made], figures: Figures, *, step: int, seconds: float
) -> None:
    fields: dict[str, Any] = {
        "epoch": (step - 1) // training.plan.steps_an_epoch + 1,
        "loss": figures.loss,
        "terms": figures.terms,
        **training.told(figures),
        "gradient": figures.gradient,
        "lr": training.learning_rate(step - 1),
        "seconds": round(seconds, 6),
        "photos_a_second": round(training.plan.batch / max(seconds, 1e-9), 3),
        "seconds_left": round(seconds * (training.steps - step), 1),
    }
    log.write("step", step=step, **fields)

"""What the losses of a step are divided by, however its photos are shared by processes and passes.

A mean over the regions of each process, or of each pass, would weigh a region by how many others
happen to be beside it. So every loss is a sum divided by one count of the whole step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from training.processes import ProcessGroup


class StepCounts:
    """Counts of the passes of one step: those of a pass in, those to divide by out.

    Gradients are averaged over processes, so what comes out is the step's sum divided by their
    number. Where a process has several passes, the first has to know the counts of the last: a
    `survey` of all of them comes before, without gradients.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        self._group = group
        self._surveyed: dict[str, Tensor] = {}
        self._step: dict[str, Tensor] = {}
        self.surveys = False

    @contextlib.contextmanager
    def survey(self) -> Iterator[None]:
        """Passes in here are counted, and passes after it are told the counts of them all."""
        self.surveys = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.surveys = False
        self._step = {name: self._shared(one) for name, one in self._surveyed.items()}

    def of_step(self, name: str, counts: Sequence[Tensor | int]) -> list[float]:
        """The step's counts of that ``name``; every pass of every process asks for each name once.

        In a survey, those of the pass itself.
        """
        own = torch.tensor([float(one) for one in counts], dtype=torch.float64)
        if self.surveys:
            self._surveyed[name] = self._surveyed.get(name, torch.zeros_like(own)) + own
            return list(own.tolist())
        if name in self._step:
            return list(self._step[name].tolist())
        return list(self._shared(own).tolist())

    def _shared(self, counts: Tensor) -> Tensor:
        if self._group is None or self._group.count == 1:
            return counts
        return self._group.sum(counts) / self._group.count


def divided(total: Tensor, count: float) -> Tensor:
    """``total / count``, and 0 with gradients of 0 where nothing was counted in the whole step."""
    return total / count if count else total * 0.0

"""Which photos a step sees, and their views, made ahead in threads: step numbers in, batches out.

The order of an epoch depends on the seed and the epoch alone, and a view on these and the photo,
so a run that goes on after a kill, or on more processes, sees what it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import OptionError
from training.photo_cache import PhotoCache, View
from training.transforms import Augmentation, training_view

AHEAD = 2  # batches a thread

Made = TypeVar("Made")


@dataclass(frozen=True)
class Plan:
    """How the photos of every epoch are dealt to steps and processes.

    What is left at the end of an epoch is less than a step and waits for another order.
    """

    photos: int
    batch: int  # photos a step over all processes
    seed: int
    rank: int = 0
    processes: int = 1

    @classmethod
    def fitting(cls, photos: int, *, batch: int, seed: int, rank: int, processes: int) -> Plan:
        """The batch is cut to the photos there are; OptionError where processes would be idle."""
        whole = min(batch, photos) // processes * processes
        if whole == 0:
            raise OptionError(
                f"{min(batch, photos)} photos a step cannot be shared by {processes} processes;"
                " start fewer"
            )
        return cls(photos, whole, seed, rank, processes)

    @property
    def steps_an_epoch(self) -> int:
        """At least 1."""
        return self.photos // self.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All photo numbers once; epochs count from 0 here."""
        return _order(self.photos, self.seed, epoch)

    def numbers(self, step: int) -> NDArray[np.int64]:
        """The photos of this process in a step; steps count from 0."""
        epoch, place = divmod(step, self.steps_an_epoch)
        chosen = self.order(epoch)[place * self.batch : (place + 1) * self.batch]
        return chosen[self.rank :: self.processes]


@lru_cache(maxsize=4)
def _order(photos: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(photos)


@dataclass(frozen=True, eq=False)
class Batch:
    """What a process sees in a step."""

    photos: Tensor  # (b, side, side, 3) uint8
    targets: Tensor  # (b,) or (b, classes), int64


def batches(
    cache: PhotoCache[View],
    targets: NDArray[np.int64],
    plan: Plan,
    augmentation: Augmentation,
    *,
    first_step: int,
    last_step: int,
    workers: int,
) -> Generator[Batch, None, None]:
    """The batches of the steps from first to before last; made in ``workers`` threads."""

    def make(step: int) -> Batch:
        numbers = plan.numbers(step)
        epoch = step // plan.steps_an_epoch
        views = [
            training_view(
                cache[number], augmentation, np.random.default_rng((plan.seed, epoch, number))
            )
            for number in numbers.tolist()
        ]
        return Batch(torch.from_numpy(np.stack(views)), torch.from_numpy(targets[numbers]))

    return ahead(make, first_step=first_step, last_step=last_step, workers=workers)


def ahead(
    make: Callable[[int], Made], *, first_step: int, last_step: int, workers: int
) -> Generator[Made, None, None]:
    """What ``make`` makes of each step from first to before last, in threads that go ahead."""
    waiting: deque[Future[Made]] = deque()
    following = first_step
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        try:
            for _ in range(first_step, last_step):
                while following < last_step and len(waiting) < AHEAD * max(workers, 1):
                    waiting.append(pool.submit(make, following))
                    following += 1
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

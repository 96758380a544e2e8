"""One training over several processes, as torchrun starts them: gradients and figures averaged.

Without torchrun's environment variables there is one process and every function does nothing.
Gradients are averaged after the backward pass, so accumulation needs no special case, parameters
without a gradient are left alone, and the network stays what it is. Batch norms stay local.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from engine.devices import half_precision
from engine.errors import OptionError

PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: the first one alone reads the photos and validates."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among its like."""

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes files."""
        return self.rank == 0

    @property
    def halves(self) -> bool:
        """Whether the device computes in bf16, and is faster for it."""
        return self.device.type == "cuda" and half_precision(self.device) is torch.bfloat16

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()

    def mean(self, figures: Tensor) -> Tensor:
        """The mean over processes, on all of them; not finite where one of them is not."""
        if self.count > 1:
            distributed.all_reduce(figures)
            figures /= self.count
        return figures

    def sum(self, figures: Tensor) -> Tensor:
        """The sum over processes, on all of them, for figures on the processor."""
        if self.count == 1:
            return figures
        there = figures.to(self.device)
        distributed.all_reduce(there)
        return there.to(figures.device)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """In place; a parameter has a gradient on all processes or on none."""
        if self.count == 1:
            return
        gradients = [one.grad for one in parameters if one.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def is_first() -> bool:
    """Whether this process is the one that speaks, before any of them have joined."""
    return int(os.environ.get("RANK", "0")) == 0


@contextlib.contextmanager
def joined(device: str) -> Iterator[ProcessGroup]:
    """Join the others if torchrun started us; ``device`` is "auto", "cpu", "cuda" or "cuda:1"."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")), several=count > 1)
    if count == 1:
        yield ProcessGroup(0, 1, chosen)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield ProcessGroup(rank, count, chosen)
    finally:
        distributed.destroy_process_group()


def _device(wanted: str, *, local_rank: int, several: bool) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise OptionError(f"device {wanted!r} is unknown; give auto, cpu or cuda") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError(f"device {wanted!r} is not there; give cpu or auto")
        if several:
            device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    return device

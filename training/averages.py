"""The moving average of a network's weights, which judges better than the last ones alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

FIRST = 10  # of (1 + n) / (FIRST + n): early averages forget the beginning sooner


class Average:
    """Of every floating-point tensor of a network; decay 0 keeps none and is the network itself."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._updates = 0
        self._values = {name: one.clone() for name, one in self._own().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        if not self._decay:
            return
        decay = min(self._decay, (1 + self._updates) / (FIRST + self._updates))
        self._updates += 1
        for name, value in self._own().items():
            self._values[name].lerp_(value, 1.0 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the network has the averaged weights."""
        own = self._own()
        before = {name: one.clone() for name, one in own.items()}
        _fill(own, self._values)
        try:
            yield
        finally:
            _fill(own, before)

    def state_dict(self) -> dict[str, Any]:
        """The averages and how many they are of."""
        return {"updates": self._updates, "values": self._values}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on where the state was taken."""
        self._updates = state["updates"]
        _fill(self._values, state["values"])

    def _own(self) -> dict[str, Tensor]:
        if not self._decay:
            return {}
        return {
            name: one.detach()
            for name, one in self._network.state_dict().items()
            if one.is_floating_point()
        }


@torch.no_grad()
def _fill(tensors: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])

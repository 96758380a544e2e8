"""SAM's logits at the photo's size: the network's small grid in, pixels out, only where needed.

The network's own way is to enlarge (256, 256) logits to its square of 1024 and that to the photo,
both bilinear. Here both steps are one product with a thin matrix on each side, cut to the rows
and columns that a mask reaches; it agrees with the two steps to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything import SamPredictor
from torch import Tensor

ROUNDING = 3e-6
"""Of the largest logit: more than the two ways of enlarging differ by (at most 1.3e-6 measured)."""


@dataclass(frozen=True)
class Patch:
    """Logits (rows, columns) of a piece of the photo; what lies outside is surely below."""

    logits: Tensor
    top: int
    left: int


class Enlarger:
    """The way from the small grid to one photo's pixels."""

    def __init__(
        self,
        *,
        side: int,
        square: int,
        input_hw: tuple[int, int],
        original_hw: tuple[int, int],
        device: torch.device,
    ) -> None:
        """``side`` of the logits' grid, ``square`` of the network's input (see `PreparedPhoto`)."""
        self.shape_hw = original_hw
        self._rows, self._columns = (
            _Side(_matrix(side, square, used, wanted).to(device))
            for used, wanted in zip(input_hw, original_hw, strict=True)
        )

    @classmethod
    def of(cls, predictor: SamPredictor) -> Enlarger:
        """For the photo that the predictor is set to."""
        network = predictor.model
        return cls(
            side=int(network.prompt_encoder.mask_input_size[0]),
            square=network.image_encoder.img_size,
            input_hw=predictor.input_size,
            original_hw=predictor.original_size,
            device=predictor.device,
        )

    def patch(self, logits: Tensor, *, above: float) -> Patch | None:
        """The pixels of (side, side) logits that can be above; None where there are none."""
        high = logits > above
        rows = self._rows.reached_from(high.any(dim=1))
        columns = self._columns.reached_from(high.any(dim=0))
        if rows is None or columns is None:
            return None
        of_rows, some_rows = self._rows.weights(*rows)
        of_columns, some_columns = self._columns.weights(*columns)
        small = logits[some_rows, some_columns]
        return Patch(of_rows @ small @ of_columns.T, top=rows[0], left=columns[0])


class _Side:
    """One side: what every pixel takes of every place on the small grid."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix  # (pixels, side)
        taken = matrix != 0
        self._first_tap = taken.int().argmax(dim=1)
        self._last_tap = matrix.shape[1] - 1 - taken.flip(1).int().argmax(dim=1)

    def reached_from(self, places: Tensor) -> tuple[int, int] | None:
        """The pixels, first and behind the last, that take from any of the (side,) places."""
        found = torch.nonzero(places)
        if len(found) == 0:
            return None
        low, high = found[0], found[-1]
        # Taps rise with the pixels, so what is reached is a run.
        start = int(torch.searchsorted(self._last_tap, low))
        end = int(torch.searchsorted(self._first_tap, high, right=True))
        return (start, end) if start < end else None

    def weights(self, start: int, end: int) -> tuple[Tensor, slice]:
        """(end - start, taps) for those pixels, and which places the taps are."""
        taps = slice(int(self._first_tap[start]), int(self._last_tap[end - 1]) + 1)
        return self.matrix[start:end, taps], taps


def _matrix(side: int, square: int, used: int, wanted: int) -> Tensor:
    """(wanted, side): both steps of one side in one."""
    below, above, share = _taps(side, square)
    first = torch.zeros(square, side, dtype=torch.float64)
    each = torch.arange(square)
    first[each, below] += 1.0 - share
    first[each, above] += share
    below, above, share = _taps(used, wanted)
    second = first[below] * (1.0 - share)[:, None] + first[above] * share[:, None]
    return second.float()


def _taps(length: int, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the wanted places the two it lies between, and how near the second is.

    As torch interpolates with ``align_corners=False``; float32, because its places are.
    """
    scale = torch.tensor(length, dtype=torch.float32) / wanted
    places = ((torch.arange(wanted, dtype=torch.float32) + 0.5) * scale - 0.5).clamp(min=0.0)
    below = places.long().clamp(max=length - 1)
    above = (below + 1).clamp(max=length - 1)
    return below, above, (places - below).double()

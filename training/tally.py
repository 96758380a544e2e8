"""What a training found of every object it learnt from: RoIs of the steps in, instances.json out.

A loss that stays high, or RoIs that are always dropped, point at an object that is marked wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.whole_files import write_whole
from training.processes import ProcessGroup
from training.roi_heads import RoiRecord

NAME = "instances.json"

# Columns of the sums.
SEEN, ROIS, DROPPED, DROPPABLE, LOSS, LOSS_ROIS = range(6)


class Tally:
    """Sums over the RoIs of each object, on all processes the same.

    What is dropped is counted in steps that drop, so what a warm-up would have dropped is not
    told; the losses are there from the first step on, whether anything is dropped or not.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = sorted(ids)
        self._order = torch.tensor(self._ids, dtype=torch.int64)
        self._sums = torch.zeros((len(self._ids), 6), dtype=torch.float64)
        self._epochs: list[int] = []
        self._means: list[Tensor] = []  # (instances,) each; NaN without RoIs

    def add(self, records: Sequence[RoiRecord], *, drops: bool, group: ProcessGroup) -> None:
        """One step, of all its forward passes; every process calls this together."""
        step = torch.zeros_like(self._sums)
        for record in records:
            rows = torch.searchsorted(self._order, record.instances.cpu())
            one = torch.ones(len(rows), dtype=torch.float64)
            losses = record.losses.cpu().double()
            values = torch.zeros((len(rows), 6), dtype=torch.float64)
            values[:, ROIS] = values[:, LOSS_ROIS] = one
            values[:, LOSS] = losses
            if drops:
                values[:, DROPPABLE] = one
                values[:, DROPPED] = record.dropped.cpu().double()
            step.index_add_(0, rows, values)
        step = group.sum(step)
        step[:, SEEN] = (step[:, ROIS] > 0).double()
        self._sums += step

    def close(self, epoch: int) -> None:
        """The mean losses since the last epoch are those of this one."""
        self._epochs.append(epoch)
        self._means.append((self._sums[:, LOSS] / self._sums[:, LOSS_ROIS]).float())
        self._sums[:, [LOSS, LOSS_ROIS]] = 0.0

    def write(self, folder: Path) -> None:
        """Replace the folder's instances.json."""
        means = [one.tolist() for one in self._means]
        instances = {}
        for row, (number, sums) in enumerate(zip(self._ids, self._sums.tolist(), strict=True)):
            losses = [
                [epoch, round(mean[row], 5)]
                for epoch, mean in zip(self._epochs, means, strict=True)
                if mean[row] == mean[row]  # not NaN
            ]
            instances[str(number)] = {
                "seen": int(sums[SEEN]),
                "rois": int(sums[ROIS]),
                "dropped": round(sums[DROPPED] / max(sums[DROPPABLE], 1.0), 5),
                "loss": losses,
            }
        write_whole(folder / NAME, json.dumps({"instances": instances}) + "\n")

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {"sums": self._sums, "epochs": self._epochs, "means": self._means}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on where the state was taken."""
        self._sums, self._epochs, self._means = state["sums"], state["epochs"], state["means"]

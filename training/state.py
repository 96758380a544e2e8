"""Everything that a killed training needs to go on, in one file that is whole or the one before.

No random state is kept: what is drawn in a step depends on the seed and the step's number alone.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from engine.errors import JobError

NAME = "last.pt"


@dataclass
class Progress:
    """How far a training is; the step counts from 0 and is the next one to do."""

    step: int = 0
    seconds: float = 0.0  # of work, over all attempts
    metrics: dict[str, Any] = field(default_factory=dict)  # of the latest validation
    kept_metrics: dict[str, Any] = field(default_factory=dict)  # of the network that was kept
    kept_epoch: int = 0  # 0: none yet
    closed_epochs: int = 0  # validated and kept, from 1


def save_state(
    folder: Path, network: nn.Module, optimiser: Optimizer, progress: Progress, *, fingerprint: str
) -> None:
    """Replace the folder's state; a kill at any moment leaves the old or the new one."""
    content = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress).copy(),
        "fingerprint": fingerprint,
    }
    beside = folder / f".{NAME}.part"
    with beside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, folder / NAME)


def load_state(
    folder: Path, network: nn.Module, optimiser: Optimizer, *, fingerprint: str
) -> Progress:
    """Fill network and optimiser in place; the beginning where there is no state yet.

    JobError where the file is broken, or belongs to other photos, tags or settings.
    """
    path = folder / NAME
    if not path.exists():
        return Progress()
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content["fingerprint"] != fingerprint:
            raise JobError(
                f"{os.fspath(path)!r} belongs to other photos, tags or settings;"
                " start in a new folder, or with those it was begun with"
            )
        network.load_state_dict(content["network"])
        optimiser.load_state_dict(content["optimiser"])
        return Progress(**content["progress"])
    except (OSError, RuntimeError, pickle.UnpicklingError, LookupError, EOFError) as error:
        raise JobError(
            f"{os.fspath(path)!r} is damaged ({' '.join(str(error).split())[:120]});"
            " start in a new folder"
        ) from error

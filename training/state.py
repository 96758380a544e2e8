"""Everything that a killed training needs to go on, in one file that is whole or the one before.

No random state is kept: what is drawn in a step depends on the seed and the step's number alone.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

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
    best: list[float] = field(default_factory=list)  # the best figures so far, the first decides
    since_best: int = 0  # validations
    finished: bool = False  # before its last epoch, because nothing got better


class Kept(Protocol):
    """What else a training needs to go on: its state is numbers, text and tensors."""

    def state_dict(self) -> dict[str, Any]:
        """All of it."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Be as when the state was taken."""


def save_state(
    folder: Path, kept: Mapping[str, Kept], progress: Progress, *, fingerprint: str
) -> None:
    """Replace the folder's state; a kill at any moment leaves the old or the new one.

    JobError where it cannot be written, as on a full disk: the old one stays.
    """
    content = {
        **{name: one.state_dict() for name, one in kept.items()},
        "progress": vars(progress).copy(),
        "fingerprint": fingerprint,
    }
    beside = folder / f".{NAME}.part"
    try:
        try:
            with beside.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, folder / NAME)
        finally:
            beside.unlink(missing_ok=True)  # there only where something went wrong
    except (OSError, RuntimeError) as error:  # torch tells of a full disk by either
        raise JobError(
            f"cannot write {os.fspath(folder / NAME)!r} ({' '.join(str(error).split())[:120]});"
            " make room on the disk, then resume"
        ) from error


def load_state(folder: Path, kept: Mapping[str, Kept], *, fingerprint: str) -> Progress:
    """Fill what is kept in place; the beginning where there is no state yet.

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
        for name, one in kept.items():
            one.load_state_dict(content[name])
        return Progress(**content["progress"])
    # A TypeError is a state of another version, with other fields.
    except (
        OSError,
        RuntimeError,
        TypeError,
        pickle.UnpicklingError,
        LookupError,
        EOFError,
    ) as error:
        raise JobError(
            f"{os.fspath(path)!r} is damaged ({' '.join(str(error).split())[:120]});"
            " start in a new folder"
        ) from error

"""What a detector's training says of a label, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def label_record(dropped: float, losses: Sequence[float], *, seen: int = 50) -> dict[str, Any]:
    """An entry of `instances.json`: mean drop share, loss of each epoch, steps that saw it."""
    loss = [[epoch, one] for epoch, one in enumerate(losses)]
    return {"seen": seen, "rois": 8 * seen, "dropped": dropped, "loss": loss}

"""Which trained network a file holds: its card read, whatever it is for. Loads no torch."""

from __future__ import annotations

from pathlib import Path

from engine import weight_files
from engine.detectors import saved as detectors
from engine.detectors.saved import DetectorCard
from engine.errors import WeightsError
from engine.localizers import saved as localizers
from engine.localizers.saved import LocalizerCard

Card = LocalizerCard | DetectorCard


def read_any_card(path: Path) -> Card:
    """The card of a localizer or a detector.

    WeightsError where the file is missing, broken, or holds neither.
    """
    path = Path(path)
    kind, values = weight_files.read_any_card(path)
    if kind == detectors.KIND:
        return detectors.card_of(path, values)
    if kind == localizers.KIND:
        return localizers.card_of(path, values)
    raise WeightsError(
        f"{path} holds a {kind}, neither a localizer nor a detector; name another file."
    )

"""Which trained network a file holds: its card read, whatever it is for. Loads no torch."""

from __future__ import annotations

from pathlib import Path

from engine import classifier_card, weight_files
from engine.classifier_card import ClassifierCard
from engine.detectors import saved as detectors
from engine.detectors.saved import DetectorCard
from engine.errors import WeightsError
from engine.localizers import saved as localizers
from engine.localizers.saved import LocalizerCard

Card = LocalizerCard | DetectorCard | ClassifierCard


def read_any_card(path: Path) -> Card:
    """The card of a localizer, a detector or a classifier.

    WeightsError where the file is missing, broken, or holds none of them.
    """
    path = Path(path)
    kind, values = weight_files.read_any_card(path)
    if kind == detectors.KIND:
        return detectors.card_of(path, values)
    if kind == localizers.KIND:
        return localizers.card_of(path, values)
    if kind == classifier_card.KIND:
        return classifier_card.card_of(path, values)
    raise WeightsError(f"{path} holds a {kind}, which this version does not know; name another.")

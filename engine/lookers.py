"""What finds the coarse maps of a pipeline: photo and tags in, a map for each class out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from engine import judging
from engine.localizers.saliency import saliency_maps
from engine.smoothing import shrunk
from engine.types import CoarseMap, Image

SALIENCY = "saliency"
WORKING_SIDE = 192  # pixels: long side of the copy that saliency sees
FILLED = 0.4  # saliency from which on a cell is all foreground, where areas are compared


class Looker(Protocol):
    """What finds the coarse maps: a trained localizer, or saliency."""

    name: str

    def maps(self, image: Image, tags: Sequence[str]) -> list[tuple[str | None, CoarseMap]]:
        """Each class that is on the photo with its map; one entry at least."""


class SaliencyLooker:
    """The weight-free map: what stands out from the border of the photo.

    Saliency orders pixels; it is no share of area, and dim inside of large things. From
    ``full_at`` on a cell counts as filled: for comparing areas, 0.4 picks masks of mean IoU 0.62
    instead of 0.50 on pets, 0.53 instead of 0.49 on caltech_animals.
    """

    name = SALIENCY

    def __init__(self, *, full_at: float = 1.0) -> None:
        self._full_at = full_at

    def maps(self, image: Image, tags: Sequence[str]) -> list[tuple[str | None, CoarseMap]]:
        """The same map for every tag; saliency knows no classes."""
        small, _ = shrunk(image, WORKING_SIDE)
        coarse = judging.on_grid(saliency_maps(small).saliency)
        coarse = np.minimum(coarse / np.float32(self._full_at), np.float32(1.0))
        return [(tag, coarse) for tag in tags] or [(None, coarse)]


class LocalizerLooker:
    """A trained localizer, and a classifier where one was asked for."""

    def __init__(self, path: Path, *, classifier: Path | None, device: str) -> None:
        # torch takes seconds to import, and the command line reads this file to know the options.
        from engine.classifiers import load_classifier
        from engine.localizers.predictor import Localizer

        self.name = path.stem
        self._localizer = Localizer.load(path, device=device)
        self._classifier = None
        if classifier is not None:
            self._classifier = load_classifier(classifier, device=device)

    def maps(self, image: Image, tags: Sequence[str]) -> list[tuple[str | None, CoarseMap]]:
        """A map for each tag; without tags, for the class that the photo most likely shows."""
        look = self._localizer.look(image)
        if not tags:
            named = look.best_class()
            if self._classifier is not None:
                shown = self._classifier.probabilities(image)
                named = self._classifier.classes[int(np.argmax(shown))]
            return [(named, look.map_for(named))]
        return [(tag, look.map_for(tag, others=tags)) for tag in tags]

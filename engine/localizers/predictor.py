"""A trained localizer as pipelines use it: one photo in, class probabilities and coarse maps out.

Photos are squeezed to a square, the whole of them, so that map and photo cover the same field of
view (Pro2SAM's evaluators do so; no crop, no flip, evaluation mode).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.localizers.saved import LocalizerCard, load_localizer
from engine.localizers.views import normalised, resized
from engine.types import CoarseMap, Image

FLAT = 1e-6  # a class map that varies less says nothing
TINY = 1e-30  # where nothing is likely at all, nothing is seen


@dataclass(frozen=True, eq=False)
class Look:
    """What a localizer saw on one photo; maps are (g, g) in [0, 1] over the whole of it."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]  # (classes,), softmax; sigmoid where tags are independent
    coarse: CoarseMap | None  # whatever is foreground; None for class-specific localizers
    class_maps: NDArray[np.float32] | None  # (classes, g, g), each stretched to [0, 1]

    def best_class(self) -> str:
        """The class with the highest probability."""
        return self.classes[int(np.argmax(self.probabilities))]

    def map_for(self, category: str | None, others: Sequence[str] = ()) -> CoarseMap:
        """Where the objects of that class are, as far as this localizer can tell.

        A class-agnostic map is the same for every class; where ``others`` are on the photo too,
        it counts only as far as the class's own evidence reaches. Of a class that the localizer
        was not trained for, or None, it knows only the foreground.
        """
        known = category in self.classes
        if self.coarse is None:
            assert self.class_maps is not None
            if known:
                return self.class_maps[self.classes.index(str(category))]
            # Those of independent tags sum to anything; as shares the mean stays in [0, 1].
            shares = self.probabilities / max(float(self.probabilities.sum()), TINY)
            return np.asarray(np.tensordot(shares, self.class_maps, 1), np.float32)
        if not known or self.class_maps is None or not set(others) - {category}:
            return self.coarse
        return np.asarray(self.coarse * self.class_maps[self.classes.index(str(category))])


class Localizer:
    """A network with its card, in evaluation mode on one device."""

    def __init__(self, network: nn.Module, card: LocalizerCard, *, device: str = "cpu") -> None:
        self.card = card
        self._network = network.to(device).eval()
        self._device = torch.device(device)

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> Localizer:
        """From a checkpoint; WeightsError where it is missing, broken or of another kind."""
        network, card = load_localizer(path, device=device)
        return cls(network, card, device=device)

    @torch.inference_mode()
    def look(self, image: Image) -> Look:
        """See an (h, w, 3) uint8 photo of any size."""
        square = resized(image, self.card.image_size)
        batch = normalised(torch.from_numpy(np.array(square)[None]).to(self._device))
        output = self._network(batch)
        logits = output.logits[0].float()
        probabilities = logits.sigmoid() if self.card.multi_label else logits.softmax(0)
        of_classes = output.class_maps if output.class_maps is not None else output.score_maps
        maps = None if of_classes is None else _stretched(of_classes[0])
        coarse = output.coarse_map
        return Look(
            classes=self.card.classes,
            probabilities=probabilities.cpu().numpy(),
            coarse=None if coarse is None else coarse[0].float().cpu().numpy(),
            class_maps=maps,
        )


def _stretched(maps: Tensor) -> NDArray[np.float32]:
    """(classes, g, g) maps of any range, each to [0, 1]; a constant one becomes zeros."""
    values = maps.float().cpu().numpy()
    lowest = values.min(axis=(1, 2), keepdims=True)
    reach = values.max(axis=(1, 2), keepdims=True) - lowest
    stretched = np.divide(values - lowest, reach, out=np.zeros_like(values), where=reach > FLAT)
    return np.asarray(stretched, dtype=np.float32)

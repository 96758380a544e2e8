"""What a trained localizer says of photos with truth: checkpoint in, class scores and maps out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.wsol.photo_sets import TruePhoto
from engine.localizers.saved import load_localizer
from engine.localizers.views import normalised, resized
from engine.localizers.vit import self_attention_map

BATCH = 64

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answers:
    """Of n photos, in their order."""

    scores: Floats  # (n, classes), before softmax
    maps: Floats  # (n, g, g): the coarse map, or of class-specific networks that of the true class
    attention: Floats | None  # (n, g, g): what the class token looks at

    def with_maps(self, maps: Floats | None) -> Answers:
        """The same classes with other maps."""
        assert maps is not None
        return replace(self, maps=maps)

    def of(self, some: slice) -> Answers:
        """Of a part of the photos."""
        attention = None if self.attention is None else self.attention[some]
        return Answers(self.scores[some], self.maps[some], attention)


@torch.inference_mode()
def answers_of(checkpoint: Path, photos: Sequence[TruePhoto]) -> Answers:
    """Each photo whole, squeezed to the network's input."""
    network, card = load_localizer(checkpoint)
    scores, maps, attention = [], [], []
    for start in range(0, len(photos), BATCH):
        some = photos[start : start + BATCH]
        squares = np.stack([resized(photo.image, card.image_size) for photo in some])
        images = normalised(torch.from_numpy(squares))
        output = network(images, return_attentions=True)
        scores.append(output.logits.numpy())
        if output.coarse_map is not None:
            maps.append(output.coarse_map.numpy())
        else:
            classes = torch.tensor([photo.true_class for photo in some])
            maps.append(output.class_maps[torch.arange(len(some)), classes].numpy())
        if output.attentions is not None:
            attention.append(self_attention_map(output).numpy())
    return Answers(
        scores=np.concatenate(scores),
        maps=np.concatenate(maps),
        attention=np.concatenate(attention) if attention else None,
    )

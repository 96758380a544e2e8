"""What every localizer answers: a batch of photos in, one `LocalizerOutput` out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class LocalizerOutput:
    """Class scores and maps of a batch of b photos on a grid of h x w cells.

    Class-agnostic localizers (SAT, GTFormer) fill ``coarse_map``, class-specific ones (CAM,
    TS-CAM) fill ``class_maps``; the other is None.
    """

    logits: Tensor  # (b, classes), before softmax or sigmoid
    coarse_map: Tensor | None = None  # (b, h, w) in (0, 1)
    class_maps: Tensor | None = None  # (b, classes, h, w), any range
    score_maps: Tensor | None = None  # (b, classes, h, w), any range; beside a coarse_map
    token_maps: Tensor | None = None  # (b, tokens, h, w) in (0, 1); coarse_map is their mean
    attentions: tuple[Tensor, ...] | None = None  # a block each: (b, heads, n, n), on request

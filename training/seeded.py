"""What is drawn by chance on a photo, by a seed of its own: which RoIs train, and its size.

So it is the same however the photos of a step are shared by processes and passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

RESERVED = 0.25  # of a photo's background samples at most


class SeededSampler(BalancedPositiveNegativeSampler):
    """Draws the samples of each photo by the seeds, which are set before each pass.

    ``reserved`` are rows of each photo that go before other background, as long as they are some
    and no more than a quarter of it; beyond that they are drawn by chance.
    """

    def __init__(self, like: BalancedPositiveNegativeSampler) -> None:
        super().__init__(like.batch_size_per_image, like.positive_fraction)
        self.seeds: tuple[int, ...] = ()
        self.reserved: tuple[Tensor, ...] = ()
        self.drawn = 0  # samples of the last call, over its photos

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As torchvision's; without seeds from the stream of random numbers as it comes."""
        positives, negatives = [], []
        for place, labels in enumerate(matched_idxs):
            if self.seeds:
                torch.manual_seed(self.seeds[place])
            (positive,), (negative,) = super().__call__([labels])
            if self.reserved:
                negative = _with_reserved(negative, labels, self.reserved[place])
            positives.append(positive)
            negatives.append(negative)
        self.drawn = sum(int(one.sum()) for one in (*positives, *negatives))
        return positives, negatives


def _with_reserved(drawn: Tensor, labels: Tensor, reserved: Tensor) -> Tensor:
    """As many background samples as were drawn, the reserved rows among them."""
    rows = reserved[labels[reserved] == 0]
    if not len(rows):  # so that nobody's random numbers change
        return drawn
    count = int(drawn.sum())
    places = math.ceil(RESERVED * count)
    rows = rows[torch.randperm(len(rows), device=rows.device)[:places]]
    chosen = torch.zeros_like(drawn)
    chosen[rows] = 1
    others = torch.where(drawn.bool() & ~chosen.bool())[0]
    rest = torch.randperm(len(others), device=rows.device)[: count - len(rows)]
    chosen[others[rest]] = 1
    return chosen


class SeededTransform(GeneralizedRCNNTransform):
    """Draws the short side of each photo by the seeds, which are set before each pass."""

    seeds: tuple[int, ...]
    _waiting: Iterator[int]

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """As torchvision's."""
        self._waiting = iter(self.seeds)
        return super().forward(images, targets)

    def torch_choice(self, k: list[int]) -> int:
        """One of the sides, for the photo whose turn it is."""
        seed = next(self._waiting, None)
        if seed is None:
            return super().torch_choice(k)
        generator = torch.Generator().manual_seed(seed)
        return k[int(torch.randint(len(k), (1,), generator=generator))]

"""What is drawn by chance on a photo, by a seed of its own: which RoIs train, and its size.

So it is the same however the photos of a step are shared by processes and passes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform


class SeededSampler(BalancedPositiveNegativeSampler):
    """Draws the samples of each photo by the seeds, which are set before each pass."""

    def __init__(self, like: BalancedPositiveNegativeSampler) -> None:
        super().__init__(like.batch_size_per_image, like.positive_fraction)
        self.seeds: tuple[int, ...] = ()

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As torchvision's; without seeds from the stream of random numbers as it comes."""
        if not self.seeds:
            return super().__call__(matched_idxs)
        drawn = []
        for labels, seed in zip(matched_idxs, self.seeds, strict=True):
            torch.manual_seed(seed)
            drawn.append(super().__call__([labels]))
        return [one[0][0] for one in drawn], [one[1][0] for one in drawn]


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

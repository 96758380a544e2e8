"""SAT (Wu et al., ICCV 2023): one learned query token whose attention is the map."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from engine.localizers.gated import GatedTransformer
from engine.localizers.options import SatOptions
from engine.localizers.outputs import LocalizerOutput
from engine.localizers.vit import initialise


class Sat(GatedTransformer):
    """Tokens: class, patches in rows, then the spatial token."""

    def __init__(self, options: SatOptions, num_classes: int) -> None:
        super().__init__(options, num_classes)
        width = options.shape[0]
        self.loc_token = nn.Parameter(torch.zeros(1, 1, width))
        self.loc_embed = nn.Parameter(torch.zeros(1, 1, width))
        initialise(self.loc_token, self.loc_embed)

    def queries(self, images: Tensor) -> Tensor:
        """(b, 1, width), the same for every photo."""
        return (self.loc_token + self.loc_embed).expand(len(images), -1, -1)

    def forward(self, images: Tensor, return_attentions: bool = False) -> LocalizerOutput:
        """Logits and ``coarse_map`` (b, h, w) in (0, 1), which is the only map here."""
        return dataclasses.replace(super().forward(images, return_attentions), token_maps=None)

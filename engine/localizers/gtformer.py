"""GTFormer, the localizer of Pro2SAM (ECCV 2024), eq. 1-8: photos in, logits and a map out.

Its query tokens are subsampled copies of the photo itself, so each one sees all of it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.localizers.gated import GatedTransformer
from engine.localizers.options import GtformerOptions
from engine.localizers.vit import initialise

COPY_SIDE = 16
"""Pixels along a side of a copy, whatever the patch size: a 224 photo with 16-pixel patches is
the published case, and another grid only changes how the photo is resized before."""


class Gtformer(GatedTransformer):
    """Tokens: class, patches in rows, then s x s global tokens (the order of the code, D4).

    The photo is resized to 16 s x 16 s (of 224 pixels and s = 2 this takes every 7th pixel), and
    split into its s x s phases, rows first (D3). Each phase is a 16 x 16 picture and goes
    through a projection of its own; ``proj_mode`` "reference" repeats the published code, which
    uses the second one for all but the first phase and leaves the others without a gradient (D1).
    ``token_maps[:, i]`` is that of the i-th global token; the published code answers them in
    reverse.
    """

    def __init__(self, options: GtformerOptions, num_classes: int) -> None:
        super().__init__(options, num_classes)
        width = options.shape[0]
        self.copies_a_side = options.copies_a_side
        self.proj_mode = options.proj_mode
        self.glo_embed = nn.Parameter(torch.zeros(1, options.global_tokens, width))
        projections = 1 if options.proj_mode == "shared" else options.global_tokens
        self.global_projections = nn.ModuleList(
            nn.Conv2d(3, width, kernel_size=COPY_SIDE, stride=COPY_SIDE) for _ in range(projections)
        )
        initialise(self.glo_embed)

    def queries(self, images: Tensor) -> Tensor:
        """(b, s * s, width)."""
        return self.global_tokens(images) + self.glo_embed

    def global_tokens(self, images: Tensor) -> Tensor:
        """The copies of the photo, projected; without positions (b, s * s, width)."""
        s = self.copies_a_side
        small = F.interpolate(images, size=(COPY_SIDE * s, COPY_SIDE * s), mode="bilinear")
        tokens = []
        for number in range(s * s):
            row, column = number % s, number // s
            project = self.global_projections[self._projection_of(number)]
            tokens.append(project(small[:, :, row::s, column::s])[:, :, 0, 0])
        return torch.stack(tokens, dim=1)

    def _projection_of(self, number: int) -> int:
        if self.proj_mode == "independent":
            return number
        return min(number, 1) if self.proj_mode == "reference" else 0

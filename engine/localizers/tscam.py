"""TS-CAM (Gao et al., ICCV 2021): class scores of the patches times what the class token sees."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.localizers.outputs import LocalizerOutput
from engine.localizers.vit import VisionTransformer


class Tscam(VisionTransformer):
    """A vision transformer with a convolutional head over its patches."""

    def forward(self, images: Tensor, return_attentions: bool = False) -> LocalizerOutput:
        """Logits and ``class_maps`` (b, classes, h, w).

        The maps carry no gradient: nothing is trained through them.
        """
        tokens, grid = self.embed(images)
        encoded = self.encode(tokens, class_rows=True, attentions=return_attentions)
        scores = self.class_scores(encoded.tokens, grid)
        # A sum over blocks, no product: over all keys it is the number of blocks.
        seen = torch.stack(encoded.class_rows).sum(dim=0)[:, 1:].unflatten(-1, grid)
        return LocalizerOutput(
            logits=scores.mean(dim=(2, 3)),
            class_maps=(seen[:, None] * scores).detach(),
            attentions=encoded.attentions if return_attentions else None,
        )

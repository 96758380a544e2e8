"""What SAT and GTFormer share: tokens at the end of the sequence whose attention is the map.

In the gated blocks the logits of these queries, averaged over heads and put through a sigmoid,
say how much each cell belongs to the foreground; their mean multiplies the attention of all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.localizers.kernel import smoothing_kernel
from engine.localizers.options import GatedOptions
from engine.localizers.outputs import LocalizerOutput
from engine.localizers.vit import VisionTransformer


class GatedTransformer(VisionTransformer):
    """A vision transformer with t query tokens behind the patches; made by its subclasses."""

    def __init__(self, options: GatedOptions, num_classes: int) -> None:
        super().__init__(options, num_classes)
        self.gta = options.gta
        self.map_blocks = options.map_blocks
        # Of the edge loss, not of the forward pass; the published weights carry it too.
        self.kernel = nn.Parameter(smoothing_kernel(), requires_grad=False)

    def queries(self, images: Tensor) -> Tensor:
        """The query tokens with their positions: (b, t, width)."""
        raise NotImplementedError

    def forward(self, images: Tensor, return_attentions: bool = False) -> LocalizerOutput:
        """Logits, ``coarse_map`` (b, h, w) and ``token_maps`` (b, t, h, w), both in (0, 1).

        ``score_maps`` are the class head's, before pooling: no part of the method's map, but all
        that is known of which tag is where on a photo with several.
        """
        patches, grid = self.embed(images)
        queries = self.queries(images)
        count = queries.shape[1]
        encoded = self.encode(
            torch.cat([patches, queries], dim=1),
            gate_tokens=count,
            gate_blocks=self.map_blocks,
            apply_gates=self.gta,
            attentions=return_attentions,
        )
        gates = torch.stack(encoded.gates).mean(dim=0)  # (b, t, n) mean over the blocks
        token_maps = gates[:, :, 1:-count].unflatten(-1, grid)
        scores = self.class_scores(encoded.tokens, grid)
        return LocalizerOutput(
            logits=scores.mean(dim=(2, 3)),
            score_maps=scores,
            coarse_map=token_maps.mean(dim=1),
            token_maps=token_maps,
            attentions=encoded.attentions if return_attentions else None,
        )

"""The real classes of SAM in small sizes, untrained, for tests and for processes they start."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from engine.segmenters.sam import SamSegmenter


def small_network(*, side: int = 256, width: int = 48, depth: int = 2, seed: int = 0) -> Sam:
    """Patches of 16 pixels, 64 channels out."""
    torch.manual_seed(seed)
    cells = side // 16
    network = Sam(
        image_encoder=ImageEncoderViT(
            img_size=side,
            patch_size=16,
            embed_dim=width,
            depth=depth,
            num_heads=3,
            mlp_ratio=2,
            out_chans=64,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=(depth - 1,),
            window_size=8,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=64,
            image_embedding_size=(cells, cells),
            input_image_size=(side, side),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=64, mlp_dim=128, num_heads=4),
            transformer_dim=64,
            iou_head_depth=2,
            iou_head_hidden_dim=32,
        ),
    )
    return network.eval()


def small_segmenter() -> SamSegmenter:
    """Always the same one."""
    return SamSegmenter(small_network(), name="small")

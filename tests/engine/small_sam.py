"""SAM's own classes in a small size, seeded; raw, or so that its masks look like masks."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from skimage import data

from engine.types import Image

ASTRONAUT = data.astronaut()


def small_sam(seed: int = 0) -> Sam:
    """256 pixels, patches of 16, 48 wide and 2 deep; untrained."""
    torch.manual_seed(seed)
    network = Sam(
        image_encoder=ImageEncoderViT(
            img_size=256,
            patch_size=16,
            embed_dim=48,
            depth=2,
            num_heads=3,
            mlp_ratio=2,
            out_chans=64,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=6,  # leaves a rest on 16 patches
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=64,
            image_embedding_size=(16, 16),
            input_image_size=(256, 256),
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
    for block in network.image_encoder.blocks:  # zero before training
        torch.nn.init.normal_(block.attn.rel_pos_h, std=0.1)
        torch.nn.init.normal_(block.attn.rel_pos_w, std=0.1)
    return network.eval()


def lively_sam(seed: int = 0) -> Sam:
    """The same with sharper attention and louder heads: masks differ from click to click.

    Logits reach about ±100, scores lie around the generator's threshold; some pass its filters.
    """
    network = small_sam(seed)
    decoder = network.mask_decoder
    with torch.no_grad():
        for layer in decoder.transformer.layers:
            for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token):
                attention.k_proj.weight.copy_(attention.q_proj.weight)
                attention.q_proj.weight.mul_(4.0)
                attention.k_proj.weight.mul_(4.0)
                attention.v_proj.weight.mul_(4.0)
        for head in decoder.output_hypernetworks_mlps:
            head.layers[-1].weight.mul_(1500.0)
        decoder.iou_prediction_head.layers[-1].weight.mul_(0.5)
        decoder.iou_prediction_head.layers[-1].bias.fill_(0.88)
    return network


def crop(height: int, width: int) -> Image:
    """A photo of that size."""
    return np.ascontiguousarray(np.resize(ASTRONAUT[100:], (height, width, 3)))


def prepared(network: Sam, height: int, width: int) -> SamPredictor:
    """A predictor set to a photo of that size."""
    predictor = SamPredictor(network)
    predictor.set_image(crop(height, width))
    return predictor

"""The formulas written out step by step on timm's own modules: slow, literal, independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

SMALL: dict[str, Any] = {
    **{"embed_dim": 48, "depth": 5, "heads": 3},
    **{"image_size": 64, "patch_size": 8},
}
"""Options of a network that runs in milliseconds: 8 x 8 cells."""


@dataclass(frozen=True, eq=False)
class Literal:
    """What a literal forward pass gives."""

    logits: Tensor  # (b, classes)
    scores: Tensor  # (b, classes, h, w)
    gates: list[Tensor]  # of each block: (b, t, n)
    attentions: list[Tensor]  # of each block, before the gates


def spread_out(network: nn.Module, *, factor: float = 7) -> nn.Module:
    """Scale fresh weights so that maps leave 0.49 .. 0.51, where every mistake would hide.

    ``factor`` is that of the queries, keys and values: 4 does it at the published width.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "attn.qkv" in name:
                parameter.mul_(factor)
            if name == "glo_embed":
                parameter.mul_(20)
            if name == "loc_token":
                parameter.mul_(30)
    return network.eval()


def timm_twin(network: nn.Module, *, image_size: int, patch_size: int) -> VisionTransformer:
    """timm's transformer with the same weights, computing its attention without fused kernels."""
    weights = network.state_dict()
    twin = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=weights["cls_token"].shape[-1],
        depth=len(network.blocks),
        num_heads=network.blocks[0].attn.heads,
        num_classes=0,
    )
    twin.load_state_dict({name: weights[name] for name in twin.state_dict()})
    for block in twin.blocks:
        block.attn.fused_attn = False
    return twin.eval()


def literal_forward(
    network: nn.Module,
    images: Tensor,
    *,
    queries: Tensor | None,
    gated_blocks: tuple[int, ...] = (),
    image_size: int = 64,
    patch_size: int = 8,
) -> Literal:
    """Class token, patches, then the queries (b, t, width) with their positions, block by block."""
    twin = timm_twin(network, image_size=image_size, patch_size=patch_size)
    batch = len(images)
    patches = twin.patch_embed(images)  # (b, hw, width)
    tokens = torch.cat([twin.cls_token.expand(batch, -1, -1), patches], 1) + twin.pos_embed
    count = 0
    if queries is not None:
        tokens = torch.cat([tokens, queries], 1)
        count = queries.shape[1]
    gates, attentions = [], []
    for number, block in enumerate(twin.blocks):
        tokens, gate, attention = _literal_block(block, tokens, count, number in gated_blocks)
        gates.append(gate)
        attentions.append(attention)
    tokens = twin.norm(tokens)
    side = image_size // patch_size
    features = tokens[:, 1 : 1 + side * side].reshape(batch, side, side, -1).permute(0, 3, 1, 2)
    scores = F.conv2d(features, network.head.weight, network.head.bias, padding=1)
    return Literal(scores.mean((2, 3)), scores, gates, attentions)


def _literal_block(
    block: Block, tokens: Tensor, count: int, gated: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    attn = block.attn
    normed = block.norm1(tokens)
    b, n, d = normed.shape
    qkv = attn.qkv(normed).reshape(b, n, 3, attn.num_heads, d // attn.num_heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    logits = (query @ key.transpose(-2, -1)) * (d // attn.num_heads) ** -0.5
    attention = logits.softmax(-1)
    applied, gate = attention, None
    if count:
        gate = torch.stack(
            [logits[:, :, n - count + i, :].mean(1).sigmoid() for i in range(count)], 1
        )
        if gated:
            applied = attention * gate.mean(1).reshape(b, 1, 1, n)
    mixed = (applied @ value).transpose(1, 2).reshape(b, n, d)
    tokens = tokens + attn.proj(mixed)
    return tokens + block.mlp(block.norm2(tokens)), gate, attention


def literal_map(gates: list[Tensor], side: int) -> Tensor:
    """(b, t, side, side): the mean over those blocks, class and query keys dropped."""
    mean = sum(gates) / len(gates)
    b, t, n = mean.shape
    return mean[:, :, 1 : n - t].reshape(b, t, side, side)

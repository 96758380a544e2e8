"""SAM's image encoder without its mountains of memory: a padded photo in, its embedding out.

The weights and the arithmetic of `segment_anything.modeling.ImageEncoderViT`; attention over the
whole photo works on some rows of one head at a time instead of on all 12 tables of 4096 by 4096
at once (2.4 GB for vit_b), which is faster as well. In float32 on a CPU the embedding is the
original's bit for bit; in bfloat16 it takes about half of the time.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import (
    Attention,
    Block,
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor, nn
from torch.nn import functional

ROWS_AT_ONCE = 512
"""Queries that attend at once: their table (8 MB for 4096 keys in float32) stays in the cache."""

FEW_TOKENS = 1024
"""Windows are small enough to attend whole, all heads at once, as the original does."""


class PhotoEncoder:
    """One network's encoder in one dtype; keeps converted copies of the weights."""

    def __init__(self, encoder: ImageEncoderViT, *, dtype: torch.dtype = torch.float32) -> None:
        self.encoder = encoder
        self.dtype = dtype
        self._weights: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(self, square: Tensor) -> Tensor:
        """(1, 3, S, S) normalised and padded → (1, c, s, s) float32."""
        encoder = self.encoder
        patches = encoder.patch_embed.proj
        tokens = functional.conv2d(
            square.to(self.dtype),
            self._cast(patches.weight),
            self._cast(patches.bias),
            stride=patches.stride,
        ).permute(0, 2, 3, 1)
        if encoder.pos_embed is not None:
            tokens = tokens + self._cast(encoder.pos_embed)
        for block in encoder.blocks:
            tokens = self._block(block, tokens)
        # The neck is small, and its output is what all else rests on.
        return encoder.neck(tokens.permute(0, 3, 1, 2).float())

    def _block(self, block: Block, tokens: Tensor) -> Tensor:
        """(b, h, w, c) → the same; `Block.forward`."""
        windows = self._norm(block.norm1, tokens)
        if block.window_size > 0:
            hw = (tokens.shape[1], tokens.shape[2])
            windows, padded_hw = window_partition(windows, block.window_size)
            attended = self._attention(block.attn, windows)
            attended = window_unpartition(attended, block.window_size, padded_hw, hw)
        else:
            attended = self._attention(block.attn, windows)
        tokens = tokens + attended
        mlp = block.mlp
        widened = mlp.act(self._linear(mlp.lin1, self._norm(block.norm2, tokens)))
        return tokens + self._linear(mlp.lin2, widened)

    def _attention(self, layer: Attention, tokens: Tensor) -> Tensor:
        """(b, h, w, c) → the same; `Attention.forward` in pieces."""
        batch, height, width, _ = tokens.shape
        count = height * width
        qkv = self._linear(layer.qkv, tokens).reshape(batch, count, 3, layer.num_heads, -1)
        # Each (b * heads, n, c / heads)
        query, key, value = (
            qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * layer.num_heads, count, -1).unbind(0)
        )
        offsets = None
        if layer.use_rel_pos:
            offsets = self._offsets(layer, query, height, width)
        query = query * layer.scale
        if count <= FEW_TOKENS:
            found = _attend(query, key, value, offsets, (height, width))
        else:
            found = torch.empty_like(value)
            for head in range(len(query)):
                one = slice(head, head + 1)
                for start in range(0, count, ROWS_AT_ONCE):
                    some = slice(start, start + ROWS_AT_ONCE)
                    near = None if offsets is None else tuple(o[one, some] for o in offsets)
                    found[one, some] = _attend(
                        query[one, some], key[one], value[one], near, (height, width)
                    )
        found = found.view(batch, layer.num_heads, height, width, -1).permute(0, 2, 3, 1, 4)
        return self._linear(layer.proj, found.reshape(batch, height, width, -1))

    def _offsets(
        self, layer: Attention, query: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """What each query thinks of each row, (b, n, h), and of each column, (b, n, w)."""
        rows = self._cast(get_rel_pos(height, height, layer.rel_pos_h), keep=False)
        columns = self._cast(get_rel_pos(width, width, layer.rel_pos_w), keep=False)
        asked = query.reshape(len(query), height, width, -1)
        of_rows = torch.einsum("bhwc,hkc->bhwk", asked, rows)
        of_columns = torch.einsum("bhwc,wkc->bhwk", asked, columns)
        return of_rows.flatten(1, 2), of_columns.flatten(1, 2)

    def _norm(self, layer: nn.LayerNorm, tokens: Tensor) -> Tensor:
        weight, bias = self._cast(layer.weight), self._cast(layer.bias)
        return functional.layer_norm(tokens, layer.normalized_shape, weight, bias, layer.eps)

    def _linear(self, layer: nn.Linear, tokens: Tensor) -> Tensor:
        bias = None if layer.bias is None else self._cast(layer.bias)
        return functional.linear(tokens, self._cast(layer.weight), bias)

    def _cast(self, weight: Tensor, *, keep: bool = True) -> Tensor:
        if weight.dtype == self.dtype or not keep:
            return weight.to(self.dtype)
        if id(weight) not in self._weights:
            self._weights[id(weight)] = weight.detach().to(self.dtype)
        return self._weights[id(weight)]


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: tuple[Tensor, ...] | None,
    hw: tuple[int, int],
) -> Tensor:
    """(b, m, c) scaled queries over (b, h * w, c) keys and values → (b, m, c)."""
    table = query @ key.transpose(-2, -1)
    if offsets is not None:
        of_rows, of_columns = offsets
        by_place = table.view(*table.shape[:2], *hw)
        by_place += of_rows[..., :, None]
        by_place += of_columns[..., None, :]
    return table.softmax(dim=-1) @ value

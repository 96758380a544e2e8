"""The vision transformer that TS-CAM, SAT and GTFormer stand on: photos in, tokens out.

Parameters are called as in timm's VisionTransformer, so DeiT weights fit. On request a block also
tells its gates, the attention of the class token, or all of its attention.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from engine.localizers.options import VitOptions
from engine.localizers.outputs import LocalizerOutput

MLP_RATIO = 4
NORM_EPSILON = 1e-6
INITIAL_STD = 0.02


@dataclass(frozen=True)
class Ask:
    """What a block shall tell besides its tokens."""

    gate_tokens: int = 0  # so many tokens at the end of the sequence make gates
    apply_gates: bool = False  # … and the attention is multiplied by their mean
    class_row: bool = False
    attention: bool = False


@dataclass(frozen=True, eq=False)
class Told:
    """What a block told; None where it was not asked."""

    gates: Tensor | None = None  # (b, gate tokens, n) in (0, 1): one value for each key
    class_row: Tensor | None = None  # (b, n), mean over the heads, sums to 1
    attention: Tensor | None = None  # (b, heads, n, n) softmax before the gates, rows sum to 1


@dataclass(frozen=True, eq=False)
class Encoded:
    """Tokens after the last norm, and what the blocks told, in the order of the blocks."""

    tokens: Tensor  # (b, n, width)
    gates: tuple[Tensor, ...] = ()
    class_rows: tuple[Tensor, ...] = ()
    attentions: tuple[Tensor, ...] = field(default=())


class Attention(nn.Module):
    """Self-attention over n tokens, optionally with gated keys."""

    def __init__(self, width: int, *, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, ask: Ask) -> tuple[Tensor, Told]:
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)  # (b, n, width) each, head by head
        gates = self._gates(query[:, -ask.gate_tokens :], key) if ask.gate_tokens else None
        query, key, value = (self._by_head(part) for part in (query, key, value))
        gate = None
        if gates is not None and ask.apply_gates:
            gate = gates.mean(dim=1).to(value.dtype)  # (b, n), after the sigmoid
        if ask.attention or not self.fused:
            weights = (query @ key.mT * self.scale).softmax(dim=-1)  # (b, heads, n, n)
            applied = weights if gate is None else weights * gate[:, None, None, :]
            mixed = applied @ value
        else:
            # A diag(m) V = A (diag(m) V): gating the values gates the columns of the attention,
            # and the fused kernel need not know.
            if gate is not None:
                value = value * gate[:, None, :, None]
            mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        told = Told(
            gates=gates,
            class_row=self._class_row(query, key) if ask.class_row else None,
            attention=weights if ask.attention else None,
        )
        return self.proj(mixed.transpose(1, 2).flatten(2)), told

    def _by_head(self, part: Tensor) -> Tensor:
        return part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (b, heads, n, width / heads)

    def _gates(self, query: Tensor, key: Tensor) -> Tensor:
        """Sigmoid of the logits' mean over heads, (b, t, n); eq. 6 of Pro2SAM, D5.

        The sum over heads of their dot products is the dot product of the whole rows.
        """
        return _wide(query @ key.mT * (self.scale / self.heads)).sigmoid()

    def _class_row(self, query: Tensor, key: Tensor) -> Tensor:
        logits = query[:, :, :1] @ key.mT * self.scale  # (b, heads, 1, n)
        return _wide(logits).softmax(dim=-1).mean(dim=1)[:, 0]


def _wide(values: Tensor) -> Tensor:
    """Maps go into losses that subtract means, so 16 bits become 32."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


class Block(nn.Module):
    """Attention and MLP, each behind a norm and with a way around."""

    def __init__(self, width: int, *, heads: int, fused: bool, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads=heads, fused=fused)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(width, MLP_RATIO * width),
                act=nn.GELU(),
                fc2=nn.Linear(MLP_RATIO * width, width),
            )
        )

    def forward(self, tokens: Tensor, ask: Ask) -> tuple[Tensor, Told]:
        attended, told = self.attn(self.norm1(tokens), ask)
        tokens = tokens + self._dropped(attended)
        return tokens + self._dropped(self.mlp(self.norm2(tokens))), told

    def _dropped(self, change: Tensor) -> Tensor:
        return stochastic_depth(change, self.drop_path, mode="row", training=self.training)


class VisionTransformer(nn.Module):
    """Tokens of a photo through the blocks, and the convolutional class head of TS-CAM.

    Takes photos of any size that is a multiple of the patch size, also not square: the position
    embedding is resampled. The networks differ in what `forward` makes of these parts.
    """

    def __init__(self, options: VitOptions, num_classes: int) -> None:
        super().__init__()
        width, depth, heads = options.shape
        side = options.image_size // options.patch_size
        self.patch_size = options.patch_size
        self.trained_grid = (side, side)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + side * side, width))
        patch = nn.Conv2d(3, width, kernel_size=options.patch_size, stride=options.patch_size)
        self.patch_embed = nn.Sequential(OrderedDict(proj=patch))
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads=heads,
                fused=options.attention == "fused",
                drop_path=options.drop_path * block / max(1, depth - 1),
            )
            for block in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)
        initialise(self.cls_token, self.pos_embed)
        for module in self.modules():  # convolutions keep PyTorch's own start
            if isinstance(module, nn.Linear):
                initialise(module.weight)
                nn.init.zeros_(module.bias)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Class token and patches in rows, positions added: (b, 1 + h * w, width), and (h, w).

        ValueError where a side is no multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size or not height or not width:
            raise ValueError(
                f"the sides of a photo must be multiples of {self.patch_size}, "
                f"got {height} x {width}"
            )
        patches = self.patch_embed(images)  # (b, width, h, w)
        grid = (patches.shape[-2], patches.shape[-1])
        patches = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        return tokens + resampled_positions(self.pos_embed, old=self.trained_grid, new=grid), grid

    def encode(
        self,
        tokens: Tensor,
        *,
        gate_tokens: int = 0,
        gate_blocks: Collection[int] = (),
        apply_gates: bool = False,
        class_rows: bool = False,
        attentions: bool = False,
    ) -> Encoded:
        """All blocks and the last norm; gates come from the ``gate_blocks`` alone."""
        gates, rows, matrices = [], [], []
        for number, block in enumerate(self.blocks):
            makes_gates = number in gate_blocks
            ask = Ask(
                gate_tokens=gate_tokens if makes_gates else 0,
                apply_gates=apply_gates,
                class_row=class_rows,
                attention=attentions,
            )
            tokens, told = block(tokens, ask)
            gates += [told.gates] if told.gates is not None else []
            rows += [told.class_row] if told.class_row is not None else []
            matrices += [told.attention] if told.attention is not None else []
        return Encoded(self.norm(tokens), tuple(gates), tuple(rows), tuple(matrices))

    def class_scores(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Score maps (b, classes, h, w) of the patches; their means are the logits."""
        height, width = grid
        patches = tokens[:, 1 : 1 + height * width]
        return self.head(patches.transpose(1, 2).unflatten(-1, grid))


def initialise(*parameters: Tensor) -> None:
    """The start of everything that is no convolution: a normal cut at two units."""
    for parameter in parameters:
        nn.init.trunc_normal_(parameter, std=INITIAL_STD)


def resampled_positions(positions: Tensor, *, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """(1, 1 + h * w, width) for another grid: bicubic with antialiasing, as timm does it.

    The first entry belongs to the class token and stays; the same grid gives the same tensor.
    """
    if old == new:
        return positions
    cells = positions[:, 1:].transpose(1, 2).unflatten(-1, old)
    # The antialiased kernel knows no 16-bit numbers.
    cells = F.interpolate(cells.float(), size=new, mode="bicubic", antialias=True)
    cells = cells.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :1], cells], dim=1)


def self_attention_map(output: LocalizerOutput, *, blocks: Collection[int] = ()) -> Tensor:
    """What the class token looks at, (b, h, w) in [0, 1]: the baseline map of Pro2SAM's Table 3.

    Mean over heads and ``blocks`` (none: the last three) of the class token's attention to the
    patches, stretched to [0, 1] for each photo; a constant map becomes zeros. The network must
    have been called with ``return_attentions=True``.
    """
    maps = output.coarse_map if output.coarse_map is not None else output.class_maps
    if output.attentions is None or maps is None:
        raise ValueError("call the network with return_attentions=True")
    height, width = maps.shape[-2:]
    chosen = blocks or range(len(output.attentions))[-3:]
    rows = torch.stack([output.attentions[block][:, :, 0] for block in chosen])
    cells = _wide(rows).mean(dim=(0, 2))[:, 1 : 1 + height * width]
    low, high = cells.amin(dim=1, keepdim=True), cells.amax(dim=1, keepdim=True)
    span = high - low
    stretched = (cells - low) / torch.where(span > 0, span, 1.0)
    return stretched.unflatten(1, (height, width))

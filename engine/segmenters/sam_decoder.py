"""SAM's mask decoder for many single clicks on one photo: embedding and clicks in, logits out.

The same weights and the same function as `segment_anything.modeling.MaskDecoder`, arranged for
clicks by the hundred: what depends on the photo alone is computed once, the projections of the
image tokens are folded into the few tokens of each click (see `_Cross`), and masks are upscaled
only for clicks that are worth it, without the padding of the square. It agrees with the original
to rounding (about 1e-6 of the logits' range in float32), not bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor
from torch.nn import functional

CLICKS_AT_ONCE = 4
"""Upscaling works on so many clicks at once: its temporaries (8 MB a click) stay in what the
allocator keeps, where larger ones would be mapped and cleared by the system each time."""


@dataclass(frozen=True)
class Decoded:
    """What the decoder knows of b clicks before any mask is drawn."""

    scores: Tensor  # (b, 3) float32: the IoU that the network predicts for each of its masks
    drawers: Tensor  # (b, 3, c / 8): what each mask takes of each channel of the upscaled image
    image_tokens: Tensor  # (b, s * s, c)


class _Cross:
    """Attention between the tokens of clicks and the image tokens, the long side never projected.

    A projection of the image tokens W x followed by a product with a click's token t is
    (W^T t) x: with 7 tokens and 8 heads that is 56 columns instead of 128. Biases that shift all
    of one softmax alike cancel; those behind it can be added once, as its weights sum to 1.
    """

    def __init__(self, layer: Attention, image_pe: Tensor, *, image_asks: bool) -> None:
        """``image_pe`` (n, c) float32 is where each image token is."""
        self.heads = layer.num_heads
        width = layer.internal_dim // self.heads
        of_image, of_tokens = layer.k_proj, layer.q_proj
        if image_asks:
            of_image, of_tokens = of_tokens, of_image
        self.of_tokens = of_tokens
        self.fold = of_image.weight.view(self.heads, width, -1) / math.sqrt(width)
        where = functional.linear(image_pe, of_image.weight, of_image.bias) / math.sqrt(width)
        self.where = where.view(-1, self.heads, width).permute(1, 2, 0).contiguous()
        self.value = layer.v_proj
        self.out = layer.out_proj

    def scores(self, tokens: Tensor, image: Tensor) -> Tensor:
        """(b, t, c) tokens, (b or 1, n, c) image tokens without position → (b, heads, t, n)."""
        batch, count, _ = tokens.shape
        asked = self.of_tokens(tokens).view(batch, count, self.heads, -1).transpose(1, 2)
        # (heads, b * t, width) @ (heads, width, n)
        by_head = asked.transpose(0, 1).reshape(self.heads, batch * count, -1)
        places = torch.bmm(by_head.to(image.dtype), self.where.to(image.dtype))
        places = places.view(self.heads, batch, count, -1).transpose(0, 1)
        folded = (asked @ self.fold).flatten(1, 2).to(image.dtype)  # (b, heads * t, c)
        contents = _product(folded, image.transpose(1, 2))
        return contents.view(batch, self.heads, count, -1).add_(places)

    def gather(self, tokens: Tensor, image: Tensor) -> Tensor:
        """What each token takes from the image tokens, (b, t, c) float32: tokens ask."""
        batch, count, _ = tokens.shape
        weights = self.scores(tokens, image).softmax(dim=-1).flatten(1, 2)
        taken = _product(weights, image).float().view(batch, self.heads, count, -1)
        by_head = self.value.weight.view(self.heads, -1, image.shape[-1]).transpose(1, 2)
        values = (taken @ by_head).transpose(1, 2).flatten(2) + self.value.bias
        return self.out(values)

    def spread(self, asked: Tensor, tokens: Tensor, image: Tensor, *, own: bool) -> Tensor:
        """The image tokens, (b, n, c), with what they take from the tokens added: they ask.

        ``own`` ones are overwritten.
        """
        batch, count, _ = tokens.shape
        weights = self.scores(asked, image).softmax(dim=2).flatten(1, 2)  # (b, heads * t, n)
        values = self.value(tokens).view(batch, count, self.heads, -1).transpose(1, 2)
        by_head = self.out.weight.view(self.out.out_features, self.heads, -1).permute(1, 2, 0)
        given = values @ by_head + self.out.bias / self.heads
        given = given.flatten(1, 2).to(image.dtype)
        image = image if own else image.repeat(batch, 1, 1)
        return image.baddbmm_(weights.transpose(1, 2), given)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(b, m, k) @ (b or 1, k, n), as one large product where the right side is shared."""
    if right.shape[0] == left.shape[0]:
        return torch.bmm(left, right)
    return (left.flatten(0, 1) @ right[0]).view(left.shape[0], left.shape[1], -1)


class ClickDecoder:
    """The decoder of one network for one photo; under `torch.inference_mode` or `no_grad`."""

    def __init__(
        self, network: Sam, features: Tensor, *, input_hw: tuple[int, int], dtype: torch.dtype
    ) -> None:
        """``features`` (1, c, s, s) of the photo, which fills ``input_hw`` pixels of the square."""
        self.network = network
        self.dtype = dtype
        prompts, decoder = network.prompt_encoder, network.mask_decoder
        without_mask = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        image = (features + without_mask).flatten(2).transpose(1, 2)
        self._image = image.contiguous().to(dtype)  # (1, s * s, c)
        image_pe = prompts.get_dense_pe()[0].flatten(1).T
        transformer = decoder.transformer
        self._rounds = [
            (
                _Cross(layer.cross_attn_token_to_image, image_pe, image_asks=False),
                _Cross(layer.cross_attn_image_to_token, image_pe, image_asks=True),
            )
            for layer in transformer.layers
        ]
        self._last = _Cross(transformer.final_attn_token_to_image, image_pe, image_asks=False)
        self._outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        self._upscaling = _Upscaling(network, input_hw=input_hw, dtype=dtype)

    @property
    def drawn_hw(self) -> tuple[int, int]:
        """How many rows and columns of the logits are computed; the rest is padding."""
        return 4 * self._upscaling.rows, 4 * self._upscaling.columns

    def decode(self, clicks: Tensor) -> Decoded:
        """``clicks`` (b, 2): x, y in pixels of the square that the network sees."""
        decoder = self.network.mask_decoder
        transformer = decoder.transformer
        labels = torch.ones(len(clicks), 1, dtype=torch.int, device=clicks.device)
        prompts, _ = self.network.prompt_encoder(
            points=(clicks[:, None, :], labels), boxes=None, masks=None
        )
        outputs = self._outputs.expand(len(clicks), -1, -1)
        places = torch.cat((outputs, prompts), dim=1)
        tokens, image = places, self._image
        for turn, crosses in zip(transformer.layers, self._rounds, strict=True):
            own = image is not self._image
            tokens, image = _round(turn, crosses, tokens, places, image, own=own)
        taken = self._last.gather(tokens + places, image)
        tokens = transformer.norm_final_attn(tokens + taken)
        drawers = [
            head(tokens[:, 1 + index])
            for index, head in enumerate(decoder.output_hypernetworks_mlps)
        ]
        return Decoded(
            scores=decoder.iou_prediction_head(tokens[:, 0])[:, 1:],
            drawers=torch.stack(drawers[1:], dim=1),
            image_tokens=image,
        )

    def logits(self, decoded: Decoded, chosen: Tensor) -> Tensor:
        """(k, 3, 4 s, 4 s) float32 for the chosen (k,) of the clicks; 0 in the padding."""
        side = self._upscaling.side
        logits = decoded.drawers.new_zeros(len(chosen), decoded.drawers.shape[1], side, side)
        for start in range(0, len(chosen), CLICKS_AT_ONCE):
            some = chosen[start : start + CLICKS_AT_ONCE]
            self._upscaling(
                decoded.image_tokens[some],
                decoded.drawers[some],
                out=logits[start : start + CLICKS_AT_ONCE],
            )
        return logits


def _round(
    layer: TwoWayAttentionBlock,
    crosses: tuple[_Cross, _Cross],
    tokens: Tensor,
    places: Tensor,
    image: Tensor,
    *,
    own: bool,
) -> tuple[Tensor, Tensor]:
    """One two-way block: (b, t, c) tokens and (b or 1, n, c) image tokens, renewed.

    Image tokens that are this batch's own are overwritten.
    """
    to_image, to_tokens = crosses
    if layer.skip_first_layer_pe:
        tokens = layer.self_attn(q=tokens, k=tokens, v=tokens)
    else:
        asking = tokens + places
        tokens = tokens + layer.self_attn(q=asking, k=asking, v=tokens)
    tokens = layer.norm1(tokens)
    tokens = layer.norm2(tokens + to_image.gather(tokens + places, image))
    tokens = layer.norm3(tokens + layer.mlp(tokens))
    image = to_tokens.spread(tokens + places, tokens, image, own=own)
    norm = layer.norm4
    weight, bias = norm.weight.to(image.dtype), norm.bias.to(image.dtype)
    return tokens, functional.layer_norm(image, norm.normalized_shape, weight, bias, norm.eps)


class _Upscaling:
    """Image tokens to mask logits, twice each side twice; channels last, only where photo is."""

    def __init__(self, network: Sam, *, input_hw: tuple[int, int], dtype: torch.dtype) -> None:
        first, norm, _, second, _ = network.mask_decoder.output_upscaling
        self.side = 4 * int(network.prompt_encoder.image_embedding_size[0])
        scale = self.side / network.image_encoder.img_size
        # Enlarging reads one row and column beyond the last that the photo reaches.
        self.rows, self.columns = (
            min(self.side // 4, int(length * scale + 0.5) // 4 + 1) for length in input_hw
        )
        self.first, self.first_bias = _as_product(first, dtype)
        self.second, self.second_bias = _as_product(second, dtype)
        self.norm = norm
        self.norm_weight, self.norm_bias = norm.weight.to(dtype), norm.bias.to(dtype)
        self.act = network.mask_decoder.output_upscaling[2]

    def __call__(self, image: Tensor, drawers: Tensor, *, out: Tensor) -> None:
        """(b, n, c) image tokens and (b, m, c / 8) drawers into (b, m, side, side), not all."""
        batch, quarter = len(image), self.side // 4
        rows, columns = self.rows, self.columns
        image = image.view(batch, quarter, quarter, -1)[:, :rows, :columns]
        # Flat, because a product with a cut-out view becomes hundreds of small ones.
        image = image.reshape(-1, image.shape[-1])
        large = functional.linear(image, self.first, self.first_bias)
        large = large.view(batch, -1, self.first.shape[0] // 4)
        width = large.shape[-1]
        large = functional.layer_norm(
            large, (width,), self.norm_weight, self.norm_bias, self.norm.eps
        )
        large = functional.linear(self.act(large), self.second, self.second_bias)
        large = self.act(large).view(batch, -1, self.second.shape[0] // 4)
        drawn = torch.bmm(drawers.to(large.dtype), large.transpose(1, 2)).float()
        # (row, column, lower?, right?, lower?, right?) of each pixel; neighbours in pairs, as one
        # number of 8 bytes, which is ten times as fast to put in order.
        pairs = drawn.view(torch.float64).view(batch, -1, rows, columns, 2, 2, 2)
        pairs = pairs.permute(0, 1, 2, 4, 6, 3, 5).reshape(batch, -1, 4 * rows, 2 * columns)
        out[:, :, : 4 * rows, : 4 * columns] = pairs.view(torch.float32)


def _as_product(layer: torch.nn.ConvTranspose2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A transposed convolution of 2 by 2, stride 2, as weight (4 * out, in) and bias (4 * out)."""
    assert layer.kernel_size == layer.stride == (2, 2)
    weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels)
    assert layer.bias is not None
    return weight.contiguous().to(dtype), layer.bias.repeat(4).to(dtype)

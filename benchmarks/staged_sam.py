"""A SAM of full size without its checkpoint that still finds plausible masks: for timing galleries.

A network with seeded weights draws noise, and no filter keeps any of it. Here every path pays for
the whole network, and what it draws is stretched to ±10 and laid over planned logits, one line
after the decoder: those of regions of the photo (see `engine.gallery`) and of its true masks, in
three sizes at each click, with outlines of different sharpness; two thirds or more of the planned
scores are above the generator's threshold. Rounding, half precision and the click's own noise so
reach every mask, score and filter, in the original and in ours alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from engine.gallery import build_gallery
from engine.segmenters.sam_decoder import ClickDecoder, Decoded
from engine.types import Image, Mask

GRID = 32  # the generator's points_per_side
BANDS = ((0.002, 0.03), (0.03, 0.15), (0.15, 0.8))  # shares of the photo: part, object, scene
REACH = 15.0  # planned logits lie within
NOISE = 10.0  # the network's own logits lie within
LOWEST_SCORE, SCORE_RANGE = 0.80, 0.17
TRUE_SCORE = 0.975
HIT = 0.6  # a region is offered to clicks whose cell it covers so far


@dataclass(frozen=True)
class _StagedDecoded(Decoded):
    clicks: Tensor


class StagedSam:
    """The network, and what is planned for the current photo."""

    def __init__(self, make: Callable[[], Sam], *, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = make().eval()
        for block in self.network.image_encoder.blocks:  # zero before training
            torch.nn.init.normal_(block.attn.rel_pos_h, std=0.02)
            torch.nn.init.normal_(block.attn.rel_pos_w, std=0.02)
        self._seed = seed
        self._clicks = torch.zeros(0, 2)
        self._input_hw = (1, 1)
        self._logits = torch.zeros(0)  # (m, side, side)
        self._scores = torch.zeros(0)  # (m,)
        self._plan = torch.zeros(0, dtype=torch.long)  # (GRID, GRID, 3): which of the m
        self._stretch = self._measured_stretch()
        self._lay_over_network()
        self._lay_over_decoder()

    def stage(self, image: Image, true_masks: Sequence[Mask]) -> None:
        """Plan for this photo; takes a second, outside of all timing."""
        square = self.network.image_encoder.img_size
        height, width = image.shape[:2]
        self._input_hw = ResizeLongestSide.get_preprocess_shape(height, width, square)
        generator = np.random.default_rng([self._seed, height, width, int(image.sum())])
        regions = build_gallery(image)
        coverage = regions.coverage(GRID)
        quality = regions.scores / max(float(regions.scores.max()), 1e-9)
        plan = _chosen(coverage, quality)
        used, places = np.unique(plan, return_inverse=True)
        ranks = np.argsort(np.argsort(quality[used])) / max(len(used) - 1, 1)
        scores = LOWEST_SCORE + SCORE_RANGE * ranks
        masks = [regions.mask(int(index)) for index in used]
        plan = places.reshape(plan.shape)
        for mask in true_masks:
            plan = _with_truth(plan, mask, len(masks), generator)
            masks.append(mask)
            scores = np.append(scores, TRUE_SCORE)
        planned = [self._planned(mask, generator) for mask in masks]
        self._logits = torch.from_numpy(np.stack(planned))
        self._scores = torch.from_numpy(scores).float()
        self._plan = torch.from_numpy(plan)

    def _planned(self, mask: Mask, generator: np.random.Generator) -> NDArray[np.float32]:
        """Logits of one mask: its signed distance, times a random sharpness, somewhat wavy."""
        side = int(self.network.prompt_encoder.mask_input_size[0])
        scale = side / self.network.image_encoder.img_size
        height, width = (max(1, round(length * scale)) for length in self._input_hw)
        share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        inside = np.zeros((side, side), dtype=np.uint8)
        inside[:height, :width] = share > 0.5
        within = cv2.distanceTransform(np.pad(inside, 1, mode="edge"), cv2.DIST_L2, 5)
        beyond = cv2.distanceTransform(np.pad(1 - inside, 1, mode="edge"), cv2.DIST_L2, 5)
        waves = cv2.GaussianBlur(generator.normal(0.0, 1.0, (side, side)), (0, 0), 6.0)
        sharpness = np.exp(generator.uniform(np.log(2.0), np.log(12.0)))
        logits = ((within - beyond)[1:-1, 1:-1] + waves / waves.std()) * sharpness
        return np.clip(logits, -REACH, REACH).astype(np.float32)

    def _which(self, clicks: Tensor) -> Tensor:
        """(b, 2) pixels of the square → (b, 3) planned masks."""
        height, width = self._input_hw
        columns = (clicks[:, 0] / width * GRID).long().clamp(0, GRID - 1)
        rows = (clicks[:, 1] / height * GRID).long().clamp(0, GRID - 1)
        return self._plan[rows, columns]

    def _lay_over(self, logits: Tensor, which: Tensor) -> Tensor:
        logits.mul_(self._stretch)
        for click, mine in enumerate(which.tolist()):
            for channel, planned in enumerate(mine):
                logits[click, channel] += self._logits[planned]
        return logits

    @torch.no_grad()
    def _measured_stretch(self) -> float:
        network = self.network
        prompt_encoder = network.prompt_encoder
        size = (prompt_encoder.embed_dim, *prompt_encoder.image_embedding_size)
        features = torch.randn(1, *size)
        clicks = torch.rand(8, 1, 2) * network.image_encoder.img_size
        prompts, dense = network.prompt_encoder((clicks, torch.ones(8, 1)), None, None)
        where = network.prompt_encoder.get_dense_pe()
        logits, _ = network.mask_decoder(features, where, prompts, dense, multimask_output=True)
        return NOISE / float(logits.abs().max())

    def _lay_over_network(self) -> None:
        def remember(module: Any, args: Any, named: Any) -> None:
            self._clicks = named["points"][0][:, 0]

        def lay_over(module: Any, args: Any, found: tuple[Tensor, Tensor]) -> Any:
            which = self._which(self._clicks)
            return self._lay_over(found[0], which), found[1] + self._scores[which]

        self.network.prompt_encoder.register_forward_pre_hook(remember, with_kwargs=True)
        self.network.mask_decoder.register_forward_hook(lay_over)

    def _lay_over_decoder(self) -> None:
        """The same after our decoder; for good, as this process does nothing else."""
        decode, draw = ClickDecoder.decode, ClickDecoder.logits

        def staged_decode(decoder: ClickDecoder, clicks: Tensor) -> Decoded:
            plain = decode(decoder, clicks)
            scores = plain.scores + self._scores[self._which(clicks)]
            return _StagedDecoded(scores, plain.drawers, plain.image_tokens, clicks)

        def staged_logits(decoder: ClickDecoder, decoded: _StagedDecoded, chosen: Tensor) -> Tensor:
            logits = draw(decoder, decoded, chosen)
            return self._lay_over(logits, self._which(decoded.clicks[chosen]))

        # Replacing methods is the point here, and mypy allows none.
        ClickDecoder.decode = staged_decode  # type: ignore[assignment,method-assign]
        ClickDecoder.logits = staged_logits  # type: ignore[assignment,method-assign]


def _chosen(coverage: NDArray[np.float32], quality: NDArray[np.float64]) -> NDArray[np.intp]:
    """(GRID, GRID, 3): at each click the region of the highest quality in each band of sizes."""
    areas = coverage.mean(axis=(1, 2))
    plan = np.zeros((GRID, GRID, len(BANDS)), dtype=np.intp)
    whole = int(np.argmax(areas))
    for band, (least, most) in enumerate(BANDS):
        fits = (areas >= least) & (areas < most)
        values = np.where(fits[:, None, None] & (coverage > HIT), quality[:, None, None], -1.0)
        best = values.argmax(axis=0)
        found = np.take_along_axis(values, best[None], axis=0)[0] >= 0.0
        plan[:, :, band] = np.where(found, best, whole)
    return plan


def _with_truth(
    plan: NDArray[np.intp], mask: Mask, index: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """The true mask instead of the region of its size, at two thirds of the clicks on it."""
    height, width = mask.shape
    rows = ((np.arange(GRID) + 0.5) / GRID * height).astype(int)
    columns = ((np.arange(GRID) + 0.5) / GRID * width).astype(int)
    share = mask.mean()
    band = next((i for i, (_, most) in enumerate(BANDS) if share < most), len(BANDS) - 1)
    hit = mask[np.ix_(rows, columns)] & (generator.random((GRID, GRID)) < 2 / 3)
    plan[:, :, band] = np.where(hit, index, plan[:, :, band])
    return plan

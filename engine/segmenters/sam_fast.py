"""SAM's mask gallery, fast: half precision, clicks only where a coarse map says that something is.

The filters are the generator's, at the photo's size up to `LONGEST` pixels. Masks stay small
logits, and are enlarged when they are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from torch import Tensor

from engine import matching
from engine.gallery import Gallery
from engine.segmenters.sam_candidates import (
    OFFSET,
    Filters,
    PixelBox,
    box_of,
    pasted,
    stability,
    suppressed,
)
from engine.segmenters.sam_decoder import ClickDecoder, Decoded
from engine.segmenters.sam_enlarging import Enlarger
from engine.types import CoarseMap, Mask

BATCH = 8  # clicks decoded at once
TAU = 0.2  # where the map is above, there may be something; as `matching.coarse_to_cells`
FEWEST = 64  # clicks; where less of the map is above, its highest places
MOST = 600  # clicks; where more of the map is above, every second place as on a chessboard
KEPT_AS = torch.float16
"""Logits lie within a few dozens, and half precision computed them with fewer digits than this."""


def plausible(shares: NDArray[np.float64], coarse: CoarseMap) -> NDArray[np.float64]:
    """Those of the (n, 2) places in [0, 1], row by row on a square grid, that are worth a click.

    Cells beside those that are above count too: of many clicks with nearly the same mask the
    generator keeps the one with the best score, which need not be in the middle.
    """
    around = cv2.dilate(np.ascontiguousarray(coarse), np.ones((3, 3), dtype=np.uint8))
    height, width = around.shape
    columns = np.minimum((shares[:, 0] * width).astype(int), width - 1)
    rows = np.minimum((shares[:, 1] * height).astype(int), height - 1)
    values = around[rows, columns]
    chosen = values > TAU
    if chosen.sum() < FEWEST:
        chosen = np.zeros(len(shares), dtype=bool)
        chosen[np.argsort(-values, kind="stable")[:FEWEST]] = True
    if chosen.sum() > MOST:
        side = round(len(shares) ** 0.5)
        row, column = np.divmod(np.arange(len(shares)), side)
        chosen &= (row + column) % 2 == 0
    return shares[chosen]


@torch.inference_mode()
def fast_gallery(
    predictor: SamPredictor,
    *,
    points: NDArray[np.float64],
    filters: Filters,
    dtype: torch.dtype,
) -> Gallery:
    """Of the photo that the predictor is set to; ``points`` (n, 2) are x, y in its pixels."""
    network = predictor.model
    enlarger = Enlarger.of(predictor)
    threshold = float(network.mask_threshold)
    decoder = ClickDecoder(network, predictor.features, input_hw=predictor.input_size, dtype=dtype)
    places = predictor.transform.apply_coords(points, predictor.original_size)
    clicks = torch.as_tensor(places, device=predictor.device)
    found: list[_Found] = []
    for some in clicks.split(BATCH):
        found += _passing(decoder, decoder.decode(some), enlarger, filters, threshold)
    boxes = np.array([one.box for one in found], dtype=np.float32).reshape(-1, 4)
    scores = np.array([one.score for one in found], dtype=np.float32)
    order = suppressed(boxes, scores, filters.box_nms_thresh)
    order = _different(
        order, found, _SmallMasks([one.logits for one in found], enlarger, threshold)
    )
    half_open = np.add(boxes[order], (0.0, 0.0, 1.0, 1.0), dtype=np.float64)
    return Gallery(
        boxes=half_open,
        scores=np.clip(scores[order].astype(np.float64), 0.0, 1.0),
        _masks=_SmallMasks([found[index].logits for index in order], enlarger, threshold),
        prompts=tuple((float(x), float(y)) for x, y in points),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    score: float
    box: PixelBox
    logits: Tensor  # (side, side)


def _passing(
    decoder: ClickDecoder,
    decoded: Decoded,
    enlarger: Enlarger,
    filters: Filters,
    threshold: float,
) -> list[_Found]:
    promising = filters.may_pass(decoded.scores)
    chosen = torch.nonzero(promising.any(dim=1))[:, 0]
    logits = decoder.logits(decoded, chosen).to(KEPT_AS)
    found = []
    for place, index in enumerate(chosen.tolist()):
        for channel in torch.nonzero(promising[index])[:, 0].tolist():
            mine = logits[place, channel]
            patch = enlarger.patch(mine.float(), above=threshold - OFFSET)
            if patch is None or not filters.is_stable(stability(patch, threshold, OFFSET)):
                continue
            box = box_of(patch, threshold)
            if box is not None:
                found.append(_Found(float(decoded.scores[index, channel]), box, mine.clone()))
    return found


def _different(order: Sequence[int], found: Sequence[_Found], masks: _SmallMasks) -> list[int]:
    """Of equal masks the first. Boxes of one row or column have no area, and suppress nothing."""
    boxes = Counter(found[index].box for index in order)
    different: dict[tuple[PixelBox, bytes], int] = {}
    for index in order:
        box = found[index].box
        pixels = masks.mask(index).tobytes() if boxes[box] > 1 else b""
        different.setdefault((box, pixels), index)
    return list(different.values())


@dataclass(frozen=True, eq=False)
class _SmallMasks:
    """Masks as the network's small logits."""

    logits: Sequence[Tensor]  # (side, side) each
    enlarger: Enlarger
    threshold: float

    def mask(self, index: int) -> Mask:
        patch = self.enlarger.patch(self.logits[index].float(), above=self.threshold)
        assert patch is not None, "masks without a pixel are left out"
        return pasted(patch, self.threshold, shape_hw=self.enlarger.shape_hw)

    def coverage(self, grid: int) -> matching.Coverage:
        each = [matching.coverage(self.mask(index), grid) for index in range(len(self.logits))]
        return np.array(each, dtype=np.float32).reshape(-1, grid, grid)

    def cells(self, grid: int) -> matching.Cells:
        each = [matching.mask_cells(self.mask(index), grid) for index in range(len(self.logits))]
        return np.array(each, dtype=bool).reshape(-1, grid, grid)

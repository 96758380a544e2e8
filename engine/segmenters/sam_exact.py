"""SAM's mask gallery, exact: what `SamAutomaticMaskGenerator` finds, mask for mask, in its order.

Most of the work is done by `ClickDecoder`, which agrees with the network only to rounding.
Wherever rounding could decide, the network itself is asked:

* how far both differ is measured on `SAMPLE` clicks of each photo, and taken `SAFETY` times;
* a score that near the threshold, or that near the score of a mask with nearly the same box;
* a stability that counts pixels that near a limit, where these could turn it;
* a box or a finished mask with a pixel that near the edge.

The network answers `OFFICIAL_BATCH` clicks at once bit for bit as it does 64 (on a CPU; a test
checks it), so the galleries are equal and not only alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch import Tensor

from engine.gallery import Gallery
from engine.geometry import mask_to_rle, rle_to_mask
from engine.segmenters.sam_candidates import (
    OFFSET,
    Filters,
    PixelBox,
    box_of,
    iou_with_boxes,
    pasted,
    stability,
    suppressed,
)
from engine.segmenters.sam_decoder import ClickDecoder
from engine.segmenters.sam_enlarging import ROUNDING, Enlarger
from engine.types import Mask, Rle

BATCH = 8  # clicks decoded at once: 4 MB of image tokens each in float32 for vit_b
OFFICIAL_BATCH = 8  # results do not depend on it from 4 on; those of 1 and 2 differ in last bits
SAMPLE = 8
SAFETY = 4.0


@dataclass(frozen=True)
class _Answer:
    """What the network itself says of one mask, by the generator's own code."""

    score: float
    stability: float
    box: PixelBox
    rle: Rle | None  # None where it is empty


@dataclass(frozen=True, eq=False)
class _Found:
    """A mask that passed score and stability; ``logits`` (side, side) unless it is an answer."""

    click: int
    channel: int
    score: float
    box: PixelBox
    logits: Tensor | None = None
    rle: Rle | None = None

    @property
    def is_answer(self) -> bool:
        return self.rle is not None


class ExactGallery:
    """One run over the photo that a predictor is set to."""

    def __init__(
        self,
        predictor: SamPredictor,
        *,
        points: NDArray[np.float64],
        filters: Filters,
        points_per_batch: int,
    ) -> None:
        """``points`` (n, 2) are x, y in pixels of the photo."""
        network = predictor.model
        self._filters = filters
        self._asked = tuple((float(x), float(y)) for x, y in points)
        self._threshold = float(network.mask_threshold)
        self._network = _Network(predictor, points, points_per_batch)
        self._enlarger = Enlarger.of(predictor)
        self._decoder = ClickDecoder(
            network, predictor.features, input_hw=predictor.input_size, dtype=torch.float32
        )
        self._score_error, self._logit_error = self._errors()

    def build(self) -> Gallery:
        """The generator's masks; of equal ones the first, and none without a pixel."""
        found, doubtful = self._screened()
        answers = self._network.ask(doubtful)
        found += [one for click in doubtful for one in self._passing(click, answers[click])]
        found.sort(key=lambda one: (one.click, one.channel))
        found = self._settled(found, self._rivals(found))
        boxes, scores = _boxes_and_scores(found)
        kept = [found[index] for index in suppressed(boxes, scores, self._filters.box_nms_thresh)]
        kept = self._settled(kept, {index for pair in self._near_pairs(kept) for index in pair})
        kept.sort(key=lambda one: -one.score)  # stable, as the generator sorts
        clipped = [min(max(one.score, 0.0), 1.0) for one in kept]
        return replace(Gallery.from_masks(self._masks(kept), clipped), prompts=self._asked)

    def _errors(self) -> tuple[float, float]:
        """How far decoder and network may differ: in scores, and in shares of a mask's range."""
        clicks = self._network.clicks
        sample = np.linspace(0, len(clicks) - 1, min(SAMPLE, len(clicks))).astype(int).tolist()
        scores, small, _ = self._network.run(sample)
        decoded = self._decoder.decode(clicks[sample])
        logits = self._decoder.logits(decoded, torch.arange(len(sample), device=small.device))
        rows, columns = self._decoder.drawn_hw
        difference = (logits - small)[:, :, :rows, :columns].abs().amax(dim=(2, 3))
        shares = difference / small.abs().amax(dim=(2, 3)).clamp(min=torch.finfo(small.dtype).tiny)
        least = torch.finfo(torch.float32).eps
        score_error = max(float((decoded.scores - scores).abs().max()), least)
        return SAFETY * score_error, SAFETY * max(float(shares.max()), least)

    def _screened(self) -> tuple[list[_Found], list[int]]:
        """What surely passes, and the clicks one of whose masks is in doubt."""
        found: list[_Found] = []
        doubtful: list[int] = []
        clicks = self._network.clicks
        for start in range(0, len(clicks), BATCH):
            decoded = self._decoder.decode(clicks[start : start + BATCH])
            promising = self._filters.may_pass(decoded.scores, error=self._score_error)
            chosen = torch.nonzero(promising.any(dim=1))[:, 0]
            logits = self._decoder.logits(decoded, chosen)
            for place, index in enumerate(chosen.tolist()):
                sure = self._surely_passing(
                    start + index, decoded.scores[index], logits[place], promising[index]
                )
                if sure is None:
                    doubtful.append(start + index)
                else:
                    found += sure
        return found, doubtful

    def _surely_passing(
        self, click: int, scores: Tensor, logits: Tensor, promising: Tensor
    ) -> list[_Found] | None:
        """The masks of one click that pass; None where that is in doubt for one of them."""
        found = []
        for channel in torch.nonzero(promising)[:, 0].tolist():
            score = float(scores[channel])
            if self._filters.is_close(score, error=self._score_error):
                return None
            error = self._error_of(logits[channel])
            around = self._threshold - OFFSET - error
            patch = self._enlarger.patch(logits[channel], above=around)
            if patch is None:
                continue
            # More pixels inside and fewer around: the highest stability that is possible.
            limits = self._threshold, OFFSET
            if not self._filters.is_stable(stability(patch, *limits, error=-error)):
                continue
            inner = box_of(patch, self._threshold + error)
            outer = box_of(patch, self._threshold - error)
            surely_stable = self._filters.is_stable(stability(patch, *limits, error=error))
            if inner != outer or not surely_stable:
                return None
            if inner is not None:
                # A copy, because a view of one mask would keep those of the whole batch.
                found.append(_Found(click, channel, score, inner, logits[channel].clone()))
        return found

    def _error_of(self, logits: Tensor) -> float:
        return (self._logit_error + ROUNDING) * float(logits.abs().max())

    def _passing(self, click: int, answers: Sequence[_Answer]) -> list[_Found]:
        return [
            _Found(click, channel, answer.score, answer.box, rle=answer.rle)
            for channel, answer in enumerate(answers)
            if answer.rle is not None
            and self._filters.is_good(answer.score)
            and self._filters.is_stable(answer.stability)
        ]

    def _rivals(self, found: Sequence[_Found]) -> set[int]:
        """Those where rounding could decide which of two masks suppresses the other."""
        boxes, _ = _boxes_and_scores(found)
        pairs = [
            (first, second)
            for first, second in self._near_pairs(found)
            if iou_with_boxes(boxes[first], boxes[[second]])[0] > self._filters.box_nms_thresh
        ]
        return {index for pair in pairs for index in pair}

    def _near_pairs(self, found: Sequence[_Found]) -> list[tuple[int, int]]:
        """Those whose order rounding could decide."""
        order = sorted(range(len(found)), key=lambda index: -found[index].score)
        pairs = []
        for rank, first in enumerate(order):
            for second in order[rank + 1 :]:
                if found[first].score - found[second].score > 2.0 * self._score_error:
                    break
                if not (found[first].is_answer and found[second].is_answer):
                    pairs.append((first, second))
        return pairs

    def _settled(self, found: list[_Found], which: set[int]) -> list[_Found]:
        """The same with the network's own answer for those."""
        answers = self._network.ask([found[index].click for index in which])
        settled = list(found)
        for index in which:
            answer = answers[found[index].click][found[index].channel]
            settled[index] = replace(
                found[index], score=answer.score, box=answer.box, rle=answer.rle, logits=None
            )
        return settled

    def _masks(self, found: Sequence[_Found]) -> list[Mask]:
        masks = [self._sure_mask(one) for one in found]
        missing = [one.click for one, mask in zip(found, masks, strict=True) if mask is None]
        answers = self._network.ask(missing)
        return [
            rle_to_mask(_held(answers[one.click][one.channel].rle)) if mask is None else mask
            for one, mask in zip(found, masks, strict=True)
        ]

    def _sure_mask(self, one: _Found) -> Mask | None:
        """The mask at the photo's size; None where a pixel is in doubt."""
        if one.logits is None:
            return rle_to_mask(_held(one.rle))
        error = self._error_of(one.logits)
        patch = self._enlarger.patch(one.logits, above=self._threshold - error)
        if patch is None or bool(((patch.logits - self._threshold).abs() <= error).any()):
            return None
        return pasted(patch, self._threshold, shape_hw=self._enlarger.shape_hw)


class _Network:
    """The network on the generator's grid, asked about single clicks."""

    def __init__(
        self, predictor: SamPredictor, points: NDArray[np.float64], points_per_batch: int
    ) -> None:
        self._predictor = predictor
        self._points_per_batch = points_per_batch
        self._known: dict[int, list[_Answer]] = {}
        self.clicks = torch.as_tensor(
            predictor.transform.apply_coords(points, predictor.original_size),
            device=predictor.device,
        )

    def run(self, clicks: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (k, 3), logits (k, 3, side, side) and (k, 3, h, w) of k clicks at once."""
        places = self.clicks[list(clicks)]
        labels = torch.ones(len(places), 1, dtype=torch.int, device=places.device)
        large, scores, small = self._predictor.predict_torch(
            places[:, None, :], labels, multimask_output=True, return_logits=True
        )
        return scores, small, large

    def ask(self, clicks: Collection[int]) -> dict[int, list[_Answer]]:
        """What the generator computes for these clicks, by click; remembered."""
        ordinary = []
        for click in sorted(set(clicks) - self._known.keys()):
            start = click - click % self._points_per_batch
            batch = range(start, min(start + self._points_per_batch, len(self.clicks)))
            if len(batch) < OFFICIAL_BATCH:
                self._remember(batch, keep=len(batch))
            else:
                ordinary.append(click)
        for start in range(0, len(ordinary), OFFICIAL_BATCH):
            some = ordinary[start : start + OFFICIAL_BATCH]
            self._remember(some + some[-1:] * (OFFICIAL_BATCH - len(some)), keep=len(some))
        return {click: self._known[click] for click in clicks}

    def _remember(self, clicks: Sequence[int], *, keep: int) -> None:
        threshold = float(self._predictor.model.mask_threshold)
        scores, _, large = self.run(clicks)
        for click, mine, logits in zip(clicks[:keep], scores, large, strict=False):
            stabilities = calculate_stability_score(logits, threshold, OFFSET)
            masks = logits > threshold
            self._known[click] = [
                _Answer(float(score), float(stable), _as_box(box), _packed(mask))
                for score, stable, box, mask in zip(
                    mine, stabilities, batched_mask_to_box(masks), masks, strict=True
                )
            ]


def _packed(mask: Tensor) -> Rle | None:
    return mask_to_rle(mask.cpu().numpy()) if bool(mask.any()) else None


def _as_box(box: Tensor) -> PixelBox:
    x0, y0, x1, y1 = (int(value) for value in box)
    return x0, y0, x1, y1


def _boxes_and_scores(
    found: Sequence[_Found],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    boxes = np.array([one.box for one in found], dtype=np.float32).reshape(-1, 4)
    return boxes, np.array([one.score for one in found], dtype=np.float32)


def _held(rle: Rle | None) -> Rle:
    assert rle is not None, "only masks with pixels come this far"
    return rle

"""How good maps and masks are: answers and truth in, percentages by the papers' measures out.

All by the protocol of wsolevaluation at 224 pixels. A threshold is chosen on the split "val" and
used on "test"; only MaxBoxAccV2, by its definition, takes the best one of the test photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.wsol.answers import Answers
from benchmarks.wsol.photo_sets import TruePhoto
from engine.metrics.boxacc import BoxAccuracy
from engine.metrics.map_boxes import mask_boxes
from engine.metrics.protocols import VIEW_SIZE, ViewBoxes, prepare_map, scale_truth
from engine.metrics.pxap import PixelPrecision, pixel_truth
from engine.metrics.topk import TopKLocalisation
from engine.types import Mask

PROTOCOL: Any = "wsol"
THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(100))
DELTAS = (50, 60, 70, 80, 90)
V2_DELTAS = (50, 70, 90)


@dataclass(frozen=True)
class Measures:
    """One row of all tables, in percent of photos; PxAP in percent of the area."""

    threshold: float | None  # of the map; None where the boxes come from masks
    top1: float  # classification
    top5: float
    top1_loc: float
    top5_loc: float
    gt_known: float
    box_acc: dict[int, float]  # of the IoUs `DELTAS`, at the threshold
    max_box_acc: dict[int, float]  # MaxBoxAccV2: all contours, each IoU at its best threshold
    pxap: float


def chosen_threshold(answers: Answers, photos: Sequence[TruePhoto]) -> float:
    """Where GT-Known + Top-1 Loc is highest, on photos that no result is told of."""
    counted = TopKLocalisation(protocol=PROTOCOL, thresholds=THRESHOLDS)
    for scores, coarse, photo in zip(answers.scores, answers.maps, photos, strict=True):
        counted.add(
            prepare_map(coarse, PROTOCOL),
            true_boxes(photo),
            class_scores=scores,
            true_class=photo.true_class,
        )
    return counted.result().oracle.threshold


def measure_maps(answers: Answers, photos: Sequence[TruePhoto], *, threshold: float) -> Measures:
    """The box is that around the largest contour above the threshold."""
    ranked = TopKLocalisation(protocol=PROTOCOL, thresholds=(threshold,))
    fixed = BoxAccuracy(
        protocol=PROTOCOL, contours="largest", deltas=DELTAS, thresholds=(threshold,)
    )
    swept = BoxAccuracy(protocol=PROTOCOL, deltas=V2_DELTAS, thresholds=THRESHOLDS)
    pixels = PixelPrecision()
    for scores, coarse, photo in zip(answers.scores, answers.maps, photos, strict=True):
        score_map, truth = prepare_map(coarse, PROTOCOL), true_boxes(photo)
        ranked.add(score_map, truth, class_scores=scores, true_class=photo.true_class)
        fixed.add(score_map, truth)
        swept.add(score_map, truth)
        pixels.add(score_map, pixel_truth([photo.mask]))
    return _measures(ranked, fixed, swept, pixels, threshold=threshold)


def measure_masks(
    scores: NDArray[np.float32], masks: Sequence[Mask], photos: Sequence[TruePhoto]
) -> Measures:
    """The box is Pro2SAM's: around all parts of the mask but specks."""
    ranked = TopKLocalisation(protocol=PROTOCOL, thresholds=(0.0,))
    fixed = BoxAccuracy(protocol=PROTOCOL, deltas=DELTAS, thresholds=(0.0,))
    swept = BoxAccuracy(protocol=PROTOCOL, deltas=V2_DELTAS, thresholds=(0.0,))
    pixels = PixelPrecision()
    for row, mask, photo in zip(scores, masks, photos, strict=True):
        view, truth = in_view(mask), true_boxes(photo)
        boxes = mask_boxes(view)
        ranked.add_boxes(boxes, truth, class_scores=row, true_class=photo.true_class)
        fixed.add_boxes(boxes, truth)
        swept.add_boxes(boxes, truth)
        pixels.add(view.astype(np.float64), pixel_truth([photo.mask]))
    return _measures(ranked, fixed, swept, pixels, threshold=None)


def true_boxes(photo: TruePhoto) -> ViewBoxes:
    """(1, 4) in pixels of the view."""
    height, width = photo.mask.shape
    return scale_truth([photo.box], PROTOCOL, width=width, height=height)


def in_view(mask: Mask) -> Mask:
    """The mask at the size in which everything is measured."""
    size = (VIEW_SIZE, VIEW_SIZE)
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _measures(
    ranked: TopKLocalisation,
    fixed: BoxAccuracy,
    swept: BoxAccuracy,
    pixels: PixelPrecision,
    *,
    threshold: float | None,
) -> Measures:
    classes = ranked.result()
    (row,) = classes.localisation
    known = (classes.top1_classification, classes.top5_classification)
    shares = [*known, row.top1, row.top5, row.gt_known]
    top1, top5, top1_loc, top5_loc, gt_known = (share or 0.0 for share in shares)
    return Measures(
        threshold=threshold,
        top1=top1,
        top5=top5,
        top1_loc=top1_loc,
        top5_loc=top5_loc,
        gt_known=gt_known,
        box_acc={k: v or 0.0 for k, v in zip(DELTAS, fixed.result().best, strict=True)},
        max_box_acc={k: v or 0.0 for k, v in zip(V2_DELTAS, swept.result().best, strict=True)},
        pxap=pixels.result().pxap,
    )

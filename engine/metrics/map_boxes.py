"""From a score map or a mask to boxes, at one threshold or at all of them at once.

``sat`` takes connected parts of what lies above the threshold, ``tscam`` and ``wsol`` take OpenCV's
contours of the map in 255 steps, cut relative to its highest value. Thresholds that cut the same
pixels share their boxes: a sweep costs at most 256 cuts in those two, however many thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import OptionError
from engine.matching import union_box
from engine.metrics.protocols import (
    Protocol,
    ViewBoxes,
    best_ious,
    check_protocol,
    check_score_map,
    check_thresholds,
)
from engine.types import Mask

Contours = Literal["largest", "all"]
MaskRule = Literal["union", "component", "contours"]


@dataclass(frozen=True, eq=False)
class SweptBoxes:
    """The boxes of a map at many thresholds, kept once for each different cut."""

    boxes: ViewBoxes  # (n, 4), those of one cut after those of another; each cut has some
    starts: NDArray[np.intp]  # (cuts,) where the boxes of each cut begin
    cuts: NDArray[np.intp]  # (thresholds,) which cut each threshold makes

    def at(self, index: int) -> ViewBoxes:
        """The boxes at the threshold of this index, (n, 4) with n from 1."""
        return np.asarray(np.split(self.boxes, self.starts[1:])[self.cuts[index]])

    def best_ious(self, truth: ArrayLike) -> NDArray[np.float64]:
        """At each threshold the best IoU of any box with any true box, (thresholds,)."""
        per_cut = np.maximum.reduceat(best_ious(self.boxes, truth), self.starts)
        return np.asarray(per_cut[self.cuts])


def boxes_at(
    score_map: NDArray[np.generic],
    threshold: float,
    *,
    protocol: Protocol,
    contours: Contours = "largest",
) -> ViewBoxes:
    """The boxes of a score map (h, w) in [0, 1] at one threshold in [0, 1], (n, 4) with n from 1.

    Largest is, under ``sat``, the part with most pixels, else the contour with the largest polygon;
    the first wins among equals. All contours include those around holes. Where nothing lies above
    the threshold, ``sat`` returns the whole view, ``tscam`` (0, 0, 1, 1), ``wsol`` (0, 0, 0, 0).
    """
    return sweep_boxes(score_map, (threshold,), protocol=protocol, contours=contours).boxes


def sweep_boxes(
    score_map: NDArray[np.generic],
    thresholds: Sequence[float] | NDArray[np.float64],
    *,
    protocol: Protocol,
    contours: Contours = "largest",
) -> SweptBoxes:
    """What `boxes_at` returns at each of the ascending thresholds."""
    check_protocol(protocol)
    check_contours(contours)
    steps = np.array(check_thresholds(thresholds))
    values: NDArray[np.generic] = check_score_map(score_map)
    if protocol != "sat":
        values = (values * 255).astype(np.uint8)
        steps = (steps * values.max()).astype(np.uint8)  # truncates
    # As many pixels at or below it: the same pixels above it.
    beneath = np.searchsorted(np.sort(values, axis=None), steps, side="right")
    _, firsts, cuts = np.unique(beneath, return_index=True, return_inverse=True)
    found = [_boxes_of_cut(values > steps[first], protocol, contours) for first in firsts]
    ends = np.cumsum([len(boxes) for boxes in found])
    return SweptBoxes(np.concatenate(found), np.concatenate([[0], ends[:-1]]), cuts)


def mask_boxes(mask: Mask, rule: MaskRule = "union", *, min_area: int = 10) -> ViewBoxes:
    """The boxes of a predicted bool mask (h, w), (n, 4) with n from 1.

    "union" is Pro2SAM's own (`engine.matching.union_box`, without specks below ``min_area``);
    "component" the largest 8-connected part, the whole frame where there is none; "contours" all
    contours, as MaxBoxAccV2 takes them.
    """
    if rule == "union":
        return np.array([union_box(mask, min_area)], dtype=np.int64)
    if rule == "component":
        return _boxes_of_cut(mask, "sat", "largest")
    if rule == "contours":
        return _boxes_of_cut(mask, "wsol", "all")
    raise OptionError(
        f"unknown rule {rule!r} for a mask's box; known are union, component, contours"
    )


def check_contours(contours: str) -> None:
    """OptionError unless it is "largest" or "all"."""
    if contours not in get_args(Contours):
        raise OptionError(f"unknown contours {contours!r}; known are largest, all")


def _boxes_of_cut(cut: Mask, protocol: Protocol, contours: Contours) -> ViewBoxes:
    height, width = cut.shape
    pixels = np.ascontiguousarray(cut).view(np.uint8)
    if protocol == "sat":
        return _boxes_of_parts(pixels, largest=contours == "largest")
    found, _ = cv2.findContours(pixels, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not found:
        return np.array([[0, 0, 0, 0] if protocol == "wsol" else [0, 0, 1, 1]])
    if contours == "largest" and len(found) > 1:
        found = (max(found, key=cv2.contourArea),)
    boxes = np.array([cv2.boundingRect(contour) for contour in found], dtype=np.int64)
    boxes[:, 2:] += boxes[:, :2]
    if protocol == "wsol":
        boxes[:, 2:] = np.minimum(boxes[:, 2:], [width - 1, height - 1])
    return boxes


def _boxes_of_parts(pixels: NDArray[np.uint8], *, largest: bool) -> ViewBoxes:
    """Half-open boxes of the 8-connected parts; the whole view where there is none."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    if count == 1:  # the background alone
        return np.array([[0, 0, pixels.shape[1], pixels.shape[0]]])
    parts = stats[1:].astype(np.int64)
    if largest:
        areas = parts[:, cv2.CC_STAT_AREA]
        equals = np.flatnonzero(areas == areas.max()) + 1
        # OpenCV numbers parts by blocks of 2 x 2 pixels; the first is that of the first pixel.
        first = equals[0] if len(equals) == 1 else labels[np.isin(labels, equals)][0]
        parts = parts[first - 1 : first]
    boxes = parts[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP, cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    boxes[:, 2:] += boxes[:, :2]
    return np.asarray(boxes)

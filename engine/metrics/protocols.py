"""What the localisation papers agree on and where they differ: maps and true boxes of a view in.

Three protocols, each after its reference code: ``sat`` (SAT, GTFormer, Pro2SAM), ``tscam`` (TS-CAM,
MOLT) and ``wsol`` (wsolevaluation, where MaxBoxAcc comes from). All measure in pixels of a square
view, 224 by default, with the last pixel counted in widths (+1), and take the best of several true
boxes. Name the protocol beside every number: the same map scores differently under each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import OptionError
from engine.geometry import iou_boxes

Protocol = Literal["sat", "tscam", "wsol"]

ScoreMap = NDArray[np.float64]  # (size, size) of the view, in [0, 1]
ViewBoxes = NDArray[np.int64]  # (n, 4) x0, y0, x1, y1 in pixels of the view

VIEW_SIZE = 224


def check_protocol(protocol: str) -> None:
    """OptionError unless it is one of the three."""
    if protocol not in get_args(Protocol):
        known = ", ".join(get_args(Protocol))
        raise OptionError(f"unknown localisation protocol {protocol!r}; known are {known}")


def prepare_map(
    coarse: ArrayLike, protocol: Protocol, *, size: int = VIEW_SIZE, category: int | None = None
) -> ScoreMap:
    """A network's map, any (h, w), as the score map from which the protocol takes its boxes.

    Of class-specific maps (classes, h, w), ``category`` says whose; GT-Known and Top-k take the
    true class's. ``sat`` stretches to [0, 1) and then resizes, the others resize (``wsol``
    bicubic) and then stretch to [0, 1]. A constant map becomes zeros, under ``wsol`` also one with
    NaN; elsewhere a value that is not finite is a ValueError.
    """
    check_protocol(protocol)
    values = np.asarray(coarse, dtype=np.float64)
    if values.ndim == 3 and category is not None:
        values = values[category]
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"a map must be (h, w), or (classes, h, w) with a category, got {values.shape} with "
            f"category {category}"
        )
    if protocol == "wsol" and np.isnan(values).any():
        return np.zeros((size, size))
    if not np.isfinite(values).all():
        odd = values[~np.isfinite(values)][0]
        raise ValueError(f"a map holds {odd}; look for a loss or weights that are not finite")
    if values.max() == values.min():  # before a resize makes rounding noise of it
        return np.zeros((size, size))
    if protocol == "sat":
        spread = values.max() - values.min() + 1e-5
        resized = _resize((values - values.min()) / spread, size, cv2.INTER_LINEAR)
        return np.asarray(np.clip(resized, 0.0, 1.0))  # weights of the resize are rounded
    resized = _resize(values, size, cv2.INTER_CUBIC if protocol == "wsol" else cv2.INTER_LINEAR)
    spread = resized.max() - resized.min()  # 0 where the resize missed all that differs
    return (resized - resized.min()) / spread if spread > 0 else np.zeros((size, size))


def check_score_map(score_map: NDArray[np.generic]) -> ScoreMap:
    """The map as float64; ValueError unless it is (h, w), without NaN and within [0, 1]."""
    values = np.asarray(score_map, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"a score map must be (h, w), got {values.shape}")
    low, high = values.min(), values.max()  # NaN where there is one
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"a score map must lie within [0, 1], got {low} to {high}; prepare_map makes it so"
        )
    return values


def check_view_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    """(n, 4) boxes, n from 0, as float64; ValueError for negative ones and those inside out.

    x0 = x1 is a box of one pixel here.
    """
    values = np.asarray(boxes, dtype=np.float64)
    values = values.reshape(-1, 4) if values.size in (0, 4) else values
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"boxes must be (n, 4) as x0, y0, x1, y1, got {values.shape}")
    wrong = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1)
    wrong |= (values[:, 2:] < values[:, :2]).any(axis=1)
    if wrong.any():
        raise ValueError(
            f"box {values[wrong][0].tolist()} must have 0 <= x0 <= x1 and 0 <= y0 <= y1; give it "
            "as x0, y0, x1, y1, not as x, y, width, height, and clip it to the photo"
        )
    return values


def scale_truth(
    boxes: ArrayLike,
    protocol: Protocol,
    *,
    width: int,
    height: int,
    size: int = VIEW_SIZE,
    resize: int | None = None,
) -> ViewBoxes:
    """True boxes (n, 4) of a photo of ``width`` x ``height``, in whole pixels of the view.

    ``resize`` is the side to which the photo was resized before its centre of ``size`` was cut
    out: 256 for SAT's own validation, None for no crop; only ``sat`` knows crops. What is cut away
    wholly is left out, and where nothing is left, every prediction misses.
    """
    check_protocol(protocol)
    if resize is not None and (protocol != "sat" or resize < size):
        raise OptionError(
            f"resize {resize} before a view of {size}: allowed with protocol sat, from {size} on"
        )
    given = check_view_boxes(boxes)
    sides = np.array([width, height, width, height], dtype=np.float64)
    # In the order of each reference: multiplying first may truncate to another pixel.
    if protocol == "wsol":
        return (given * float(size) / sides).astype(np.int64)
    whole = size if resize is None else resize
    scaled = given / sides * whole - (whole - size) / 2
    scaled[:, :2] = np.maximum(scaled[:, :2], 0)
    scaled[:, 2:] = np.minimum(scaled[:, 2:], size - 1)
    pixels = scaled.astype(np.int64)
    return np.asarray(pixels[(pixels[:, 2:] >= pixels[:, :2]).all(axis=1)])


def inclusive_ious(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """IoU of (n, 4) with (m, 4) boxes, as (n, m), x1 and y1 being the last pixels."""
    last = np.array([0, 0, 1, 1])
    return iou_boxes(check_view_boxes(first) + last, check_view_boxes(second) + last)


def best_ious(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """For each of n boxes its IoU with the best-fitting true box, (n,); 0 without truth."""
    return np.asarray(inclusive_ious(boxes, truth).max(axis=1, initial=0.0))


def check_thresholds(thresholds: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
    """At least one, each within [0, 1], ascending; else OptionError."""
    values = tuple(float(value) for value in thresholds)
    ascending = all(low < high for low, high in itertools.pairwise(values))
    if not values or not ascending or not all(0.0 <= value <= 1.0 for value in values):
        shown = ", ".join(f"{value:g}" for value in values[:8])
        raise OptionError(f"thresholds must ascend within [0, 1], got ({shown}); name at least one")
    return values


def _resize(values: ScoreMap, size: int, interpolation: int) -> ScoreMap:
    return np.asarray(
        cv2.resize(np.ascontiguousarray(values), (size, size), interpolation=interpolation)
    )

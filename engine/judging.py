"""How good a mask looks, without knowing the truth: small photo, maps and masks in, scores out.

A dozen cues that the eye uses (does it differ from what surrounds it, does its outline lie on
edges, is it whole, does it agree with the map by eq. 11 of Pro2SAM and with the other candidates)
in one linear model that predicts the box IoU with the truth. The weights were fitted on the train
splits of five photo sets by `benchmarks/fit_judge.py`; docs/log.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import matching
from engine.judge_weights import MEANS, SCALES, WEIGHTS
from engine.localizers.saliency import SaliencyMaps
from engine.types import Image, Mask

Floats = NDArray[np.float64]

GRID = 14  # cells of a side, as in Pro2SAM's matching
RING = 0.12  # width of what counts as surroundings, as a share of the object's size
MOST_COMPACT = 4.0  # a disc has 1.2; without a limit the whole photo would have its pixel count
TINY = 1e-9

CUES = (
    "log area",
    "log area squared",
    "width",
    "height",
    "box area",
    "rim touched",
    "sides touched",
    "compactness",
    "fill of its box",
    "edge strength",
    "colours against surroundings",
    "mean colour against surroundings",
    "colours against the rest",
    "off centre, x",
    "off centre, y",
    "agreement with all",
    "agreement with the nearest three",
    "eq. 11 with saliency",
    "eq. 11 with distance",
    "eq. 11 with enclosed",
    "saliency inside",
    "saliency outside",
    "share of all saliency",
)


@dataclass(frozen=True)
class _Photo:
    """What the cues need to know of a photo, computed once."""

    lab: NDArray[np.float32]  # (h, w, 3)
    bins: NDArray[np.int64]  # (h, w) colour bin, 0 .. 511
    edges: NDArray[np.float32]  # (h, w) gradient of Lab, 1 on average
    maps: SaliencyMaps


def judge(image: Image, maps: SaliencyMaps, masks: Sequence[Mask]) -> Floats:
    """(n,) predicted box IoU of each mask with the object, in [0, 1].

    ``image`` and ``masks`` have the size of the maps. The masks are judged together, because their
    agreement is a cue; none may be empty.
    """
    cues = (cues_of(image, maps, masks) - MEANS) / SCALES
    predicted: Floats = np.clip(cues @ WEIGHTS[:-1] + WEIGHTS[-1], 0.0, 1.0)
    return predicted


def cues_of(image: Image, maps: SaliencyMaps, masks: Sequence[Mask]) -> Floats:
    """(n, 23) the cues named in `CUES`, unscaled."""
    photo = _measured(image, maps)
    coverage = np.stack([matching.coverage(mask, GRID) for mask in masks])
    agreement = _agreement(coverage)
    against_maps = np.stack(
        [
            matching.scores(on_grid(one), coverage, rule="soft")
            for one in (maps.saliency, maps.distance, maps.enclosed)
        ],
        axis=1,
    )
    rows = [[*_shape_cues(mask), *_colour_cues(mask, photo), *_place_cues(mask)] for mask in masks]
    saliency = [_saliency_cues(mask, maps.saliency) for mask in masks]
    return np.concatenate([np.array(rows), agreement, against_maps, np.array(saliency)], axis=1)


def _measured(image: Image, maps: SaliencyMaps) -> _Photo:
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)  # 8 bit: lightness to 255, a and b around 128
    coarse = np.clip(lab.astype(np.int64) - (0, 96, 96), 0, (255, 63, 63))
    bins = coarse[..., 0] // 32 * 64 + coarse[..., 1] // 8 * 8 + coarse[..., 2] // 8
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    edges = np.sqrt((across**2 + down**2).sum(axis=2))
    return _Photo(lab.astype(np.float32), bins, edges / (edges.mean() + TINY), maps)


def on_grid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) as the means of (GRID, GRID) cells."""
    small = cv2.resize(values, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _agreement(coverage: NDArray[np.floating]) -> Floats:
    """(n, 2) mean IoU with all other candidates, and with the nearest three."""
    flat = coverage.reshape(len(coverage), -1).astype(np.float64)
    smaller = np.minimum(flat[:, None], flat[None]).sum(axis=2)
    larger = np.maximum(flat[:, None], flat[None]).sum(axis=2)
    iou = smaller / (larger + TINY)
    others = max(len(flat) - 1, 1)
    nearest = np.sort(iou, axis=1)[:, ::-1][:, 1:4]
    near = nearest.mean(axis=1) if nearest.size else np.zeros(len(flat))
    return np.stack([(iou.sum(axis=1) - 1.0) / others, near], axis=1)


def _shape_cues(mask: Mask) -> list[float]:
    height, width = mask.shape
    area = int(mask.sum())
    _, _, box_width, box_height = cv2.boundingRect(mask.astype(np.uint8))
    log_area = float(np.log(area / mask.size + 1e-4))
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    outline = int(_outline(mask).sum())
    return [
        log_area,
        log_area**2,
        box_width / width,
        box_height / height,
        box_width * box_height / mask.size,
        float(np.concatenate(sides).mean()),
        sum(bool(side.any()) for side in sides) / 4,
        min(4 * np.pi * area / max(outline, 1) ** 2, MOST_COMPACT),
        area / (box_width * box_height),
    ]


def _outline(mask: Mask) -> Mask:
    """The pixels of the mask that touch what is not the mask; the photo's rim counts as inside."""
    kernel = np.ones((3, 3), np.uint8)
    return mask & ~cv2.erode(mask.astype(np.uint8), kernel).astype(bool)


def _colour_cues(mask: Mask, photo: _Photo) -> list[float]:
    outline = _outline(mask)
    outline[[0, -1]] = False
    outline[:, [0, -1]] = False
    edge = float(photo.edges[outline].mean()) if outline.any() else 0.0
    colours = _histogram(photo.bins, mask)
    ring, rest = _surroundings(mask), ~mask
    against_ring = against_mean = against_rest = 0.0
    if ring.any():
        against_ring = 1.0 - float(np.sqrt(colours * _histogram(photo.bins, ring)).sum())
        gap = photo.lab[mask].mean(axis=0) - photo.lab[ring].mean(axis=0)
        against_mean = float(np.linalg.norm(gap)) / 50.0
    if rest.any():
        against_rest = 1.0 - float(np.sqrt(colours * _histogram(photo.bins, rest)).sum())
    return [edge, against_ring, against_mean, against_rest]


def _histogram(bins: NDArray[np.int64], where: Mask) -> Floats:
    return np.bincount(bins[where], minlength=512) / int(where.sum())


def _surroundings(mask: Mask) -> Mask:
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    reach = max(3, int(RING * np.sqrt(width * height)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool) & ~mask


def _place_cues(mask: Mask) -> list[float]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return [
        abs((x + width / 2) / mask.shape[1] - 0.5),
        abs((y + height / 2) / mask.shape[0] - 0.5),
    ]


def _saliency_cues(mask: Mask, saliency: NDArray[np.float32]) -> list[float]:
    inside, total = float(saliency[mask].sum()), float(saliency.sum())
    rest = mask.size - int(mask.sum())
    return [
        inside / int(mask.sum()),
        (total - inside) / rest if rest else 0.0,
        inside / (total + TINY),
    ]

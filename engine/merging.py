"""A photo cut into small regions that merge, two at a time, until one is left: trees of regions.

Leaves by Felzenszwalb & Huttenlocher (2004) and by SLIC (Achanta et al., 2012); the next pair is
the most similar of all neighbours, as in selective search (Uijlings et al., 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb, slic

from engine.types import Image

Mix = Literal["all", "texture", "colour", "shape"]

MIXES: dict[Mix, tuple[float, float]] = {
    "all": (1.0, 1.0),
    "texture": (0.0, 1.0),
    "colour": (1.0, 0.0),
    "shape": (0.0, 0.0),
}
"""Weights of colour and texture in the similarity; size and fill always count 1 each."""

COLOUR_BINS = 20  # a channel of CIE Lab; selective search takes 25
DIRECTIONS, STRENGTHS = 8, 5  # of the gradient, a channel
SMOOTHING = 0.8  # pixels; what the authors of the felzenszwalb segmentation use
SMALLEST_LEAF = 20  # pixels
PADDED_SIDE = 8  # pixels; the segmentations fail on images of one or two rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.int64, np.uint64)
Labels = NDArray[np.int64]  # (h, w), 0 .. n-1 without gaps


@dataclass(frozen=True)
class Leaves:
    """n regions that cover an image; ``pairs`` (m, 2) are side by side."""

    labels: Labels
    areas: Floats  # (n,) pixels
    boxes: Ints  # (n, 4) half-open x0, y0, x1, y1
    colours: Floats  # (n, c) histograms with sum 1
    textures: Floats  # (n, t) histograms with sum 1
    pairs: Ints


@dataclass(frozen=True)
class Tree:
    """2n - 1 nodes over n leaves, which are numbered so that each node is a range of them.

    The leaves come first, the root is the last node. ``scores`` in [0, 1] say how little a node's
    colour and texture resemble those of the node that it was merged with; 0 for the root.
    """

    labels: Labels  # (h, w) numbers of the leaves
    starts: Ints  # (nodes,)
    ends: Ints  # (nodes,)
    boxes: Ints  # (nodes, 4) half-open x0, y0, x1, y1
    scores: Floats  # (nodes,)

    @property
    def leaf_count(self) -> int:
        """n, at least 1."""
        return (len(self.starts) + 1) // 2

    def sums(self, of_leaves: NDArray[Number]) -> NDArray[Number]:
        """(nodes, …) sums of the (n, …) values of the leaves; unsigned integers wrap around."""
        running = np.concatenate([np.zeros_like(of_leaves[:1]), np.cumsum(of_leaves, axis=0)])
        return np.asarray(running[self.ends] - running[self.starts])


def cut_into_leaves(
    image: Image, *, scales: tuple[float, ...], counts: tuple[int, ...]
) -> Iterator[Leaves]:
    """One set of regions for each felzenszwalb scale and each number of SLIC regions."""
    height, width = image.shape[:2]
    margins = ((0, max(0, PADDED_SIDE - height)), (0, max(0, PADDED_SIDE - width)), (0, 0))
    unit = image.astype(np.float32) / np.float32(255)
    lab = np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), dtype=np.float32)
    colour_bins, texture_bins = _bins_of_colour(lab), _bins_of_texture(lab)
    padded = np.pad(unit, margins, mode="edge")
    padded_lab = np.pad(lab, margins, mode="edge")
    found = [
        felzenszwalb(padded, scale=scale, sigma=SMOOTHING, min_size=SMALLEST_LEAF)
        for scale in scales
    ] + [
        slic(padded_lab, n_segments=count, compactness=5.0, max_num_iter=5, sigma=SMOOTHING,
             convert2lab=False, start_label=0)
        for count in counts
    ]  # fmt: skip
    for segments in found:
        _, numbers = np.unique(segments[:height, :width], return_inverse=True)
        labels = numbers.reshape(height, width).astype(np.int64)
        yield _describe(labels, colour_bins, texture_bins)


def merge(leaves: Leaves, mix: Mix) -> Tree:
    """Merge the most similar neighbours until one region is left."""
    count = len(leaves.areas)
    colour, texture = MIXES[mix]
    regions = _Regions(leaves, np.hstack([colour * leaves.colours, texture * leaves.textures]))
    first, second = leaves.pairs.T
    queue = list(
        zip((-regions.similarity(first, second)).tolist(), first.tolist(), second.tolist(),
            strict=True)
    )  # fmt: skip
    heapify(queue)
    neighbours: list[set[int]] = [set() for _ in range(2 * count - 1)]
    for a, b in leaves.pairs.tolist():
        neighbours[a].add(b)
        neighbours[b].add(a)
    gone = [False] * (2 * count - 1)
    children = np.zeros((count - 1, 2), dtype=np.int64)
    for new in range(count, 2 * count - 1):
        _, a, b = heappop(queue)
        while gone[a] or gone[b]:
            _, a, b = heappop(queue)
        gone[a] = gone[b] = True
        children[new - count] = a, b
        regions.join(a, b, new)
        around = (neighbours[a] | neighbours[b]) - {a, b}
        neighbours[new] = around
        others = np.fromiter(around, dtype=np.int64, count=len(around))
        for value, other in zip(
            regions.similarity(others, new).tolist(), others.tolist(), strict=True
        ):
            neighbours[other] -= {a, b}
            neighbours[other].add(new)
            heappush(queue, (-value, other, new))
    return _ordered(leaves.labels, children, regions)


class _Regions:
    """What merging knows of each node: area, box and the histograms, colour and texture."""

    def __init__(self, leaves: Leaves, weighted: Floats) -> None:
        nodes = 2 * len(leaves.areas) - 1
        self.total = leaves.areas.sum()
        self.areas = _longer(leaves.areas, nodes)
        self.boxes = _longer(leaves.boxes, nodes)
        self.histograms = _longer(weighted, nodes)
        self.looks = _longer(np.hstack([leaves.colours, leaves.textures]) / 2, nodes)

    def similarity(self, first: Ints, second: Ints | int) -> Floats:
        """Of pairs of nodes: intersection of histograms, then size and fill as the paper's."""
        alike = np.minimum(self.histograms[first], self.histograms[second]).sum(axis=1)
        areas = self.areas[first] + self.areas[second]
        low = np.minimum(self.boxes[first, :2], self.boxes[second, ..., :2])
        high = np.maximum(self.boxes[first, 2:], self.boxes[second, ..., 2:])
        size = 1 - areas / self.total
        fill = 1 - ((high - low).prod(axis=1) - areas) / self.total
        return np.asarray(alike + size + fill)

    def join(self, a: int, b: int, new: int) -> None:
        """Fill in node ``new`` from its two children."""
        self.areas[new] = self.areas[a] + self.areas[b]
        self.boxes[new, :2] = np.minimum(self.boxes[a, :2], self.boxes[b, :2])
        self.boxes[new, 2:] = np.maximum(self.boxes[a, 2:], self.boxes[b, 2:])
        share = self.areas[a] / self.areas[new]
        for values in (self.histograms, self.looks):
            values[new] = share * values[a] + (1 - share) * values[b]


def _longer(values: NDArray[Number], count: int) -> NDArray[Number]:
    """The values with room for ``count`` rows."""
    room = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
    room[: len(values)] = values
    return room


def _ordered(labels: Labels, children: Ints, regions: _Regions) -> Tree:
    """Number the leaves so that the leaves of every node follow each other."""
    count = len(children) + 1
    held = [1] * count + [0] * (count - 1)
    for index, (a, b) in enumerate(children.tolist()):
        held[count + index] = held[a] + held[b]
    starts = [0] * (2 * count - 1)
    for index in range(count - 2, -1, -1):
        a, b = children[index].tolist()
        starts[a] = starts[count + index]
        starts[b] = starts[a] + held[a]
    begins = np.array(starts, dtype=np.int64)
    scores = np.zeros(2 * count - 1)
    a, b = children.T
    scores[a] = scores[b] = 1 - np.minimum(regions.looks[a], regions.looks[b]).sum(axis=1)
    return Tree(
        labels=begins[labels],  # a leaf's start is its number
        starts=begins,
        ends=begins + np.array(held, dtype=np.int64),
        boxes=regions.boxes,
        scores=np.clip(scores, 0.0, 1.0),
    )


# What regions look like --------------------------------------------------------------------------


def _bins_of_colour(lab: NDArray[np.float32]) -> Ints:
    """(h, w, 3) bin of each channel."""
    unit = (lab + np.array([0, 128, 128])) / np.array([100, 256, 256])
    return np.clip(unit * COLOUR_BINS, 0, COLOUR_BINS - 1).astype(np.int64)


def _bins_of_texture(lab: NDArray[np.float32]) -> Ints:
    """(h, w, 3) bin of direction and strength of each channel's gradient."""
    across, down = (cv2.Sobel(lab, cv2.CV_32F, 1 - axis, axis, scale=1 / 8) for axis in (0, 1))
    turn = np.arctan2(down, across) / (2 * np.pi) + 0.5
    direction = (turn * DIRECTIONS).astype(np.int64) % DIRECTIONS
    # Halving bounds: strengths of 8 and more (Lab units a pixel) are edges, below 1 smooth.
    strength = np.digitize(np.hypot(across, down), [1.0, 2.0, 4.0, 8.0])
    return np.asarray(direction * STRENGTHS + strength)


def _describe(labels: Labels, colour_bins: Ints, texture_bins: Ints) -> Leaves:
    flat = labels.ravel()
    areas = np.bincount(flat).astype(np.float64)
    count = len(areas)
    rows, columns = np.indices(labels.shape).reshape(2, -1)
    low = np.full((2, count), max(labels.shape))
    high = np.zeros((2, count), dtype=np.int64)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], flat, places)
        np.maximum.at(high[axis], flat, places + 1)
    return Leaves(
        labels=labels,
        areas=areas,
        boxes=np.concatenate([low, high]).T,
        colours=_histograms(flat, colour_bins, COLOUR_BINS, count),
        textures=_histograms(flat, texture_bins, DIRECTIONS * STRENGTHS, count),
        pairs=_side_by_side(labels, count),
    )


def _histograms(flat: Ints, bins: Ints, bin_count: int, count: int) -> Floats:
    """(count, 3 * bin_count) histograms of three channels, each with sum 1."""
    channels = [
        np.bincount(flat * bin_count + bins[..., channel].ravel(), minlength=count * bin_count)
        for channel in range(3)
    ]
    joined = np.hstack([channel.reshape(count, bin_count) for channel in channels])
    return np.asarray(joined / joined.sum(axis=1, keepdims=True))


def _side_by_side(labels: Labels, count: int) -> Ints:
    """(m, 2) pairs, lower first, of regions that share an edge of a pixel."""
    first = np.concatenate([labels[:, :-1].ravel(), labels[:-1].ravel()])
    second = np.concatenate([labels[:, 1:].ravel(), labels[1:].ravel()])
    differ = first != second
    low, high = np.minimum(first, second)[differ], np.maximum(first, second)[differ]
    keys = np.unique(low * count + high)
    return np.stack([keys // count, keys % count], axis=1)

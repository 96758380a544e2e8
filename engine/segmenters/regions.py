"""A photo cut into about 1,200 regions of one colour, with who touches whom: what clicks work on.

SLIC superpixels (Achanta et al., 2012) of a small copy; one pass a photo, 0.05-0.1 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

from engine.smoothing import shrunk
from engine.types import Image, Mask

LONG_SIDE = 400  # pixels of the small copy; 512 is slower and no better
REGION_COUNT = 1200  # 2,000 cost twice the time a click and gain nothing but on tiny objects
COMPACTNESS = 0.2  # for Lab scaled to [0, 1] as slic does; from 1 on the regions are squares

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Regions:
    """n regions of a photo. Lengths and areas are pixels of the small copy."""

    shape_hw: tuple[int, int]  # of the photo
    labels: NDArray[np.int32]  # (sh, sw), 0 .. n-1
    areas: Floats  # (n,)
    colours: Floats  # (n, 3) mean CIE Lab
    on_border: NDArray[np.bool_]  # (n,): touches the edge of the photo
    pairs: Ints  # (m, 2): regions side by side
    contrast: Floats  # (m,): Lab distance of the pair
    lengths: Floats  # (m,): of the line where the pair touches

    @property
    def count(self) -> int:
        """How many there are; at least 1."""
        return len(self.areas)

    def at(self, x: float, y: float) -> int:
        """The region at a point of the photo; points outside belong to the nearest pixel."""
        height, width = self.shape_hw
        small_height, small_width = self.labels.shape
        row = min(max(int(y * small_height / height), 0), small_height - 1)
        column = min(max(int(x * small_width / width), 0), small_width - 1)
        return int(self.labels[row, column])

    def shares_of(self, mask: Mask) -> Floats:
        """(n,): which part of each region the (h, w) mask of the photo covers."""
        size = (self.labels.shape[1], self.labels.shape[0])
        small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return self.means_of(np.asarray(small))

    def means_of(self, values: NDArray[np.generic]) -> Floats:
        """(n,): the mean in each region of (sh, sw) numbers or bools on the small copy."""
        return np.bincount(self.labels.ravel(), values.ravel(), self.count) / self.areas

    def distances_from(self, seeds: NDArray[np.bool_] | list[int]) -> Floats:
        """(n,): the least colour change, plus 1 a step, on a way from any of the seeds.

        Infinite everywhere where there are no seeds.
        """
        chosen = np.flatnonzero(seeds) if isinstance(seeds, np.ndarray) else np.array(seeds)
        if chosen.size == 0:
            return np.full(self.count, np.inf)
        graph = self.graph(self.contrast + 1.0)
        found = dijkstra(graph, directed=False, indices=chosen.astype(np.int64), min_only=True)
        return np.asarray(found)

    def graph(self, weights: Floats) -> sparse.csr_array:
        """(n, n) upper triangle of the pairs with these (m,) weights."""
        first, second = self.pairs.T
        return sparse.csr_array((weights, (first, second)), shape=(self.count, self.count))

    def enlarge(self, values: Floats) -> NDArray[np.float32]:
        """(h, w): the (n,) values laid over the photo, the steps between regions smoothed."""
        small = cv2.GaussianBlur(values.astype(np.float32)[self.labels], (0, 0), 1.0)
        size = (self.shape_hw[1], self.shape_hw[0])
        return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.float32)


def split_photo(image: Image) -> Regions:
    """Cut an (h, w, 3) photo into regions. Any size from 1×1."""
    small, _ = shrunk(image, LONG_SIDE)
    lab = cv2.cvtColor(small.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    labels = _number(np.asarray(lab, dtype=np.float32))
    flat = labels.ravel()
    areas = np.bincount(flat).astype(np.float64)
    sums = [np.bincount(flat, lab[..., channel].ravel()) for channel in range(3)]
    colours = np.stack(sums, axis=1) / areas[:, None]
    on_border = np.zeros(len(areas), dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        on_border[edge] = True
    pairs, lengths = _touching(labels, len(areas))
    contrast = np.linalg.norm(colours[pairs[:, 0]] - colours[pairs[:, 1]], axis=1)
    shape_hw = (image.shape[0], image.shape[1])
    return Regions(shape_hw, labels, areas, colours, on_border, pairs, contrast, lengths)


def _number(lab: NDArray[np.float32]) -> NDArray[np.int32]:
    """Labels 0 .. n-1 without gaps."""
    height, width = lab.shape[:2]
    if height * width <= REGION_COUNT:
        # Too few pixels for superpixels: each is its own region.
        return np.arange(height * width, dtype=np.int32).reshape(height, width)
    found = slic(
        lab,
        n_segments=min(REGION_COUNT, height * width // 4),
        compactness=COMPACTNESS,
        max_num_iter=5,
        sigma=0.5,
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    _, numbered = np.unique(found, return_inverse=True)
    return numbered.reshape(height, width).astype(np.int32)


def _touching(labels: NDArray[np.int32], count: int) -> tuple[Ints, Floats]:
    """Pairs (lower, higher) of regions side by side, and the pixels along which they touch."""
    first = np.concatenate([labels[:, :-1].ravel(), labels[:-1].ravel()]).astype(np.int64)
    second = np.concatenate([labels[:, 1:].ravel(), labels[1:].ravel()]).astype(np.int64)
    differ = first != second
    low = np.minimum(first, second)[differ]
    high = np.maximum(first, second)[differ]
    keys, lengths = np.unique(low * count + high, return_counts=True)
    return np.stack([keys // count, keys % count], axis=1), lengths.astype(np.float64)

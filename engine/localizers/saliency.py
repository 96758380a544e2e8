"""Where the foreground is, from one photo and no training: (h, w, 3) uint8 in, map in [0, 1] out.

Saliency optimisation from robust background detection (Zhu, Liang, Wei, Sun, CVPR 2014) on SLIC
superpixels: what connects to the border along paths of one colour is background; what differs
from the background nearby is foreground; the map is the smooth compromise of both (their eq. 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

from engine.types import Image

Floats = NDArray[np.float64]
Map = NDArray[np.float32]  # (h, w) in [0, 1]

# scikit-image scales Lab to about [0, 1] before SLIC, so these are nearly squares. That is meant:
# with 0.3, where regions follow colours, GT-Known on birds falls from 0.76 to 0.57.
COMPACTNESS = 12.0

# The constants of the paper's section 4 and 5; Lab distances in CIE units.
SIGMA_GEODESIC = 7.0
SIGMA_BOUNDARY = 1.0
SIGMA_SPACE = 0.4  # of the long side; the paper has 0.25, measured less well on birds and forks
SIGMA_SMOOTH = 10.0
LEAST_SMOOTHNESS = 0.1
BACKGROUND_WEIGHT = 5.0
TINY = 1e-9
LEAST_RANGE = 1e-6  # steps of TINY add up; a photo of one colour must not show how many there are


@dataclass(frozen=True)
class SaliencyMaps:
    """Three views of one photo at the size of the given copy, each (h, w) in [0, 1].

    ``saliency`` is the map to use. ``distance`` is how far in colour it is to the border, and
    ``enclosed`` how little a region belongs to it; both help to judge masks.
    """

    saliency: Map
    distance: Map
    enclosed: Map


@dataclass(frozen=True)
class _Superpixels:
    labels: NDArray[np.int32]  # (h, w), 0 .. n-1
    colours: Floats  # (n, 3) mean CIE Lab
    centres: Floats  # (n, 2) x, y as shares of the long side
    border: NDArray[np.intp]  # those that touch the border
    pairs: NDArray[np.intp]  # (m, 2) neighbours, and all pairs along the border


def saliency_maps(image: Image, *, counts: tuple[int, ...] = (150, 300)) -> SaliencyMaps:
    """The maps of a small copy (about 256 pixels; cost grows with the counts, not the pixels).

    Averaged over superpixels of several ``counts``, weighted by a wide centre prior. A photo of
    one colour, or of a few pixels, gives the centre prior alone.
    """
    centre = _centre_prior(image.shape[0], image.shape[1])
    maps = [_maps_at(image, count) for count in counts]
    saliency, distance, enclosed = (np.mean([one[i] for one in maps], axis=0) for i in range(3))
    return SaliencyMaps(
        saliency=_scaled(saliency * centre),
        distance=_scaled(distance * centre),
        enclosed=_scaled(enclosed * centre),
    )


def _centre_prior(height: int, width: int) -> Floats:
    """A Gaussian with a standard deviation of half of each side: photographers aim."""
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return np.exp(-2.0 * (y[:, None] ** 2 + x[None, :] ** 2))


def _scaled(values: Floats) -> Map:
    highest = float(values.max())
    return (values / highest if highest > TINY else np.zeros_like(values)).astype(np.float32)


def _maps_at(image: Image, count: int) -> tuple[Floats, Floats, Floats]:
    regions = _superpixels(image, count)
    count = len(regions.colours)
    if count < 4 or len(regions.border) == count:
        flat = np.ones(image.shape[:2])
        return flat, flat, flat
    steps = _contrast_of_pairs(regions)
    geodesic = _geodesic(regions, steps)
    background = _background_probability(regions, geodesic)
    foreground = _weighted_contrast(regions, background)
    saliency = _optimised(regions, steps, background=background, foreground=foreground)
    to_border = np.sort(geodesic[:, regions.border], axis=1)[:, :3].mean(axis=1)
    labels = regions.labels
    return saliency[labels], _unit(to_border)[labels], (1.0 - background)[labels]


def _unit(values: NDArray[Any]) -> Floats:
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high - low > LEAST_RANGE else np.ones_like(values)


def _superpixels(image: Image, count: int) -> _Superpixels:
    labels = slic(image, count, compactness=COMPACTNESS, start_label=0, sigma=0.5)
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    height, width = labels.shape
    flat, size = labels.ravel(), int(labels.max()) + 1
    areas = np.bincount(flat, minlength=size)
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)  # CIE units
    y, x = np.mgrid[:height, :width] / max(height, width)

    def mean(values: NDArray[Any]) -> Floats:
        return np.bincount(flat, values.ravel(), size) / areas

    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return _Superpixels(
        labels=labels,
        colours=np.stack([mean(lab[..., channel]) for channel in range(3)], axis=1),
        centres=np.stack([mean(x), mean(y)], axis=1),
        border=edge,
        pairs=_neighbours(labels, edge),
    )


def _neighbours(labels: NDArray[np.int32], edge: NDArray[np.intp]) -> NDArray[np.intp]:
    """(m, 2) pairs that touch, and all pairs of the border: the frame counts as one region."""
    across = np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1)
    down = np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1)
    first, second = np.triu_indices(len(edge), k=1)
    along = np.stack([edge[first], edge[second]], axis=1)
    pairs = np.concatenate([across, down, along])
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0).astype(np.intp)


def _contrast_of_pairs(regions: _Superpixels) -> Floats:
    """(m,) Lab distance of each pair, less what neighbours of one surface differ by anyway."""
    first, second = regions.pairs.T
    contrast = np.linalg.norm(regions.colours[first] - regions.colours[second], axis=1)
    nearest = np.full(len(regions.colours), np.inf)
    np.minimum.at(nearest, first, contrast)
    np.minimum.at(nearest, second, contrast)
    usual = nearest[np.isfinite(nearest)]
    return np.maximum(contrast - (usual.mean() if usual.size else 0.0), 0.0)


def _geodesic(regions: _Superpixels, steps: Floats) -> Floats:
    """(n, n) least sum of steps on a way between two superpixels (eq. 4)."""
    count = len(regions.colours)
    # A step of exactly 0 would be no edge in a sparse graph.
    graph = coo_matrix((steps + TINY, regions.pairs.T), shape=(count, count)).tocsr()
    distances = dijkstra(graph, directed=False)
    finite = distances[np.isfinite(distances)]
    return np.where(np.isfinite(distances), distances, finite.max())


def _background_probability(regions: _Superpixels, geodesic: Floats) -> Floats:
    """(n,) from how long a border a region has for the area that it spans (eq. 2-6)."""
    similarity = np.exp(-(geodesic**2) / (2 * SIGMA_GEODESIC**2))
    length = similarity[:, regions.border].sum(axis=1)
    connectivity = length / np.sqrt(similarity.sum(axis=1))
    return 1.0 - np.exp(-(connectivity**2) / (2 * SIGMA_BOUNDARY**2))


def _weighted_contrast(regions: _Superpixels, background: Floats) -> Floats:
    """(n,) colour contrast to what is likely background nearby (eq. 8), scaled to [0, 1]."""
    colours, centres = regions.colours, regions.centres
    contrast = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    apart = ((centres[:, None] - centres[None]) ** 2).sum(axis=2)
    nearness = np.exp(-apart / (2 * SIGMA_SPACE**2))
    return _unit((contrast * nearness * background[None]).sum(axis=1))


def _optimised(
    regions: _Superpixels, steps: Floats, *, background: Floats, foreground: Floats
) -> Floats:
    """(n,) the least-squares compromise of background, foreground and smoothness (eq. 9)."""
    count = len(background)
    first, second = regions.pairs.T
    likeness = np.exp(-(steps**2) / (2 * SIGMA_SMOOTH**2)) + LEAST_SMOOTHNESS
    weights = np.zeros((count, count))
    weights[first, second] = likeness
    weights[second, first] = likeness
    laplacian = np.diag(weights.sum(axis=1)) - weights
    system = laplacian + np.diag(BACKGROUND_WEIGHT * background + foreground + TINY)
    return _unit(np.linalg.solve(system, foreground))

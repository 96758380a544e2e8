"""All the masks that may be an object: a photo in, some thousand masks out, without any weights.

Every region that hierarchical merging passes through is a mask (see `engine.merging`). Masks that
somebody else made, such as SAM's, go into the same kind of gallery by `Gallery.from_masks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine import matching
from engine.errors import OptionError
from engine.geometry import mask_to_box, mask_to_rle, rle_to_mask
from engine.merging import MIXES, Floats, Ints, Labels, Mix, Tree, cut_into_leaves, merge
from engine.smoothing import shrunk
from engine.types import Box, Image, Mask, Rle


@dataclass(frozen=True)
class GalleryOptions:
    """How many masks, and how long it takes: half a second a photo on one core by default.

    OptionError for values out of range.
    """

    working_side: int = field(
        default=400, metadata={"help": "long side in pixels of the copy that is cut into regions"}
    )
    felzenszwalb_scales: tuple[float, ...] = field(
        default=(60.0, 150.0),
        metadata={"help": "one set of regions each; higher means larger regions"},
    )
    slic_counts: tuple[int, ...] = field(
        default=(500,), metadata={"help": "one set of about as many regions each"}
    )
    mixes: tuple[Mix, ...] = field(
        default=("all", "texture", "shape"),
        metadata={"help": "what similar means: one order of merging each"},
    )
    smallest_share: float = field(
        default=0.001, metadata={"help": "leave out masks below this share of the photo"}
    )

    def __post_init__(self) -> None:
        if self.working_side < 16:
            raise OptionError(f"working_side must be at least 16 pixels, got {self.working_side}")
        amounts = (*self.felzenszwalb_scales, *self.slic_counts)
        if not amounts or min(amounts) <= 0:
            raise OptionError(
                "felzenszwalb_scales and slic_counts need at least one value between them, "
                f"all above 0, got {self.felzenszwalb_scales} and {self.slic_counts}"
            )
        if not self.mixes or not set(self.mixes) <= set(MIXES):
            raise OptionError(f"mixes must be some of {', '.join(MIXES)}, got {self.mixes!r}")
        if not 0.0 <= self.smallest_share < 1.0:
            raise OptionError(f"smallest_share must lie in [0, 1), got {self.smallest_share}")


FAST = GalleryOptions(felzenszwalb_scales=(60.0,))
"""About 0.6 of the default's time for four fifths of its masks."""

THOROUGH = GalleryOptions(
    felzenszwalb_scales=(40.0, 80.0, 200.0),
    slic_counts=(300, 800),
    mixes=("all", "texture", "colour", "shape"),
)
"""About twice the default's masks, for twice its time."""


class _Masks(Protocol):
    """Where a gallery's masks come from, by their index in the gallery."""

    def mask(self, index: int) -> Mask: ...
    def coverage(self, grid: int) -> matching.Coverage: ...
    def cells(self, grid: int) -> matching.Cells: ...


@dataclass(frozen=True, eq=False)
class Gallery:
    """n different masks of one photo, highest score first; from `build_gallery` or `from_masks`.

    ``boxes`` (n, 4) are the tight half-open boxes in the photo's pixels, ``scores`` (n,) lie in
    [0, 1]. ``prompts`` are the pixels (x, y) that a segmenter was asked about, where it was.
    """

    boxes: Floats
    scores: Floats
    _masks: _Masks = field(repr=False)
    prompts: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    _coverage: dict[int, matching.Coverage] = field(default_factory=dict, init=False, repr=False)
    _cells: dict[int, matching.Cells] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.boxes)

    def mask(self, index: int) -> Mask:
        """One mask, bool (h, w) of the whole photo; IndexError where there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"mask {index} of a gallery of {len(self)}")
        return self._masks.mask(index)

    def coverage(self, grid: int = 14) -> matching.Coverage:
        """(n, grid, grid): the share of each cell's area, as `matching.coverage` gives it; kept."""
        if grid not in self._coverage:
            self._coverage[grid] = self._masks.coverage(grid)
        return self._coverage[grid]

    def cells(self, grid: int = 14) -> matching.Cells:
        """(n, grid, grid): what `matching.mask_cells` gives by the rule any4; kept."""
        if grid not in self._cells:
            self._cells[grid] = self._masks.cells(grid)
        return self._cells[grid]

    @classmethod
    def from_masks(cls, masks: Iterable[Mask], scores: Sequence[float]) -> Gallery:
        """A gallery of ready bool (h, w) masks of one photo, with a score in [0, 1] each.

        Empty masks are left out, and of equal ones all but the highest-scored. Among equal scores
        the first goes first.
        """
        scored = [
            (float(score), mask_to_rle(mask), mask_to_box(mask))
            for mask, score in zip(masks, scores, strict=True)
        ]
        different: dict[Rle, tuple[Box, float]] = {}
        for score, rle, box in sorted(scored, key=lambda entry: -entry[0]):
            if box is not None:
                different.setdefault(rle, (box, score))
        boxes = [box for box, _ in different.values()]
        return cls(
            boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
            scores=np.array([score for _, score in different.values()], dtype=np.float64),
            _masks=_ReadyMasks(tuple(different)),
        )


def build_gallery(image: Image, options: GalleryOptions | None = None) -> Gallery:
    """Every region that merging passes through in an (h, w, 3) uint8 photo of any size from 1 × 1.

    The whole photo is always among them. A score says how little a mask resembles the neighbour
    that it was merged with. The masks' edges lie on pixels of the small working copy.
    """
    options = options or GalleryOptions()
    height, width = image.shape[:2]
    small, _ = shrunk(image, options.working_side)
    leaf_sets = cut_into_leaves(
        small, scales=options.felzenszwalb_scales, counts=options.slic_counts
    )
    trees = [merge(leaves, mix) for leaves in leaf_sets for mix in options.mixes]
    rows, columns = _shown(height, small.shape[0]), _shown(width, small.shape[1])
    pixels = small.shape[0] * small.shape[1]
    kept = _different_nodes(trees, smallest=options.smallest_share * pixels)
    small_boxes = np.concatenate([tree.boxes for tree in trees])[kept]
    scores = np.concatenate([tree.scores for tree in trees])[kept]
    # Columns are sorted, so the first that shows a small pixel is found by bisection.
    x0, x1 = (np.searchsorted(columns, small_boxes[:, side]) for side in (0, 2))
    y0, y1 = (np.searchsorted(rows, small_boxes[:, side]) for side in (1, 3))
    return Gallery(
        boxes=np.stack([x0, y0, x1, y1], axis=1).astype(np.float64),
        scores=scores,
        _masks=_TreeMasks(trees, kept, rows, columns),
    )


def _shown(length: int, small_length: int) -> Ints:
    """(length,): the pixel of the small copy that each pixel of one side shows."""
    return (2 * np.arange(length) + 1) * small_length // (2 * length)


def _different_nodes(trees: Sequence[Tree], *, smallest: float) -> Ints:
    """Which nodes, counted through all trees, are masks of the gallery; highest score first.

    Those of ``smallest`` small pixels or more, each set of pixels once, and always a root.
    """
    # Equal sets of pixels have equal sums of random numbers; others with a chance of 2 ** -64.
    shape = trees[0].labels.shape
    keys = np.random.default_rng(0).integers(0, 2**64, shape, dtype=np.uint64)
    sums, areas = [], []
    for tree in trees:
        by_leaf = np.zeros(tree.leaf_count, dtype=np.uint64)
        np.add.at(by_leaf, tree.labels.ravel(), keys.ravel())
        sums.append(tree.sums(by_leaf))
        areas.append(tree.sums(np.bincount(tree.labels.ravel())))
    scores = np.concatenate([tree.scores for tree in trees])
    large = np.flatnonzero(np.concatenate(areas) >= min(smallest, keys.size))
    order = large[np.argsort(-scores[large], kind="stable")]
    _, first = np.unique(np.concatenate(sums)[order], return_index=True)
    return np.asarray(order[np.sort(first)])


@dataclass(frozen=True)
class _TreeMasks:
    """Nodes of several trees over one small copy, as masks of the photo."""

    trees: Sequence[Tree]
    kept: Ints  # (n,) nodes, counted through all trees
    rows: Ints  # (h,) of the small copy
    columns: Ints  # (w,) of the small copy

    def mask(self, index: int) -> Mask:
        node = int(self.kept[index])
        for tree in self.trees:
            if node < len(tree.starts):
                inside = (tree.labels >= tree.starts[node]) & (tree.labels < tree.ends[node])
                return np.asarray(inside[self.rows[:, None], self.columns])
            node -= len(tree.starts)
        raise AssertionError(f"node {self.kept[index]} is in no tree")

    def coverage(self, grid: int) -> matching.Coverage:
        small_height, small_width = self.trees[0].labels.shape
        of_rows = _overlaps_of_small(self.rows, small_height, grid)
        of_columns = _overlaps_of_small(self.columns, small_width, grid)
        area = len(self.rows) * len(self.columns)
        shares = [
            (tree.sums(_leaf_overlaps(tree, of_rows, of_columns)) / area).astype(np.float32)
            for tree in self.trees
        ]
        return np.concatenate(shares)[self.kept]

    def cells(self, grid: int) -> matching.Cells:
        nodes = sum(len(tree.starts) for tree in self.trees)
        found = np.zeros((nodes, grid, grid), dtype=bool)
        for at_rows in matching.pixels_at_centres(len(self.rows), grid):
            for at_columns in matching.pixels_at_centres(len(self.columns), grid):
                seen = np.ix_(self.rows[at_rows], self.columns[at_columns])
                found |= np.concatenate([_holding(tree, tree.labels[seen]) for tree in self.trees])
        return found[self.kept]


def _overlaps_of_small(shown: Ints, small_length: int, grid: int) -> Floats:
    """(grid, small_length): how far a cell overlaps what a small pixel fills of the photo."""
    fine = matching.overlaps(len(shown), grid)
    return np.add.reduceat(fine, np.searchsorted(shown, np.arange(small_length)), axis=1)


def _leaf_overlaps(tree: Tree, of_rows: Floats, of_columns: Floats) -> Floats:
    """(leaves, grid, grid): how far each leaf overlaps each cell; whole numbers."""
    grid = len(of_rows)
    found = np.zeros((tree.leaf_count, grid, grid))
    for i, j in np.ndindex(grid, grid):
        rows, columns = np.flatnonzero(of_rows[i]), np.flatnonzero(of_columns[j])
        weights = np.outer(of_rows[i, rows], of_columns[j, columns])
        labels = tree.labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found[:, i, j] = np.bincount(labels.ravel(), weights.ravel(), tree.leaf_count)
    return found


def _holding(tree: Tree, labels: Labels) -> NDArray[np.bool_]:
    """(nodes, *labels.shape): whether a node holds each of these leaves."""
    starts, ends = (bound[:, None, None] for bound in (tree.starts, tree.ends))
    return np.asarray((labels >= starts) & (labels < ends))


@dataclass(frozen=True)
class _ReadyMasks:
    """Masks as they came, packed."""

    rles: Sequence[Rle]

    def mask(self, index: int) -> Mask:
        return rle_to_mask(self.rles[index])

    def coverage(self, grid: int) -> matching.Coverage:
        each = [matching.coverage(rle_to_mask(rle), grid) for rle in self.rles]
        return np.array(each, dtype=np.float32).reshape(-1, grid, grid)

    def cells(self, grid: int) -> matching.Cells:
        each = [matching.mask_cells(rle_to_mask(rle), grid) for rle in self.rles]
        return np.array(each, dtype=bool).reshape(-1, grid, grid)

"""A coarse map and a gallery in, the masks in the order in which they fit out (Pro2SAM, eq. 11).

The defaults pick better than the paper's rule on photos with true masks; `PAPER` is the paper's,
and the other readings are its ablations (Table 6). What is not a rule of choice, such as drawing
a mask from the map where a gallery has none, is here as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import matching
from engine.errors import OptionError
from engine.gallery import Gallery
from engine.types import Box, CoarseMap, Mask

Compared = Literal["mask", "bbox", "both"]
Combined = Literal["mean", "sum", "product"]
Rule = Literal["area", "iou"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class MatchOptions:
    """How a mask is compared with the coarse map; OptionError for values out of range."""

    rule: Rule = "area"  # shares of area, or eq. 11 on cells that are on or off
    grid_rule: matching.GridRule = "any4"  # when a mask turns a cell on; for iou
    tau_b: float = 0.2  # a cell of the map is on above this; the paper states none, its code 0.2
    compared: Compared = "mask"  # masks, their boxes, or both
    combined: Combined = "mean"  # how both scores become one; the paper gives no rule
    drop_full_frame: bool = True  # leave out masks whose box is the whole photo
    min_area: int = 10  # pixels; smaller parts of a mask are specks and do not count for its box

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau_b < 1.0:
            raise OptionError(f"tau_b must lie in [0, 1), got {self.tau_b}")
        if self.min_area < 1:
            raise OptionError(f"min_area must be at least 1 pixel, got {self.min_area}")


PAPER = MatchOptions(rule="iou")
"""Eq. 11 as the authors' code has it: any of four centre pixels, threshold 0.2."""


def match(coarse: CoarseMap, gallery: Gallery, options: MatchOptions | None = None) -> Values:
    """How well each of the gallery's n masks fits the map, (n,); higher is better.

    ``coarse`` is (g, g) in [0, 1] over the whole photo. Values lie in [0, 1], with "sum" in [0, 2].
    """
    options = options or MatchOptions()
    if options.compared == "mask":
        return _by_mask(coarse, gallery, options)
    by_box = _by_box(coarse, gallery, options)
    if options.compared == "bbox":
        return by_box
    by_mask = _by_mask(coarse, gallery, options)
    if options.combined == "product":
        return by_mask * by_box
    return (by_mask + by_box) / (2.0 if options.combined == "mean" else 1.0)


def ranking(values: Values, gallery: Gallery, options: MatchOptions | None = None) -> Iterator[int]:
    """The masks from the best to the worst, equals in the gallery's order.

    One by one, because whether a mask spans the frame is only worth knowing of the first few.
    """
    options = options or MatchOptions()
    for index in np.argsort(-values, kind="stable"):
        mask = gallery.mask(int(index)) if options.drop_full_frame else None
        if mask is None or not matching.spans_frame(mask, options.min_area):
            yield int(index)


def drawn_from(coarse: CoarseMap, shape_hw: tuple[int, int], tau_b: float) -> Mask:
    """The cells of the map that are on, as large blocks of a bool (h, w) mask.

    Where none is on, the highest one: there is a tag, so there is an object.
    """
    cells = matching.coarse_to_cells(coarse, tau_b)
    if not cells.any():
        cells = coarse >= coarse.max()
    size = (shape_hw[1], shape_hw[0])
    blocks = cv2.resize(cells.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if not blocks.any():  # a photo smaller than the grid can miss every cell that is on
        return np.ones(shape_hw, dtype=bool)
    return blocks.astype(bool)


def box_of_map(coarse: CoarseMap, shape_hw: tuple[int, int], options: MatchOptions) -> Box:
    """The union box of the map's cells at the photo's size; half-open pixels."""
    return matching.union_box(drawn_from(coarse, shape_hw, options.tau_b), options.min_area)


def centre_of_map(
    coarse: CoarseMap, shape_hw: tuple[int, int], tau_b: float
) -> tuple[float, float]:
    """The centroid of the largest connected group of cells that are on, as a pixel (x, y)."""
    grid = coarse.shape[0]
    blocks = drawn_from(coarse, (grid, grid), tau_b).astype(np.uint8)
    _, _, parts, centres = cv2.connectedComponentsWithStats(blocks, connectivity=8)
    largest = 1 + int(np.argmax(parts[1:, cv2.CC_STAT_AREA]))  # 0 is the background
    x, y = (float(value) + 0.5 for value in centres[largest])
    return (x * shape_hw[1] / grid, y * shape_hw[0] / grid)


def _by_mask(coarse: CoarseMap, gallery: Gallery, options: MatchOptions) -> Values:
    grid = coarse.shape[0]
    if options.rule == "area":
        return matching.scores(coarse, gallery.coverage(grid), rule="soft")
    cells = matching.coarse_to_cells(coarse, options.tau_b)
    if options.grid_rule == "any4":
        return matching.scores(cells, gallery.cells(grid))
    others = [
        matching.mask_cells(gallery.mask(index), grid, options.grid_rule)
        for index in range(len(gallery))
    ]
    return matching.scores(cells, np.array(others, dtype=bool).reshape(-1, grid, grid))


def _by_box(coarse: CoarseMap, gallery: Gallery, options: MatchOptions) -> Values:
    """IoU of each mask's box with the map's, end pixels counted as in the paper's code."""
    if not len(gallery):
        return np.zeros(0)
    masks = [gallery.mask(index) for index in range(len(gallery))]
    shape_hw = (masks[0].shape[0], masks[0].shape[1])
    wanted = box_of_map(coarse, shape_hw, options)
    return np.array(
        [
            matching.iou_with_inclusive_pixels(matching.union_box(mask, options.min_area), wanted)
            for mask in masks
        ]
    )

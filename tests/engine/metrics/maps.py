"""Maps and boxes that several tests of the papers' measures share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

_Y, _X = np.mgrid[:224, :224].astype(np.float64)


def pyramid(x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
    """1 at its top (x, y), falling to 0 at the edges of its base; 224 x 224."""
    distance = np.maximum(np.abs(_X - x) / half_width, np.abs(_Y - y) / half_height)
    return np.maximum(0.0, 1.0 - distance)


# Four images with their true boxes; the numbers beside them were taken from wsolevaluation.
PYRAMIDS = {
    "A": (pyramid(112, 112, 100, 100), [(62, 62, 162, 162)]),
    "B": (
        np.maximum(pyramid(60, 60, 40, 40), 0.8 * pyramid(170, 170, 50, 50)),
        [(29, 29, 92, 92)],
    ),
    "C": (pyramid(50, 112, 45, 90), [(40, 80, 120, 160), (20, 60, 70, 170)]),
    "D": (
        np.maximum(pyramid(150, 80, 60, 40), 0.5 * pyramid(40, 180, 30, 30)),
        [(110, 20, 210, 130)],
    ),
}


def score_maps(longest_side: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Small score maps in [0, 1], with plateaus, so that thresholds meet values exactly."""
    return arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=longest_side),
        elements=st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0]) | st.floats(0, 1),
    )


def true_boxes(longest_side: int = 12) -> st.SearchStrategy[list[tuple[int, int, int, int]]]:
    """One to three boxes, single pixels too."""
    pairs = st.tuples(st.integers(0, longest_side), st.integers(0, longest_side)).map(sorted)
    boxes = st.tuples(pairs, pairs).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))
    return st.lists(boxes, min_size=1, max_size=3)

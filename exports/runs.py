"""RLE from outside comes in, checked `Rle` comes out.

pycocotools trusts its input: counts that do not add up to the picture make it read beyond its
memory, up to a crash. So nothing from a file reaches it unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from engine.errors import FormatError
from engine.types import Box, Rle


def checked_rle(value: Mapping[str, Any], *, size: tuple[int, int]) -> Rle:
    """COCO's ``{"size": [h, w], "counts": str or list}`` for a picture of (h, w) pixels.

    FormatError, without the place where it happened, for another size or broken counts.
    """
    if value.get("size") not in (list(size), tuple(size)):
        raise FormatError(f"RLE of size {value.get('size')!r} on a picture of (h, w) {size}")
    counts, pixels = value.get("counts"), size[0] * size[1]
    if isinstance(counts, str):
        runs = decoded_counts(counts)
    elif isinstance(counts, Sequence) and all(
        type(run) is int and 0 <= run <= pixels for run in counts
    ):
        runs = np.array(counts, dtype=np.int64)
    else:
        raise FormatError("RLE counts must be text or a list of whole numbers")
    if runs.size == 0 or runs.min() < 0 or int(runs.sum()) != pixels:
        raise FormatError(f"RLE counts do not add up to {size[0]} x {size[1]} pixels")
    if isinstance(counts, str):
        return Rle(size, counts)
    return Rle.from_dict(coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size))


def decoded_counts(text: str) -> NDArray[np.int64]:
    """Run lengths in the compressed text of COCO; FormatError where it is no such text.

    Each number is 5 bits a character, lowest first, bit 5 marks "more follows" and bit 4 of the
    last one the sign; from the fourth number on it is the difference to the one before the last
    (rleFrString in maskApi.c).
    """
    codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise FormatError("RLE counts are no COCO text")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits: more than any picture has pixels
        raise FormatError("RLE counts are no COCO text")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def box_of_rle(rle: Rle) -> Box | None:
    """The tight half-open box of the mask, without decoding it; None where it is empty."""
    if not coco_mask.area(rle.as_dict()):
        return None
    x, y, width, height = (float(value) for value in coco_mask.toBbox(rle.as_dict()))
    return (x, y, x + width, y + height)


def union_of_rles(masks: Sequence[Rle]) -> Rle:
    """All pixels of at least one mask; all of the same size, and there is one."""
    return Rle.from_dict(coco_mask.merge([rle.as_dict() for rle in masks]))

"""Label Studio's brush RLE: a mask in, a list of bytes out, and back. Exact both ways.

A big-endian stream of bits: 32 for the number of values (4 a pixel, RGBA, row by row), 5 for the
bits of a value less one, four times 4 for the bits of the length classes less one, then runs
``1|class:2|length-1|value`` and literals ``0|class:2|length-1|values``. A pixel is in the mask
where its alpha is 128 or more: strokes that a browser drew have soft edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import FormatError
from engine.types import Mask

SOLID = 128  # least alpha of a pixel inside
VALUE_BITS = 8
CLASS_BITS = (3, 4, 8, 16)  # what we write, as Label Studio does; others are read as well
LONGEST_RUN = 1 << CLASS_BITS[-1]
_CHANNELS = 4
_NEED = 8  # spare bytes behind the end, so that a 64-bit window always fits


def encode_brush(mask: Mask) -> list[int]:
    """The bytes of a bool (h, w) mask, opaque white on nothing."""
    pixels = np.ascontiguousarray(mask, dtype=bool).ravel()
    starts = np.concatenate([[0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [pixels.size]])) * _CHANNELS
    values = np.where(pixels[starts], 255, 0)
    pieces = -(-lengths // LONGEST_RUN)
    run = np.repeat(np.arange(lengths.size), pieces)
    length = np.full(run.size, LONGEST_RUN, dtype=np.int64)
    length[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * LONGEST_RUN
    limits = [1 << bits for bits in CLASS_BITS[:-1]]
    kind = np.searchsorted(limits, length)  # the smallest class that holds it
    bits = np.array(CLASS_BITS)[kind]
    words = (1 << (bits + 10)) | (kind << (bits + 8)) | ((length - 1) << 8) | values[run]
    return np.packbits(np.concatenate([_header(pixels.size), _bits(words, bits + 11)])).tolist()


def _header(pixels: int) -> NDArray[np.uint8]:
    sizes = "".join(f"{bits - 1:04b}" for bits in CLASS_BITS)
    text = f"{pixels * _CHANNELS:032b}{VALUE_BITS - 1:05b}{sizes}"
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8) - ord("0")


def _bits(words: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The words one behind the other, each in its own number of bits, highest first."""
    offsets = np.cumsum(widths) - widths
    stream = np.zeros(int(widths.sum()), dtype=np.uint8)
    for place in range(int(widths.max())):
        has = widths > place
        stream[offsets[has] + place] = (words[has] >> (widths[has] - 1 - place)) & 1
    return stream


def decode_brush(rle: Sequence[int], *, size_hw: tuple[int, int]) -> Mask:
    """The bool (h, w) mask; FormatError where the bytes are cut off or of another picture."""
    stream = _Stream(rle)
    height, width = size_hw
    total = stream.read(32)
    if total != height * width * _CHANNELS:
        raise FormatError(
            f"a brush mask of {total} values on a picture of {height} x {width} pixels"
        )
    if stream.read(5) + 1 != VALUE_BITS:
        raise FormatError("a brush mask whose values are not of 8 bits")
    class_bits = [stream.read(4) + 1 for _ in range(4)]
    lengths: list[int] = []
    values: list[int] = []
    done = 0
    while done < total:
        kind = stream.read(3)
        length = stream.read(class_bits[kind & 3]) + 1
        done += length
        if done > total:
            raise FormatError("a brush mask runs beyond its picture")
        if kind & 4:
            lengths.append(length)
            values.append(stream.read(VALUE_BITS))
        else:
            lengths += [1] * length
            values += stream.read_bytes(length)
    ends = np.cumsum(np.array(lengths, dtype=np.int64))
    alphas = np.diff(ends // _CHANNELS, prepend=0)  # how many fourth values lie in each run
    return np.repeat(np.array(values) >= SOLID, alphas).reshape(height, width)


class _Stream:
    """Bits of the bytes, from the first on."""

    def __init__(self, rle: Sequence[Any]) -> None:
        try:
            if isinstance(rle, int):  # of which bytes() would make that many zeros
                raise TypeError(rle)
            content = bytes(rle)
        except (TypeError, ValueError) as error:
            message = "a brush mask must be a list of whole numbers from 0 to 255"
            raise FormatError(message) from error
        self._end = len(content) * 8
        self._bytes = content + bytes(_NEED)
        self._place = 0
        self._unpacked: NDArray[np.uint8] | None = None

    def read(self, bits: int) -> int:
        """The next bits (at most 32) as a number."""
        first, shift = divmod(self._advance(bits), 8)
        window = int.from_bytes(self._bytes[first : first + 8], "big")
        return window >> (64 - shift - bits) & ((1 << bits) - 1)

    def read_bytes(self, count: int) -> list[int]:
        """The next values of 8 bits each."""
        if self._unpacked is None:
            self._unpacked = np.unpackbits(np.frombuffer(self._bytes, dtype=np.uint8))
        first = self._advance(8 * count)
        values: list[int] = np.packbits(self._unpacked[first : first + 8 * count]).tolist()
        return values

    def _advance(self, bits: int) -> int:
        place = self._place
        self._place += bits
        if self._place > self._end:
            raise FormatError("a brush mask is cut off")
        return place

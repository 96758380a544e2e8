"""Brush RLE: exact both ways, read by the SDK's decoder, and robust against broken bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError
from exports.label_studio_rle import LONGEST_RUN, decode_brush, encode_brush
from tests.builders import make_mask, masks

# What label-studio-sdk 2.1.2 `mask2rle` wrote for a 2 x 3 picture, 255 at row 0 column 1 and row 1
# column 2.
FROM_THE_SDK = [0, 0, 0, 24, 57, 27, 252, 96, 17, 255, 219, 0, 143, 252]


def decoded_by_the_sdk(rle: list[int], mask: np.ndarray) -> np.ndarray:
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    return brush.decode_rle(rle).reshape(*mask.shape, 4)[..., 3] == 255


@given(masks(24))
def test_a_mask_comes_back_bit_by_bit(mask: np.ndarray) -> None:
    assert np.array_equal(decode_brush(encode_brush(mask), size_hw=mask.shape), mask)


@given(masks(12))
def test_the_sdk_reads_the_same_mask(mask: np.ndarray) -> None:
    assert np.array_equal(decoded_by_the_sdk(encode_brush(mask), mask), mask)


@given(masks(12))
def test_what_the_sdk_writes_is_read(mask: np.ndarray) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    rle = brush.mask2rle(mask.astype(np.uint8) * 255)
    assert np.array_equal(decode_brush(rle, size_hw=mask.shape), mask)


def test_bytes_that_the_sdk_wrote_once_are_read() -> None:
    mask = decode_brush(FROM_THE_SDK, size_hw=(2, 3))
    assert mask.tolist() == [[False, True, False], [False, False, True]]


@pytest.mark.parametrize("pixels", [1, 2, 4, 64, LONGEST_RUN // 4, LONGEST_RUN // 4 + 1, 40_000])
def test_runs_at_the_borders_of_the_length_classes_come_back(pixels: int) -> None:
    for mask in (np.ones((1, pixels), bool), np.zeros((pixels, 1), bool)):
        rle = encode_brush(mask)
        assert np.array_equal(decode_brush(rle, size_hw=mask.shape), mask)
        assert np.array_equal(decoded_by_the_sdk(rle, mask), mask)


def bits(*fields: tuple[int, int]) -> list[int]:
    """The fields (value, width) one behind the other, filled up to whole bytes."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    text += "0" * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


HEADER = ((7, 5), (2, 4), (3, 4), (7, 4), (15, 4))
LITERALS = ((0, 1), (0, 2), (7, 3))  # eight values follow


def test_soft_edges_of_a_stroke_count_from_half_on() -> None:
    values = [(one, 8) for one in (9, 9, 9, 127, 9, 9, 9, 128)]
    rle = bits((8, 32), *HEADER, *LITERALS, *values)
    assert decode_brush(rle, size_hw=(1, 2)).tolist() == [[False, True]]


def test_a_run_may_end_inside_a_pixel() -> None:
    # Six values of 0, then two of 200: the alpha of the second pixel is 200.
    run = ((1, 1), (0, 2), (5, 3), (0, 8)), ((1, 1), (0, 2), (1, 3), (200, 8))
    rle = bits((8, 32), *HEADER, *run[0], *run[1])
    assert decode_brush(rle, size_hw=(1, 2)).tolist() == [[False, True]]


@pytest.mark.parametrize("keep", [0, 3, 8, 10])
def test_bytes_that_are_cut_off_are_refused(keep: int) -> None:
    rle = encode_brush(make_mask((2, 3, 12, 9)))
    with pytest.raises(FormatError, match="cut off"):
        decode_brush(rle[:keep], size_hw=(30, 40))


def test_a_mask_of_another_picture_is_refused() -> None:
    with pytest.raises(FormatError, match="30 x 41"):
        decode_brush(encode_brush(make_mask()), size_hw=(30, 41))


def test_a_run_beyond_the_picture_is_refused() -> None:
    rle = bits((4, 32), *HEADER, (1, 1), (1, 2), (15, 4), (255, 8))
    with pytest.raises(FormatError, match="beyond"):
        decode_brush(rle, size_hw=(1, 1))


@pytest.mark.parametrize("rle", [[256], [-1], ["a"], "abc", 10**15, None, [1.5], [[1]]])
def test_what_is_no_list_of_bytes_is_refused(rle: object) -> None:
    with pytest.raises(FormatError, match="list of whole numbers"):
        decode_brush(rle, size_hw=(1, 1))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 255), max_size=60), st.integers(1, 6), st.integers(1, 6))
def test_any_bytes_are_read_or_refused(rle: list[int], height: int, width: int) -> None:
    header = list((height * width * 4).to_bytes(4, "big"))
    try:
        mask = decode_brush(header + rle, size_hw=(height, width))
    except FormatError:
        return
    assert mask.shape == (height, width)

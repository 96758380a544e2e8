from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError
from engine.geometry import mask_to_rle, rle_to_mask
from engine.types import Mask
from exports.runs import checked_rle, decoded_counts
from tests.builders import make_mask, masks


def runs_of(mask: Mask) -> list[int]:
    """Counted the slow way: down the columns, background first."""
    runs, inside = [0], False
    for value in mask.T.ravel().tolist():
        if value != inside:
            runs.append(0)
            inside = value
        runs[-1] += 1
    return runs


@given(masks())
def test_compressed_text_decodes_to_the_runs_of_the_mask(mask: Mask) -> None:
    assert decoded_counts(mask_to_rle(mask).counts).tolist() == runs_of(mask)


@given(masks())
def test_both_kinds_of_counts_are_taken_over(mask: Mask) -> None:
    height, width = mask.shape
    rle = mask_to_rle(mask)
    assert checked_rle(rle.as_dict(), size=(height, width)) == rle
    uncompressed = {"size": [height, width], "counts": runs_of(mask)}
    assert checked_rle(uncompressed, size=(height, width)) == rle


@pytest.mark.parametrize(
    "counts",
    [
        *("", "0", "zzzz", "~~~~", "P", "PPPPPPPPPPPPPPP0", " ", "é", "abc"),
        *(
            [],
            [3],
            [3, 100],
            [5, -2, 9],
            [6.0, 6.0],
            ["12"],
            [10**30],
            [True] * 12,
            None,
            12,
            b"04",
        ),
    ],
)
def test_counts_that_would_crash_pycocotools_are_refused(counts: Any) -> None:
    with pytest.raises(FormatError, match="RLE counts"):
        checked_rle({"size": [3, 4], "counts": counts}, size=(3, 4))


@pytest.mark.parametrize("size", [[4, 3], [3], None, "34"])
def test_a_mask_of_another_photo_is_refused(size: Any) -> None:
    with pytest.raises(FormatError, match="RLE of size"):
        checked_rle({"size": size, "counts": [12]}, size=(3, 4))


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_is_a_mask_or_refused(text: str) -> None:
    try:
        rle = checked_rle({"size": [3, 4], "counts": text}, size=(3, 4))
    except FormatError:
        return
    assert sum(runs_of(rle_to_mask(rle))) == 12


def test_a_full_mask_starts_with_an_empty_run() -> None:
    assert decoded_counts(mask_to_rle(make_mask((0, 0, 40, 30))).counts).tolist() == [0, 1200]

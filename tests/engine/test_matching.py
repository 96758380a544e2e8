"""Eq. 11 and the boxes of masks: published fixtures, edges of grids, and properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.errors import OptionError
from engine.matching import (
    best,
    coarse_to_cells,
    coverage,
    iou_with_inclusive_pixels,
    mask_cells,
    scores,
    spans_frame,
    union_box,
)
from engine.types import Box, Mask
from tests.builders import make_mask

FRAME = (0, 0, 224, 224)


def block(rows: tuple[int, int], columns: tuple[int, int]) -> Mask:
    return make_mask((columns[0], rows[0], columns[1], rows[1]), height=224, width=224)


def masks_of(max_side: int) -> st.SearchStrategy[Mask]:
    return arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=max_side))


@pytest.fixture
def coarse() -> np.ndarray:
    values = np.zeros((14, 14), dtype=np.float32)
    values[3:8, 4:10] = 0.7
    values[3, 4] = 0.15
    values[9, 9] = 0.25
    return values


GALLERY = np.stack(
    [
        block((48, 128), (64, 160)),
        block((55, 120), (72, 153)),
        block((40, 136), (56, 168)),
        block((56, 120), (72, 152)),
    ]
)


def test_the_worked_example_of_equation_11(coarse: np.ndarray) -> None:
    cells = coarse_to_cells(coarse)
    assert cells.sum() == 30
    found = scores(cells, mask_cells(GALLERY, 14))
    assert found.tolist() == [29 / 31, 29 / 31, 29 / 57, 29 / 31]
    assert best(found) == 0


def test_a_single_centre_pixel_turns_its_cell_on(coarse: np.ndarray) -> None:
    expected = np.zeros((14, 14), dtype=bool)
    expected[2:9, 3:11] = True  # rows 40..135 hold row 40 of cell 2: 16 * 2 + 8
    assert np.array_equal(mask_cells(GALLERY[2], 14), expected)


def test_the_threshold_itself_is_off() -> None:
    values = np.array([[0.5, np.nextafter(0.5, 1)]])
    assert coarse_to_cells(values, 0.5).tolist() == [[False, True]]


def test_any4_at_224_is_the_four_centre_pixels_of_each_patch() -> None:
    mask = np.random.default_rng(0).random((224, 224)) < 0.2
    patches = mask.reshape(14, 16, 14, 16)
    expected = patches[:, 7:9, :, 7:9].any(axis=(1, 3))
    assert 0 < expected.sum() < 196
    assert np.array_equal(mask_cells(mask, 14), expected)


@given(masks_of(40), st.integers(1, 16))
def test_any4_is_a_bilinear_resize_without_antialiasing_at_any_size(mask: Mask, grid: int) -> None:
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(mask[None, None].astype(np.float32)), (grid, grid), mode="bilinear"
    )
    # The smallest true weight is (1 / 2 grid) squared, above 9e-4; rounding is below 1e-5.
    assert np.array_equal(mask_cells(mask, grid), resized[0, 0].numpy() > 1e-4)


def test_a_thin_line_off_the_centres_is_lost_by_any4_and_kept_by_coverage() -> None:
    line = block((0, 224), (0, 2))
    assert not mask_cells(line, 14).any()
    assert coverage(line, 14)[:, 0].tolist() == [0.125] * 14


def test_mean_needs_more_than_half_the_area() -> None:
    half = make_mask((0, 0, 1, 2), height=2, width=2)
    three_quarters = half | make_mask((1, 0, 2, 1), height=2, width=2)
    assert not mask_cells(half, 1, "mean").item()
    assert mask_cells(three_quarters, 1, "mean").item()


def test_nearest_looks_at_the_pixel_in_the_middle() -> None:
    mask = make_mask((1, 1, 2, 2), height=3, width=3)
    assert mask_cells(mask, 1, "nearest").item()
    assert not mask_cells(~mask, 1, "nearest").item()


def test_cells_that_cut_through_pixels_get_their_shares() -> None:
    # Three pixels in two cells of 1.5: the middle one is shared.
    assert coverage(np.array([[True, False, True]]), 2)[0].tolist() == pytest.approx([2 / 3] * 2)
    assert coverage(np.array([[True, True, False]]), 2)[0].tolist() == pytest.approx([1, 1 / 3])


@given(masks_of(30), st.integers(1, 16))
def test_coverage_keeps_the_share_of_the_whole(mask: Mask, grid: int) -> None:
    cells = coverage(mask, grid)
    assert cells.shape == (grid, grid)
    assert cells.mean() == pytest.approx(mask.mean(), abs=1e-6)
    assert cells.min() >= 0
    assert cells.max() <= 1


@pytest.mark.parametrize("rule", ["any4", "mean", "nearest"])
@given(mask=masks_of(30))
def test_a_grid_of_the_masks_own_size_is_the_mask(rule: str, mask: Mask) -> None:
    square = np.resize(mask, (mask.shape[0], mask.shape[0]))
    assert np.array_equal(mask_cells(square, len(square), rule), square)


@pytest.mark.parametrize("rule", ["any4", "mean", "nearest"])
def test_one_pixel_fills_every_grid(rule: str) -> None:
    assert mask_cells(np.ones((1, 1), dtype=bool), 14, rule).all()


def test_many_masks_give_what_each_gives() -> None:
    together = coverage(GALLERY, 14)
    assert np.array_equal(together, np.stack([coverage(mask, 14) for mask in GALLERY]))


def test_nothing_against_nothing_scores_zero() -> None:
    empty = np.zeros((14, 14), dtype=bool)
    assert scores(empty, empty[None]).tolist() == [0.0]
    assert scores(empty.astype(float), empty[None].astype(float), "soft").tolist() == [0.0]


def test_soft_is_minima_over_maxima() -> None:
    first = np.array([[0.5, 1.0]])
    second = np.array([[[0.25, 0.5]], [[0.5, 1.0]]])
    assert scores(first, second, "soft").tolist() == [0.5, 1.0]  # 0.75 / 1.5


@given(arrays.arrays(bool, (4, 4)), arrays.arrays(bool, (3, 4, 4)))
def test_soft_on_cells_is_equation_11(cells: np.ndarray, gallery: np.ndarray) -> None:
    soft = scores(cells.astype(float), gallery.astype(float), "soft")
    assert np.array_equal(scores(cells, gallery), soft)


def test_an_empty_gallery_has_no_scores_and_no_best() -> None:
    found = scores(np.ones((4, 4), dtype=bool), np.zeros((0, 4, 4), dtype=bool))
    assert found.shape == (0,)
    assert best(found) is None


def test_shares_are_not_taken_for_cells() -> None:
    with pytest.raises(ValueError, match="compares cells"):
        scores(np.ones((4, 4)), np.ones((1, 4, 4)))


def test_grids_of_two_sizes_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\) does not fit"):
        scores(np.ones((4, 4), dtype=bool), np.ones((1, 5, 5), dtype=bool))


def test_unknown_rules_name_the_known_ones() -> None:
    mask = np.ones((4, 4), dtype=bool)
    with pytest.raises(OptionError, match="'any9'; known are any4, mean, nearest"):
        mask_cells(mask, 2, "any9")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="'dice'; known are iou, soft"):
        scores(mask, mask[None], "dice")  # type: ignore[arg-type]


def test_the_box_leaves_out_specks() -> None:
    mask = block((50, 100), (60, 120)) | block((150, 153), (150, 153))
    assert union_box(mask) == (60, 50, 120, 100)
    assert union_box(mask, 9) == (60, 50, 153, 153)
    assert not spans_frame(mask)


WHOLE = np.ones((224, 224), dtype=bool)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(~WHOLE, id="empty"),
        pytest.param(WHOLE, id="full"),
        pytest.param(~block((1, 223), (1, 223)), id="a frame of one pixel"),
        pytest.param(block((1, 224), (0, 224)), id="only row 0 missing, which closing fills"),
        pytest.param(block((5, 8), (5, 8)), id="nothing but a speck"),
    ],
)
def test_what_spans_the_frame(mask: Mask) -> None:
    assert union_box(mask) == FRAME
    assert spans_frame(mask)


def test_closing_joins_parts_one_pixel_apart() -> None:
    two = make_mask((0, 10, 2, 12), (3, 10, 5, 12))  # 4 pixels each, 10 with the gap
    assert union_box(two) == (0, 10, 5, 12)


def test_parts_that_touch_at_corners_are_one() -> None:
    diagonal = make_mask((0, 0, 3, 3), (3, 3, 6, 6), height=20, width=20)
    assert union_box(diagonal, 18) == (0, 0, 6, 6)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((64, 48, 160, 128), (60, 40, 150, 120), 0.715444),
        ((64, 48, 160, 128), (56, 40, 168, 136), 0.716814),
        ((1, 2, 5, 6), (3, 1, 4, 5), 8 / 27),
        ((7, 7, 7, 7), (7, 7, 7, 7), 1.0),
        ((0, 0, 4, 4), (5, 0, 9, 4), 0.0),
    ],
)
def test_inclusive_iou_as_the_papers_count(first: Box, second: Box, expected: float) -> None:
    assert iou_with_inclusive_pixels(first, second) == pytest.approx(expected, abs=1e-6)

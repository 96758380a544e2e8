"""Views, score maps and truth of the three protocols: worked numbers, edges and refusals."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.errors import OptionError
from engine.matching import iou_with_inclusive_pixels
from engine.metrics.protocols import (
    Protocol,
    best_ious,
    check_score_map,
    check_thresholds,
    check_view_boxes,
    inclusive_ious,
    prepare_map,
    scale_truth,
)
from tests.engine.metrics.maps import pyramid, true_boxes

PROTOCOLS = get_args(Protocol)
COARSE = np.array([[0.0, 1.0], [2.0, 4.0]])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(
    coarse=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=14),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_a_prepared_map_is_a_score_map_of_the_view(protocol: Protocol, coarse: np.ndarray) -> None:
    prepared = prepare_map(coarse, protocol, size=28)
    assert prepared.shape == (28, 28)
    assert prepared.dtype == np.float64
    assert np.array_equal(check_score_map(prepared), prepared)
    if protocol != "sat" and prepared.any():
        assert (prepared.min(), prepared.max()) == (0.0, 1.0)


def test_sat_stretches_before_it_resizes_and_stays_below_one() -> None:
    prepared = prepare_map(COARSE, "sat", size=4)
    spread = 4 + 1e-5
    assert prepared[0, 0] == 0.0
    assert prepared[-1, -1] == pytest.approx(4 / spread, abs=1e-12)
    assert prepared[0, 1] == pytest.approx(0.25 / spread)  # a quarter of the way from 0 to 1


@pytest.mark.parametrize("protocol", ["tscam", "wsol"])
def test_the_others_reach_zero_and_one_exactly(protocol: Protocol) -> None:
    prepared = prepare_map(COARSE, protocol)
    assert (prepared.min(), prepared.max()) == (0.0, 1.0)


def test_wsol_resizes_bicubically() -> None:
    peak = np.zeros((5, 5))
    peak[2, 2] = 1.0
    bilinear, bicubic = prepare_map(peak, "tscam"), prepare_map(peak, "wsol")
    assert bilinear[0, 0] == 0.0
    assert bicubic[0, 0] > 0.0  # bicubic undershoots around the peak, so far off is not lowest


@pytest.mark.parametrize("protocol", ["tscam", "wsol"])
def test_a_map_of_the_views_size_that_reaches_zero_and_one_stays(protocol: Protocol) -> None:
    score_map = pyramid(112, 112, 100, 100)
    assert np.array_equal(prepare_map(score_map, protocol), score_map)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_constant_map_becomes_zeros(protocol: Protocol) -> None:
    # Resized first, 0.7 would come out as rounding noise, and stretching would blow that up.
    assert not prepare_map(np.full((14, 14), 0.7), protocol).any()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_larger_map_whose_one_pixel_the_resize_misses_becomes_flat(protocol: Protocol) -> None:
    large = np.zeros((560, 560))
    large[0, 0] = 1.0
    assert np.ptp(prepare_map(large, protocol, size=56)) == 0.0


def test_nan_becomes_zeros_under_wsol_only() -> None:
    broken = np.array([[0.0, np.nan], [1.0, 0.5]])
    assert not prepare_map(broken, "wsol").any()
    for protocol in ("sat", "tscam"):
        with pytest.raises(ValueError, match="holds nan; look for a loss or weights"):
            prepare_map(broken, protocol)
    with pytest.raises(ValueError, match="holds inf"):
        prepare_map(np.array([[0.0, np.inf]]), "wsol")


def test_a_class_specific_method_is_judged_by_the_map_of_the_named_class() -> None:
    maps = np.stack([COARSE, COARSE[::-1]])
    assert np.array_equal(prepare_map(maps, "tscam", category=1), prepare_map(maps[1], "tscam"))
    with pytest.raises(ValueError, match=r"got \(2, 2, 2\) with category None"):
        prepare_map(maps, "tscam")


def test_an_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match="'voc'; known are sat, tscam, wsol"):
        prepare_map(COARSE, "voc")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0.0, 1.1]], "0.0 to 1.1"),
        ([[-0.1, 1.0]], "-0.1 to 1.0"),
        ([[0.0, np.nan]], "nan to nan"),
        ([0.0, 1.0], r"\(2,\)"),
        (np.zeros((0, 4)), r"\(0, 4\)"),
    ],
)
def test_what_is_no_score_map_is_refused(values: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_score_map(np.array(values))


# Truth -----------------------------------------------------------------------------------------


def test_truth_as_wsolevaluation_scales_it() -> None:
    scaled = scale_truth([(60, 27, 385, 331)], "wsol", width=500, height=335)
    assert scaled.tolist() == [[26, 18, 172, 221]]


def test_a_corner_that_falls_on_a_pixel_is_that_pixel() -> None:
    # 180 * 224 / 640 is 63; 180 * (224 / 640) would be 62.99… and truncated to 62.
    for protocol in PROTOCOLS:
        scaled = scale_truth([(180, 180, 320, 320)], protocol, width=640, height=640)
        assert scaled.tolist() == [[63, 63, 112, 112]]


@pytest.mark.parametrize(("protocol", "expected"), [("sat", 60), ("tscam", 60), ("wsol", 61)])
def test_rounding_is_that_of_each_reference(protocol: Protocol, expected: int) -> None:
    # 122 / 448 * 224 is 60.99… where 122 * 224 / 448 is 61: the papers' codes differ here.
    scaled = scale_truth([(122, 0, 448, 448)], protocol, width=448, height=448)
    assert scaled[0, 0] == expected


def test_wsol_truth_is_not_clipped_and_the_others_end_with_the_view() -> None:
    whole = [(0, 0, 500, 335)]
    assert scale_truth(whole, "wsol", width=500, height=335).tolist() == [[0, 0, 224, 224]]
    for protocol in ("sat", "tscam"):
        scaled = scale_truth(whole, protocol, width=500, height=335)
        assert scaled.tolist() == [[0, 0, 223, 223]]


def test_a_crop_shifts_and_clips() -> None:
    # 256 / 512 halves; the crop begins at 16.
    boxes = [(100, 40, 300, 200), (0, 0, 512, 512)]
    scaled = scale_truth(boxes, "sat", width=512, height=512, resize=256)
    assert scaled.tolist() == [[34, 4, 134, 84], [0, 0, 223, 223]]


def test_truncation_is_towards_zero() -> None:
    # 31 / 512 * 256 - 16 = -0.5, of which 0 is left
    scaled = scale_truth([(0, 0, 31, 100)], "sat", width=512, height=512, resize=256)
    assert scaled.tolist() == [[0, 0, 0, 34]]


def test_what_the_crop_cuts_away_is_left_out() -> None:
    boxes = [(0, 0, 20, 200), (490, 0, 512, 300), (100, 100, 200, 200)]
    scaled = scale_truth(boxes, "sat", width=512, height=512, resize=256)
    assert scaled.tolist() == [[34, 34, 84, 84]]
    assert scale_truth(boxes[:1], "sat", width=512, height=512, resize=256).shape == (0, 4)


def test_only_sat_knows_crops() -> None:
    with pytest.raises(OptionError, match="resize 256 before a view of 224"):
        scale_truth([(0, 0, 1, 1)], "tscam", width=10, height=10, resize=256)
    with pytest.raises(OptionError, match="resize 200 before a view of 224"):
        scale_truth([(0, 0, 1, 1)], "sat", width=10, height=10, resize=200)


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 5, -1), (6, 0, 5, 5), (0, 6, 5, 5), (0, 0, np.nan, 5)]
)
def test_boxes_that_are_negative_or_inside_out_are_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must have 0 <= x0 <= x1 and 0 <= y0 <= y1"):
        check_view_boxes([(0, 0, 5, 5), box])
    with pytest.raises(ValueError, match="not as x, y, width, height"):
        scale_truth([box], "wsol", width=10, height=10)


def test_boxes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 5\)"):
        check_view_boxes([(0, 0, 5, 5, 1)])
    assert check_view_boxes([]).shape == (0, 4)
    assert check_view_boxes((0, 0, 5, 5)).shape == (1, 4)


@given(true_boxes(), true_boxes())
def test_many_ious_are_what_each_pair_gives(
    first: list[tuple[int, int, int, int]], second: list[tuple[int, int, int, int]]
) -> None:
    found = inclusive_ious(first, second)
    expected = [[iou_with_inclusive_pixels(one, other) for other in second] for one in first]
    assert found == pytest.approx(np.array(expected), abs=1e-12)
    assert best_ious(first, second) == pytest.approx(found.max(axis=1))


def test_without_truth_or_boxes_nothing_overlaps() -> None:
    assert best_ious([(0, 0, 5, 5)], []).tolist() == [0.0]
    assert best_ious([], [(0, 0, 5, 5)]).shape == (0,)


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.5), (0.5, 0.2), (-0.1,), (1.1,), (np.nan,)])
def test_thresholds_ascend_within_zero_and_one(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match=r"thresholds must ascend within \[0, 1\]"):
        check_thresholds(thresholds)

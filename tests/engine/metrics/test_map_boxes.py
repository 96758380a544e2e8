"""Boxes of maps and masks: numbers of the reference codes, and the sweep against one at a time."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from engine.errors import OptionError
from engine.metrics.map_boxes import Contours, MaskRule, boxes_at, mask_boxes, sweep_boxes
from engine.metrics.protocols import Protocol, best_ious, prepare_map
from tests.builders import make_mask, masks
from tests.engine.metrics.maps import PYRAMIDS, score_maps, true_boxes

PROTOCOLS = get_args(Protocol)

FIRST = np.array([[0, 0, 0, 0, 0], [0, 4, 4, 4, 6], [0, 4, 10, 8, 6], [0, 4, 4, 4, 6]]) / 10
SECOND = np.array([[4, 0, 2, 2, 2], [4, 4, 0, 4, 0], [0, 0, 0, 4, 0], [10, 6, 8, 2, 2]]) / 10


@pytest.mark.parametrize(
    ("score_map", "expected"),
    [
        (FIRST, [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]),
        (SECOND, [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]]),
    ],
)
def test_the_worked_maps_of_wsolevaluation(score_map: np.ndarray, expected: list) -> None:
    found = [boxes_at(score_map, t, protocol="wsol").tolist() for t in (0, 0.2, 0.4, 0.6, 0.8)]
    assert found == [[box] for box in expected]


def test_all_contours_of_the_worked_map() -> None:
    def found(threshold: float) -> set[tuple[int, ...]]:
        boxes = boxes_at(SECOND, threshold, protocol="wsol", contours="all")
        return set(map(tuple, boxes.tolist()))

    assert found(0.2) == {(0, 1, 4, 3), (0, 0, 2, 2)}
    assert found(0.6) == {(2, 3, 3, 3), (0, 3, 1, 3)}


def test_the_contour_around_a_hole_is_one_of_all() -> None:
    ring = make_mask((20, 20, 120, 120), height=224, width=224)
    ring &= ~make_mask((50, 50, 90, 90), height=224, width=224)
    found = boxes_at(ring, 0.5, protocol="wsol", contours="all")
    assert found.tolist() == [[20, 20, 120, 120], [49, 49, 91, 91]]


@pytest.fixture
def coarse() -> np.ndarray:
    values = np.full((14, 14), 0.05, dtype=np.float32)
    values[3:8, 4:10] += 0.9
    values[10:13, 1:4] += 0.6
    return values


@pytest.mark.parametrize(
    ("protocol", "threshold", "expected", "parts"),
    [
        ("sat", 0.2, (59, 43, 165, 133), 2),
        ("sat", 0.3, (61, 45, 163, 131), 2),
        ("sat", 0.4, (62, 46, 162, 130), 2),
        ("sat", 0.5, (64, 48, 160, 128), 2),
        ("sat", 0.9, (70, 54, 154, 122), 1),
        ("tscam", 0.1, (58, 42, 166, 134), 2),
        ("tscam", 0.12, (58, 42, 166, 134), 2),
        ("tscam", 0.2, (59, 43, 165, 133), 2),
        ("tscam", 0.5, (64, 48, 160, 128), 2),
    ],
)
def test_the_worked_map_of_sat_and_ts_cam(
    coarse: np.ndarray, protocol: Protocol, threshold: float, expected: tuple, parts: int
) -> None:
    prepared = prepare_map(coarse, protocol)
    assert boxes_at(prepared, threshold, protocol=protocol).tolist() == [list(expected)]
    assert len(boxes_at(prepared, threshold, protocol=protocol, contours="all")) == parts


# Slow and plain, threshold by threshold, as the reference codes go about it ---------------------


def plain_boxes(
    score_map: np.ndarray, threshold: float, protocol: Protocol, contours: Contours
) -> list[list[int]]:
    height, width = score_map.shape
    if protocol == "sat":
        labels, _ = ndimage.label(score_map > threshold, structure=np.ones((3, 3)))
        parts = sorted(set(labels[labels > 0].tolist()))
        if not parts:
            return [[0, 0, width, height]]
        if contours == "largest":
            parts = [max(parts, key=lambda part: (labels == part).sum())]
        slices = [ndimage.find_objects(labels)[part - 1] for part in parts]
        return [[x.start, y.start, x.stop, y.stop] for y, x in slices]
    grey = (255 * score_map).astype(np.uint8)
    kind = cv2.THRESH_TOZERO if protocol == "tscam" else cv2.THRESH_BINARY
    _, cut = cv2.threshold(grey, int(threshold * grey.max()), 255, kind)
    found, _ = cv2.findContours(cut, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not found:
        return [[0, 0, 0, 0]] if protocol == "wsol" else [[0, 0, 1, 1]]
    if contours == "largest":
        found = (max(found, key=cv2.contourArea),)
    boxes = []
    for contour in found:
        x, y, w, h = cv2.boundingRect(contour)
        last = (x + w, y + h)
        if protocol == "wsol":
            last = (min(last[0], width - 1), min(last[1], height - 1))
        boxes.append([x, y, *last])
    return boxes


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("contours", get_args(Contours))
@given(
    score_map=score_maps(),
    thresholds=st.sets(
        st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0]) | st.floats(0, 1), min_size=1
    ).map(sorted),
    truth=true_boxes(),
)
def test_a_sweep_is_every_threshold_on_its_own(
    protocol: Protocol,
    contours: Contours,
    score_map: np.ndarray,
    thresholds: list[float],
    truth: list,
) -> None:
    swept = sweep_boxes(score_map, thresholds, protocol=protocol, contours=contours)
    overlaps = swept.best_ious(truth)
    for index, threshold in enumerate(thresholds):
        expected = plain_boxes(score_map, threshold, protocol, contours)
        assert sorted(swept.at(index).tolist()) == sorted(expected)
        alone = boxes_at(score_map, threshold, protocol=protocol, contours=contours)
        assert np.array_equal(swept.at(index), alone)
        assert overlaps[index] == best_ious(expected, truth).max()


def test_a_sweep_of_a_whole_view_is_every_threshold_on_its_own() -> None:
    score_map, _ = PYRAMIDS["B"]
    thresholds = np.arange(0, 1, 0.001)
    swept = sweep_boxes(score_map, thresholds, protocol="wsol", contours="all")
    assert len(swept.starts) <= 256
    for index in range(0, 1000, 37):
        expected = plain_boxes(score_map, thresholds[index], "wsol", "all")
        assert swept.at(index).tolist() == expected


def test_a_binary_map_gives_the_same_box_at_every_threshold_below_one() -> None:
    mask = make_mask((3, 4, 20, 11))
    swept = sweep_boxes(mask, np.arange(0, 1, 0.001), protocol="wsol")
    assert len(swept.starts) == 1
    assert swept.at(999).tolist() == [[3, 4, 20, 11]]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("sat", [0, 0, 40, 30]), ("tscam", [0, 0, 1, 1]), ("wsol", [0, 0, 0, 0])],
)
@pytest.mark.parametrize("contours", get_args(Contours))
def test_an_empty_map_has_the_box_of_its_protocol(
    protocol: Protocol, contours: Contours, expected: list[int]
) -> None:
    found = boxes_at(np.zeros((30, 40)), 0.5, protocol=protocol, contours=contours)
    assert found.tolist() == [expected]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("sat", [39, 29, 40, 30]), ("tscam", [39, 29, 40, 30]), ("wsol", [39, 29, 39, 29])],
)
def test_one_pixel_in_the_corner(protocol: Protocol, expected: list[int]) -> None:
    pixel = make_mask((39, 29, 40, 30))
    assert boxes_at(pixel, 0.5, protocol=protocol).tolist() == [expected]


def test_the_first_part_from_the_top_wins_among_equals() -> None:
    # The right one begins a row above the left one, within the same rows of 2 x 2 blocks.
    two = make_mask((0, 1, 2, 3), (10, 0, 12, 2))
    assert boxes_at(two, 0.5, protocol="sat").tolist() == [[10, 0, 12, 2]]


def test_sat_counts_pixels_and_the_others_the_polygons_area() -> None:
    ring = make_mask((0, 0, 12, 12)) & ~make_mask((1, 1, 11, 11))  # 44 pixels around 100
    solid = make_mask((20, 0, 28, 8))  # 64 pixels
    assert boxes_at(ring | solid, 0.5, protocol="sat").tolist() == [[20, 0, 28, 8]]
    assert boxes_at(ring | solid, 0.5, protocol="tscam").tolist() == [[0, 0, 12, 12]]


def test_the_threshold_itself_is_not_above_it() -> None:
    score_map = np.array([[0.5, 0.0, 1.0]])
    assert boxes_at(score_map, 0.5, protocol="sat").tolist() == [[2, 0, 3, 1]]


def test_the_map_must_be_a_score_map_and_names_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"within \[0, 1\], got 0.0 to 2.0; prepare_map"):
        boxes_at(np.array([[0.0, 2.0]]), 0.5, protocol="sat")
    with pytest.raises(OptionError, match="'some'; known are largest, all"):
        boxes_at(FIRST, 0.5, protocol="sat", contours="some")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="'hull' for a mask's box; known are union"):
        mask_boxes(FIRST > 0, "hull")  # type: ignore[arg-type]


# Masks -----------------------------------------------------------------------------------------

TWO = make_mask((2, 3, 12, 9), (20, 10, 24, 14)) | make_mask((30, 20, 31, 21))  # and a speck


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("union", [[2, 3, 24, 14]]),
        ("component", [[2, 3, 12, 9]]),
        ("contours", [[2, 3, 12, 9], [20, 10, 24, 14], [30, 20, 31, 21]]),
    ],
)
def test_the_three_rules_for_the_box_of_a_mask(rule: MaskRule, expected: list) -> None:
    assert sorted(mask_boxes(TWO, rule).tolist()) == expected


def test_specks_are_what_min_area_says() -> None:
    assert mask_boxes(TWO, min_area=1).tolist() == [[2, 3, 31, 21]]
    assert mask_boxes(TWO, min_area=17).tolist() == [[2, 3, 12, 9]]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("union", [0, 0, 40, 30]), ("component", [0, 0, 40, 30]), ("contours", [0, 0, 0, 0])],
)
def test_an_empty_mask_has_the_box_of_its_protocol(rule: MaskRule, expected: list[int]) -> None:
    assert mask_boxes(np.zeros((30, 40), dtype=bool), rule).tolist() == [expected]


@given(masks())
def test_the_rules_for_masks_are_those_of_binary_maps(mask: np.ndarray) -> None:
    as_map = boxes_at(mask, 0.5, protocol="wsol", contours="all")
    assert np.array_equal(mask_boxes(mask, "contours"), as_map)
    assert np.array_equal(mask_boxes(mask, "component"), boxes_at(mask, 0.5, protocol="sat"))

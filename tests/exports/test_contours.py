from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from skimage.draw import disk
from skimage.measure import label

from engine.geometry import iou_masks, mask_to_rle, rle_to_mask
from engine.types import Mask, Rle
from exports.contours import iou_rles, polygon_to_rle, segmentation, signed_area, simplify, trace
from exports.runs import checked_rle
from tests.builders import make_mask, masks, masks_with_pixels

CHECKERBOARD = np.indices((6, 6)).sum(axis=0) % 2 == 0


def drawn(polygons: list[np.ndarray], mask: Mask) -> Mask:
    """What pycocotools makes of the rings."""
    height, width = mask.shape
    points = [ring.ravel().tolist() for ring in polygons]
    return rle_to_mask(polygon_to_rle(points, size=(height, width)))


def back(written: object, mask: Mask) -> Mask:
    """The mask that a segmentation stands for."""
    height, width = mask.shape
    if isinstance(written, dict):
        return rle_to_mask(checked_rle(written, size=(height, width)))
    return rle_to_mask(polygon_to_rle(written, size=(height, width)))  # type: ignore[arg-type]


def wave() -> Mask:
    """A blob with a wavy rim: slanted, curved and straight outlines in one."""
    rows, columns = np.mgrid[:200, :240] - np.array([100, 120])[:, None, None]
    angle = np.arctan2(rows, columns)
    return np.hypot(rows, columns) < 60 + 15 * np.sin(7 * angle)


@given(masks())
@example(CHECKERBOARD)
@example(np.ones((1, 1), dtype=bool))
@example(np.ones((1, 9), dtype=bool))
@example(np.zeros((3, 3), dtype=bool))
def test_rings_drawn_by_pycocotools_are_the_mask_again(mask: Mask) -> None:
    outlines = trace(mask)
    painted = np.zeros(mask.shape, dtype=int)
    for ring in outlines.outer:
        painted += drawn([ring], mask)
    for ring in outlines.holes:
        painted -= drawn([ring], mask)
    np.testing.assert_array_equal(painted, mask.astype(int))


@given(masks())
@example(CHECKERBOARD)
def test_there_is_one_outer_ring_for_each_part_connected_by_pixel_sides(mask: Mask) -> None:
    parts = label(mask, connectivity=1).max()
    holes = label(~np.pad(mask, 1), connectivity=2).max() - 1
    outlines = trace(mask)
    assert (len(outlines.outer), len(outlines.holes)) == (parts, holes)


@given(masks())
def test_the_area_inside_the_rings_is_the_number_of_pixels(mask: Mask) -> None:
    outlines = trace(mask)
    assert sum(map(signed_area, outlines.outer + outlines.holes)) == mask.sum()


def test_one_pixel_is_a_square_of_four_corners() -> None:
    outlines = trace(make_mask((7, 5, 8, 6)))
    assert sorted(map(tuple, outlines.outer[0].tolist())) == [(7, 5), (7, 6), (8, 5), (8, 6)]
    assert not outlines.holes


def test_a_rectangle_keeps_no_corner_on_its_straight_sides() -> None:
    assert len(trace(make_mask((0, 0, 40, 30))).outer[0]) == 4


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    assert len(trace(make_mask((1, 1, 2, 2), (2, 2, 3, 3))).outer) == 2


def test_an_empty_mask_has_no_rings() -> None:
    outlines = trace(make_mask())
    assert (outlines.outer, outlines.holes) == ((), ())


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(make_mask((7, 5, 8, 6)), id="one pixel"),
        pytest.param(make_mask((0, 4, 40, 5)), id="a line of one pixel"),
        pytest.param(make_mask((3, 3, 30, 5), (3, 3, 5, 20)), id="thin, with a corner"),
        pytest.param(make_mask((0, 0, 40, 30)), id="touching all edges"),
        pytest.param(wave(), id="wavy"),
    ],
)
def test_one_part_without_holes_goes_out_as_one_polygon_that_comes_back_bit_by_bit(
    mask: Mask,
) -> None:
    written = segmentation(mask_to_rle(mask))
    assert isinstance(written, list)
    assert len(written) == 1
    assert len(written[0]) >= 6
    assert all(type(value) is int for value in written[0])
    np.testing.assert_array_equal(back(written, mask), mask)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(make_mask((1, 1, 5, 5), (8, 8, 12, 12)), id="two parts"),
        pytest.param(make_mask((1, 1, 20, 20)) ^ make_mask((5, 5, 9, 9)), id="a hole"),
        pytest.param(CHECKERBOARD, id="checkerboard"),
        pytest.param(make_mask((1, 1, 2, 2), (2, 2, 3, 3)), id="parts touching at a corner"),
    ],
)
def test_parts_and_holes_go_out_as_compressed_rle(mask: Mask) -> None:
    written = segmentation(mask_to_rle(mask))
    assert isinstance(written, dict)
    assert isinstance(written["counts"], str)
    np.testing.assert_array_equal(back(written, mask), mask)


@given(masks_with_pixels())
def test_any_mask_comes_back_bit_by_bit(mask: Mask) -> None:
    np.testing.assert_array_equal(back(segmentation(mask_to_rle(mask)), mask), mask)


def test_half_a_pixel_of_tolerance_saves_corners_and_no_pixel() -> None:
    ring = trace(wave()).outer[0]
    simpler = simplify(ring, 0.5)
    assert len(simpler) < 0.9 * len(ring)
    assert iou_masks(drawn([simpler], wave()), wave()) == 1.0


def test_a_coarser_ring_is_refused_below_the_least_iou() -> None:
    mask = make_mask()
    mask[disk((15, 20), 6.5)] = True
    rle = mask_to_rle(mask)
    coarse = segmentation(rle, tolerance=2.0, least_iou=0.5)
    careful = segmentation(rle, tolerance=2.0)
    assert iou_masks(back(coarse, mask), mask) < 0.99
    assert len(coarse[0]) < len(careful[0])  # type: ignore[index]
    np.testing.assert_array_equal(back(careful, mask), mask)


def test_a_ring_is_never_simplified_below_three_corners() -> None:
    square = trace(make_mask((7, 5, 8, 6))).outer[0]
    assert len(simplify(square, 50.0)) >= 3
    assert simplify(square, 0.0) is square


@given(masks(), st.integers(0, 2**32 - 1))
def test_iou_of_rles_is_that_of_their_masks(mask: Mask, seed: int) -> None:
    other = mask ^ (np.random.default_rng(seed).random(mask.shape) < 0.2)
    expected = iou_masks(mask, other)
    assert iou_rles(mask_to_rle(mask), mask_to_rle(other)) == pytest.approx(expected)


def test_two_empty_rles_agree() -> None:
    empty: Rle = mask_to_rle(make_mask())
    assert iou_rles(empty, empty) == 1.0

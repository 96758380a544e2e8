from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from engine.geometry import (
    box_area,
    box_to_slices,
    clip_box,
    iou_boxes,
    iou_masks,
    mask_to_box,
    mask_to_rle,
    rle_to_mask,
)
from engine.types import Box, Mask
from tests.builders import make_mask, masks, masks_with_pixels


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    # Quarters are exact in floats, so that equalities hold.
    x0, y0 = (draw(st.integers(-40, 200)) / 4 for _ in range(2))
    return (x0, y0, x0 + draw(st.integers(1, 200)) / 4, y0 + draw(st.integers(1, 200)) / 4)


@given(masks())
def test_a_mask_survives_rle_bit_by_bit(mask: Mask) -> None:
    back = rle_to_mask(mask_to_rle(mask))
    assert back.dtype == np.bool_
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, mask)


def test_rle_reads_a_mask_of_any_memory_order_alike() -> None:
    mask = make_mask((3, 4, 9, 8))
    assert mask_to_rle(np.asfortranarray(mask)) == mask_to_rle(mask)
    assert mask_to_rle(mask[::-1, ::-1][::-1, ::-1]) == mask_to_rle(mask)


def test_one_pixel_has_a_box_of_width_and_height_one_as_in_pycocotools() -> None:
    mask = make_mask((7, 5, 8, 6))
    assert mask_to_box(mask) == (7.0, 5.0, 8.0, 6.0)
    assert coco_mask.toBbox(mask_to_rle(mask).as_dict()).tolist() == [7.0, 5.0, 1.0, 1.0]


def test_an_empty_mask_has_no_box() -> None:
    assert mask_to_box(make_mask()) is None


def test_a_mask_touching_all_edges_has_the_box_of_the_image() -> None:
    assert mask_to_box(make_mask((0, 0, 40, 30))) == (0.0, 0.0, 40.0, 30.0)


@given(masks_with_pixels())
def test_the_box_of_a_mask_is_that_of_pycocotools(mask: Mask) -> None:
    x0, y0, x1, y1 = mask_to_box(mask)  # type: ignore[misc]
    x, y, width, height = coco_mask.toBbox(mask_to_rle(mask).as_dict())
    assert (x0, y0, x1 - x0, y1 - y0) == (x, y, width, height)


@given(masks_with_pixels())
def test_the_box_of_a_mask_is_tight(mask: Mask) -> None:
    x0, y0, x1, y1 = (int(side) for side in mask_to_box(mask))  # type: ignore[union-attr]
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    inside = mask[y0:y1, x0:x1]
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@given(boxes(), st.integers(1, 40), st.integers(1, 40))
def test_a_clipped_box_lies_in_both_the_box_and_the_image(
    box: Box, width: int, height: int
) -> None:
    clipped = clip_box(box, width=width, height=height)
    if clipped is None:
        assert box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0
    else:
        assert max(box[0], 0) == clipped[0] < clipped[2] == min(box[2], width)
        assert max(box[1], 0) == clipped[1] < clipped[3] == min(box[3], height)


@given(boxes(), st.integers(1, 40), st.integers(1, 40))
def test_the_slices_of_a_box_are_the_pixels_it_overlaps(box: Box, width: int, height: int) -> None:
    rows, columns = box_to_slices(box, shape_hw=(height, width))
    x, y = np.arange(width), np.arange(height)
    overlaps_x = (x < box[2]) & (x + 1 > box[0])
    overlaps_y = (y < box[3]) & (y + 1 > box[1])
    taken = np.zeros((height, width), dtype=bool)
    taken[rows, columns] = True
    np.testing.assert_array_equal(taken, overlaps_y[:, None] & overlaps_x[None])


def test_boxes_overlapping_by_a_third_have_iou_one_third() -> None:
    # 10 x 10 each, 5 x 10 in common: 50 / 150.
    assert iou_boxes([(0, 0, 10, 10)], [(5, 0, 15, 10)])[0, 0] == pytest.approx(1 / 3)


def test_boxes_that_only_touch_have_iou_zero() -> None:
    assert iou_boxes([(0, 0, 10, 10)], [(10, 0, 20, 10)]).tolist() == [[0.0]]


def test_no_boxes_give_an_empty_table_of_the_right_shape() -> None:
    assert iou_boxes([], [(0, 0, 1, 1), (1, 1, 2, 2)]).shape == (0, 2)
    assert iou_boxes([(0, 0, 1, 1)], []).shape == (1, 0)


@given(st.lists(boxes(), max_size=5), st.lists(boxes(), max_size=5))
def test_box_iou_is_that_of_pycocotools(first: list[Box], second: list[Box]) -> None:
    ours = iou_boxes(first, second)
    assert ours.shape == (len(first), len(second))
    if first and second:
        as_xywh = [
            np.array([(a, b, c - a, d - b) for a, b, c, d in some]) for some in (first, second)
        ]
        theirs = coco_mask.iou(*as_xywh, [0] * len(second))
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@given(boxes(), boxes())
def test_box_iou_is_symmetric_and_one_only_for_the_same_box(first: Box, second: Box) -> None:
    there, back = iou_boxes([first], [second])[0, 0], iou_boxes([second], [first])[0, 0]
    assert there == back
    assert 0 <= there <= 1
    assert (there == 1) == (first == second)
    assert box_area(first) > 0


@given(st.data())
def test_mask_iou_is_that_of_pycocotools(data: st.DataObject) -> None:
    first = data.draw(masks_with_pixels())
    second = np.roll(first, data.draw(st.integers(0, 5)), axis=data.draw(st.integers(0, 1)))
    theirs = coco_mask.iou([mask_to_rle(first).as_dict()], [mask_to_rle(second).as_dict()], [0])[
        0, 0
    ]
    assert iou_masks(first, second) == pytest.approx(theirs)


def test_two_empty_masks_agree_and_an_empty_one_agrees_with_nothing_else() -> None:
    assert iou_masks(make_mask(), make_mask()) == 1.0
    assert iou_masks(make_mask(), make_mask((0, 0, 1, 1))) == 0.0


def test_masks_of_different_photos_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        iou_masks(make_mask(height=30), make_mask(height=31))

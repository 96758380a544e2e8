"""Boxes to masks without weights: known objects, odd boxes, odd photos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import OptionError
from engine.geometry import box_to_slices, clip_box, iou_masks, mask_to_box
from engine.segmenters.boxes import BoxOptions
from engine.segmenters.classical import box_to_mask
from engine.types import Image
from tests.engine.scenes import ellipse, two_fruits


def jittered(box: tuple[float, ...], share: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    by_x, by_y = (x1 - x0) * share, (y1 - y0) * share
    return (x0 - by_x, y0 + by_y, x1 - by_x, y1 + by_y)


@pytest.mark.parametrize("share", [-0.03, 0.0, 0.03])
def test_an_object_of_its_own_colour_is_found_in_a_box_that_is_a_little_off(share: float) -> None:
    image, left, right = two_fruits()
    for fruit in (left, right):
        box = mask_to_box(fruit)
        assert box is not None
        assert iou_masks(box_to_mask(image, jittered(box, share)), fruit) > 0.9


@pytest.mark.parametrize(("height", "width"), [(38, 50), (600, 800)])
def test_small_and_large_photos_give_the_same_shape(height: int, width: int) -> None:
    image, left, _ = two_fruits(height=height, width=width)
    box = mask_to_box(left)
    assert box is not None
    mask = box_to_mask(image, box)
    assert mask.shape == (height, width)
    assert iou_masks(mask, left) > 0.9


def test_the_same_box_gives_the_same_mask() -> None:
    image, left, _ = two_fruits()
    box = mask_to_box(left)
    assert box is not None
    first = box_to_mask(image, box)
    box_to_mask(image, (90.0, 20.0, 140.0, 100.0))
    assert np.array_equal(box_to_mask(image, box), first)


def test_an_object_cut_by_the_edge_of_the_photo_is_found() -> None:
    image, _, _ = two_fruits()
    cut = ellipse(centre_xy=(0.0, 75.0), radii_xy=(40.0, 30.0), height=150, width=200)
    image = np.where(cut[..., None], (30, 40, 200), image).astype(np.uint8)
    assert iou_masks(box_to_mask(image, (0.0, 45.0, 40.0, 105.0)), cut) > 0.9


def test_a_box_over_the_edge_of_the_photo_counts_as_far_as_it_lies_inside() -> None:
    image, left, _ = two_fruits()
    inside = box_to_mask(image, (0.0, 20.0, 90.0, 130.0))
    assert np.array_equal(box_to_mask(image, (-50.0, 20.0, 90.0, 130.0)), inside)
    assert iou_masks(inside, left) > 0.8


@pytest.mark.parametrize("box", [(200.0, 0.0, 210.0, 10.0), (-9.0, -9.0, 0.0, 150.0)])
def test_a_box_outside_the_photo_is_refused(box: tuple[float, float, float, float]) -> None:
    image, _, _ = two_fruits()
    with pytest.raises(OptionError, match="outside the photo of 200×150"):
        box_to_mask(image, box)


def test_an_object_without_contrast_gives_a_blob_in_the_middle_of_the_box() -> None:
    image = np.full((80, 100, 3), 120, dtype=np.uint8)
    mask = box_to_mask(image, (20.0, 20.0, 80.0, 60.0))
    assert mask[40, 50]
    assert not mask[:20].any()
    assert not mask[:, 80:].any()


def test_crumbs_are_dropped_and_pinholes_filled() -> None:
    image, left, _ = two_fruits()
    image[74:76, 49:51] = (60, 110, 50)  # a pinhole in the object
    image[35:37, 25:27] = (220, 140, 40)  # a crumb in the corner of the box
    mask = box_to_mask(image, (18.0, 28.0, 82.0, 122.0))
    assert mask[75, 50]
    assert not mask[36, 26]
    assert iou_masks(mask, left) > 0.9


@pytest.mark.parametrize("cut_short_side", [1, 10_000])
def test_the_walk_finds_the_object_with_and_without_grabcut(cut_short_side: int) -> None:
    image, left, _ = two_fruits()
    box = mask_to_box(left)
    assert box is not None
    options = BoxOptions(cut_short_side=cut_short_side)
    assert iou_masks(box_to_mask(image, box, options=options), left) > 0.9


def test_grabcut_has_a_say_in_large_boxes_only() -> None:
    image, left, _ = two_fruits()
    box = mask_to_box(left)
    assert box is not None
    alone = box_to_mask(image, box, options=BoxOptions(cut_short_side=10_000))
    assert np.array_equal(box_to_mask(image, box, options=BoxOptions(cut_share=0.0)), alone)
    small = (40.0, 60.0, 60.0, 90.0)
    assert np.array_equal(
        box_to_mask(image, small),
        box_to_mask(image, small, options=BoxOptions(cut_share=1.0)),
    )


NOISE = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)


@st.composite
def photos_with_boxes(draw: st.DrawFn) -> tuple[Image, tuple[float, float, float, float]]:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    image = NOISE[:height, :width] if draw(st.booleans()) else np.full((height, width, 3), 7)
    x0 = draw(st.floats(-5, width - 0.01))
    y0 = draw(st.floats(-5, height - 0.01))
    x1 = max(x0, 0.0) + draw(st.floats(0.001, width + 5))
    y1 = max(y0, 0.0) + draw(st.floats(0.001, height + 5))
    return image.astype(np.uint8), (x0, y0, x1, y1)


@given(photos_with_boxes())
@settings(max_examples=40, deadline=None)
def test_any_box_on_any_photo_gives_a_mask_inside_the_pixels_that_the_box_touches(
    case: tuple[Image, tuple[float, float, float, float]],
) -> None:
    image, box = case
    mask = box_to_mask(image, box)
    assert mask.dtype == np.bool_
    assert mask.shape == image.shape[:2]
    clipped = clip_box(box, width=image.shape[1], height=image.shape[0])
    assert clipped is not None
    touched = np.zeros_like(mask)
    touched[box_to_slices(clipped, shape_hw=mask.shape)] = True
    assert mask.any()
    assert not (mask & ~touched).any()

"""Clicks without weights: what a click may and may not do to a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import OptionError
from engine.geometry import iou_masks, mask_to_box
from engine.segmenters.classical import ClassicalSegmenter
from engine.segmenters.regions import split_photo
from engine.types import Mask, Prompts
from tests.engine.scenes import two_fruits

IMAGE, LEFT, RIGHT = two_fruits()
PREPARED = ClassicalSegmenter().prepare(IMAGE)
ON_LEFT, ON_RIGHT, ON_GROUND = (50.0, 75.0), (150.0, 75.0), (100.0, 10.0)


@pytest.fixture
def segmenter() -> ClassicalSegmenter:
    made = ClassicalSegmenter()
    made.set_prepared(PREPARED)
    return made


def test_one_click_offers_up_to_three_scales_and_the_first_is_the_object(
    segmenter: ClassicalSegmenter,
) -> None:
    candidates = segmenter.masks_for(Prompts((ON_LEFT,), (1,)))
    assert 1 <= len(candidates) <= 3
    assert iou_masks(candidates[0].mask, LEFT) > 0.8
    for candidate in candidates:
        assert candidate.mask[75, 50]
        assert 0.0 <= candidate.score <= 1.0
    masks = [candidate.mask for candidate in candidates]
    assert all(iou_masks(masks[i], masks[j]) < 0.9 for i in range(len(masks)) for j in range(i))


def test_inside_and_outside_clicks_together_separate_alike_objects(
    segmenter: ClassicalSegmenter,
) -> None:
    (candidate,) = segmenter.masks_for(Prompts((ON_LEFT, ON_RIGHT), (1, 0)))
    assert iou_masks(candidate.mask, LEFT) > 0.85


def test_two_inside_clicks_may_hold_two_parts(segmenter: ClassicalSegmenter) -> None:
    prompts = Prompts((ON_LEFT, ON_RIGHT, ON_GROUND), (1, 1, 0))
    (candidate,) = segmenter.masks_for(prompts)
    assert iou_masks(candidate.mask, LEFT | RIGHT) > 0.85


def test_a_click_inside_adds_what_the_mask_misses_and_changes_nothing_else(
    segmenter: ClassicalSegmenter,
) -> None:
    half = LEFT.copy()
    half[75:] = False
    start = half | RIGHT
    (candidate,) = segmenter.masks_for(Prompts(((50.0, 100.0),), (1,), mask=start))
    assert iou_masks(candidate.mask, LEFT | RIGHT) > 0.9
    assert not (start & ~candidate.mask).any()
    assert np.array_equal(candidate.mask[:, 110:], start[:, 110:])


def test_a_small_object_in_a_large_photo_is_corrected_as_finely_as_a_large_one() -> None:
    image, left, _ = two_fruits(height=60, width=80)
    small = np.zeros((480, 640), dtype=bool)
    small[300:360, 500:580] = left  # 24 pixels wide, two of the photo's regions
    photo = np.full((480, 640, 3), (60, 110, 50), dtype=np.uint8)
    photo[300:360, 500:580] = image
    segmenter = ClassicalSegmenter()
    segmenter.set_image(photo)
    upper = small.copy()
    upper[330:] = False
    (candidate,) = segmenter.masks_for(Prompts(((520.0, 340.0),), (1,), mask=upper))
    assert iou_masks(candidate.mask, small) > 0.85
    leaked = small.copy()
    leaked[312:348, 532:552] = True
    (candidate,) = segmenter.masks_for(Prompts(((545.0, 330.0),), (0,), mask=leaked))
    assert iou_masks(candidate.mask, small) > 0.85


def test_a_click_outside_takes_away_what_leaked_and_nothing_else(
    segmenter: ClassicalSegmenter,
) -> None:
    leaked = LEFT | RIGHT
    leaked[0:20, 80:120] = True  # a piece of ground, apart from both
    (candidate,) = segmenter.masks_for(Prompts((ON_GROUND,), (0,), mask=leaked))
    assert np.array_equal(candidate.mask[25:], leaked[25:])
    assert candidate.mask[:20].sum() < 0.2 * leaked[:20].sum()


def test_a_click_that_the_mask_follows_already_changes_nothing(
    segmenter: ClassicalSegmenter,
) -> None:
    (candidate,) = segmenter.masks_for(Prompts((ON_LEFT, ON_GROUND), (1, 0), mask=LEFT))
    assert np.array_equal(candidate.mask, LEFT)


def test_a_box_with_clicks_is_the_object_in_the_box_corrected(
    segmenter: ClassicalSegmenter,
) -> None:
    box = (15.0, 25.0, 85.0, 125.0)
    (plain,) = segmenter.masks_for(Prompts(box=box))
    (clicked,) = segmenter.masks_for(Prompts((ON_LEFT,), (1,), box=box))
    assert np.array_equal(plain.mask, clicked.mask)
    assert iou_masks(plain.mask, LEFT) > 0.9
    (less,) = segmenter.masks_for(Prompts((ON_LEFT,), (0,), box=box))
    assert not (less.mask & ~plain.mask).any()
    assert not less.mask[75, 50]


def test_a_box_keeps_what_clicks_add_inside_it(segmenter: ClassicalSegmenter) -> None:
    top = LEFT.copy()
    top[60:] = False
    box = (10.0, 20.0, 90.0, 90.0)
    prompts = Prompts(((50.0, 70.0),), (1,), box=box, mask=top)
    (candidate,) = segmenter.masks_for(prompts)
    bound = mask_to_box(candidate.mask)
    assert bound is not None
    assert bound[3] < 100.0  # the fruit goes on to 120


def test_a_mask_alone_comes_back_as_it_is(segmenter: ClassicalSegmenter) -> None:
    (candidate,) = segmenter.masks_for(Prompts(mask=LEFT))
    assert np.array_equal(candidate.mask, LEFT)


def test_a_true_outline_scores_higher_than_a_shifted_one(segmenter: ClassicalSegmenter) -> None:
    (true,) = segmenter.masks_for(Prompts(mask=LEFT))
    (shifted,) = segmenter.masks_for(Prompts(mask=np.roll(LEFT, (0, 25), axis=(0, 1))))
    assert 0.0 <= shifted.score < true.score <= 1.0


def test_an_empty_mask_counts_as_none(segmenter: ClassicalSegmenter) -> None:
    nothing = np.zeros_like(LEFT)
    assert segmenter.masks_for(Prompts(mask=nothing)) == []
    found = segmenter.masks_for(Prompts((ON_LEFT,), (1,), mask=nothing))
    assert iou_masks(found[0].mask, LEFT) > 0.8


def test_clicks_outside_of_nothing_give_nothing(segmenter: ClassicalSegmenter) -> None:
    assert segmenter.masks_for(Prompts((ON_GROUND,), (0,))) == []


def test_taking_the_last_pixels_away_leaves_no_candidate(segmenter: ClassicalSegmenter) -> None:
    dot = np.zeros_like(LEFT)
    dot[75, 50] = True
    assert segmenter.masks_for(Prompts(((50.5, 75.5),), (0,), mask=dot)) == []


def test_both_kinds_of_click_on_one_spot_are_obeyed_pixel_by_pixel(
    segmenter: ClassicalSegmenter,
) -> None:
    points = ((50.5, 75.5), (51.5, 75.5))
    (candidate,) = segmenter.masks_for(Prompts(points, (1, 0)))
    assert candidate.mask[75, 50]
    assert not candidate.mask[75, 51]


@pytest.mark.parametrize("point", [(199.99, 149.99), (0.0, 0.0), (199.99, 0.0), (0.0, 149.99)])
def test_clicks_in_the_corners_work(
    segmenter: ClassicalSegmenter, point: tuple[float, float]
) -> None:
    candidates = segmenter.masks_for(Prompts((point,), (1,)))
    assert all(candidate.mask[int(point[1]), int(point[0])] for candidate in candidates)
    assert candidates


def test_returning_to_a_prepared_photo_gives_the_same_answer(
    segmenter: ClassicalSegmenter,
) -> None:
    prompts = Prompts((ON_LEFT,), (1,))
    before = segmenter.masks_for(prompts)[0].mask
    segmenter.set_image(IMAGE[:, ::-1].copy())
    assert not np.array_equal(segmenter.masks_for(prompts)[0].mask, before)
    segmenter.set_prepared(PREPARED)
    assert np.array_equal(segmenter.masks_for(prompts)[0].mask, before)


def test_a_gallery_holds_both_objects_and_leaves_the_current_photo_alone(
    segmenter: ClassicalSegmenter,
) -> None:
    before = segmenter.masks_for(Prompts((ON_LEFT,), (1,)))[0].mask
    gallery = segmenter.gallery(IMAGE[::-1].copy())
    masks = [gallery.mask(index)[::-1] for index in range(len(gallery))]
    for fruit in (LEFT, RIGHT):
        assert max(iou_masks(mask, fruit) for mask in masks) > 0.9
    assert np.array_equal(segmenter.masks_for(Prompts((ON_LEFT,), (1,)))[0].mask, before)


def test_prompts_before_a_photo_and_masks_of_another_size_are_programming_errors(
    segmenter: ClassicalSegmenter,
) -> None:
    with pytest.raises(RuntimeError, match="set_image"):
        ClassicalSegmenter().masks_for(Prompts((ON_LEFT,), (1,)))
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        segmenter.masks_for(Prompts(mask=np.ones((3, 4), dtype=bool)))


def test_a_box_outside_the_photo_is_refused(segmenter: ClassicalSegmenter) -> None:
    with pytest.raises(OptionError, match="outside the photo"):
        segmenter.masks_for(Prompts(box=(300.0, 0.0, 310.0, 9.0)))


@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 700), (900, 2), (5, 5), (33, 41), (300, 500)])
@pytest.mark.parametrize("textured", [True, False])
def test_photos_of_any_size_are_cut_up_whole(shape_hw: tuple[int, int], textured: bool) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*shape_hw, 3), dtype=np.uint8)
    regions = split_photo(image if textured else np.full_like(image, 90))
    assert np.array_equal(np.unique(regions.labels), np.arange(regions.count))
    assert regions.areas.sum() == regions.labels.size
    assert 1 <= regions.count <= 2 * 1200
    assert regions.shares_of(np.ones(shape_hw, dtype=bool)) == pytest.approx(1.0)
    assert regions.enlarge(np.ones(regions.count)).shape == shape_hw
    segmenter = ClassicalSegmenter()
    segmenter.set_image(image)
    found = segmenter.masks_for(Prompts(((shape_hw[1] - 0.01, shape_hw[0] - 0.01),), (1,)))
    assert found[0].mask[-1, -1]


def test_distances_grow_across_edges_and_are_infinite_from_nowhere() -> None:
    regions = PREPARED.regions
    distances = regions.distances_from([regions.at(*ON_LEFT)])
    assert distances[regions.at(*ON_LEFT)] == 0.0
    assert distances[regions.at(50.0, 100.0)] < distances[regions.at(*ON_GROUND)]
    assert np.isinf(regions.distances_from([])).all()


@st.composite
def corrections(draw: st.DrawFn) -> tuple[Mask, float, float, int]:
    start = LEFT.copy() if draw(st.booleans()) else np.zeros_like(LEFT)
    row, column = draw(st.integers(0, 140)), draw(st.integers(0, 190))
    start[row : row + draw(st.integers(1, 60)), column : column + draw(st.integers(1, 60))] = True
    x = draw(st.floats(0.0, 199.99, exclude_max=True))
    y = draw(st.floats(0.0, 149.99, exclude_max=True))
    return start, x, y, draw(st.integers(0, 1))


@given(corrections())
@settings(max_examples=40, deadline=None)
def test_a_click_is_obeyed_and_never_does_the_opposite(
    case: tuple[Mask, float, float, int],
) -> None:
    start, x, y, label = case
    segmenter = ClassicalSegmenter()
    segmenter.set_prepared(PREPARED)
    found = segmenter.masks_for(Prompts(((x, y),), (label,), mask=start))
    mask = found[0].mask if found else np.zeros_like(start)
    assert mask[int(y), int(x)] == bool(label)
    if label:
        assert not (start & ~mask).any()
    else:
        assert not (mask & ~start).any()


@given(
    st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 29), st.integers(0, 1)),
        min_size=1,
        max_size=6,
        unique_by=lambda click: click[:2],
    )
)
@settings(max_examples=30, deadline=None)
def test_however_clicks_contradict_each_other_each_pixel_clicked_is_as_said(
    clicks: list[tuple[int, int, int]],
) -> None:
    segmenter = ClassicalSegmenter()
    segmenter.set_prepared(PREPARED)
    points = tuple((30.5 + x, 60.5 + y) for x, y, _ in clicks)
    labels = tuple(label for _, _, label in clicks)
    for start in (None, LEFT):
        found = segmenter.masks_for(Prompts(points, labels, mask=start))
        mask = found[0].mask if found else np.zeros_like(LEFT)
        for x, y, label in clicks:
            assert mask[60 + y, 30 + x] == bool(label)

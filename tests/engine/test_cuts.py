"""Cuts: always some, each of one part, none twice; what happens where GrabCut cannot start."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.cuts import LEAST_PIXELS, SMALLEST_SIBLING, Cut, _cut, candidate_cuts
from engine.geometry import iou_masks
from engine.localizers.saliency import SaliencyMaps, saliency_maps
from engine.types import Image, Mask
from tests.builders import make_mask
from tests.engine.scenes import odd_photos, on_texture, two_fruits


def cuts_of(image: Image) -> list[Cut]:
    return candidate_cuts(image, saliency_maps(image))


def maps_of(values: np.ndarray) -> SaliencyMaps:
    """Made-up maps: the same one three times."""
    one = values.astype(np.float32)
    return SaliencyMaps(saliency=one, distance=one, enclosed=one)


def parts_of(mask: Mask) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def assert_sound(cuts: list[Cut], image: Image) -> None:
    assert cuts[-1].mask.all()
    assert not cuts[-1].siblings
    assert len({cut.mask.tobytes() for cut in cuts}) == len(cuts)
    for cut in cuts:
        taken = np.zeros(image.shape[:2], dtype=int)
        for mask in (cut.mask, *cut.siblings):
            assert mask.shape == image.shape[:2]
            assert mask.dtype == bool
            assert parts_of(mask) == 1
            assert SMALLEST_SIBLING * cut.mask.sum() <= mask.sum() <= cut.mask.sum()
            taken += mask
        assert taken.max() == 1


@pytest.mark.parametrize("image", odd_photos())
def test_odd_photos_have_cuts_and_the_whole_photo_is_the_last(image: Image) -> None:
    # As the pipeline does it: GrabCut on thousands of pixels in a row takes a second.
    small = image[:192, :192]
    assert_sound(cuts_of(small), small)


@settings(max_examples=10)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))))
def test_any_small_photo_has_cuts(image: Image) -> None:
    assert_sound(cuts_of(image), image)


@pytest.mark.parametrize("seed", range(4))
def test_one_of_the_cuts_is_the_object(seed: int) -> None:
    image, truth = on_texture(seed=seed)
    assert max(iou_masks(cut.mask, truth) for cut in cuts_of(image)) > 0.9


@pytest.mark.parametrize("seed", range(2))
def test_of_two_equal_objects_one_is_the_cut_and_the_other_its_sibling(seed: int) -> None:
    image, left, right = two_fruits(seed=seed, height=90, width=120)
    pairs = [cut for cut in cuts_of(image) if len(cut.siblings) == 1]
    assert pairs
    for cut in pairs:
        either = (left, right) if iou_masks(cut.mask, left) > 0.5 else (right, left)
        assert iou_masks(cut.mask, either[0]) > 0.8
        assert iou_masks(cut.siblings[0], either[1]) > 0.8


def test_parts_below_a_quarter_of_the_largest_are_clutter() -> None:
    large, quarter, less = (10, 10, 30, 30), (40, 10, 50, 20), (40, 30, 50, 39)
    shown = make_mask(large, quarter, less, height=50, width=60)
    # One colour: GrabCut follows the seeds.
    image = np.zeros((50, 60, 3), dtype=np.uint8)
    image[shown] = (250, 250, 250)
    cut = next(cut for cut in candidate_cuts(image, maps_of(shown)) if cut.siblings)
    assert np.array_equal(cut.mask, make_mask(large, height=50, width=60))
    assert [int(sibling.sum()) for sibling in cut.siblings] == [100]
    assert cut.siblings[0][15, 45]


def test_parts_that_touch_at_a_corner_are_one() -> None:
    shown = make_mask((2, 2, 8, 8), (8, 8, 14, 14), height=20, width=20)
    cuts = candidate_cuts(np.zeros((20, 20, 3), dtype=np.uint8), maps_of(shown))
    assert any(np.array_equal(cut.mask, shown) for cut in cuts)


def test_hairs_are_cut_off_large_masks_but_small_masks_keep_their_shape() -> None:
    hair = (30, 14, 50, 15)
    large = make_mask((10, 5, 30, 25), hair, height=40, width=60)
    small = make_mask((22, 10, 30, 18), hair, height=40, width=60)
    ground = np.zeros((40, 60, 3), dtype=np.uint8)
    tips = [
        any(cut.mask[14, 49] for cut in candidate_cuts(ground, maps_of(shown))[:-1])
        for shown in (large, small)
    ]
    assert tips == [False, True]


def test_the_same_photo_gives_the_same_cuts_whatever_was_cut_before() -> None:
    image, _ = on_texture(seed=0, height=60, width=80)
    before = image.copy()
    first = cuts_of(image)
    cuts_of(two_fruits(seed=1, height=60, width=80)[0])
    cv2.setRNGSeed(99)
    second = cuts_of(image)
    assert np.array_equal(image, before)
    assert [cut.mask.tobytes() for cut in first] == [cut.mask.tobytes() for cut in second]


# Where GrabCut cannot start ----------------------------------------------------------------------


@pytest.mark.parametrize("values", [np.zeros((40, 50)), np.ones((40, 50))])
def test_a_map_that_says_nothing_leaves_the_ellipses_and_the_whole_photo(
    values: np.ndarray,
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    cuts = candidate_cuts(image, maps_of(values))
    assert_sound(cuts, image)
    assert len(cuts) > 1


def test_a_photo_of_one_colour_still_gets_ellipses() -> None:
    cuts = cuts_of(np.full((60, 80, 3), 90, dtype=np.uint8))
    assert len(cuts) > 3
    assert all(cut.mask[30, 40] for cut in cuts)


@pytest.mark.parametrize("label", [cv2.GC_BGD, cv2.GC_FGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD])
def test_seeds_of_one_kind_give_the_fallback(label: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    fallback = make_mask((3, 3, 9, 9), height=20, width=20)
    found = _cut(image, np.full((20, 20), label, dtype=np.uint8), fallback=fallback)
    assert np.array_equal(found, fallback)


@pytest.mark.parametrize("missing", [0, 1])
def test_too_few_seeds_of_a_kind_give_the_fallback(missing: int) -> None:
    inside = np.zeros((20, 20), dtype=bool)
    inside.ravel()[: LEAST_PIXELS - missing] = True
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[inside] = 255
    seeds = np.where(inside, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    found = _cut(image, seeds, fallback=np.ones((20, 20), dtype=bool))
    assert np.array_equal(found, inside) == (missing == 0)
    assert found.all() == (missing == 1)


def colours(seed: int) -> Image:
    """One colour, two colours, greys, one ray of colours, or noise: what Gaussians may not like."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(6, 40, 2)
    grey = generator.integers(0, 256, (height, width, 1))
    kinds = [
        np.full((height, width, 3), generator.integers(0, 256, 3)),
        np.where(grey > 180, generator.integers(0, 256, 3), generator.integers(0, 256, 3)),
        grey.repeat(3, axis=2),
        grey * generator.random(3),
        generator.integers(0, 256, (height, width, 3)),
    ]
    return kinds[seed % len(kinds)].astype(np.uint8)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_seeds_grabcut_finds_something_or_the_fallback_stands(seed: int) -> None:
    image = colours(seed)
    generator = np.random.default_rng(seed)
    seeds = generator.choice(4, image.shape[:2], p=generator.dirichlet([1] * 4)).astype(np.uint8)
    sure, never = seeds == cv2.GC_FGD, seeds == cv2.GC_BGD
    fallback = np.ones(image.shape[:2], dtype=bool)
    found = _cut(image, seeds, fallback=fallback)
    assert found.any()
    if not found.all():
        assert found[sure].all()
        assert not found[never].any()

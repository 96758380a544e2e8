"""Saliency: maps of any photo, what is found in the middle, and what the border takes away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.localizers.saliency import SaliencyMaps, saliency_maps
from engine.types import Image, Mask
from tests.builders import make_mask
from tests.engine.scenes import ellipse, odd_photos

HEIGHT, WIDTH = 90, 120
GREEN, ORANGE = (60, 110, 50), (220, 140, 40)


def noisy(*coloured: tuple[Mask, tuple[int, int, int]], seed: int = 0) -> Image:
    """A green ground with some noise, and masks painted on it one after the other."""
    image = np.full((HEIGHT, WIDTH, 3), GREEN, dtype=np.float64)
    for mask, colour in coloured:
        image[mask] = colour
    image += np.random.default_rng(seed).normal(0.0, 4.0, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def blob(x: float = 60, y: float = 45) -> Mask:
    return ellipse(centre_xy=(x, y), radii_xy=(18, 14), height=HEIGHT, width=WIDTH)


def each(maps: SaliencyMaps) -> list[np.ndarray]:
    return [maps.saliency, maps.distance, maps.enclosed]


def assert_sound(maps: SaliencyMaps, image: Image) -> None:
    for one in each(maps):
        assert one.shape == image.shape[:2]
        assert one.dtype == np.float32
        assert np.isfinite(one).all()
        assert one.min() >= 0.0
        assert one.max() == 1.0


@pytest.mark.parametrize("image", odd_photos())
def test_maps_of_odd_photos_are_of_their_size_and_between_0_and_1(image: Image) -> None:
    assert_sound(saliency_maps(image), image)


@settings(max_examples=15)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_any_small_photo_has_maps(image: Image) -> None:
    assert_sound(saliency_maps(image), image)


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_photo_of_one_colour_gives_the_centre_prior_alone(colour: int) -> None:
    maps = saliency_maps(np.full((HEIGHT, WIDTH, 3), colour, dtype=np.uint8))
    y, x = (np.mgrid[:HEIGHT, :WIDTH] + 0.5) / np.array([HEIGHT, WIDTH])[:, None, None] - 0.5
    prior = np.exp(-2 * (x**2 + y**2))
    for one in each(maps):
        assert one == pytest.approx(prior / prior.max(), abs=1e-5)


@pytest.mark.parametrize("centre_xy", [(60, 45), (40, 30), (85, 60)])
@pytest.mark.parametrize("colour", [ORANGE, (10, 10, 10), (240, 245, 250)])
def test_a_blob_on_a_plain_ground_stands_out(
    centre_xy: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    inside = blob(*centre_xy)
    for one in each(saliency_maps(noisy((inside, colour)))):
        assert one[inside].mean() > 0.5
        assert one[~inside].mean() < 0.2


def test_what_reaches_the_border_is_background_whatever_its_colour() -> None:
    band = make_mask((0, 0, 25, HEIGHT), height=HEIGHT, width=WIDTH)
    inside = blob(75, 45)
    saliency = saliency_maps(noisy((band, ORANGE), (inside, ORANGE))).saliency
    assert saliency[inside].mean() > 0.6
    assert saliency[band].mean() < 0.1


def test_of_two_equal_blobs_the_one_that_is_linked_to_the_border_says_less() -> None:
    linked, alone = blob(35, 45), blob(85, 45)
    path = make_mask((22, 40, 48, HEIGHT), height=HEIGHT, width=WIDTH)
    maps = saliency_maps(noisy((linked, ORANGE), (alone, ORANGE), (path, ORANGE)))
    for one in each(maps):
        assert one[linked].mean() < 0.9 * one[alone].mean()


def test_a_black_frame_round_the_photo_does_not_hide_what_is_in_it() -> None:
    free = make_mask((6, 6, WIDTH - 6, HEIGHT - 6), height=HEIGHT, width=WIDTH)
    inside = blob()
    for one in each(saliency_maps(noisy((~free, (0, 0, 0)), (inside, ORANGE)))):
        assert one[inside].mean() > 1.2 * one[free & ~inside].mean()
        assert one[~free].mean() < 0.01


def test_a_grey_photo_has_a_map_too() -> None:
    inside = blob()
    grey = noisy((inside, ORANGE)).mean(axis=2, keepdims=True).astype(np.uint8)
    saliency = saliency_maps(grey.repeat(3, axis=2)).saliency
    assert saliency[inside].mean() > 0.5 > 0.2 > saliency[~inside].mean()


def test_the_map_of_a_mirrored_photo_is_nearly_mirrored() -> None:
    image = noisy((blob(45, 40), ORANGE))
    there = saliency_maps(image).saliency
    back = saliency_maps(image[:, ::-1]).saliency[:, ::-1]
    assert np.abs(there - back).mean() < 0.03


def test_the_same_photo_gives_the_same_maps_and_stays_as_it_is() -> None:
    image = noisy((blob(), ORANGE))
    image.setflags(write=False)
    first, second = saliency_maps(image), saliency_maps(image)
    for one, other in zip(each(first), each(second), strict=True):
        assert np.array_equal(one, other)


def test_fewer_superpixels_give_a_coarser_map_of_the_same_thing() -> None:
    inside = blob()
    saliency = saliency_maps(noisy((inside, ORANGE)), counts=(40,)).saliency
    assert len(np.unique(saliency)) > 40  # the centre prior is smooth
    assert saliency[inside].mean() > 3 * saliency[~inside].mean()

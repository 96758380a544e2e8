"""Judging: cues of extreme masks, scores that do not hang on order or size, what each cue sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.judge_weights import MEANS, SCALES, WEIGHTS
from engine.judging import CUES, MOST_COMPACT, cues_of, judge, on_grid
from engine.localizers.saliency import SaliencyMaps, saliency_maps
from engine.types import Image, Mask
from tests.builders import make_mask
from tests.engine.scenes import ellipse, odd_photos, on_texture

HEIGHT, WIDTH = 48, 64
IMAGE, TRUTH = on_texture(seed=3, height=HEIGHT, width=WIDTH)
MAPS = saliency_maps(IMAGE)


def block(*boxes: tuple[int, int, int, int]) -> Mask:
    return make_mask(*boxes, height=HEIGHT, width=WIDTH)


EXTREMES = {
    "one pixel": block((30, 20, 31, 21)),
    "one pixel in the corner": block((0, 0, 1, 1)),
    "whole photo": block((0, 0, WIDTH, HEIGHT)),
    "all but one pixel": ~block((30, 20, 31, 21)),
    "first row": block((0, 0, WIDTH, 1)),
    "last column": block((WIDTH - 1, 0, WIDTH, HEIGHT)),
    "frame": ~block((1, 1, WIDTH - 1, HEIGHT - 1)),
    "two far corners": block((0, 0, 1, 1), (WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT)),
    "checkerboard": np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 == 0,
    "the object": TRUTH,
}

SHARES = ("width", "height", "box area", "sides touched", "fill of its box")


def cue(name: str, mask: Mask, *, image: Image = IMAGE, maps: SaliencyMaps = MAPS) -> float:
    """One cue of a mask that is judged alone."""
    return float(cues_of(image, maps, [mask])[0, CUES.index(name)])


def test_there_is_a_name_a_mean_a_scale_and_a_weight_for_each_cue_and_a_constant() -> None:
    cues = cues_of(IMAGE, MAPS, [TRUTH])
    assert cues.shape == (1, len(CUES))
    assert len(MEANS) == len(SCALES) == len(CUES) == len(WEIGHTS) - 1
    assert len(set(CUES)) == len(CUES)
    assert (np.asarray(SCALES) > 0).all()
    assert np.isfinite([*MEANS, *SCALES, *WEIGHTS]).all()


def test_the_weights_were_fitted_on_cues_as_they_are_measured_now() -> None:
    highest = {"compactness": MOST_COMPACT, "log area": 0.01} | dict.fromkeys(SHARES, 1.0)
    for name, limit in highest.items():
        assert MEANS[CUES.index(name)] <= limit


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", EXTREMES)
def test_cues_of_extreme_masks_are_finite_and_moderate(name: str, alone: bool) -> None:
    masks = [EXTREMES[name]] if alone else [EXTREMES[name], *EXTREMES.values()]
    cues = cues_of(IMAGE, MAPS, masks)
    assert np.isfinite(cues).all()
    # A linear model cannot use a cue that is a thousand times larger for one kind of mask.
    assert np.abs(cues).max() < 100


@pytest.mark.parametrize("name", EXTREMES)
def test_shares_of_the_photo_do_not_hang_on_the_size_of_the_copy(name: str) -> None:
    mask = EXTREMES[name]
    twice = mask.repeat(2, axis=0).repeat(2, axis=1)
    image = IMAGE.repeat(2, axis=0).repeat(2, axis=1)
    kept = [CUES.index(one) for one in ("log area", *SHARES)]
    small = cues_of(IMAGE, MAPS, [mask])[0, kept]
    large = cues_of(image, saliency_maps(image), [twice])[0, kept]
    assert large == pytest.approx(small, rel=1e-6, abs=1e-9)


def test_the_whole_photo_is_as_compact_in_a_large_copy_as_in_a_small_one() -> None:
    whole = np.ones((4 * HEIGHT, 4 * WIDTH), dtype=bool)
    image = IMAGE.repeat(4, axis=0).repeat(4, axis=1)
    large = cue("compactness", whole, image=image, maps=saliency_maps(image))
    assert large == cue("compactness", EXTREMES["whole photo"])


@pytest.mark.parametrize("image", odd_photos())
def test_scores_of_odd_photos_lie_between_0_and_1(image: Image) -> None:
    height, width = image.shape[:2]
    corner = make_mask((0, 0, 1, 1), height=height, width=width)
    whole = np.ones((height, width), dtype=bool)
    maps = saliency_maps(image)
    assert np.isfinite(cues_of(image, maps, [corner, whole])).all()
    scores = judge(image, maps, [corner, whole])
    assert scores.shape == (2,)
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0


@settings(max_examples=30)
@given(st.permutations(list(EXTREMES.values())))
def test_each_mask_has_its_score_in_whatever_order_they_are_judged(masks: list[Mask]) -> None:
    straight = dict(
        zip(map(id, EXTREMES.values()), judge(IMAGE, MAPS, list(EXTREMES.values())), strict=True)
    )
    shuffled = judge(IMAGE, MAPS, masks)
    assert shuffled == pytest.approx([straight[id(mask)] for mask in masks], abs=1e-9)


def test_judging_leaves_photo_maps_and_masks_as_they_are() -> None:
    masks = [mask.copy() for mask in EXTREMES.values()]
    image = IMAGE.copy()
    judge(image, MAPS, masks)
    assert np.array_equal(image, IMAGE)
    for mask, before in zip(masks, EXTREMES.values(), strict=True):
        assert np.array_equal(mask, before)


def test_the_object_is_judged_better_than_a_wrong_mask() -> None:
    wrong = [block((0, 0, 8, 6)), block((0, 0, WIDTH, 4))]
    scores = judge(IMAGE, MAPS, [TRUTH, *wrong])
    assert scores[0] > scores[1:].max()


# What each cue sees ------------------------------------------------------------------------------


def test_shape_cues_of_a_block_are_what_one_counts() -> None:
    mask = block((0, 10, 16, 34))  # 16 x 24 of 64 x 48, on the left side
    expected = {
        "width": 16 / 64,
        "height": 24 / 48,
        "box area": 16 * 24 / (64 * 48),
        "fill of its box": 1.0,
        "sides touched": 1 / 4,
        "rim touched": 24 / (2 * (64 + 48)),
        "log area": np.log(1 / 8 + 1e-4),
        "off centre, x": abs(8 / 64 - 0.5),
        "off centre, y": abs(22 / 48 - 0.5),
    }
    assert {name: cue(name, mask) for name in expected} == pytest.approx(expected)


def test_a_disc_is_more_compact_than_a_bar_and_a_bar_than_a_checkerboard() -> None:
    disc = ellipse(centre_xy=(32, 24), radii_xy=(15, 15), height=HEIGHT, width=WIDTH)
    bar = block((10, 20, 54, 24))
    values = [cue("compactness", mask) for mask in (disc, bar, EXTREMES["checkerboard"])]
    assert values[0] > values[1] > values[2]


def test_the_true_outline_lies_on_edges_and_a_shifted_one_does_not() -> None:
    shifted = np.roll(TRUTH, 6, axis=1)
    for name in ("edge strength", "colours against surroundings"):
        assert cue(name, TRUTH) > 1.5 * cue(name, shifted)


def test_colour_cues_of_a_photo_of_one_colour_are_nothing() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 77, dtype=np.uint8)
    for name in ("edge strength", "colours against surroundings", "colours against the rest"):
        value = cue(name, block((20, 10, 40, 30)), image=image, maps=saliency_maps(image))
        assert value == pytest.approx(0.0, abs=1e-9)


def test_agreement_is_with_the_others_and_not_with_oneself() -> None:
    one, far = block((0, 0, 16, 12)), block((32, 24, 64, 48))
    columns = [CUES.index("agreement with all"), CUES.index("agreement with the nearest three")]
    assert cues_of(IMAGE, MAPS, [one])[:, columns] == pytest.approx(np.zeros((1, 2)), abs=1e-6)
    apart = cues_of(IMAGE, MAPS, [one, far])[:, columns]
    assert apart == pytest.approx(np.zeros((2, 2)), abs=1e-6)
    twins = cues_of(IMAGE, MAPS, [one, one, far])[:, columns]
    assert twins[:, 0] == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)


def test_saliency_cues_are_means_and_shares_of_the_map() -> None:
    values = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    values[:, :32] = 1.0
    values[:24, 32:] = 0.5
    maps = SaliencyMaps(saliency=values, distance=values, enclosed=values)
    left = block((0, 0, 32, HEIGHT))
    assert cue("saliency inside", left, maps=maps) == pytest.approx(1.0)
    assert cue("saliency outside", left, maps=maps) == pytest.approx(0.25)
    assert cue("share of all saliency", left, maps=maps) == pytest.approx(0.8)


def test_eq_11_is_highest_for_the_mask_that_the_map_shows() -> None:
    for map_name in ("saliency", "distance", "enclosed"):
        values = dict.fromkeys(("saliency", "distance", "enclosed"), np.zeros((HEIGHT, WIDTH)))
        shown = {name: one.astype(np.float32) for name, one in values.items()}
        shown[map_name] = TRUTH.astype(np.float32)
        name = f"eq. 11 with {map_name}"
        assert cue(name, TRUTH, maps=SaliencyMaps(**shown)) == pytest.approx(1.0, abs=1e-3)
        assert cue(name, ~TRUTH, maps=SaliencyMaps(**shown)) < 0.2


@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 9), (14, 14), (28, 42), (3, 192)])
def test_the_grid_keeps_the_mean_of_a_map(shape_hw: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape_hw).astype(np.float32)
    cells = on_grid(values)
    assert cells.shape == (14, 14)
    assert values.min() - 1e-6 <= cells.min() <= cells.max() <= values.max() + 1e-6
    if shape_hw[0] % 14 == 0 and shape_hw[1] % 14 == 0:
        assert cells.mean() == pytest.approx(values.mean(), abs=1e-5)

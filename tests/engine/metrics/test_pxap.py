"""PxAP: the numbers of wsolevaluation, pixels to ignore, and properties."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.errors import OptionError
from engine.metrics.pxap import PixelPrecision, PxapResult, pixel_truth
from tests.builders import make_mask, masks
from tests.engine.metrics.maps import PYRAMIDS

TRUTH = np.zeros((224, 224), dtype=np.uint8)
TRUTH[62:163, 62:163] = 1
TRUTH[:10] = 255


def result_of(*images: tuple[np.ndarray, np.ndarray], interval: float = 0.001) -> PxapResult:
    measure = PixelPrecision(interval=interval)
    for score_map, truth in images:
        measure.add(score_map, truth)
    return measure.result()


@pytest.mark.parametrize("interval", [0.001, 0.01])
@pytest.mark.parametrize(("name", "expected"), [("A", 100.0), ("C", 21.697822)])
def test_the_worked_maps_of_wsolevaluation(name: str, expected: float, interval: float) -> None:
    found = result_of((PYRAMIDS[name][0], TRUTH), interval=interval).pxap
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_area_by_hand() -> None:
    score_map = np.array([[0.9, 0.7, 0.5, 0.3]])
    truth = np.array([[1, 0, 1, 0]], dtype=np.uint8)
    result = result_of((score_map, truth))
    assert result.pxap == pytest.approx(100 * (1 * 1 / 2 + 2 / 3 * 1 / 2))


truths = arrays.arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 255]))
maps = arrays.arrays(
    np.float64, (5, 6), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
)


@given(masks())
def test_a_perfect_map_is_perfect(mask: np.ndarray) -> None:
    assume(mask.any())
    assert result_of((mask, mask)).pxap == pytest.approx(100.0)


@given(truths, st.floats(0, 1))
def test_a_constant_map_scores_the_share_of_foreground(truth: np.ndarray, value: float) -> None:
    assume((truth == 1).any())
    found = result_of((np.full(truth.shape, value), truth)).pxap
    assert found == pytest.approx(100 * (truth == 1).sum() / (truth != 255).sum())


@given(maps, truths, maps)
def test_what_stands_on_ignored_pixels_does_not_matter(
    score_map: np.ndarray, truth: np.ndarray, other: np.ndarray
) -> None:
    changed = np.where(truth == 255, other, score_map)
    assert result_of((score_map, truth)) == result_of((changed, truth))


@given(maps, truths, maps, truths)
def test_images_one_after_the_other_are_one_large_image(
    first: np.ndarray, first_truth: np.ndarray, second: np.ndarray, second_truth: np.ndarray
) -> None:
    apart = result_of((first, first_truth), (second, second_truth))
    together = result_of((np.vstack([first, second]), np.vstack([first_truth, second_truth])))
    assert (apart.foreground, apart.background) == (together.foreground, together.background)
    assert (apart.images, together.images) == (2, 1)


@given(maps, truths)
def test_the_area_is_average_precision_where_every_score_has_its_bin(
    score_map: np.ndarray, truth: np.ndarray
) -> None:
    assume((truth == 1).any())
    stepped = np.round(score_map * 8) / 8  # values on the edges of bins of an eighth
    expected, recall = 0.0, 0.0
    for threshold in np.arange(8, -1, -1) / 8:
        taken = (stepped >= threshold) & (truth != 255)
        if taken.any():
            now = (truth[taken] == 1).sum() / (truth == 1).sum()
            expected += (truth[taken] == 1).mean() * (now - recall)
            recall = now
    found = result_of((stepped, truth), interval=0.125).pxap
    assert found == pytest.approx(100 * expected)


def test_one_pixel() -> None:
    assert result_of((np.array([[0.0]]), np.array([[1]], dtype=np.uint8))).pxap == 100.0


def test_scores_of_one_have_a_bin_of_their_own() -> None:
    result = result_of((np.array([[1.0, 0.9999]]), np.array([[True, False]])), interval=0.5)
    assert result.edges == (0.0, 0.5, 1.0, 2.0, 3.0)
    assert result.foreground == (0, 0, 1, 0)
    assert result.background == (0, 1, 0, 0)


def test_without_foreground_there_is_no_number_to_give() -> None:
    measure = PixelPrecision()
    with pytest.raises(OptionError, match="PxAP of 0 images without a single foreground pixel"):
        _ = measure.result().pxap
    measure.add(np.ones((2, 2)), np.zeros((2, 2), dtype=bool))
    with pytest.raises(OptionError, match=r"PxAP of 1 images .* give it images with true masks"):
        measure.result().curve()


def test_what_is_no_truth_or_map_is_refused_and_nothing_counted() -> None:
    measure = PixelPrecision()
    with pytest.raises(ValueError, match=r"the truth is \(2, 3\), the score map \(2, 2\)"):
        measure.add(np.ones((2, 2)), np.ones((2, 3), dtype=bool))
    with pytest.raises(ValueError, match="the truth holds 7; allowed are 0, 1, and 255"):
        measure.add(np.ones((2, 2)), np.full((2, 2), 7, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"within \[0, 1\], got 0.5 to 1.5"):
        measure.add(np.array([[0.5, 1.5]]), np.ones((1, 2), dtype=bool))
    assert measure.result().images == 0


@pytest.mark.parametrize("interval", [0.0, -0.1, 1.5, float("nan")])
def test_bins_have_a_width(interval: float) -> None:
    with pytest.raises(OptionError, match=r"must lie in \(0, 1\]"):
        PixelPrecision(interval=interval)


# The truth of a view ---------------------------------------------------------------------------


def test_foreground_wins_over_what_is_ignored() -> None:
    truth = pixel_truth(
        [make_mask((0, 0, 10, 10)), make_mask((30, 20, 40, 30))],
        ignore=[make_mask((0, 0, 20, 30))],
        size=40,
    )
    values, counts = np.unique(truth, return_counts=True)
    # 40 x 30 stretched to 40 x 40: rows 10 become 13 or 14
    assert values.tolist() == [0, 1, 255]
    assert truth[0, 0] == 1
    assert truth[0, 15] == 255
    assert truth[39, 39] == 1
    assert truth[0, 39] == 0
    assert counts.sum() == 1600
    assert set(np.unique(truth[:, :10])) == {1, 255}


def test_a_mask_of_the_views_size_is_the_truth_and_none_is_background() -> None:
    mask = make_mask((3, 4, 9, 20), height=24, width=24)
    assert np.array_equal(pixel_truth([mask], size=24) == 1, mask)
    assert not pixel_truth([], size=24).any()


# What is printed and kept ----------------------------------------------------------------------


def test_the_result_is_plain_json() -> None:
    content = result_of((PYRAMIDS["A"][0], TRUTH), interval=0.5).as_dict()
    assert json.loads(json.dumps(content)) == content
    assert sum(content["foreground"]) == 101 * 101


def test_the_table_says_what_a_constant_map_gets() -> None:
    assert result_of((PYRAMIDS["C"][0], TRUTH)).table().splitlines() == [
        "PxAP              21.70",
        "a constant map    21.28",
        "1 images, 10201 foreground and 37735 background pixels",
    ]

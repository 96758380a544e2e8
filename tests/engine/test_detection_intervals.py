"""Bootstrap intervals of a detector's scores and of the difference of two."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engine.errors import OptionError
from engine.metrics.detection import DetectedPhoto, ScoredBox, TrueBox, coco_scores, corloc
from engine.metrics.resampling import Interval, interval, paired_difference
from tests.engine.test_detection_metrics import FAR, HALF, SQUARE, photo


def many(found: int, *, photos: int = 60, seed: int = 0) -> list[DetectedPhoto]:
    """Photos with one object each, which so many of them find; every photo has a wrong box too."""
    rng = np.random.default_rng(seed)
    hits = set(rng.permutation(photos)[:found].tolist())
    return [
        photo([SQUARE], [(FAR, 0.2), *([(SQUARE, 0.9)] if number in hits else [])])
        for number in range(photos)
    ]


def test_an_interval_holds_the_value_and_gets_narrower_with_more_photos() -> None:
    few, plenty = interval(many(30)), interval(many(300, photos=600))
    assert few is not None
    assert plenty is not None
    assert few.low < few.value < few.high
    assert few.value == pytest.approx(coco_scores(many(30)).ap50 or 0.0)
    assert plenty.high - plenty.low < 0.5 * (few.high - few.low)
    # A share of one half of 60 has a standard error of .065.
    assert few.high - few.low == pytest.approx(4 * 0.065, rel=0.25)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        found = [photo([SQUARE], [(SQUARE, 0.9)] * int(rng.random() < 0.5)) for _ in range(40)]
        one = interval(found, "corloc", resamples=200, confidence=0.9)
        assert one is not None
        covered += one.low <= 0.5 <= one.high
    assert 46 <= covered <= 60  # 54 expected, standard deviation 2.3


def test_two_detectors_on_the_same_photos_are_told_apart_by_less_than_their_intervals() -> None:
    old, new = many(30), many(36)  # the same 30, and six more
    difference = paired_difference(old, new)
    alone, other = interval(old), interval(new)
    assert difference is not None
    assert alone is not None
    assert other is not None
    assert difference.low > 0
    assert other.low < alone.high  # which alone would prove nothing
    back = paired_difference(new, old)
    assert back is not None
    assert (back.low, back.high) == pytest.approx((-difference.high, -difference.low))
    assert paired_difference(old, old) == Interval(0.0, 0.0, 0.0, 0.95)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    assert interval(many(30), seed=1) == interval(many(30), seed=1)
    assert interval(many(30), seed=1) != interval(many(30), seed=2)


@pytest.mark.parametrize("measure", ["ap", "ap50", "ap75", "corloc"])
def test_every_measure_has_the_value_of_its_metric(measure: str) -> None:
    photos = [*many(30), photo([SQUARE], [(HALF, 0.95)], category="dog")]
    expected = {**coco_scores(photos).as_dict(), "corloc": corloc(photos).mean}
    found = interval(photos, measure, resamples=20)  # type: ignore[arg-type]
    assert found is not None
    assert found.value == pytest.approx(expected[measure])


def test_other_photos_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same photos"):
        paired_difference(many(3, photos=5), many(3, photos=6))


def test_settings_that_make_no_sense_are_told() -> None:
    with pytest.raises(OptionError, match="resamples"):
        interval(many(3), resamples=0)
    with pytest.raises(OptionError, match="confidence"):
        interval(many(3), confidence=1.0)


def test_a_thousand_draws_of_two_hundred_photos_take_seconds() -> None:
    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(20)]
    photos = []
    for _ in range(200):
        truth = [TrueBox(SQUARE, str(rng.choice(names))) for _ in range(3)]
        found = [ScoredBox(SQUARE, str(rng.choice(names)), float(rng.random())) for _ in range(50)]
        photos.append(DetectedPhoto(tuple(truth), tuple(found)))
    start = time.process_time()
    assert interval(photos) is not None
    # Scoring every draw anew would take more than ten minutes.
    assert time.process_time() - start < 60.0

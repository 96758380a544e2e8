"""Average precision by every rule and CorLoc, on made-up detections."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.geometry import mask_to_rle
from engine.metrics.average_precision import Ranking, Rule, average_precision
from engine.metrics.detection import (
    COCO_THRESHOLDS,
    DetectedPhoto,
    ScoredBox,
    TrueBox,
    coco_scores,
    corloc,
    mask_scores,
    voc_scores,
)
from engine.metrics.matched import CocoMatching
from engine.metrics.resampling import interval
from engine.types import Rle

SQUARE = (10.0, 10.0, 20.0, 20.0)
FAR = (50.0, 50.0, 60.0, 60.0)
HALF = (10.0, 10.0, 20.0, 15.0)  # IoU with SQUARE is exactly 1/2


def photo(
    truth: list[tuple[float, float, float, float]],
    found: list[tuple[tuple[float, float, float, float], float]],
    *,
    category: str = "cat",
    difficult: bool = False,
) -> DetectedPhoto:
    return DetectedPhoto(
        tuple(TrueBox(box, category, difficult=difficult) for box in truth),
        tuple(ScoredBox(box, category, score) for box, score in found),
    )


def ranking(hits: list[int], objects: int) -> Ranking:
    """All on one photo."""
    return Ranking(
        photos=np.zeros(len(hits), dtype=np.intp),
        hits=np.array(hits, dtype=np.bool_),
        objects=np.array([objects], dtype=np.float64),
    )


# The rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("11-point", 0.652958), ("all-point", 0.646164), ("101-point", 0.646904)],
)
def test_ten_detections_of_six_objects_by_each_rule(rule: Rule, expected: float) -> None:
    found = average_precision(ranking([1, 1, 0, 1, 0, 0, 1, 0, 1, 0], objects=6), rule)
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_a_recall_of_three_tenths_misses_its_point_in_vocs_arithmetic_only() -> None:
    three_of_ten = ranking([1, 1, 1], objects=10)
    assert average_precision(three_of_ten, "11-point")[0] == pytest.approx(3 / 11)
    assert average_precision(three_of_ten, "exact-11-point")[0] == pytest.approx(4 / 11)


@pytest.mark.parametrize("rule", ["11-point", "exact-11-point", "all-point", "101-point"])
def test_all_found_at_once_is_one_and_nothing_found_is_zero(rule: Rule) -> None:
    assert average_precision(ranking([1, 1], objects=2), rule)[0] == pytest.approx(1.0)
    assert average_precision(ranking([0, 0], objects=2), rule)[0] == 0.0
    assert average_precision(ranking([], objects=2), rule)[0] == 0.0
    assert np.isnan(average_precision(ranking([0], objects=0), rule)[0])


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
    st.sampled_from(["11-point", "all-point", "101-point"]),
)
def test_a_photo_of_weight_two_counts_as_the_photo_twice(
    detections: list[tuple[int, bool]], weights: list[int], rule: Rule
) -> None:
    places = np.array([place for place, _ in detections], dtype=np.intp)
    hits = np.array([hit for _, hit in detections], dtype=np.bool_)
    objects = np.bincount(places[hits], minlength=5) + 1.0
    weighted = average_precision(
        Ranking(places, hits, objects), rule, np.array([weights], dtype=np.float64)
    )
    copies = np.repeat(np.arange(len(detections)), [weights[place] for place in places])
    total = float(np.dot(weights, objects))
    copied = Ranking(np.zeros(len(copies), np.intp), hits[copies], np.array([total]))
    np.testing.assert_allclose(weighted, average_precision(copied, rule), atol=1e-12)


def test_many_draws_of_many_detections_are_reckoned_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = ranking([1, 0, 1, 0, 1], objects=4)
    weights = np.arange(1.0, 8.0)[:, None]
    whole = average_precision(one, "101-point", weights)
    monkeypatch.setattr("engine.metrics.average_precision.AT_ONCE", 7)
    np.testing.assert_array_equal(average_precision(one, "101-point", weights), whole)


# VOC --------------------------------------------------------------------------------------------


def test_an_object_is_found_once() -> None:
    twice = photo([SQUARE], [(SQUARE, 0.9), (SQUARE, 0.8)])
    assert voc_scores([twice], rule="all-point").mean == pytest.approx(1.0)
    worse_first = photo([SQUARE, FAR], [(SQUARE, 0.9), (SQUARE, 0.8), (FAR, 0.7)])
    assert voc_scores([worse_first], rule="all-point").mean == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_half_an_overlap_is_enough_unless_it_must_be_more() -> None:
    half = [photo([SQUARE], [(HALF, 0.9)])]
    assert voc_scores(half).mean == pytest.approx(1.0)
    assert voc_scores(half, strict=True).mean == 0.0
    assert voc_scores(half, threshold=0.51).mean == 0.0


def test_a_difficult_object_is_neither_hit_nor_missed() -> None:
    clear = photo([SQUARE], [(SQUARE, 0.8)])
    difficult = photo([SQUARE], [(SQUARE, 0.9), (HALF, 0.85)], difficult=True)
    assert voc_scores([clear, difficult], rule="all-point").mean == pytest.approx(1.0)
    assert voc_scores([difficult]).mean is None
    assert coco_scores([clear, replace(difficult, detections=())]).ap == pytest.approx(1.0)


def test_voc_gives_a_detection_to_the_object_it_overlaps_most_and_coco_to_a_free_one() -> None:
    neighbour = (10.0, 10.0, 20.0, 18.0)
    crowded = [photo([SQUARE, neighbour], [(SQUARE, 0.9), (SQUARE, 0.8)])]
    assert voc_scores(crowded, rule="all-point").mean == pytest.approx(0.5)
    assert coco_scores(crowded).ap50 == pytest.approx(1.0)


def test_classes_count_alike_and_those_without_objects_not_at_all() -> None:
    photos = [
        photo([SQUARE] * 1, [(SQUARE, 0.9)], category="Füße"),
        photo([SQUARE], [], category="cat"),
        photo([], [(SQUARE, 0.9)], category="ghost"),
    ]
    found = voc_scores(photos)
    assert found.per_class == {"Füße": pytest.approx(1.0), "cat": 0.0}
    assert found.mean == pytest.approx(0.5)
    assert coco_scores(photos).per_class == {"Füße": pytest.approx(1.0), "cat": 0.0}


@pytest.mark.parametrize("photos", [[], [DetectedPhoto((), ())]])
def test_without_objects_there_is_no_score(photos: list[DetectedPhoto]) -> None:
    assert voc_scores(photos).mean is None
    assert coco_scores(photos).as_dict() == {}
    assert corloc(photos).mean is None
    assert mask_scores(photos)[0.5].mean is None
    assert interval(photos) is None
    assert interval(photos, "corloc") is None


# COCO -------------------------------------------------------------------------------------------

coordinates = st.integers(0, 12)
boxes = st.tuples(coordinates, coordinates, st.integers(1, 9), st.integers(1, 9)).map(
    lambda one: (float(one[0]), float(one[1]), float(one[0] + one[2]), float(one[1] + one[3]))
)
scores = st.integers(1, 20).map(lambda score: score / 20)
categories = st.sampled_from(["cat", "dog", "Füße"])
some_photos = st.lists(
    st.builds(
        DetectedPhoto,
        st.lists(st.builds(TrueBox, boxes, categories), max_size=4).map(tuple),
        st.lists(st.builds(ScoredBox, boxes, categories, scores), max_size=6).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


def by_the_library(photos: list[DetectedPhoto]) -> np.ndarray:
    """pycocotools the usual way: files read, everything evaluated, the printed summary."""
    names = sorted({one.category for photo in photos for one in photo.truth})
    truth, found = [], []
    for number, one in enumerate(photos):
        for box in (*one.truth, *one.detections):
            if box.category not in names:
                continue
            x0, y0, x1, y1 = box.box
            entry = {
                "image_id": number,
                "category_id": names.index(box.category),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            if isinstance(box, ScoredBox):
                found.append({**entry, "score": box.score})
            else:
                truth.append({**entry, "id": len(truth) + 1})
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "images": [{"id": number} for number in range(len(photos))],
            "annotations": truth,
            "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        }
        data.createIndex()
        results = COCO()
        numbered = [{**entry, "id": number + 1} for number, entry in enumerate(found)]
        results.dataset = {**data.dataset, "annotations": numbered}
        results.createIndex()
        evaluation = COCOeval(data, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats[:3])


@settings(max_examples=40, deadline=None)
@given(some_photos)
def test_coco_numbers_are_those_that_pycocotools_prints(photos: list[DetectedPhoto]) -> None:
    found = coco_scores(photos)
    expected = by_the_library(photos)
    if found.ap is None:
        assert list(expected) == [-1, -1, -1]
    else:
        np.testing.assert_allclose([found.ap, found.ap50, found.ap75], expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(some_photos)
def test_rankings_give_what_pycocotools_accumulates(photos: list[DetectedPhoto]) -> None:
    matching = CocoMatching(photos, thresholds=COCO_THRESHOLDS, what="box")
    expected = matching.precisions() if matching.categories else np.zeros((10, 0))
    for threshold in range(10):
        for category in range(len(matching.categories)):
            found = average_precision(
                matching.ranking(category=category, threshold=threshold), "101-point"
            )
            assert found[0] == pytest.approx(expected[threshold, category], abs=1e-12)


def test_the_metrics_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_scores([photo([SQUARE], [(SQUARE, 0.9)])])
    assert capsys.readouterr().out == ""


def test_no_more_than_a_hundred_detections_of_a_photo_count() -> None:
    crowded = photo([SQUARE], [(FAR, 0.9)] * 100 + [(SQUARE, 0.1)])
    assert coco_scores([crowded]).ap == 0.0
    assert voc_scores([crowded], rule="all-point").mean == pytest.approx(1 / 101)


# Masks ------------------------------------------------------------------------------------------


def rows(first: int, last: int) -> Rle:
    """Some rows of a photo of 20 x 20 pixels."""
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[first:last] = True
    return mask_to_rle(mask)


def test_masks_are_compared_by_their_own_overlap() -> None:
    whole = (0.0, 0.0, 20.0, 20.0)
    photos = [
        DetectedPhoto(
            (TrueBox(whole, "cat", mask=rows(0, 10)),),
            (ScoredBox(whole, "cat", 0.9, mask=rows(0, 6)),),
        )
    ]
    found = {threshold: one.mean for threshold, one in mask_scores(photos).items()}
    assert found == {0.25: pytest.approx(1.0), 0.5: pytest.approx(1.0), 0.7: 0.0, 0.75: 0.0}
    by_voc = voc_scores(photos, rule="all-point", threshold=0.6, what="mask")
    assert by_voc.mean == pytest.approx(1.0)
    assert coco_scores(photos).ap == pytest.approx(1.0)
    assert coco_scores(photos, what="mask").ap == pytest.approx(0.3)


def test_a_missing_mask_is_told() -> None:
    with pytest.raises(ValueError, match="needs one"):
        mask_scores([photo([SQUARE], [(SQUARE, 0.9)])])


# CorLoc -----------------------------------------------------------------------------------------


def test_corloc_looks_at_the_best_detection_of_each_photo() -> None:
    photos = [
        photo([SQUARE], [(SQUARE, 0.5), (FAR, 0.4)]),
        photo([SQUARE], [(SQUARE, 0.5), (FAR, 0.6)]),
        photo([SQUARE], []),
        photo([], [(SQUARE, 0.9)]),
    ]
    assert corloc(photos).mean == pytest.approx(1 / 3)


def test_corloc_asks_for_more_than_half_as_published() -> None:
    half = [photo([SQUARE], [(HALF, 0.9)])]
    assert corloc(half).mean == 0.0
    assert corloc(half, strict=False).mean == 1.0


def test_difficult_objects_count_in_one_reading_of_corloc_and_not_in_the_other() -> None:
    photos = [
        photo([SQUARE], [(FAR, 0.9)]),
        photo([SQUARE], [(SQUARE, 0.9)], difficult=True),
    ]
    assert corloc(photos, counted="any").mean == pytest.approx(0.5)
    assert corloc(photos, counted="clear").mean == 0.0

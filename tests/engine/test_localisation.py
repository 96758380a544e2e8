"""GT-Known localisation with arithmetic that fits in the head: photos of 40 x 30 pixels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.geometry import mask_to_rle
from engine.metrics.localisation import PhotoToJudge, TrueObject, evaluate_localisation
from engine.types import PERSON, Box, Instance, Status
from tests.builders import make_instance, make_mask


def true(category: str, box: tuple[int, int, int, int], *, masked: bool = False) -> TrueObject:
    mask = mask_to_rle(make_mask(box)) if masked else None
    return TrueObject(category, box, mask)


def predicted(category: str | None, box: Box, score: float | None = 0.5, **fields: Any) -> Instance:
    given = {"box": box, "category": category, "status": Status.PROPOSED, "source": PERSON}
    return Instance(**{**given, "score": score, **fields})


def photo(truth: list[TrueObject], predictions: list[Instance]) -> PhotoToJudge:
    return PhotoToJudge(truth=truth, predictions=predictions, width=40, height=30)


def test_the_whole_photo_and_ours_are_worked_out_side_by_side() -> None:
    # True 20 x 15 = 300; ours 20 x 12 inside it: 240 / 300 = 0.8. The photo: 300 / 1200 = 0.25.
    result = evaluate_localisation(
        [photo([true("cat", (0, 0, 20, 15))], [predicted("cat", (0, 0, 20, 12))])]
    )
    assert result.ours.hits == (1, 1, 0)
    assert result.ours.shares == (1.0, 1.0, 0.0)
    assert result.ours.gt_known == 1.0
    assert result.ours.mean_box_iou == pytest.approx(0.8)
    assert result.whole_photo.hits == (0, 0, 0)
    assert result.whole_photo.mean_box_iou == pytest.approx(0.25)
    assert (result.photos, result.pairs, result.pairs_without_prediction) == (1, 1, 0)


def test_exactly_one_half_is_a_hit() -> None:
    result = evaluate_localisation(
        [photo([true("cat", (0, 0, 20, 10))], [predicted("cat", (0, 0, 10, 10))])]
    )
    assert result.ours.mean_box_iou == 0.5
    assert result.ours.hits[0] == 1


def test_boxes_that_touch_do_not_overlap() -> None:
    result = evaluate_localisation(
        [photo([true("cat", (0, 0, 10, 10))], [predicted("cat", (10, 0, 20, 10))])]
    )
    assert result.ours.mean_box_iou == 0.0


def test_only_the_highest_scored_instance_of_the_class_counts() -> None:
    right, wrong = (0, 0, 10, 10), (20, 0, 30, 10)
    truth = [true("cat", right)]
    sure_of_wrong = [predicted("cat", right, 0.4), predicted("cat", wrong, 0.6)]
    assert evaluate_localisation([photo(truth, sure_of_wrong)]).ours.hits[0] == 0
    of_another_class = [predicted("cat", right, 0.4), predicted("dog", wrong, 0.6)]
    assert evaluate_localisation([photo(truth, of_another_class)]).ours.hits[0] == 1
    of_no_class = [predicted(None, wrong, 0.9), predicted("cat", right, 0.4)]
    assert evaluate_localisation([photo(truth, of_no_class)]).ours.hits[0] == 1
    equals = [predicted("cat", right, 0.5), predicted("cat", wrong, 0.5)]
    assert evaluate_localisation([photo(truth, equals)]).ours.hits[0] == 1


def test_what_a_person_drew_beats_every_score_below_one() -> None:
    truth = [true("cat", (0, 0, 10, 10))]
    made = [predicted("cat", (20, 0, 30, 10), 0.99), predicted("cat", (0, 0, 10, 10), None)]
    assert evaluate_localisation([photo(truth, made)]).ours.hits[0] == 1


def test_a_rejected_instance_is_no_prediction() -> None:
    made = [predicted("cat", (0, 0, 10, 10), status=Status.REJECTED)]
    result = evaluate_localisation([photo([true("cat", (0, 0, 10, 10))], made)])
    assert result.pairs_without_prediction == 1
    assert result.ours.mean_box_iou == 0.0


def test_one_hit_among_several_true_boxes_suffices() -> None:
    truth = [true("cat", (0, 0, 10, 10)), true("cat", (20, 0, 30, 10))]
    result = evaluate_localisation([photo(truth, [predicted("cat", (20, 0, 30, 10))])])
    assert result.pairs == 1
    assert result.ours.hits == (1, 1, 1)


def test_each_class_of_a_photo_is_a_pair_and_a_missing_one_counts_zero() -> None:
    truth = [true("cat", (0, 0, 10, 10)), true("dog", (20, 0, 30, 10))]
    result = evaluate_localisation([photo(truth, [predicted("cat", (0, 0, 10, 10))])])
    assert (result.pairs, result.pairs_without_prediction) == (2, 1)
    assert result.ours.gt_known == 0.5
    assert result.ours.mean_box_iou == 0.5


def test_a_class_that_is_not_in_the_truth_costs_nothing() -> None:
    result = evaluate_localisation([photo([], [predicted("cat", (0, 0, 10, 10))])])
    assert (result.photos, result.pairs) == (1, 0)


def test_masks_are_compared_with_the_best_matching_object() -> None:
    truth = [
        true("cat", (0, 0, 10, 10), masked=True),
        true("cat", (20, 0, 30, 10), masked=True),
    ]
    # 10 x 5 of the second one's 10 x 10.
    made = make_instance(make_mask((20, 0, 30, 5)), score=0.5)
    result = evaluate_localisation([photo(truth, [made])])
    assert result.pairs_with_true_mask == 1
    assert result.ours.mean_mask_iou == pytest.approx(0.5)
    assert result.whole_photo.mean_mask_iou == pytest.approx(100 / 1200)


def test_pairs_without_a_true_mask_stay_out_of_the_mask_mean() -> None:
    truth = [true("cat", (0, 0, 10, 10), masked=True), true("dog", (20, 0, 30, 10))]
    made = [make_instance(make_mask((0, 0, 10, 10))), predicted("dog", (20, 0, 30, 10))]
    result = evaluate_localisation([photo(truth, made)])
    assert (result.pairs_with_true_mask, result.pairs_without_predicted_mask) == (1, 0)
    assert result.ours.mean_mask_iou == 1.0


def test_an_object_without_a_mask_gives_way_to_one_that_has_one() -> None:
    truth = [true("cat", (0, 0, 10, 10)), true("cat", (0, 0, 10, 8), masked=True)]
    result = evaluate_localisation([photo(truth, [make_instance(make_mask((0, 0, 10, 10)))])])
    assert result.ours.mean_box_iou == 1.0
    assert result.ours.mean_mask_iou == pytest.approx(0.8)


def test_a_box_without_a_mask_counts_as_mask_iou_zero() -> None:
    truth = [true("cat", (0, 0, 10, 10), masked=True)]
    boxed = evaluate_localisation([photo(truth, [predicted("cat", (0, 0, 10, 10))])])
    nothing = evaluate_localisation([photo(truth, [])])
    for result in (boxed, nothing):
        assert result.ours.mean_mask_iou == 0.0
        assert result.pairs_without_predicted_mask == 1


def test_nothing_to_judge_gives_no_numbers_instead_of_zeros() -> None:
    result = evaluate_localisation([])
    assert result.ours.shares == (None, None, None)
    assert result.ours.mean_box_iou is None
    assert result.whole_photo.mean_mask_iou is None
    assert "–" in result.table()


def test_a_mask_of_another_size_than_the_photo_is_refused() -> None:
    small = make_instance(make_mask((0, 0, 5, 5), height=10, width=10))
    with pytest.raises(ValueError, match=r"a mask is \(10, 10\), its photo is \(30, 40\)"):
        photo([], [small])


def test_the_result_is_plain_json() -> None:
    result = evaluate_localisation(
        [photo([true("cat", (0, 0, 20, 15))], [predicted("cat", (0, 0, 20, 12))])]
    )
    read = json.loads(json.dumps(result.as_dict()))
    assert read == result.as_dict()
    assert read["ours"]["hits"] == {"0.5": 1, "0.7": 1, "0.9": 0}
    assert read["whole_photo"]["mean_box_iou"] == 0.25
    assert read["ours"]["mean_mask_iou"] is None


def test_the_table_is_aligned() -> None:
    truth = [true("cat", (0, 0, 20, 15), masked=True)]
    made = [make_instance(make_mask((0, 0, 20, 12)))]
    table = evaluate_localisation([photo(truth, made)]).table()
    assert table.splitlines() == [
        "                              ours  whole photo",
        "GT-Known (box IoU ≥ 0.5)   100.0 %        0.0 %",
        "box IoU ≥ 0.7              100.0 %        0.0 %",
        "box IoU ≥ 0.9                0.0 %        0.0 %",
        "mean box IoU                 0.800        0.250",
        "mean mask IoU                0.800        0.250",
        "1 pairs of photo and class in 1 photos; 0 without a prediction; "
        "1 with a true mask, 0 of them without a predicted one",
    ]


boxes = st.tuples(
    st.integers(0, 38), st.integers(0, 28), st.integers(1, 40), st.integers(1, 30)
).filter(lambda box: box[0] < box[2] and box[1] < box[3])


@given(st.lists(st.tuples(st.sampled_from("ab"), boxes), min_size=1, max_size=4))
def test_predicting_the_truth_is_perfect(
    objects: list[tuple[str, tuple[int, int, int, int]]],
) -> None:
    truth = [true(name, box, masked=True) for name, box in objects]
    made = [make_instance(make_mask(box), category=name) for name, box in objects]
    result = evaluate_localisation([photo(truth, made)])
    assert result.ours.shares == (1.0, 1.0, 1.0)
    assert result.ours.mean_mask_iou == 1.0


@given(st.lists(boxes, min_size=1, max_size=4))
def test_predicting_the_whole_photo_equals_the_baseline(
    objects: list[tuple[int, int, int, int]],
) -> None:
    truth = [true("cat", box, masked=True) for box in objects]
    everything = make_instance(make_mask((0, 0, 40, 30)))
    result = evaluate_localisation([photo(truth, [everything])])
    assert result.ours == result.whole_photo

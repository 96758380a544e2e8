"""Top-1, Top-5 and GT-Known: what is a hit, and the slow way through each of the k classes."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.metrics.map_boxes import boxes_at
from engine.metrics.protocols import Protocol, best_ious
from engine.metrics.topk import ThresholdShares, TopKLocalisation, TopKResult, class_rank
from tests.builders import make_mask
from tests.engine.metrics.maps import true_boxes

TRUTH = [(0, 0, 9, 9)]
HIT, EXACTLY_HALF, MISS = [(0, 0, 9, 9)], [(0, 0, 9, 4)], [(20, 20, 29, 29)]
SIX = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


def result_of(
    *images: tuple[list, list, int], protocol: Protocol = "sat", thresholds: tuple = (0.5,)
) -> TopKResult:
    """Each image is its boxes, its truth and its true class of six, the lower the better scored."""
    measure = TopKLocalisation(protocol=protocol, thresholds=thresholds)
    for boxes, truth, true_class in images:
        measure.add_boxes(boxes, truth, class_scores=SIX, true_class=true_class)
    return measure.result()


def test_place_and_class_must_both_be_right() -> None:
    result = result_of(
        (HIT, TRUTH, 0),  # all
        (HIT, TRUTH, 4),  # Top-5
        (HIT, TRUTH, 5),  # GT-Known only
        (MISS, TRUTH, 0),  # classification only
    )
    assert result.localisation == (
        ThresholdShares(threshold=0.5, top1=25.0, top5=50.0, gt_known=75.0),
    )
    assert (result.top1_classification, result.top5_classification) == (50.0, 75.0)


@pytest.mark.parametrize(("protocol", "top"), [("sat", 100.0), ("wsol", 100.0), ("tscam", 0.0)])
def test_an_iou_of_exactly_half_is_known_but_no_top_k_of_ts_cam(
    protocol: Protocol, top: float
) -> None:
    (row,) = result_of((EXACTLY_HALF, TRUTH, 0), protocol=protocol).localisation
    assert (row.top1, row.top5, row.gt_known) == (top, top, 100.0)


def test_the_best_of_several_true_boxes_counts() -> None:
    (row,) = result_of((HIT, [*MISS, *TRUTH], 0), (HIT, MISS, 0)).localisation
    assert row.gt_known == 50.0


def test_no_box_and_no_truth_are_misses() -> None:
    result = result_of(([], TRUTH, 0), (HIT, [], 0))
    assert result.localisation[0].gt_known == 0.0
    assert (result.images, result.images_without_truth) == (2, 1)


def test_each_threshold_has_its_shares_and_the_oracle_takes_the_best() -> None:
    score_map = np.zeros((30, 40))
    score_map[:20, :20] = 0.3  # 400 pixels, of which the truth is a quarter
    score_map[:10, :10] = 0.9
    measure = TopKLocalisation(protocol="sat", thresholds=(0.2, 0.4, 0.6, 0.95))
    measure.add(score_map, TRUTH, class_scores=SIX, true_class=0)
    result = measure.result()
    assert [row.gt_known for row in result.localisation] == [0.0, 100.0, 100.0, 0.0]
    assert result.oracle.threshold == 0.4


def test_the_oracle_looks_at_gt_known_and_top_1_together() -> None:
    rows = (
        ThresholdShares(threshold=0.3, top1=50.0, top5=60.0, gt_known=80.0),
        ThresholdShares(threshold=0.4, top1=55.0, top5=60.0, gt_known=76.0),
        ThresholdShares(threshold=0.5, top1=40.0, top5=90.0, gt_known=81.0),
    )
    result = TopKResult(
        protocol="sat",
        contours="largest",
        images=1,
        images_without_truth=0,
        top1_classification=50.0,
        top5_classification=60.0,
        localisation=rows,
    )
    assert result.oracle.threshold == 0.4


@given(
    maps=arrays.arrays(np.float64, (7, 9, 9), elements=st.sampled_from([0.0, 0.3, 0.7, 1.0])),
    class_scores=arrays.arrays(np.float64, 7, elements=st.floats(-9, 9), unique=True),
    truth=true_boxes(8),
    true_class=st.integers(0, 6),
    protocol=st.sampled_from(get_args(Protocol)),
)
def test_the_true_classes_map_says_what_the_boxes_of_all_k_classes_say(
    maps: np.ndarray,
    class_scores: np.ndarray,
    truth: list,
    true_class: int,
    protocol: Protocol,
) -> None:
    """As the papers write it: any of the k best classes is the true one and its box is right."""
    ordered = np.argsort(-class_scores).tolist()

    def is_hit(classes: list[int], *, strictly: bool) -> bool:
        ious = {
            kind: best_ious(boxes_at(maps[kind], 0.4, protocol=protocol), truth).max()
            for kind in classes
        }
        return any(
            kind == true_class and (iou > 0.5 if strictly else iou >= 0.5)
            for kind, iou in ious.items()
        )

    measure = TopKLocalisation(protocol=protocol, thresholds=(0.4,))
    measure.add(maps[true_class], truth, class_scores=class_scores, true_class=true_class)
    (row,) = measure.result().localisation
    strictly = protocol == "tscam"
    assert row.top1 == 100.0 * is_hit(ordered[:1], strictly=strictly)
    assert row.top5 == 100.0 * is_hit(ordered[:5], strictly=strictly)
    assert row.gt_known == 100.0 * is_hit([true_class], strictly=False)


@given(
    st.lists(
        st.tuples(st.sampled_from([HIT, EXACTLY_HALF, MISS, []]), st.integers(0, 5)), min_size=1
    )
)
def test_top_1_is_within_top_5_is_within_gt_known(images: list[tuple[list, int]]) -> None:
    for protocol in get_args(Protocol):
        result = result_of(*((boxes, TRUTH, kind) for boxes, kind in images), protocol=protocol)
        (row,) = result.localisation
        assert row.top1 <= row.top5 <= row.gt_known
        assert row.top1 <= result.top1_classification <= result.top5_classification


def test_a_mask_as_a_map_and_as_its_box() -> None:
    mask = make_mask((0, 0, 9, 9))
    measure = TopKLocalisation(protocol="sat", thresholds=(0.2, 0.9))
    measure.add(mask, TRUTH, class_scores=SIX, true_class=0)
    assert [row.top1 for row in measure.result().localisation] == [100.0, 100.0]


def test_of_equal_scores_the_first_class_is_better() -> None:
    assert [class_rank([1.0, 2.0, 2.0, 0.0], kind) for kind in range(4)] == [2, 0, 1, 3]


def test_with_few_classes_all_are_among_the_five_best() -> None:
    measure = TopKLocalisation(protocol="sat", thresholds=(0.5,))
    measure.add_boxes(HIT, TRUTH, class_scores=[0.9, 0.1], true_class=1)
    assert measure.result().top5_classification == 100.0


@pytest.mark.parametrize(
    ("scores", "true_class", "said"),
    [
        ([0.1, 0.2], 2, "true class 2 is not one of the 2 scored"),
        ([0.1, 0.2], -1, "true class -1"),
        ([0.1, float("nan")], 0, "without NaN"),
        ([[0.1, 0.2]], 0, r"must be \(classes,\)"),
    ],
)
def test_class_scores_that_cannot_be_ranked_are_refused(
    scores: list, true_class: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        class_rank(scores, true_class)


def test_nothing_to_judge_gives_no_numbers_instead_of_zeros() -> None:
    result = result_of()
    assert result.localisation[0].gt_known is None
    assert result.top1_classification is None
    assert "–" in result.table()


def test_the_result_is_plain_json() -> None:
    content = result_of((HIT, TRUTH, 1), thresholds=(0.3, 0.4)).as_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["localisation"][1] == {
        "threshold": 0.4,
        "top1": 0.0,
        "top5": 100.0,
        "gt_known": 100.0,
    }
    assert content["oracle_threshold"] == 0.3


def test_the_table_is_aligned() -> None:
    table = result_of((HIT, TRUTH, 1), (HIT, TRUTH, 0), (MISS, TRUTH, 0)).table()
    assert table.splitlines() == [
        "threshold   Top-1 Loc  Top-5 Loc   GT-Known",
        "0.5             33.33      66.67      66.67",
        "classification: Top-1 66.67, Top-5 100.00",
        "3 images, 0 of them without truth; protocol sat, contours largest",
    ]

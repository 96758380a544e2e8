"""MaxBoxAcc and its second version: the numbers of wsolevaluation, and properties."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OptionError
from engine.metrics.boxacc import THRESHOLDS, BoxAccResult, BoxAccuracy
from engine.metrics.map_boxes import Contours, boxes_at, mask_boxes
from engine.metrics.protocols import best_ious
from tests.builders import make_mask
from tests.engine.metrics.maps import PYRAMIDS, score_maps, true_boxes

DELTAS = (30, 50, 70, 90)


def result_of(names: str, **options: object) -> BoxAccResult:
    accuracy = BoxAccuracy(**{"deltas": DELTAS, **options})  # type: ignore[arg-type]
    for name in names:
        accuracy.add(*PYRAMIDS[name])
    return accuracy.result()


@pytest.mark.parametrize(
    ("contours", "name", "expected"),
    [
        ("all", "A", [651, 361, 177, 63]),
        ("all", "B", [573, 448, 302, 75]),
        ("all", "C", [687, 412, 168, 0]),
        ("all", "D", [416, 197, 0, 0]),
        ("largest", "A", [651, 361, 177, 63]),
        ("largest", "B", [106, 0, 0, 0]),
        ("largest", "C", [687, 412, 168, 0]),
        ("largest", "D", [416, 197, 0, 0]),
    ],
)
def test_how_many_of_the_thousand_thresholds_hit(
    contours: Contours, name: str, expected: list[int]
) -> None:
    result = result_of(name, contours=contours)
    assert np.sum(result.counts, axis=0).tolist() == expected


@pytest.mark.parametrize(
    ("contours", "best", "sums"),
    [
        ("all", (100, 75, 50, 25), [2327, 1418, 647, 138]),
        ("largest", (75, 50, 50, 25), [1860, 970, 345, 63]),
    ],
)
def test_the_best_threshold_is_one_for_all_images(
    contours: Contours, best: tuple[float, ...], sums: list[int]
) -> None:
    result = result_of("ABCD", contours=contours)
    assert result.best == best
    assert np.sum(result.counts, axis=0).tolist() == sums
    assert np.shape(result.counts) == (1000, 4)


@pytest.mark.parametrize(
    ("contours", "deltas", "mean"),
    [
        ("all", (30, 50, 70), 75.0),
        ("all", (50, 70, 90), 50.0),
        ("largest", (30, 50, 70), 58.3333),
        ("largest", (50, 70, 90), 41.6667),
        ("largest", (50,), 50.0),  # the first version
    ],
)
def test_the_mean_is_over_the_deltas_asked_for(
    contours: Contours, deltas: tuple[int, ...], mean: float
) -> None:
    result = result_of("ABCD", contours=contours, deltas=deltas)
    assert result.mean == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "threshold", "box", "ious"),
    [
        ("A", 0.5, [63, 63, 162, 162], [0.9803]),
        ("A", 0.2, [33, 33, 192, 192], [0.3985]),
        ("C", 0.5, [28, 68, 73, 157], [0.3295, 0.6525]),
    ],
)
def test_spot_checks_at_one_threshold(
    name: str, threshold: float, box: list[int], ious: list[float]
) -> None:
    score_map, truth = PYRAMIDS[name]
    found = boxes_at(score_map, threshold, protocol="wsol", contours="all")
    assert found.tolist() == [box]
    assert [best_ious(found, [one]).item() for one in truth] == pytest.approx(ious, abs=5e-5)
    assert best_ious(found, truth).item() == pytest.approx(max(ious), abs=5e-5)


def test_of_the_thresholds_that_are_best_the_lowest_is_named() -> None:
    result = result_of("ABCD")
    for column, (share, threshold) in enumerate(
        zip(result.best, result.best_thresholds, strict=True)
    ):
        shares = 25.0 * np.array(result.counts)[:, column]
        assert shares.max() == share
        assert result.thresholds[int(np.flatnonzero(shares == share)[0])] == threshold


def test_a_fixed_threshold_is_one_row_of_the_counts() -> None:
    result = result_of("ABCD")
    # A 0.98, C 0.65; B's and D's boxes at half their height have a quarter of the base.
    assert result.fixed(0.5) == (75.0, 50.0, 25.0, 25.0)
    assert result.fixed(0.0)[3] == 0.0
    assert all(fixed <= best for fixed, best in zip(result.fixed(0.3), result.best, strict=True))


def test_a_threshold_that_was_not_tried_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"0\.5004 was not tried; the nearest is 0\.5"):
        result_of("A").fixed(0.5004)


def test_a_mask_scores_the_same_at_every_threshold() -> None:
    mask = make_mask((62, 62, 150, 150), height=224, width=224)
    truth = [(62, 62, 162, 162)]
    as_map, as_boxes = BoxAccuracy(deltas=DELTAS), BoxAccuracy(deltas=DELTAS)
    as_map.add(mask, truth)
    as_boxes.add_boxes(mask_boxes(mask), truth)
    assert as_map.result() == as_boxes.result()
    assert set(as_boxes.result().counts) == {(1, 1, 1, 0)}  # 89^2 / 101^2 = 0.776


def test_no_box_and_no_truth_are_misses() -> None:
    accuracy = BoxAccuracy()
    accuracy.add_boxes([], [(0, 0, 5, 5)])
    accuracy.add_boxes([(0, 0, 5, 5)], [])
    accuracy.add_boxes([(0, 0, 5, 5)], [(0, 0, 5, 5)])
    result = accuracy.result()
    assert (result.images, result.images_without_truth) == (3, 1)
    assert result.best == pytest.approx((100 / 3,) * 3)


def test_several_true_boxes_need_one_hit_by_any_box() -> None:
    accuracy = BoxAccuracy(deltas=(100,))
    accuracy.add_boxes([(0, 0, 3, 3), (10, 10, 20, 20)], [(30, 30, 40, 40), (10, 10, 20, 20)])
    assert accuracy.result().best == (100.0,)


def test_an_iou_of_exactly_delta_is_a_hit() -> None:
    accuracy = BoxAccuracy(deltas=(50, 50.1))
    accuracy.add_boxes([(0, 0, 9, 4)], [(0, 0, 9, 9)])
    assert accuracy.result().best == (100.0, 0.0)


def test_nothing_to_judge_gives_no_numbers_instead_of_zeros() -> None:
    result = BoxAccuracy(deltas=(50,)).result()
    assert result.best == (None,)
    assert result.mean is None
    assert "–" in result.table(fixed_threshold=0.5)


@given(st.lists(st.tuples(score_maps(), true_boxes()), min_size=1, max_size=4))
def test_a_higher_delta_never_scores_more(images: list[tuple[np.ndarray, list]]) -> None:
    accuracy = BoxAccuracy(deltas=(10, 30, 50, 70, 90, 100), thresholds=THRESHOLDS[::100])
    for score_map, truth in images:
        accuracy.add(score_map, truth)
    result = accuracy.result()
    assert (np.diff(np.array(result.counts), axis=1) <= 0).all()
    best = np.array(result.best)
    assert (np.diff(best) <= 0).all()
    assert (best >= 0).all()
    assert (best <= 100).all()


@given(st.lists(st.tuples(score_maps(), true_boxes()), min_size=2, max_size=4))
def test_the_order_of_the_images_does_not_matter(images: list[tuple[np.ndarray, list]]) -> None:
    forwards = BoxAccuracy(thresholds=THRESHOLDS[::50])
    backwards = BoxAccuracy(thresholds=THRESHOLDS[::50])
    for score_map, truth in images:
        forwards.add(score_map, truth)
    for score_map, truth in reversed(images):
        backwards.add(score_map, truth)
    assert forwards.result() == backwards.result()


def test_a_refused_image_leaves_the_counts_as_they_were() -> None:
    accuracy = BoxAccuracy()
    accuracy.add(*PYRAMIDS["A"])
    before = accuracy.result()
    with pytest.raises(ValueError, match="nan"):
        accuracy.add(np.array([[np.nan, 1.0]]), [(0, 0, 1, 1)])
    with pytest.raises(ValueError, match="must have 0 <= x0 <= x1"):
        accuracy.add(PYRAMIDS["A"][0], [(5, 0, 1, 1)])
    with pytest.raises(ValueError, match="must have 0 <= x0 <= x1"):
        accuracy.add_boxes([(0, 0, 1, 1)], [(0, -5, 1, 1)])
    assert accuracy.result() == before


@pytest.mark.parametrize("deltas", [(), (0,), (101,), (0.5, float("nan"))])
def test_deltas_are_percents(deltas: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="must be IoUs in percent"):
        BoxAccuracy(deltas=deltas)


def test_the_result_is_plain_json() -> None:
    result = result_of("ABCD", thresholds=(0.1, 0.5))
    content = result.as_dict(fixed_threshold=0.5)
    assert json.loads(json.dumps(content)) == content
    assert content["max_box_acc"]["50"] == result.best[1]
    assert content["fixed_threshold"] == {
        "threshold": 0.5,
        "box_acc": {"30": 75.0, "50": 50.0, "70": 25.0, "90": 25.0},
        "mean": 43.75,
    }
    assert "fixed_threshold" not in result.as_dict()


def test_the_table_is_aligned() -> None:
    table = result_of("ABCD", deltas=(50, 70, 90)).table(fixed_threshold=0.5)
    assert table.splitlines() == [
        "                     IoU ≥ 50 %  IoU ≥ 70 %  IoU ≥ 90 %        mean",
        "MaxBoxAcc                 75.00       50.00       25.00       50.00",
        "at threshold              0.177       0.299       0.173",
        "fixed threshold 0.5       50.00       25.00       25.00       33.33",
        "4 images, 0 of them without truth; protocol wsol, contours all",
    ]

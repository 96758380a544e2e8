"""The bench of planted errors: what is planted, how it is measured, and all of it once in tiny."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.noise.__main__ import bench
from benchmarks.noise.judged import Gain, gain
from benchmarks.noise.orders import (
    DROP_SHARE,
    HALF_OF_CLASS,
    LATE_LOSS,
    LEAST_LOSS,
    OF_CLASS,
    PLAIN_LOSS,
    PRODUCT,
    Found,
    mean_found,
    measured,
    orders_of,
    random_order,
)
from benchmarks.noise.photo_sets import (
    make_errors,
    make_photos,
    planted_errors,
    training_data,
    true_images,
)
from benchmarks.noise.plan import (
    CLEAN,
    DROP,
    MAIN,
    NO_DROP,
    OWN_PARTS,
    QUICK,
    SHORT,
    STARTING_PARTS,
    THRESHOLDS,
    Way,
    network_of,
    recipe_of,
)
from benchmarks.noise.planted import KINDS, SHIFTED_IOU, Planted, plant, shifted_box
from benchmarks.noise.why import (
    EMPTY,
    MISSED,
    RIGHT,
    SHIFTED,
    VACATED,
    WRONG,
    looked_at,
    summary,
)
from benchmarks.synthetic import class_names
from engine.detectors import build
from engine.detectors.saved import DetectorCard, save_detector
from engine.geometry import iou_boxes
from engine.metrics.detected import DetectedPhoto, ScoredBox, TrueBox
from engine.types import Box, Instance, LabeledImage, Source, Status
from exports.detection_data import read_detection_data
from training.detector_settings import detector_settings_for

CLASSES = ("cat", "dog", "owl")
TINY = dataclasses.replace(QUICK, photos=20, training_photos=12, starting_photos=8, epochs=1)


def photos_of(count: int, each: int = 3) -> list[LabeledImage]:
    """Photos of 100 x 80 pixels with three objects of different classes side by side."""
    return [
        LabeledImage(
            id=place + 1,
            file_name=f"{place}.png",
            width=100,
            height=80,
            instances=tuple(
                Instance(
                    id=place * each + k + 1,
                    box=(2.0 + 33 * k, 10.0, 30.0 + 33 * k, 50.0),
                    category=CLASSES[k],
                    status=Status.DRAWN,
                    source=Source("person"),
                )
                for k in range(each)
            ),
        )
        for place in range(count)
    ]


def labels(images: list[LabeledImage]) -> dict[int, Instance]:
    return {one.id or 0: one for image in images for one in image.instances}


# ------------------------------------------------------------------------------ what is planted


def test_the_planted_errors_are_remembered_and_nothing_else_changes() -> None:
    images = photos_of(30)
    wrong, planted = plant(images, share=0.2, classes=CLASSES, seed=5)
    before, after = labels(images), labels(wrong)
    errors = {one.instance: one for one in planted}
    assert len(errors) == len(planted) == 18
    assert [sum(one.kind == kind for one in planted) for kind in KINDS] == [6, 6, 6]
    for number, true in before.items():
        if number not in errors:
            assert after[number] == true
            continue
        error = errors[number]
        assert (error.box, error.category) == (true.box, true.category)
        assert error.file_name == f"{(number - 1) // 3}.png"
        if error.kind == "missing":
            assert number not in after
        elif error.kind == "shifted":
            iou = float(iou_boxes([after[number].box], [true.box])[0, 0])
            assert SHIFTED_IOU[0] <= iou <= SHIFTED_IOU[1]
            assert after[number].category == true.category
        else:
            assert after[number].category not in (true.category, None)
            assert after[number].box == true.box


def test_a_seed_always_plants_the_same_and_another_seed_others() -> None:
    images = photos_of(30)
    first, again, other = (
        plant(images, share=0.2, classes=CLASSES, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first[1] != other[1]


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 9), (0.5, 4)])
def test_as_many_labels_are_wrong_as_were_asked_for(share: float, count: int) -> None:
    assert len(plant(photos_of(3), share=share, classes=CLASSES, seed=0)[1]) == count


def test_a_photo_whose_labels_are_all_missing_stays() -> None:
    wrong, planted = plant(photos_of(40, each=1), share=1.0, classes=CLASSES, seed=0)
    assert len(wrong) == 40
    assert sum(not image.instances for image in wrong) == sum(
        one.kind == "missing" for one in planted
    )


def test_a_share_above_all_and_a_single_class_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        plant(photos_of(1), share=1.5, classes=CLASSES, seed=0)
    with pytest.raises(ValueError, match="cat"):
        plant(photos_of(1), share=0.2, classes=["cat"], seed=0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(6, 60), st.integers(6, 60), st.integers(0)
)
def test_a_shifted_box_stays_in_the_photo_and_is_partly_right(
    x: int, y: int, width: int, height: int, seed: int
) -> None:
    box: Box = (x, y, min(x + width, 64), min(y + height, 64))
    found = shifted_box(box, [], size_wh=(64, 64), random=np.random.default_rng(seed))
    assert 0 <= found[0] < found[2] <= 64
    assert 0 <= found[1] < found[3] <= 64
    iou = float(iou_boxes([found], [box])[0, 0])
    assert SHIFTED_IOU[0] <= iou <= SHIFTED_IOU[1]


def test_a_shifted_box_keeps_off_the_neighbours() -> None:
    neighbours: list[Box] = [(0.0, 20.0, 20.0, 40.0), (40.0, 20.0, 60.0, 40.0)]
    random = np.random.default_rng(0)
    for _ in range(20):
        found = shifted_box((20.0, 20.0, 40.0, 40.0), neighbours, size_wh=(64, 64), random=random)
        assert iou_boxes([found], neighbours).max() < SHIFTED_IOU[0]


def test_an_error_goes_through_json() -> None:
    error = Planted(3, "shifted", "ä.png", (1.0, 2.0, 3.5, 4.0), "cat")
    assert Planted.from_dict(json.loads(json.dumps(error.as_dict()))) == error


def test_training_data_holds_the_errors_only_where_it_trains(tmp_path: Path) -> None:
    scenes = TINY.scenes(OWN_PARTS)
    make_photos(tmp_path, scenes, photos=30, seed=0, training=9)
    make_errors(tmp_path, scenes, share=0.4, seed=7)
    clean, wrong = (read_detection_data(training_data(tmp_path, seed)) for seed in (None, 7))
    assert clean.part("validation") == wrong.part("validation")
    assert len(clean.part("train")) == len(wrong.part("train")) == 9
    assert clean.classes == wrong.classes == class_names(3, OWN_PARTS)
    assert all(photo.complete for photo in wrong.photos)
    after = labels([photo.image for photo in wrong.part("train")])
    true = labels(true_images(tmp_path))
    planted = planted_errors(tmp_path, 7)
    assert planted
    for number, one in labels([photo.image for photo in clean.part("train")]).items():
        error = next((error for error in planted if error.instance == number), None)
        assert one.box == true[number].box
        same = number in after and (after[number].box, after[number].category) == (
            one.box,
            one.category,
        )
        assert same == (error is None)


def test_the_first_detector_learned_none_of_the_classes() -> None:
    assert not set(class_names(6, OWN_PARTS)) & set(class_names(6, STARTING_PARTS))


# ------------------------------------------------------------------------------- the measures


def test_an_order_with_all_errors_first_is_perfect() -> None:
    found = measured([3, 1, *range(10, 28)], {1, 3})
    assert found == Found(precision=1.0, recall=(1.0, 1.0, 1.0), average_precision=1.0)


def test_an_order_with_all_errors_last_finds_nothing_soon() -> None:
    found = measured([*range(10, 28), 3, 1], {1, 3})
    assert found.precision == 0.0
    assert found.recall == (0.0, 0.0, 0.0)
    assert found.average_precision == pytest.approx((1 / 19 + 2 / 20) / 2)


def test_the_measures_of_an_order_by_hand() -> None:
    # Errors in places 1, 3 and 6 of ten.
    found = measured([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], {1, 3, 6})
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def test_an_error_that_no_order_can_name_does_not_count() -> None:
    assert measured([1, 2, 3, 4], {1, 99}) == measured([1, 2, 3, 4], {1})
    with pytest.raises(ValueError, match="no error"):
        measured([1, 2], {99})


def test_a_random_order_finds_by_chance() -> None:
    found = random_order(list(range(200)), set(range(0, 200, 5)), seed=1)
    assert found.precision == pytest.approx(0.2, abs=0.02)
    assert found.recall == pytest.approx((0.1, 0.2, 0.3), abs=0.02)


def test_the_mean_of_two_orders_is_of_each_number() -> None:
    one, other = Found(1.0, (0.2, 0.4, 0.6), 0.5), Found(0.0, (0.0, 0.2, 0.2), 0.1)
    mean = mean_found([one, other])
    assert mean.precision == 0.5
    assert mean.recall == pytest.approx((0.1, 0.3, 0.4))
    assert mean.average_precision == pytest.approx(0.3)


def test_each_order_puts_first_what_its_signal_says() -> None:
    def record(dropped: float, *losses: float) -> dict[str, object]:
        loss = [[epoch, one] for epoch, one in enumerate(losses, start=1)]
        return {"seen": 20, "rois": 60, "dropped": dropped, "loss": loss}

    content = {
        "instances": {
            "1": record(0.0, 9.0, 0.2),  # hard at first
            "2": record(0.1, 1.0, 3.0),  # of a class with high losses
            "3": record(0.0, 1.0, 0.1),
            "4": record(0.9, 1.0, 1.0),  # dropped
            "5": record(0.0, 1.0, 2.5),
            "6": record(0.0, 1.0, 0.1),
        }
    }
    class_of = {1: "cat", 3: "cat", 4: "cat", 6: "cat", 2: "dog", 5: "dog"}
    orders = orders_of(content, class_of=class_of)
    assert all(sorted(order) == [1, 2, 3, 4, 5, 6] for order in orders.values())
    assert orders[PLAIN_LOSS][0] == 1
    assert orders[LATE_LOSS][:2] == [2, 5]
    assert orders[LEAST_LOSS] == [2, 4, 5, 1, 3, 6]
    assert orders[OF_CLASS][0] == 4
    # Medians of the classes: 0.15 and 1.0.
    assert orders[HALF_OF_CLASS][:3] == [4, 2, 5]
    assert orders[DROP_SHARE][:2] == [4, 2]
    assert orders[PRODUCT][0] == 4


def test_a_gain_is_of_the_same_seed_and_photos() -> None:
    truth = (TrueBox(box=(0, 0, 10, 10), category="cat"),)
    hit = ScoredBox(box=(0, 0, 10, 10), category="cat", score=0.9)
    good, bad = [DetectedPhoto(truth, (hit,))] * 4, [DetectedPhoto(truth, ())] * 4
    found = gain({0: bad, 1: good, 2: bad}, {0: good, 1: good, 2: good})
    assert found.by_seed == pytest.approx((100, 0, 100))
    assert found.mean == pytest.approx(200 / 3)
    # Student's t with two degrees of freedom: 4.303 standard errors of 33.3.
    assert found.half_width == pytest.approx(4.303 * 100 / 3, rel=1e-3)
    assert Gain((1.0,), ((0.0, 2.0),)).half_width is None


# ---------------------------------------------------------------------- what happens to the RoIs


def test_rois_are_sorted_by_the_error_that_they_lie_on(tmp_path: Path) -> None:
    scenes = dataclasses.replace(TINY.scenes(OWN_PARTS), objects=3)
    make_photos(tmp_path, scenes, photos=40, seed=0)
    make_errors(tmp_path, scenes, share=0.6, seed=1)
    names = class_names(3, OWN_PARTS)
    network = build("fasterrcnn", num_classes=3, **network_of(TINY))
    model = tmp_path / "model.safetensors"
    save_detector(model, network, DetectorCard("fasterrcnn", network_of(TINY), names))
    planted = planted_errors(tmp_path, 1)
    rois = looked_at(model, tmp_path, training_data(tmp_path, 1), planted)
    found = summary([rois])
    assert (
        {RIGHT, SHIFTED, WRONG, EMPTY}
        <= set(found)
        <= {*(RIGHT, SHIFTED, WRONG, MISSED, VACATED, EMPTY)}
    )
    # Each label's own box is looked at, so each kind has at least as many RoIs as labels.
    for kind, name in (("shifted", SHIFTED), ("wrong class", WRONG)):
        assert found[name].rois >= sum(one.kind == kind for one in planted)
    assert found[EMPTY].box == (0.0, 0.0)
    assert found[RIGHT].box[1] > 0.0
    assert sum(one.rois for one in found.values()) == len(rois.kind)


# ----------------------------------------------------------------------------------- all of it


@pytest.mark.parametrize("way", [*MAIN, *THRESHOLDS, *SHORT], ids=lambda way: way.folder)
def test_a_way_asks_only_for_options_that_exist(way: Way) -> None:
    settings = detector_settings_for(
        "fasterrcnn",
        "tiny",
        photos=Path(),
        data=Path(),
        out=Path(),
        recipe=recipe_of(QUICK, way),
        network=network_of(QUICK),
    )
    assert settings.recipe.drop == way.recipe["drop"]
    assert settings.network["min_size"] == QUICK.photo_size


def test_all_ways_differ_and_clean_labels_are_called_so() -> None:
    ways = (*MAIN, *THRESHOLDS, *SHORT)
    assert len({way.folder for way in ways}) == len({way.name for way in ways}) == len(ways)
    assert all(way.has_errors != ("clean" in way.name) for way in ways)
    recipes = [recipe_of(QUICK, way) for way in ways if way.has_errors]
    assert len({json.dumps(one, sort_keys=True) for one in recipes}) == len(recipes)


def test_every_gain_is_told_of_a_training_as_long_that_dropped_nothing() -> None:
    ways = (*MAIN, *THRESHOLDS, *SHORT)
    by_name = {way.name: way for way in ways}
    for way in ways:
        if way.against is None:
            assert not way.recipe["drop"]
            continue
        other = recipe_of(QUICK, by_name[way.against])
        assert not other["drop"]
        assert by_name[way.against].has_errors
        assert other["epochs"] == recipe_of(QUICK, way)["epochs"]


def test_the_bench_trains_once_and_tells_of_every_way(tmp_path: Path) -> None:
    results = bench(tmp_path, TINY)
    text = (tmp_path / "tables.md").read_text("utf-8")
    assert set(results.scores) == {way.name for way in MAIN}
    assert set(results.gains) == {DROP.name, CLEAN.name}
    assert set(results.suspicions) == {DROP.name, NO_DROP.name}
    assert set(results.losses) == {DROP.name, NO_DROP.name}
    assert "71.8" in text  # the paper's, beside ours
    assert "later half" in text
    models = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert len(models) == 1 + len(MAIN)
    shutil.rmtree(tmp_path / "clean-0")
    part = bench(tmp_path, TINY, only_finished=True)
    assert set(part.scores) == {DROP.name, NO_DROP.name}
    assert not (tmp_path / "clean-0").exists()
    shutil.rmtree(tmp_path / "drop-4-1-0")
    again = bench(tmp_path, TINY)
    assert dataclasses.replace(again, seconds={}) == dataclasses.replace(results, seconds={})
    changed = [path for path, was in models.items() if path.stat().st_mtime_ns != was]
    assert {path.parent.name for path in changed} == {"drop-4-1-0", "clean-0"}
    with pytest.raises(SystemExit, match="another budget"):
        bench(tmp_path, QUICK)

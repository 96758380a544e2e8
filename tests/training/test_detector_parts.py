"""What a detector's training is put together from: views, rates, averages, tallies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.detectors import DETECTORS
from engine.errors import OptionError, PhotoError
from engine.options import as_dict, from_dict
from engine.types import LabeledImage, Status
from exports.detection_data import DetectionPhoto
from tests.builders import make_image, make_instance, make_mask
from training.averages import Average
from training.detection_views import Fitted, MaskStore, example, varied
from training.detector_recipes import (
    DETECTOR_PRESETS,
    DetectorRecipe,
    detector_learning_rate,
    detector_preset_of,
)
from training.detector_settings import detector_presets_as_json, detector_settings_for
from training.optimiser import make_detector_optimiser
from training.processes import ProcessGroup
from training.roi_heads import RoiRecord
from training.tally import Tally

NUMBERS = {"cat": 1, "dog": 2}
ALONE = ProcessGroup(0, 1, torch.device("cpu"))


def seen_of(
    image: LabeledImage, size: tuple[int, int], *, complete: bool = True
) -> dict[str, object]:
    """The target, as lists, of a photo kept at (width, height)."""
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    photo = DetectionPhoto(image, "train", complete)
    target = example(pixels, photo, NUMBERS, masks=MaskStore()).target
    return {name: one.tolist() for name, one in target.items() if name != "masks"}


def test_boxes_follow_the_photo_and_refused_ones_are_shares_of_it() -> None:
    image = make_image(
        make_instance(id=3, box=(4.0, 6.0, 20.0, 30.0), category="dog"),
        make_instance(id=8, box=(0.0, 0.0, 40.0, 15.0), status=Status.REJECTED),
    )
    target = seen_of(image, (20, 15))
    assert target["boxes"] == [[2.0, 3.0, 10.0, 15.0]]
    assert (target["labels"], target["ids"], target["curated"]) == ([2], [3], [True])
    assert target["refused_boxes"] == [[0.0, 0.0, 1.0, 0.5]]
    assert target["refused_labels"] == [1]


def test_a_box_is_cut_at_the_edge_and_one_that_vanishes_teaches_nothing() -> None:
    image = make_image(
        make_instance(id=1, box=(-5.0, 10.0, 50.0, 40.0)),
        make_instance(id=2, box=(3.0, 3.0, 4.0, 9.0)),
        make_instance(id=3, box=(41.0, 2.0, 60.0, 9.0)),
    )
    target = seen_of(image, (16, 12))
    assert target["boxes"] == [[0.0, 4.0, 16.0, 12.0]]
    assert target["ids"] == [1]


def test_pseudo_labels_are_objects_that_nobody_stands_behind() -> None:
    image = make_image(make_instance(id=1, status=Status.PROPOSED), make_instance(id=2))
    target = seen_of(image, (40, 30), complete=False)
    assert (target["ids"], target["curated"], target["complete"]) == ([1, 2], [False, True], False)


def test_masks_follow_the_photo_and_one_that_vanishes_is_none() -> None:
    large, dot = make_mask((8, 6, 24, 20)), make_mask((39, 29, 40, 30))
    image = make_image(
        make_instance(large, id=1),
        make_instance(dot, id=2, box=(30.0, 20.0, 40.0, 30.0)),
        make_instance(id=3),
    )
    pixels = np.zeros((15, 20, 3), dtype=np.uint8)
    photo = DetectionPhoto(image, "train", True)
    target = example(pixels, photo, NUMBERS, masks=MaskStore()).target
    assert target["has_mask"].tolist() == [True, False, False]
    assert target["masks"].shape == (3, 15, 20)
    expected = make_mask((4, 3, 12, 10), height=15, width=20)
    assert np.array_equal(target["masks"][0].numpy().astype(bool), expected)
    assert not target["masks"][1:].any()


def test_a_photo_without_objects_has_empty_targets() -> None:
    pixels = np.zeros((15, 20, 3), dtype=np.uint8)
    photo = DetectionPhoto(make_image(), "train", True)
    target = example(pixels, photo, NUMBERS, masks=MaskStore()).target
    assert target["boxes"].shape == target["refused_boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 15, 20)
    seen = varied(
        example(pixels, photo, NUMBERS), flip=1.0, colour=0.0, generator=np.random.default_rng(0)
    )
    assert seen.target["boxes"].shape == (0, 4)


@given(st.integers(0, 38), st.integers(0, 28), st.data())
def test_a_mirrored_mask_fills_its_mirrored_box_and_mirroring_twice_is_nothing(
    x0: int, y0: int, data: st.DataObject
) -> None:
    x1, y1 = data.draw(st.integers(x0 + 1, 40)), data.draw(st.integers(y0 + 1, 30))
    instance = make_instance(make_mask((x0, y0, x1, y1)), id=1)
    refused = make_instance(make_mask((x0, y0, x1, y1)), id=2, status=Status.REJECTED)
    pixels = np.arange(30 * 40 * 3, dtype=np.int64).astype(np.uint8).reshape(30, 40, 3)
    photo = DetectionPhoto(make_image(instance, refused), "train", True)
    once = example(pixels, photo, NUMBERS, masks=MaskStore())
    generator = np.random.default_rng(0)
    mirrored = varied(once, flip=1.0, colour=0.0, generator=generator)
    left, top, right, bottom = map(int, mirrored.target["boxes"][0].tolist())
    expected = make_mask((left, top, right, bottom))
    assert np.array_equal(mirrored.target["masks"][0].numpy().astype(bool), expected)
    assert torch.equal(mirrored.photo, once.photo.flip(2))
    share = torch.tensor([40.0, 30.0, 40.0, 30.0])
    assert torch.allclose(mirrored.target["refused_boxes"] * share, mirrored.target["boxes"])
    back = varied(mirrored, flip=1.0, colour=0.0, generator=generator)
    assert torch.equal(back.photo, once.photo)
    assert torch.allclose(back.target["boxes"], once.target["boxes"])


def test_other_colours_change_pixels_and_no_box() -> None:
    pixels = np.full((30, 40, 3), 90, dtype=np.uint8)
    once = example(pixels, DetectionPhoto(make_image(make_instance(id=1)), "train", True), NUMBERS)
    other = varied(once, flip=0.0, colour=0.5, generator=np.random.default_rng(1))
    assert not torch.equal(other.photo, once.photo)
    assert torch.equal(other.target["boxes"], once.target["boxes"])


def test_kept_photos_are_as_large_as_the_network_looks_and_never_enlarged() -> None:
    view = Fitted(60, 100, {"a.jpg": (400, 200), "b.jpg": (40, 30)})
    assert view.size_of(make_image(width=400, height=200)) == (100, 50)
    assert view.size_of(make_image(width=200, height=200)) == (60, 60)
    assert view.size_of(make_image()) == (40, 30)
    kept = view.of(np.full((200, 400, 3), 9, dtype=np.uint8), file_name="a.jpg")
    assert kept.shape == (100, 100, 3)
    assert (kept[:50] == 9).all()
    assert not kept[50:].any()
    with pytest.raises(PhotoError, match=r"'b\.jpg' has 30 x 40 pixels.* 40 x 30"):
        view.of(np.zeros((40, 30, 3), dtype=np.uint8), file_name="b.jpg")


def test_the_paper_learns_as_detectron_does_on_voc() -> None:
    recipe = detector_preset_of("fasterrcnn", "paper").recipe
    assert (recipe.batch, recipe.epochs, recipe.scales[0], recipe.scales[-1]) == (16, 29, 480, 1216)
    steps = recipe.epochs * (5011 // recipe.batch)
    assert steps == pytest.approx(9000, rel=0.01)

    def rate(step: int) -> float:
        return detector_learning_rate(recipe, step=step, steps=9000)

    rates = [rate(step) for step in (30, 5999, 6000, 7999, 8000, 8999)]
    assert rates == pytest.approx([0.02, 0.02, 2e-3, 2e-3, 2e-4, 2e-4])
    assert rate(0) < rate(15) < rate(29) < 0.02
    assert (recipe.rules.tau_cls, recipe.rules.tau_reg, recipe.rules.beta) == (4.0, 1.0, 0.0)
    assert round(recipe.drop_start * 9000) == pytest.approx(2000, abs=30)


def test_a_cosine_falls_to_its_lowest_rate() -> None:
    recipe = DetectorRecipe(schedule="cosine", warm_up_steps=2, lowest_rate=1e-5)
    rates = [detector_learning_rate(recipe, step=step, steps=10) for step in range(10)]
    assert rates[:2] == pytest.approx([0.02 / 3, 0.04 / 3])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 1e-5 < rates[-1] < 0.002
    constant = replace(recipe, schedule="constant")
    assert detector_learning_rate(constant, step=9, steps=10) == 0.02


def test_few_photos_are_seen_more_often_and_judged_less() -> None:
    recipe = DetectorRecipe(epochs=5, least_steps=100, validate_steps=10)
    assert recipe.epochs_of(3) == 34
    assert recipe.epochs_of(50) == 5
    judged = [epoch for epoch in range(1, 35) if recipe.is_judged(epoch, steps_an_epoch=3)]
    assert judged == [4, 7, 10, 14, 17, 20, 24, 27, 30, 34]
    every = replace(recipe, validate_steps=0)
    assert all(every.is_judged(epoch, steps_an_epoch=3) for epoch in range(1, 35))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"flip": 1.5}, {"average": 1.0}, {"learning_rate": 0.0}, {"scales": (8,)}),
        *({"decay_at": (1.5,)}, {"drop_limit": -0.1}, {"drop_rule": "any"}, {"unreviewed": "no"}),
    ],
)
def test_recipes_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(OptionError, match=name):
        from_dict(DetectorRecipe, wrong)


def test_every_preset_has_a_network_that_its_model_knows() -> None:
    listed = detector_presets_as_json()
    assert listed.keys() == DETECTORS.keys() == DETECTOR_PRESETS.keys()
    json.dumps(listed)
    for model, presets in listed.items():
        for found in presets.values():
            assert (
                as_dict(from_dict(DETECTORS[model].options, found["network"])) == found["network"]
            )
    with pytest.raises(OptionError, match="'huge' of maskrcnn"):
        detector_preset_of("maskrcnn", "huge")
    with pytest.raises(OptionError, match="'yolo'"):
        detector_preset_of("yolo", "tiny")


def test_scales_of_a_preset_follow_the_networks_size(tmp_path: Path) -> None:
    paths = {"photos": tmp_path, "data": tmp_path, "out": tmp_path}
    half = detector_settings_for("fasterrcnn", "small", network={"min_size": 160}, **paths)
    assert half.recipe.scales == (128, 144, 160)
    given = {"network": {"min_size": 160}, "recipe": {"scales": [64]}}
    assert detector_settings_for("fasterrcnn", "small", **given, **paths).recipe.scales == (64,)


def test_norms_and_biases_never_decay_and_the_backbone_has_its_own_rate() -> None:
    network = nn.ModuleDict(
        {"backbone": nn.ModuleDict({"body": nn.Linear(2, 2)}), "head": nn.Linear(2, 2)}
    )
    network["head"].bias.requires_grad_(False)
    recipe = DetectorRecipe(backbone_factor=0.1, weight_decay=0.5)
    groups = make_detector_optimiser(network, recipe).param_groups
    told = {
        (group["weight_decay"], group["factor"]): sum(one.numel() for one in group["params"])
        for group in groups
    }
    assert told == {(0.5, 0.1): 4, (0.0, 0.1): 2, (0.5, 1.0): 4}


def test_the_average_follows_the_weights_and_gives_them_back() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, 0.5)
    for value in (1.0, 1.0):
        nn.init.constant_(network.weight, value)
        average.update()
    # The first updates weigh more: 0.1 and 2 / 11 of what was there are kept.
    with average.in_place():
        assert network.weight.item() == pytest.approx(1 - 0.1 * 2 / 11)
    assert network.weight.item() == 1.0
    other = Average(nn.Linear(1, 1, bias=False), 0.5)
    other.load_state_dict(average.state_dict())
    with other.in_place():
        assert other._network.weight.item() == pytest.approx(1 - 0.1 * 2 / 11)


def test_without_an_average_the_network_is_what_it_is() -> None:
    network = nn.Linear(1, 1)
    average = Average(network, 0.0)
    before = network.weight.clone()
    average.update()
    with average.in_place():
        assert torch.equal(network.weight, before)


def record(*rois: tuple[int, float, bool]) -> RoiRecord:
    instances, losses, dropped = zip(*rois, strict=True)
    return RoiRecord(
        torch.tensor(instances),
        torch.tensor(losses),
        torch.tensor(dropped),
        {"fg": torch.zeros(())},
    )


def test_a_tally_tells_of_each_object_over_steps_and_epochs(tmp_path: Path) -> None:
    tally = Tally([30, 7, 12])
    tally.add(
        [record((7, 4.0, False), (7, 2.0, False), (30, 1.0, False))], drops=False, group=ALONE
    )
    tally.close(1)
    # Two passes of one step.
    both = [record((7, 5.0, True)), record((7, 1.0, False), (7, 3.0, False))]
    tally.add(both, drops=True, group=ALONE)
    again = Tally([7, 12, 30])
    again.load_state_dict(tally.state_dict())
    again.add([], drops=True, group=ALONE)
    again.close(2)
    again.write(tmp_path)
    found = json.loads((tmp_path / "instances.json").read_text(encoding="utf-8"))
    assert found == {
        "instances": {
            "7": {"seen": 2, "rois": 5, "dropped": 0.33333, "loss": [[1, 3.0], [2, 3.0]]},
            "12": {"seen": 0, "rois": 0, "dropped": 0.0, "loss": []},
            "30": {"seen": 1, "rois": 1, "dropped": 0.0, "loss": [[1, 1.0]]},
        }
    }

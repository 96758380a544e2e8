"""Whole trainings of tiny detectors: what they leave, and what they do with odd photos and data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine.detectors.saved import load_detector, read_card
from engine.errors import FormatError, JobError, OptionError, WeightsError
from engine.types import Status
from exports.detection_data import LEARNT
from tests.builders import encoded, make_instance
from tests.training.detector_runs import (
    detector_flags,
    some_photos,
    tiny_detector,
    with_instances,
    written,
)
from tests.training.test_runs import of_kind
from training.detector import main, train
from training.detector_beginnings import make_detector
from training.detector_settings import detector_settings_for
from training.log import Event, read_log
from training.loop import NonFiniteLoss
from training.roi_heads import LearningRoIHeads


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_detector(path)[0].state_dict()


def assert_same_detector(first: Path, second: Path, *, tolerance: float = 0.0) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], rtol=0.0, atol=tolerance), name


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    return written(folder, some_photos(folder))


def test_a_run_leaves_a_log_a_detector_its_objects_and_pictures(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "first"
    told: list[Event] = []
    recipe = {"epochs": 2, "samples": 1, "drop": False}
    path = train(tiny_detector(photos, out, model="maskrcnn", recipe=recipe), on_event=told.append)
    assert path == out / "model.safetensors"
    assert read_log(out / "log.jsonl") == told
    kinds = [event["event"] for event in told if event["event"] != "checkpoint"]
    assert kinds == ["start", *["step", "step", "validation"] * 2, "done"]
    begun = told[0]
    assert (begun["photos"], begun["validation_photos"], begun["instances"]) == (4, 2, 8)
    assert (begun["epochs"], begun["steps"], begun["step"]) == (2, 4, 0)
    assert (begun["classes"], begun["parent"]) == (["square", "disc"], "0001-cam")
    for event in of_kind(told, "step"):
        assert set(event["terms"]) == {"classifier", "box", "objectness", "rpn_box", "mask"}
        assert event["loss"] == pytest.approx(sum(event["terms"].values()))
        assert set(event["dropped"]) == {"fg", "bg"}
        assert event["lr"] > 0
    metrics = of_kind(told, "validation")[-1]["metrics"]
    names = ("ap", "ap50", "ap75", "corloc", "mask_ap", "mask_ap50", "mask_ap75")
    assert all(0 <= metrics[name] <= 1 for name in names)
    assert metrics["per_class"].keys() <= {"square", "disc"}
    card = read_card(path)
    assert (card.arch, card.classes, card.has_masks) == ("maskrcnn", ("square", "disc"), True)
    assert card.metrics == told[-1]["metrics"]
    assert card.training["instances"] == 8
    instances = json.loads((out / "instances.json").read_text(encoding="utf-8"))["instances"]
    assert sorted(map(int, instances)) == [10, 11, 20, 21, 30, 31, 40, 41]
    for one in instances.values():
        assert [epoch for epoch, _ in one["loss"]] == [1, 2]
        assert all(loss > 0 for _, loss in one["loss"])
        assert 0 < one["seen"] <= one["rois"]
        assert one["dropped"] == 0.0
    assert [one.name for one in (out / "samples").iterdir()] == ["005_2.jpg"]
    with Image.open(out / "samples" / "005_2.jpg") as sample:
        assert sample.size == (48, 48)
    assert not (out / "training.npy").exists()  # the decoded photos have served


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fasterrcnn", "maskrcnn"])
def test_a_detector_learns_a_handful_of_photos_by_heart(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    photos = written(folder, some_photos(folder, train=6, validation=6))
    recipe = {
        **{"epochs": 150, "batch": 3, "average": 0.95, "warm_up_steps": 20},
        **{"validate_steps": 100},
    }
    machine = {"save_seconds": 1000.0, "log_steps": 50}
    settings = tiny_detector(photos, tmp_path / "run", model=model, recipe=recipe, machine=machine)
    path = train(settings)
    metrics = read_card(path).metrics
    assert metrics["ap50"] > 0.9
    assert metrics["corloc"] >= 0.9
    if model == "maskrcnn":
        assert metrics["mask_ap50"] > 0.9


def test_the_same_seed_gives_the_same_detector_and_another_seed_another(
    photos: Path, tmp_path: Path
) -> None:
    recipe = {"epochs": 1, "colour": 0.3}
    one = train(tiny_detector(photos, tmp_path / "one", recipe=recipe))
    machine = {"workers": 3, "cache_gigabytes": 0.0}
    two = train(tiny_detector(photos, tmp_path / "two", recipe=recipe, machine=machine))
    assert_same_detector(one, two)
    other = train(tiny_detector(photos, tmp_path / "other", recipe=recipe, machine={"seed": 7}))
    name = "roi_heads.box_predictor.cls_score.weight"
    assert not torch.equal(weights_of(one)[name], weights_of(other)[name])


def test_dropping_begins_after_its_share_of_the_steps_and_is_told(
    photos: Path, tmp_path: Path
) -> None:
    told: list[Event] = []
    recipe = {
        **{"epochs": 2, "drop_start": 0.5, "drop_class": 0.0, "drop_box": 0.0},
        "drop_limit": 1.0,
    }
    train(tiny_detector(photos, tmp_path / "run", recipe=recipe), on_event=told.append)
    dropped = [event["dropped"] for event in of_kind(told, "step")]
    assert dropped == [{"fg": 0.0, "bg": 0.0}] * 2 + [{"fg": 1.0, "bg": 1.0}] * 2
    content = json.loads((tmp_path / "run" / "instances.json").read_text(encoding="utf-8"))
    # RoIs of the warm-up do not thin out the share; an object may have none after it.
    shares = {one["dropped"] for one in content["instances"].values()}
    assert {1.0} <= shares <= {0.0, 1.0}


def test_a_training_ends_early_where_nothing_gets_better(photos: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    recipe = {"epochs": 50, "learning_rate": 1e-9, "patience": 2, "average": 0.0}
    train(tiny_detector(photos, tmp_path / "run", recipe=recipe), on_event=told.append)
    assert [event["epoch"] for event in of_kind(told, "validation")] == [1, 2, 3]
    assert (told[-1]["event"], told[-1]["step"], told[-1]["early"]) == ("done", 6, True)
    assert of_kind(told, "checkpoint")[-1]["epoch"] == 1


def test_without_validation_the_last_network_is_kept_and_looked_at_on_what_taught_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "photos"
    photos = written(folder, some_photos(folder, validation=0))
    told: list[Event] = []
    recipe = {"epochs": 3, "patience": 1, "learning_rate": 1e-9, "average": 0.0, "samples": 1}
    path = train(tiny_detector(photos, tmp_path / "run", recipe=recipe), on_event=told.append)
    assert [event["of"] for event in of_kind(told, "validation")] == ["training"] * 3
    assert "ap50" in of_kind(told, "validation")[-1]["metrics"]
    assert [one.name for one in (tmp_path / "run" / "samples").iterdir()] == ["001_3.jpg"]
    assert of_kind(told, "checkpoint")[-1]["epoch"] == 3  # no figure of theirs ends or chooses
    assert read_card(path).metrics == {}


def test_what_is_kept_is_the_average_of_the_weights(photos: Path, tmp_path: Path) -> None:
    plain = train(tiny_detector(photos, tmp_path / "plain", recipe={"average": 0.0}))
    mean = train(tiny_detector(photos, tmp_path / "mean", recipe={"average": 0.9}))
    assert any(
        not torch.equal(one, weights_of(mean)[name]) for name, one in weights_of(plain).items()
    )
    states = [
        torch.load(tmp_path / name / "last.pt", weights_only=True)["network"]
        for name in ("plain", "mean")
    ]
    # Averaging watches and does not touch the training itself.
    assert all(torch.equal(one, states[1][name]) for name, one in states[0].items())


def test_photos_without_objects_are_background_and_incomplete_ones_do_not_judge(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "photos"
    first, empty, *others, half = some_photos(folder, train=4, validation=2)
    refused = [replace(one, status=Status.REJECTED) for one in half.image.instances]
    given = [
        first,
        with_instances(empty, []),
        *others,
        replace(with_instances(half, refused), complete=False),
    ]
    told: list[Event] = []
    settings = tiny_detector(written(folder, given), tmp_path / "run", recipe={"epochs": 1})
    train(settings, on_event=told.append)
    assert (told[0]["photos"], told[0]["validation_photos"], told[0]["instances"]) == (4, 1, 6)
    assert told[0]["left_out"]["incomplete_validation"] == 1


def test_pseudo_labels_and_refusals_on_incomplete_photos_train(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    given = [
        with_instances(
            replace(photo, complete=False),
            [
                replace(photo.image.instances[0], status=Status.PROPOSED, score=0.8),
                replace(photo.image.instances[1], status=Status.REJECTED),
            ],
        )
        for photo in some_photos(folder, validation=0)
    ]
    photos = written(folder, given, statuses=LEARNT | {Status.PROPOSED})
    told: list[Event] = []
    train(tiny_detector(photos, tmp_path / "run", recipe={"epochs": 1}), on_event=told.append)
    assert told[0]["instances"] == 4
    assert all(event["terms"]["classifier"] > 0 for event in of_kind(told, "step"))


def test_boxes_without_masks_train_a_mask_network_too(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    given = [
        with_instances(photo, [replace(one, rle=None) for one in photo.image.instances])
        for photo in some_photos(folder)
    ]
    photos = written(folder, given)
    told: list[Event] = []
    settings = tiny_detector(photos, tmp_path / "run", model="maskrcnn", recipe={"epochs": 1})
    train(settings, on_event=told.append)
    assert {event["terms"]["mask"] for event in of_kind(told, "step")} == {0.0}
    metrics = of_kind(told, "validation")[0]["metrics"]
    assert "ap50" in metrics
    assert "mask_ap50" not in metrics


def test_turned_photos_of_odd_names_and_sizes_are_read_as_they_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    name = "é/写真 1.jpg"
    pixels = np.full((30, 200, 3), 120, dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn: 30 wide, 200 high
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(pixels, "JPEG", exif=exif.tobytes()))
    box = (2.0, 150.0, 28.0, 199.0)
    (other,) = some_photos(folder, train=1, validation=0)
    turned = with_instances(other, [make_instance(id=5, box=box, category="disc")])
    turned = replace(
        turned, image=replace(turned.image, id=9, file_name=name, width=30, height=200)
    )
    told: list[Event] = []
    photos = written(folder, [other, turned])
    train(tiny_detector(photos, tmp_path / "run", recipe={"epochs": 1}), on_event=told.append)
    assert told[0]["photos"] == 2
    wrong = replace(turned, image=replace(turned.image, width=200, height=30))
    wrong = with_instances(wrong, [make_instance(id=5, box=(2.0, 2.0, 9.0, 9.0), category="disc")])
    photos = written(folder, [other, wrong])
    told.clear()
    train(tiny_detector(photos, tmp_path / "wrong", recipe={"epochs": 1}), on_event=told.append)
    left_out = told[0]["left_out"]
    assert left_out["unreadable"] == 1
    assert "30 x 200 pixels" in left_out["reasons"][0]
    assert "200 x 30" in left_out["reasons"][0]


def test_nothing_to_learn_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    given = [
        with_instances(
            photo, [replace(one, status=Status.REJECTED) for one in photo.image.instances]
        )
        for photo in some_photos(folder)
    ]
    photos = written(folder, given)
    with pytest.raises(OptionError, match=r"data\.json' has no object to learn from on its 4"):
        train(tiny_detector(photos, tmp_path / "run"))
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["event"] == "failed"


def test_photos_that_do_not_open_are_told(photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"gone")
    with pytest.raises(OptionError, match=r"no photo could be read; .*001\.png"):
        train(tiny_detector(photos, tmp_path / "run"))


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_term(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LearningRoIHeads.forward
    calls = 0

    def breaks(self: Any, *given: Any) -> Any:
        nonlocal calls
        found, losses = real(self, *given)
        calls += self.training
        if calls == 3:
            losses["loss_box_reg"] = losses["loss_box_reg"] * math.nan
        return found, losses

    monkeypatch.setattr(LearningRoIHeads, "forward", breaks)
    out = tmp_path / "run"
    with pytest.raises(NonFiniteLoss, match="step 3 box is nan"):
        train(tiny_detector(photos, out))
    failed = read_log(out / "log.jsonl")[-1]
    assert (failed["event"], failed["step"]) == ("failed", 2)
    assert failed["terms"]["box"] == "nan"
    assert all(torch.isfinite(one).all() for one in weights_of(out / "model.safetensors").values())


def test_an_estimate_times_real_steps_and_leaves_nothing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "001.png").write_bytes(b"a broken photo is passed over")
    out = tmp_path / "run"
    assert main(detector_flags(photos, out, "--estimate", "--epochs", "7")) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    found = json.loads(said)
    assert (found["steps"], found["photos"], found["instances"]) == (14, 4, 8)
    assert 0 < 14 * found["seconds_a_step"] <= found["seconds"]
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.json", "photos"]


def test_a_folder_that_holds_a_training_is_not_overwritten(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny_detector(photos, out, recipe={"epochs": 1}))
    with pytest.raises(JobError, match="--resume"):
        train(tiny_detector(photos, out, recipe={"epochs": 1}))


def test_mistakes_are_one_line_and_exit_code_1(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.json").write_text("{}", encoding="utf-8")
    assert main(detector_flags(photos, tmp_path / "run")) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "data.json" in said


def test_all_presets_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--describe"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == {"fasterrcnn", "maskrcnn"}
    for presets in listed.values():
        assert {"paper", "small", "tiny", "finetune"} <= set(presets)
    assert listed["fasterrcnn"]["paper"]["recipe"]["drop_class"] == 4.0
    assert listed["fasterrcnn"]["paper"]["network"]["backbone"] == "resnet50"
    assert listed["maskrcnn"]["paper"]["recipe"]["drop"] is False


def test_a_spoilt_data_file_is_refused_before_anything_is_read(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.json").write_text('{"images": 1}', encoding="utf-8")
    with pytest.raises(FormatError, match=r"data\.json"):
        train(tiny_detector(photos, tmp_path / "run"))


def test_an_earlier_detector_is_gone_on_from_with_its_own_network_and_classes_by_name(
    photos: Path, tmp_path: Path
) -> None:
    first = train(tiny_detector(photos, tmp_path / "first", recipe={"epochs": 1}))
    settings = detector_settings_for(
        "maskrcnn",
        "finetune",
        photos=photos,
        data=tmp_path / "data.json",
        out=tmp_path / "second",
        weights=first,
        network={"mask_width": 8},
    )
    assert settings.network["backbone_width"] == 8
    assert settings.network["weights"] == "none"
    assert max(settings.recipe.scales) == settings.network["min_size"]
    made = make_detector(
        settings, ("cat", "disc"), goes_on=False, device=torch.device("cpu")
    ).state_dict()
    taken = weights_of(first)
    head = "roi_heads.box_predictor."
    scores, boxes = (made[f"{head}{name}.weight"] for name in ("cls_score", "bbox_pred"))
    assert torch.equal(scores[[0, 2]], taken[f"{head}cls_score.weight"][[0, 2]])
    assert not torch.equal(scores[1], taken[f"{head}cls_score.weight"][1])
    assert torch.equal(boxes[8:12], taken[f"{head}bbox_pred.weight"][8:12])
    body = "backbone.body.conv1.weight"
    assert torch.equal(made[body], taken[body])
    wider = replace(settings, network={**settings.network, "head_width": 40})
    with pytest.raises(WeightsError, match="another shape"):
        make_detector(wider, ("cat",), goes_on=False, device=torch.device("cpu"))

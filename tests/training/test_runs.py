"""Whole trainings of tiny networks: what they leave, and what they do with odd photos."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from engine.errors import AnnotatorError, JobError, OptionError
from engine.localizers.saved import load_localizer, read_card
from exports.coco import write_coco
from tests.builders import make_image, make_instance
from tests.training.runs import make_photos, sixteen_photos, tiny
from training import localizer_steps
from training.log import Event, read_log
from training.loop import NonFiniteLoss
from training.wsol import main, train


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_localizer(path)[0].state_dict()


def assert_same_weights(first: Path, second: Path, *, tolerance: float = 0.0) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], rtol=0.0, atol=tolerance), name


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return sixteen_photos(tmp_path / "photos")


def of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def test_a_run_leaves_settings_log_state_and_a_checkpoint_that_describes_itself(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "first"
    told: list[Event] = []
    path = train(tiny(photos, out, recipe={"epochs": 2}), on_event=told.append)
    assert path == out / "model.safetensors"
    assert read_log(out / "log.jsonl") == told
    kinds = [event["event"] for event in told]
    an_epoch = ["step"] * 4 + ["checkpoint"]
    assert kinds == ["start", *an_epoch, *an_epoch, "done"]
    begun = told[0]
    assert (begun["photos"], begun["validation_photos"]) == (16, 0)
    assert (begun["epochs"], begun["steps"], begun["step"]) == (2, 8, 0)
    assert (begun["classes"], begun["multi_label"]) == (["a", "b"], False)
    steps = of_kind(told, "step")
    assert [event["step"] for event in steps] == list(range(1, 9))
    assert [event["epoch"] for event in steps] == [1] * 4 + [2] * 4
    for event in steps:
        assert set(event["terms"]) == {"classification", "edge", "area"}
        assert event["loss"] == pytest.approx(sum(event["terms"].values()))
        assert 0 < event["area"] < 1
        assert event["lr"] > 0
    card = read_card(path)
    assert card.arch == "gtformer"
    assert (card.classes, card.image_size, card.multi_label) == (("a", "b"), 32, False)
    assert card.training["epoch"] == 2
    assert len(card.training["data"]) == 32
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert settings["recipe"]["epochs"] == 2
    assert settings["photos"] == str(photos)
    assert not (out / "training.npy").exists()  # the decoded photos have served


def test_the_map_goes_to_its_prior_and_the_edge_loss_falls(photos: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    recipe = {"epochs": 12, "learning_rate": 1e-2, "area_prior": 0.2, "warm_up_epochs": 0.0}
    train(tiny(photos, tmp_path / "run", recipe=recipe), on_event=told.append)
    first, *_, last = of_kind(told, "step")
    assert first["area"] == pytest.approx(0.5, abs=0.03)
    assert first["edge"] == pytest.approx(0.25, abs=0.01)
    assert last["area"] == pytest.approx(0.2, abs=0.1)
    assert last["edge"] < 0.15


def test_the_same_seed_gives_the_same_network_and_another_seed_another(
    photos: Path, tmp_path: Path
) -> None:
    one = train(tiny(photos, tmp_path / "one", recipe={"epochs": 1}))
    two = train(tiny(photos, tmp_path / "two", recipe={"epochs": 1}, machine={"workers": 3}))
    assert_same_weights(one, two)
    other = train(tiny(photos, tmp_path / "other", recipe={"epochs": 1}, machine={"seed": 7}))
    assert not torch.equal(weights_of(one)["head.weight"], weights_of(other)["head.weight"])


def test_pieces_of_a_batch_learn_as_the_whole_batch(photos: Path, tmp_path: Path) -> None:
    # Every piece's mean lies on the same side of the prior, so the area losses add up too.
    recipe = {"epochs": 2, "batch": 8, "area_prior": 0.05, "drop_path": 0.0}
    whole = train(tiny(photos, tmp_path / "whole", recipe=recipe))
    pieces = train(tiny(photos, tmp_path / "pieces", recipe={**recipe, "forward_batch": 3}))
    assert_same_weights(whole, pieces, tolerance=1e-5)


@pytest.mark.parametrize("model", ["cam", "tscam", "sat"])
def test_every_other_localizer_learns_by_the_same_command(
    model: str, photos: Path, tmp_path: Path
) -> None:
    told: list[Event] = []
    settings = tiny(photos, tmp_path / model, model=model, recipe={"epochs": 1})
    path = train(settings, on_event=told.append)
    assert read_card(path).arch == model
    has_map = model == "sat"
    step = of_kind(told, "step")[0]
    assert (step["area"] is not None) is has_map
    assert (set(step["terms"]) == {"classification", "edge", "area"}) is has_map


def test_photos_with_several_tags_are_learnt_class_by_class(tmp_path: Path) -> None:
    tags = {f"{n}.png": ("a", "b") if n % 3 == 0 else ("ab"[n % 2],) for n in range(12)}
    photos = make_photos(tmp_path / "photos", tags)
    told: list[Event] = []
    settings = tiny(photos, tmp_path / "run", recipe={"epochs": 1}, val_share=0.5)
    card = read_card(train(settings, on_event=told.append))
    assert card.multi_label
    assert told[0]["multi_label"] is True
    metrics = of_kind(told, "validation")[0]["metrics"]
    assert 0 < metrics["map"] <= 1
    assert metrics["gt_known"] is None
    assert card.metrics == metrics


def test_photos_without_tags_and_broken_ones_are_counted_and_left_out(tmp_path: Path) -> None:
    tags = {f"é{n}/写真 {n}.png": ("ä" if n % 2 else "b",) for n in range(6)}
    photos = make_photos(tmp_path / "photos", {**tags, "none.png": ()})
    (photos / "é0/写真 0.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    told: list[Event] = []
    card = read_card(
        train(tiny(photos, tmp_path / "run", recipe={"epochs": 1}), on_event=told.append)
    )
    assert card.classes == ("b", "ä")
    assert told[0]["photos"] == 5
    left_out = told[0]["left_out"]
    assert left_out["without_tags"] == 1
    assert left_out["unreadable"] == 1
    assert "写真 0.png" in left_out["reasons"][0]
    assert left_out["classes_without_photos"] == []


def test_a_folder_of_broken_photos_alone_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"a.png": ("a",)})
    (photos / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(OptionError, match=r"no photo .*a\.png"):
        train(tiny(photos, tmp_path / "run"))
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["event"] == "failed"


def test_localisation_is_judged_where_the_truth_is_known(tmp_path: Path) -> None:
    photos = sixteen_photos(tmp_path / "photos")
    names = sorted(path.name for path in photos.iterdir())
    held_out = tmp_path / "held out.txt"
    held_out.write_text("\n".join(names[:4]), encoding="utf-8")
    images = [
        make_image(
            make_instance(category="ab"[number % 2], box=(8.0, 8.0, 24.0, 24.0)),
            id=number + 1,
            file_name=name,
            width=40,
            height=40,
        )
        for number, name in enumerate(names)
    ]
    truth = tmp_path / "truth.json"
    write_coco(truth, images, categories=[(1, "a"), (2, "b")], date_created="2000-01-01")
    told: list[Event] = []
    settings = tiny(photos, tmp_path / "run", recipe={"epochs": 2}, val_list=held_out, truth=truth)
    train(settings, on_event=told.append)
    assert (told[0]["photos"], told[0]["validation_photos"]) == (12, 4)
    for event in of_kind(told, "validation"):
        metrics = event["metrics"]
        assert 0 <= metrics["top1_loc"] <= metrics["gt_known"] <= metrics["gt_known_best"] <= 1
    assert told[-1]["metrics"] == of_kind(told, "validation")[-1]["metrics"]


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_term(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = localizer_steps.localizer_loss
    calls = 0

    def breaks(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        loss = real(*args, **kwargs)  # type: ignore[arg-type]
        if calls == 6:
            loss.terms["edge"] = loss.terms["edge"] * math.nan
        return loss

    monkeypatch.setattr(localizer_steps, "localizer_loss", breaks)
    out = tmp_path / "run"
    with pytest.raises(NonFiniteLoss, match="step 6 edge is nan") as caught:
        train(tiny(photos, out))
    assert math.isfinite(caught.value.terms["area"])
    failed = read_log(out / "log.jsonl")[-1]
    assert (failed["event"], failed["step"]) == ("failed", 5)
    assert failed["terms"]["edge"] == "nan"
    assert torch.load(out / "last.pt", weights_only=True)["progress"]["step"] == 5
    assert all(torch.isfinite(one).all() for one in weights_of(out / "model.safetensors").values())


def test_the_best_network_is_kept_where_that_is_asked(photos: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    recipe = {"epochs": 6, "keep": "best", "learning_rate": 3e-3}
    path = train(tiny(photos, tmp_path / "run", recipe=recipe, val_share=0.4), on_event=told.append)
    validations = of_kind(told, "validation")
    best = max(event["metrics"]["top1"] for event in validations)
    assert read_card(path).metrics["top1"] == best
    first = next(event for event in validations if event["metrics"]["top1"] == best)
    assert read_card(path).training["epoch"] == first["epoch"]
    assert of_kind(told, "checkpoint")[-1]["epoch"] == first["epoch"]


def test_a_folder_that_holds_a_training_is_not_overwritten(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny(photos, out, recipe={"epochs": 1}))
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(JobError, match="--resume"):
        train(tiny(photos, out, recipe={"epochs": 1}))
    assert (out / "model.safetensors").read_bytes() == before


def test_photos_that_do_not_fit_the_cache_are_decoded_again(photos: Path, tmp_path: Path) -> None:
    cached = train(tiny(photos, tmp_path / "cached", recipe={"epochs": 1}))
    machine = {"cache_gigabytes": 0.0}
    decoded = train(tiny(photos, tmp_path / "decoded", recipe={"epochs": 1}, machine=machine))
    assert_same_weights(cached, decoded)


def test_a_photo_that_breaks_in_the_middle_of_a_run_is_named(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def breaks(event: Event) -> None:
        if event["event"] == "step" and event["step"] == 2:
            for path in photos.iterdir():
                path.write_bytes(b"gone")

    with pytest.raises(AnnotatorError, match=r"\d\d\.png"):
        train(tiny(photos, out, machine={"cache_gigabytes": 0.0}), on_event=breaks)
    assert read_log(out / "log.jsonl")[-1]["event"] == "failed"


def test_mistakes_are_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = sixteen_photos(tmp_path / "photos")
    nowhere = ["--photos", str(photos), "--tags", str(tmp_path / "no.csv")]
    assert main([*nowhere, "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no.csv" in said


def test_all_presets_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--describe"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["gtformer"]["cub"]["recipe"]["epochs"] == 30

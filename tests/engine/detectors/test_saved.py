"""Detectors as files: what comes back, what published weights fill, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from engine import weight_files
from engine.cards import read_any_card
from engine.detectors import build, kind_of
from engine.detectors.pretrained import load_backbone, load_but_classes
from engine.detectors.saved import DetectorCard, load_detector, read_card, save_detector
from engine.errors import WeightsError
from engine.localizers import build as build_localizer
from engine.localizers.saved import LocalizerCard, save_localizer
from engine.options import from_dict
from tests.engine.detectors.small import CLASSES, SMALL, options_of, saved, small

DOWNLOAD = "torchvision.models._api.load_state_dict_from_url"


@pytest.mark.parametrize("name", ["fasterrcnn", "maskrcnn"])
def test_a_saved_detector_answers_the_same_when_loaded(name: str, tmp_path: Path) -> None:
    network = small(name).eval()
    loaded, card = load_detector(saved(tmp_path, name))
    assert card == DetectorCard(name, options_of(name), CLASSES, metrics={"ap50": 0.5})
    assert card.has_masks == (name == "maskrcnn")
    assert not loaded.training
    planes = [torch.rand(3, 40, 60)]
    with torch.inference_mode():
        ours, theirs = network(planes)[0], loaded(planes)[0]
    assert len(ours["boxes"])
    for key, value in ours.items():
        assert torch.equal(value, theirs[key])


def test_either_card_is_read_without_torch(tmp_path: Path) -> None:
    detector = saved(tmp_path, "fasterrcnn")
    localizer = tmp_path / "localizer.safetensors"
    options = {"backbone": "small", "width": 8, "image_size": 32}
    network = build_localizer("cam", num_classes=2, **options)
    save_localizer(localizer, network, LocalizerCard("cam", options, ("a", "b"), 32, False))
    code = (
        "import sys; from pathlib import Path; from engine.cards import read_any_card\n"
        "print(*(type(read_any_card(Path(one))).__name__ for one in sys.argv[1:]))\n"
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, detector, localizer], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "DetectorCard LocalizerCard"), done.stderr


def header(path: Path, **changes: Any) -> Path:
    """A file with this card and one number; ``...`` leaves a key out."""
    card = {"arch": "fasterrcnn", "options": {}, "classes": ["cup"], "kind": "detector", **changes}
    kept = {name: value for name, value in card.items() if value is not ...}
    save_file({"x": torch.zeros(1)}, path, {weight_files.KEY: json.dumps(kept)})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ...}, "is not readable"),
        ({"classes": "cup"}, "is not readable"),
        ({"metrics": []}, "is not readable"),
        ({"image_size": 224}, "is not readable"),
        ({"arch": "dino"}, "does not know: There is no detector called 'dino'"),
        ({"options": {"min_size": "large"}}, "does not know: option 'min_size'"),
    ],
)
def test_a_card_that_makes_no_sense_is_told(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = header(tmp_path / "odd.safetensors", **changes)
    for read in (read_card, read_any_card, load_detector):
        with pytest.raises(WeightsError, match=message):
            read(path)


def test_files_of_other_kinds_are_told_apart(tmp_path: Path) -> None:
    path = header(tmp_path / "one.safetensors", kind="tokenizer")
    with pytest.raises(WeightsError, match="holds a tokenizer, not a detector"):
        read_card(path)
    with pytest.raises(WeightsError, match="holds a tokenizer, which this version does not know"):
        read_any_card(path)
    with pytest.raises(WeightsError, match="There is no file"):
        read_any_card(tmp_path / "nowhere.safetensors")


def test_weights_of_other_classes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    card = DetectorCard("fasterrcnn", options_of("fasterrcnn"), CLASSES[:2])
    save_detector(path, small("fasterrcnn"), card)
    with pytest.raises(WeightsError, match=r"of another shape: roi_heads.box_predictor"):
        load_detector(path)


# Published weights ------------------------------------------------------------------------------


def offline(*_: object, **__: object) -> None:
    raise OSError("Name or service not known")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "coco"}, "fasterrcnn_resnet50_fpn cannot .* take the weights 'backbone'"),
        ({"weights": "backbone"}, "ImageNet weights of resnet50 cannot .* the weights 'none'"),
    ],
)
def test_without_a_network_the_message_says_what_to_do(
    options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DOWNLOAD, offline)
    with pytest.raises(WeightsError, match=message):
        build("fasterrcnn", num_classes=2, **options)


def test_nothing_is_fetched_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DOWNLOAD, offline)
    options = {**options_of("fasterrcnn"), "backbone_width": 64, "weights": "backbone"}
    begun = {**options, "weights": "none", "norm": "frozen"}
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError):
        build("fasterrcnn", num_classes=2, **options)
    kind = kind_of("fasterrcnn")
    network = kind.build(from_dict(kind.options, begun), 2)
    save_detector(path, network, DetectorCard("fasterrcnn", options, ("a", "b")))
    _, card = load_detector(path)
    assert card.options["weights"] == "backbone"  # what was asked for stays on record


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_an_imagenet_backbone_is_filled_in_and_its_classifier_left_out(
    norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    published = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(DOWNLOAD, lambda *_, **__: published)
    options = {**SMALL, "backbone_width": 64, "weights": "backbone", "norm": norm}
    body = build("fasterrcnn", num_classes=2, **options).backbone.body.state_dict()
    for name, value in body.items():
        assert torch.equal(value, published[name]), name


def test_a_coco_detector_is_filled_in_but_for_its_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(3)
    published = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_fpn(
        weights=None, weights_backbone=None
    ).state_dict()
    new, old = "rpn.head.conv.0.0.weight", "rpn.head.conv.weight"  # as the first files call it
    as_published = {old if name == new else name: value for name, value in published.items()}
    monkeypatch.setattr(DOWNLOAD, lambda *_, **__: dict(as_published))
    network = build("fasterrcnn", num_classes=2, backbone="mobilenet", weights="coco")
    state = network.state_dict()
    for name, value in state.items():
        is_own = name.startswith("roi_heads.box_predictor")
        assert torch.equal(value, published[name]) != is_own, name
    assert state["roi_heads.box_predictor.cls_score.weight"].shape == (3, 1024)


def test_masks_keep_only_the_layer_that_names_classes() -> None:
    ours, other = small("maskrcnn", seed=0), small("maskrcnn", seed=1)
    load_but_classes(ours, other.state_dict())
    kept = {
        name
        for name, value in ours.state_dict().items()
        if not torch.equal(value, other.state_dict()[name])
    }
    parts = {name.removeprefix("roi_heads.").rpartition(".")[0] for name in kept}
    assert parts == {
        "box_predictor.cls_score",
        "box_predictor.bbox_pred",
        "mask_predictor.mask_fcn_logits",
    }


def test_a_backbone_of_another_width_is_refused() -> None:
    published = torchvision.models.resnet18(norm_layer=torch.nn.BatchNorm2d).state_dict()
    with pytest.raises(WeightsError, match="does not fit"):
        load_backbone(build("fasterrcnn", num_classes=2, **{**SMALL, "norm": "batch"}), published)

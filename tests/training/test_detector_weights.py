"""What a detector's training begins with: files of torchvision, of today and of its first days."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from engine.detectors import build
from engine.detectors.saved import DetectorCard, save_detector
from engine.errors import JobError, WeightsError
from tests.training.detector_runs import NETWORK, tiny_detector
from training.detector_beginnings import make_detector
from training.detector_settings import DetectorSettings, detector_settings_for
from training.processes import ProcessGroup
from training.run_folder import claim

CPU = torch.device("cpu")
FORMER = {
    "rpn.head.conv.0.0": "rpn.head.conv",
    **{
        f"backbone.fpn.{blocks}.{level}.0": f"backbone.fpn.{blocks}.{level}"
        for blocks in ("inner_blocks", "layer_blocks")
        for level in range(4)
    },
    **{
        f"roi_heads.mask_head.{place}.0": f"roi_heads.mask_head.mask_fcn{place + 1}"
        for place in range(4)
    },
}
"""Today's names of layers, and those in maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth."""


def published(model: str, *, classes: int = 4, **options: Any) -> dict[str, Tensor]:
    """What another training of so many classes ended with."""
    torch.manual_seed(11)
    masks = {"mask_width": 8} if model == "maskrcnn" else {}
    given = {"backbone": "resnet18", "norm": "batch", **NETWORK, **masks, **options}
    return build(model, num_classes=classes, **given).state_dict()


def formerly(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as torchvision's first files call them."""
    named = {}
    for name, value in weights.items():
        layer, _, kind = name.rpartition(".")
        named[f"{FORMER.get(layer, layer)}.{kind}"] = value
    return named


@pytest.mark.parametrize("model", ["fasterrcnn", "maskrcnn"])
def test_a_file_of_torchvisions_first_detectors_is_begun_with(model: str, tmp_path: Path) -> None:
    weights = published(model)
    torch.save(formerly(weights), tmp_path / "coco.pth")
    settings = tiny_detector(
        *(tmp_path / "photos", tmp_path / "run"),
        model=model,
        network={"norm": "batch"},
        weights=tmp_path / "coco.pth",
    )
    network = make_detector(settings, ("disc", "square"), goes_on=False, device=CPU)
    own = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
    taken = {name: one for name, one in network.state_dict().items() if not name.startswith(own)}
    assert "rpn.head.conv.0.0.weight" in taken
    for name, value in taken.items():
        assert torch.equal(value, weights[name]), name


def test_a_file_of_another_detector_is_refused_by_todays_names(tmp_path: Path) -> None:
    weights = formerly(published("fasterrcnn"))
    del weights["rpn.head.conv.weight"]
    torch.save(weights, tmp_path / "coco.pth")
    settings = tiny_detector(
        *(tmp_path / "photos", tmp_path / "run"),
        network={"norm": "batch"},
        weights=tmp_path / "coco.pth",
    )
    with pytest.raises(WeightsError, match=r"missing: rpn\.head\.conv\.0\.0\.weight\)"):
        make_detector(settings, ("disc", "square"), goes_on=False, device=CPU)


def beginning(tmp_path: Path, norm: str) -> dict[str, Tensor]:
    """A network of a resnet18 from a classifier's file, with these norms."""
    torch.manual_seed(12)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    settings = tiny_detector(
        *(tmp_path / "photos", tmp_path / "run"),
        network={"norm": norm, "backbone_width": 64},
        weights=tmp_path / "resnet18.pth",
    )
    return make_detector(settings, ("disc",), goes_on=False, device=CPU).state_dict()


def test_batch_norms_are_not_poured_into_group_norms(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"batch norms \(bn1\).*--network-norm frozen"):
        beginning(tmp_path, "group")


def test_on_a_gpu_a_detector_learns_by_repeatable_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.nn.Module, "to", lambda network, device: network)  # no GPU needed
    settings = tiny_detector(tmp_path / "photos", tmp_path / "run")
    make_detector(settings, ("disc",), goes_on=False, device=CPU)
    assert not torch.backends.cudnn.deterministic
    make_detector(settings, ("disc",), goes_on=False, device=torch.device("cuda"))
    assert torch.backends.cudnn.deterministic


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_batch_norms_go_on_as_such(norm: str, tmp_path: Path) -> None:
    taken = beginning(tmp_path, norm)
    published = torch.load(tmp_path / "resnet18.pth", weights_only=True)
    for name in ("bn1.running_var", "bn1.weight", "layer4.1.conv2.weight"):
        assert torch.equal(taken[f"backbone.body.{name}"], published[name])


def begun(tmp_path: Path) -> DetectorSettings:
    """The settings of a run, written down in its folder, that began with an earlier detector."""
    parent = tmp_path / "parent.safetensors"
    options = dict(tiny_detector(tmp_path / "photos", tmp_path / "first").network)
    network = build("fasterrcnn", num_classes=1, **options)
    save_detector(parent, network, DetectorCard("fasterrcnn", options, ("disc",)))
    settings = asked(tmp_path)
    group = ProcessGroup(0, 1, CPU)
    claim(settings.out, settings.as_dict(), resume=False, group=group)
    return settings


def asked(tmp_path: Path, **more: Any) -> DetectorSettings:
    """The same training asked for again."""
    folders = {"photos": tmp_path, "data": tmp_path / "data.json", "out": tmp_path / "run"}
    parent = tmp_path / "parent.safetensors"
    return detector_settings_for("fasterrcnn", "small", weights=parent, **folders, **more)


def test_a_run_goes_on_though_the_detector_that_it_began_with_is_gone(tmp_path: Path) -> None:
    before = begun(tmp_path)
    assert before.network["backbone_width"] == 8
    assert max(before.recipe.scales) == 48
    (tmp_path / "parent.safetensors").unlink()
    with pytest.raises(WeightsError, match="There is no file"):
        asked(tmp_path)
    assert asked(tmp_path, resume=True) == replace(before, resume=True)
    # What is asked for goes first, so that another network is told from the run's own.
    other = asked(tmp_path, resume=True, network={"head_width": 40}, recipe={"scales": (64,)})
    assert (other.network["head_width"], other.recipe.scales) == (40, (64,))


@pytest.mark.parametrize("content", ["{", "[]", '{"network": {}}', '{"network": 3}'])
def test_broken_settings_of_a_run_are_told(content: str, tmp_path: Path) -> None:
    (begun(tmp_path).out / "settings.json").write_text(content, encoding="utf-8")
    with pytest.raises(JobError, match=r"cannot go on: .*settings\.json' is broken"):
        asked(tmp_path, resume=True)

"""What is said of published weights before anybody fetches them is what torchvision would fetch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from engine.detectors import pretrained
from engine.detectors.published import ADDRESS, COCO, IMAGENET, published_for


def test_files_and_sizes_are_those_of_torchvision() -> None:
    models = torchvision.models
    known = {
        COCO[key]: models.get_model_weights(name)["COCO_V1"]
        for key, name in pretrained.DETECTORS_OF_COCO.items()
    }
    known |= {
        IMAGENET[backbone]: models.get_model_weights(name)["IMAGENET1K_V1"]
        for backbone, name in pretrained.BACKBONES.items()
    }
    assert COCO.keys() == pretrained.DETECTORS_OF_COCO.keys()
    assert IMAGENET.keys() == pretrained.BACKBONES.keys()
    for (file_name, megabytes), weights in known.items():
        assert weights.url == ADDRESS + file_name
        # torchvision counts in 2**20 bytes.
        assert megabytes == pytest.approx(weights.meta["_file_size"] * 2**20 / 1e6, abs=0.1)


def test_what_lies_in_the_cache_of_torch_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = published_for("maskrcnn", {"weights": "coco", "backbone": "resnet50"})
    assert found is not None
    assert str(found.path.parent) == str(Path(torch.hub.get_dir()) / "checkpoints")
    assert not found.is_here
    found.path.parent.mkdir(parents=True)
    found.path.write_bytes(b"weights")
    assert found.is_here
    assert found.described.startswith("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth, 178 MB from")


def test_a_detector_that_begins_with_nothing_needs_nothing() -> None:
    assert published_for("fasterrcnn", {"weights": "none", "backbone": "resnet50"}) is None
    assert published_for("maskrcnn", {"weights": "coco", "backbone": "mobilenet"}) is None

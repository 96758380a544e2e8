"""What a detector in training is validated on: how large its photos are, and that it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from engine.detectors.fitting import fitted
from exports.detection_data import DetectionPhoto
from tests.builders import make_image, make_instance
from tests.training.detector_runs import scene, some_photos, tiny_detector, with_instances, written
from training.detection_set import DetectionSet, read_detection_set
from training.detector_validation import detected, write_samples
from training.processes import ProcessGroup

CPU = torch.device("cpu")
LARGE = 128  # twice as many pixels a side as the network sees


def read(photos: Path, out: Path, **more: Any) -> DetectionSet:
    out.mkdir()
    settings = tiny_detector(photos, out, **more)
    return read_detection_set(settings, ProcessGroup(0, 1, CPU), lambda: None)


class FindsAll(nn.Module):
    """Finds one object that fills the photo, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = SimpleNamespace(min_size=())
        self.shown: list[Tensor] = []

    def forward(self, photos: list[Tensor]) -> list[dict[str, Tensor]]:
        self.shown += photos
        height, width = photos[0].shape[1:]
        boxes = torch.tensor([[0.0, 0.0, width, height]])
        return [{"boxes": boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}]


def test_photos_are_validated_on_as_small_as_a_detector_sees_them(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    pixels, found = scene(3, size=LARGE)
    first, *_ = some_photos(folder, train=1, validation=0)
    Image.fromarray(pixels).save(folder / "large.png")
    instances = [
        make_instance(mask, id=500 + place, category=category)
        for place, (category, mask) in enumerate(found)
    ]
    size = {"width": LARGE, "height": LARGE}
    large = make_image(*instances, id=9, file_name="large.png", **size)
    photos = written(folder, [first, DetectionPhoto(large, "validation", True)])
    recipe, network = {"scales": (48, 96)}, {"min_size": 64, "max_size": 128}
    data = read(photos, tmp_path / "run", recipe=recipe, network=network)
    assert data.example(data.validation, 0).photo.shape == (3, 96, 96)
    finder = FindsAll()
    (photo,) = detected(finder, data, data.looked_at, min_size=64, device=CPU)
    (shown,) = finder.shown
    assert shown.shape == (3, 64, 64)
    as_detected = fitted(pixels, min_size=64, max_size=128)
    difference = np.abs(shown.permute(1, 2, 0).numpy() * 255 - as_detected)
    assert difference.mean() < 4.0
    assert photo.detections[0].box == (0.0, 0.0, 64.0, 64.0)
    for true, instance in zip(photo.truth, instances, strict=True):
        np.testing.assert_allclose(true.box, np.array(instance.box) / 2, atol=1e-4)
    folder = tmp_path / "run"
    write_samples(folder, data, data.looked_at, [photo], min_size=64, count=1, epoch=1)
    with Image.open(folder / "samples" / "large_1.jpg") as picture:
        assert picture.size == (64, 64)


def test_a_run_is_another_one_where_other_objects_validate(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    *others, last = some_photos(folder)
    hashes = set()
    fewer = with_instances(last, last.image.instances[:1])
    moved = replace(last, part="train")
    for place, final in enumerate((last, last, fewer, moved)):
        data = read(written(folder, [*others, final]), tmp_path / f"run{place}")
        hashes.add(data.hash)
    assert len(hashes) == 3

"""Photos with coloured shapes of exact masks, and trainings of detectors that take a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.types import Instance, LabeledImage, Mask, Status
from exports.detection_data import LEARNT, DetectionPhoto, write_detection_data
from tests.builders import make_image, make_instance
from tests.training.runs import MACHINE
from training.detector_settings import DetectorSettings, detector_settings_for
from training.settings import Machine

CLASSES = ((1, "square"), (2, "disc"))
COLOURS = {"square": (220, 60, 40), "disc": (40, 90, 230)}
NETWORK = {
    "backbone_width": 8,
    "fpn_channels": 8,
    "head_width": 32,
    "min_size": 48,
    "max_size": 64,
    "anchor_sizes": (8, 12, 16, 24, 32),
    "train_proposals": 40,
    "test_proposals": 40,
    "rois_per_image": 16,
    "anchors_per_image": 16,
}
RECIPE = {
    "epochs": 3,
    "least_steps": 0,
    "batch": 2,
    "learning_rate": 2e-3,
    "warm_up_steps": 0,
    "average": 0.5,
    "validate_steps": 0,
}


def shape(name: str, *, x: int, y: int, side: int, size: int = 48) -> Mask:
    """A square or a disc in a square of that side, from its upper left."""
    rows, columns = np.mgrid[:size, :size]
    inside = (rows >= y) & (rows < y + side) & (columns >= x) & (columns < x + side)
    if name == "disc":
        middle = (side - 1) / 2
        inside &= (rows - y - middle) ** 2 + (columns - x - middle) ** 2 <= (side / 2) ** 2
    return inside


def scene(seed: int, *, objects: int = 2, size: int = 48) -> tuple[Any, list[tuple[str, Mask]]]:
    """Pixels and objects: one in each of some quarters of the photo, so none covers another."""
    generator = np.random.default_rng((7, seed))
    pixels = generator.integers(90, 150, (size, size, 3), dtype=np.uint8)
    found = []
    for quarter in generator.permutation(4)[:objects].tolist():
        name = CLASSES[int(generator.integers(2))][1]
        half = size // 2
        side = int(generator.integers(half // 2, half - 4))
        x, y = (half * place + int(generator.integers(half - side)) for place in divmod(quarter, 2))
        mask = shape(name, x=x, y=y, side=side, size=size)
        pixels[mask] = COLOURS[name]
        found.append((name, mask))
    return pixels, found


def photo_of(folder: Path, number: int, *, seed: int, objects: int = 2) -> LabeledImage:
    """A scene as a file of the folder; ids of instances are 10 times the number and on."""
    pixels, found = scene(seed, objects=objects)
    name = f"{number:03d}.png"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    instances = [
        make_instance(mask, id=10 * number + place, category=category)
        for place, (category, mask) in enumerate(found)
    ]
    size = {"width": pixels.shape[1], "height": pixels.shape[0]}
    return make_image(*instances, id=number, file_name=name, **size)


def some_photos(folder: Path, *, train: int = 4, validation: int = 2) -> list[DetectionPhoto]:
    """Complete ones; those of validation show what the first that train show."""
    return [
        DetectionPhoto(
            photo_of(folder, number + 1, seed=number if number < train else number - train),
            "train" if number < train else "validation",
            True,
        )
        for number in range(train + validation)
    ]


def uneven_photos(folder: Path) -> list[DetectionPhoto]:
    """Two with one object and two with four, of which the last is not reviewed in full."""
    return [
        DetectionPhoto(
            photo_of(folder, number + 1, seed=number, objects=(1, 4, 4, 1)[number % 4]),
            "train" if number < 4 else "validation",
            number != 3,
        )
        for number in range(5)
    ]


def with_instances(photo: DetectionPhoto, instances: Sequence[Instance]) -> DetectionPhoto:
    """The same photo with other instances."""
    return replace(photo, image=replace(photo.image, instances=tuple(instances)))


def written(
    folder: Path, photos: Sequence[DetectionPhoto], *, statuses: frozenset[Status] = LEARNT
) -> Path:
    """The data.json beside the photos' folder, which is returned."""
    write_detection_data(
        folder.parent / "data.json",
        photos,
        categories=CLASSES,
        date_created="2000-01-01",
        parent="0001-cam",
        statuses=statuses,
    )
    return folder


def tiny_detector(
    photos: Path,
    out: Path,
    *,
    model: str = "fasterrcnn",
    recipe: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    **others: Any,
) -> DetectorSettings:
    """Two steps of two photos make an epoch of `some_photos`."""
    masks = {"mask_width": 8} if model == "maskrcnn" else {}
    return detector_settings_for(
        model,
        "tiny",
        photos=photos,
        data=photos.parent / "data.json",
        out=out,
        recipe={**RECIPE, **(recipe or {})},
        network={**NETWORK, **masks, **(network or {})},
        machine=Machine(**{**MACHINE, **(machine or {})}),
        **others,
    )


def detector_flags(photos: Path, out: Path, *more: str, model: str = "fasterrcnn") -> list[str]:
    """The same training as `tiny_detector` on the command line."""
    masks = {"mask_width": 8} if model == "maskrcnn" else {}
    network = {f"network_{name}": one for name, one in {**NETWORK, **masks}.items()}
    options = {**RECIPE, **MACHINE, **network}
    texts: list[str] = []
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        texts += [f"--{name.replace('_', '-')}", *map(str, values)]
    return [
        *("--photos", str(photos), "--data", str(photos.parent / "data.json"), "--out", str(out)),
        *("--model", model, "--preset", "tiny", *texts, *more),
    ]

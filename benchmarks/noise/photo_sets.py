"""The made-up photos of the bench: written once, with training data that is clean or has errors.

A folder then holds what `benchmarks.synthetic` writes, and for each kind of labels the file that a
training reads (`exports.detection_data`). All photos count as reviewed in full: whoever left a
label out believed that there is nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from benchmarks.noise.planted import Planted, plant
from benchmarks.synthetic import SceneOptions, class_names, make_set
from engine.metrics.detected import TrueBox
from engine.types import LabeledImage
from exports.coco import read_coco
from exports.detection_data import (
    PARTS,
    DetectionPhoto,
    Part,
    read_detection_data,
    write_detection_data,
)
from exports.whole_files import write_whole

PHOTOS, TRUTH = "images", "annotations.json"
MADE_ON = "2000-01-01T00:00:00+00:00"  # the same file from the same seed on any day


def make_photos(
    folder: Path, scenes: SceneOptions, *, photos: int, seed: int, training: int | None = None
) -> None:
    """The photos and their truth, and clean training data; kept where they are there.

    Of the photos that may train the first ``training`` do, or all.
    """
    clean = training_data(folder)
    if clean.exists():  # written last
        return
    make_set(folder, photos=photos, seed=seed, options=scenes)
    images = true_images(folder)
    train, val = ([one for one in images if one.split == split] for split in ("train", "val"))
    _write(clean, train[:training], val, _classes(scenes))


def make_errors(folder: Path, scenes: SceneOptions, *, share: float, seed: int) -> None:
    """Training data with errors in that share of the labels that train, and their list."""
    clean, classes = read_detection_data(training_data(folder)), _classes(scenes)
    train, val = ([photo.image for photo in clean.part(part)] for part in PARTS)
    wrong, planted = plant(train, share=share, classes=classes, seed=seed)
    _write(training_data(folder, seed), wrong, val, classes)
    listed = [error.as_dict() for error in planted]
    write_whole(_list_of(folder, seed), json.dumps(listed, indent=1) + "\n")


def training_data(folder: Path, errors: int | None = None) -> Path:
    """The file for trainings: clean, or with the errors of that seed."""
    return folder / ("clean.json" if errors is None else f"errors-{errors}.json")


def planted_errors(folder: Path, seed: int) -> tuple[Planted, ...]:
    """Which errors `make_errors` planted."""
    listed = json.loads(_list_of(folder, seed).read_text("utf-8"))
    return tuple(Planted.from_dict(one) for one in listed)


def true_images(folder: Path) -> list[LabeledImage]:
    """All photos with their true objects, numbered from 1 over the whole set; without masks."""
    numbers = count(1)
    return [
        replace(
            image,
            instances=tuple(replace(one, id=next(numbers), rle=None) for one in image.instances),
        )
        for image in read_coco(folder / TRUTH).images
    ]


def true_boxes(image: LabeledImage) -> tuple[TrueBox, ...]:
    """The objects of a photo as the metrics want them."""
    return tuple(TrueBox(box=one.box, category=one.category or "") for one in image.instances)


def _classes(scenes: SceneOptions) -> tuple[str, ...]:
    return class_names(scenes.classes, scenes.own_parts)


def _write(
    path: Path,
    train: Sequence[LabeledImage],
    val: Sequence[LabeledImage],
    classes: Sequence[str],
) -> None:
    parts: tuple[tuple[Part, Sequence[LabeledImage]], ...] = (("train", train), ("validation", val))
    photos = [
        DetectionPhoto(image, part, complete=True) for part, images in parts for image in images
    ]
    categories = list(enumerate(classes, start=1))
    write_detection_data(path, photos, categories=categories, date_created=MADE_ON)


def _list_of(folder: Path, seed: int) -> Path:
    return folder / f"planted-{seed}.json"

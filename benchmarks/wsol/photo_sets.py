"""The made-up photos of the bench: written once to a folder, read back with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.photo_sets import labeled_photos
from benchmarks.synthetic import SceneOptions, class_names, make_scene, make_set
from benchmarks.wsol.plan import Budget
from engine.geometry import rle_to_mask
from engine.types import Box, Image, Mask

LARGE = (0.28, 0.49)
"""Radius of the objects on the photos that classifiers start from: the thing fills the photo, as
on most of ImageNet's."""

STARTING_SEED = 1_000_000  # away from that of the set


@dataclass(frozen=True, eq=False)
class TruePhoto:
    """A photo and the one object on it."""

    image: Image
    true_class: int  # number in `class_names`
    box: Box
    mask: Mask


def make_photos(folder: Path, budget: Budget) -> None:
    """Write the set, and beside it the list of the photos that are not trained on."""
    images = make_set(
        folder,
        photos=budget.photos,
        classes=budget.classes,
        size=budget.photo_size,
        seed=budget.seed,
    )
    (folder / "classes.txt").write_text("\n".join(class_names(budget.classes)), encoding="utf-8")
    held_out = [image.file_name for image in images if image.split != "train"]
    (folder / "held-out.txt").write_text("\n".join(held_out), encoding="utf-8")


def true_photos(folder: Path, split: str) -> list[TruePhoto]:
    """All photos of a split, with their truth."""
    numbers = {
        name: number
        for number, name in enumerate((folder / "classes.txt").read_text("utf-8").splitlines())
    }
    photos = []
    for image, truth in labeled_photos(folder, split=split):
        (thing,) = truth.instances
        assert thing.rle is not None
        number = numbers[str(thing.category)]
        photos.append(TruePhoto(image, number, thing.box, rle_to_mask(thing.rle)))
    return photos


def starting_photos(budget: Budget, *, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Photos (n, side, side, 3) of large objects and their class numbers (n,)."""
    options = SceneOptions(classes=budget.classes, size=side, radius=LARGE)
    classes = np.arange(budget.starting_photos) % budget.classes
    scenes = (
        make_scene(options, seed=(STARTING_SEED + budget.seed, number), category=int(category))
        for number, category in enumerate(classes)
    )
    return np.stack([scene.image for scene in scenes]), classes.astype(np.int64)

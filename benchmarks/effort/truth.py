"""What is really on a photo, and how near an instance of the store comes to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.geometry import box_to_slices, iou_boxes, iou_masks, rle_to_mask
from engine.types import Box, Instance, LabeledImage, Mask
from exports.coco import read_coco


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One object; without a mask it is judged by its box."""

    category: str
    box: Box
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class TruePhoto:
    """A photo's file, its tags, and all objects on it."""

    path: Path
    tags: tuple[str, ...]
    objects: tuple[TrueObject, ...]


def nearness(instance: Instance, truth: TrueObject) -> float:
    """IoU of the masks where the truth has one (a box alone counts as filled); else of boxes."""
    if truth.mask is None:
        return float(iou_boxes([instance.box], [truth.box])[0, 0])
    return iou_masks(pixels_of(instance, truth.mask.shape), truth.mask)


def pixels_of(instance: Instance, shape_hw: tuple[int, ...]) -> Mask:
    """The mask of an instance, bool (h, w); of one without a mask, its filled box."""
    if instance.rle is not None:
        return rle_to_mask(instance.rle)
    filled = np.zeros(shape_hw, dtype=bool)
    filled[box_to_slices(instance.box, shape_hw=(shape_hw[0], shape_hw[1]))] = True
    return filled


def photos_of(folder: Path, *, most: int, seed: int) -> list[TruePhoto]:
    """At most so many photos of a folder in COCO layout, shuffled; those without objects not."""
    images = [one for one in read_coco(folder / "annotations.json").images if one.instances]
    order = np.random.default_rng(seed).permutation(len(images))[:most]
    return [_true_photo(folder / "images", images[at]) for at in order]


def _true_photo(folder: Path, image: LabeledImage) -> TruePhoto:
    objects = tuple(_true_object(one) for one in image.instances if one.category is not None)
    tags = tuple(dict.fromkeys(one.category for one in objects))
    return TruePhoto(folder / image.file_name, tags, objects)


def _true_object(instance: Instance) -> TrueObject:
    mask = None if instance.rle is None else rle_to_mask(instance.rle)
    return TrueObject(str(instance.category), instance.box, mask)


def has_masks(photos: Iterable[TruePhoto]) -> bool:
    """Whether every object of the set has a mask, so that masks are what is compared."""
    return all(one.mask is not None for photo in photos for one in photo.objects)


def object_count(photos: Sequence[TruePhoto]) -> int:
    """How many true objects there are."""
    return sum(len(photo.objects) for photo in photos)

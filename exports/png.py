"""Masks as PNG into files, in the layout of Pascal VOC: ``SegmentationClass/NAME.png`` (semantic),
``SegmentationObject/NAME.png`` (one value an object), ``labelmap.txt``. `exports.png_read` reads.

A pixel holds one value: where masks overlap it goes to the smaller object, so that what lies upon
something stays whole. 0 is nothing, 255 (in 16-bit files 65535) is void and never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import FormatError
from engine.geometry import mask_to_rle, rle_to_mask
from engine.types import Instance, LabeledImage
from exports.contents import Held, Losses, check_names, held, one_stem_each
from exports.label_map import FILE, label_losses, label_map_text, palette
from exports.photo_names import stem
from exports.progress import WRITING, OnProgress, counted, silent
from exports.runs import box_of_rle
from exports.whole_files import whole_folder

CLASSES, OBJECTS = "SegmentationClass", "SegmentationObject"
SETS = Path("ImageSets") / "Segmentation"
MOST_8_BIT = 254  # 255 is void
MOST_16_BIT = 65534

Values = NDArray[np.uint16]  # (h, w)


def hold_png(images: Sequence[LabeledImage], classes: Sequence[str]) -> Held:
    """What stays: of each mask the pixels that no smaller object covers, and their tight box.

    FormatError for unwritable names, or more classes or objects than 16 bits number.
    """
    losses = Losses()
    check_names(images, classes)
    _check_count("classes", len(classes))

    def hold(image: LabeledImage, instance: Instance) -> Instance | None:
        if instance.rle is None:
            losses.add("boxes without a mask are left out", image, instance)
            return None
        if box_of_rle(instance.rle) is None:
            losses.add("empty masks are left out", image, instance)
            return None
        return replace(instance, points=())

    kept = held(one_stem_each(images, losses), losses, hold)
    return Held(
        tuple(_without_overlap(image, losses) for image in kept),
        (*losses.found(), *label_losses(classes)),
    )


def write_png(
    folder: Path,
    images: Sequence[LabeledImage],
    classes: Sequence[str],
    *,
    on_progress: OnProgress = silent,
) -> None:
    """Write what `hold_png` left, whole or not at all; FormatError where the place is taken."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    names: dict[str, list[str]] = {}
    with whole_folder(folder) as part:
        for image in counted(WRITING, images, len(images), on_progress):
            name = stem(image.file_name)
            names.setdefault(image.split or "default", []).append(name)
            values = object_values(image)
            class_of = [0, *(numbers[str(one.category)] for one in image.instances)]
            of_class = np.array(class_of, dtype=np.uint16)[values]
            for kind, pixels, highest in (
                (CLASSES, of_class, len(classes)),
                (OBJECTS, values, len(image.instances)),
            ):
                path = part / kind / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                _picture(pixels, highest).save(path, "PNG")
        for path in (part / CLASSES, part / OBJECTS, part / SETS):
            path.mkdir(parents=True, exist_ok=True)
        for split, stems in names.items():
            text = "".join(f"{name}\n" for name in stems)
            (part / SETS / f"{split}.txt").write_text(text, encoding="utf-8", newline="\n")
        (part / FILE).write_text(label_map_text(classes), encoding="utf-8", newline="\n")


def object_values(image: LabeledImage) -> Values:
    """The place of its object (from 1) in each pixel; the masks do not overlap."""
    values = np.zeros((image.height, image.width), dtype=np.uint16)
    for number, instance in enumerate(image.instances, start=1):
        assert instance.rle is not None
        values[rle_to_mask(instance.rle)] = number
    return values


def _without_overlap(image: LabeledImage, losses: Losses) -> LabeledImage:
    """Largest first into one picture; what remains of each is its mask."""
    _check_count("objects of a photo", len(image.instances))
    masks = [rle_to_mask(one.rle) for one in image.instances if one.rle is not None]
    areas = [int(mask.sum()) for mask in masks]
    values = np.zeros((image.height, image.width), dtype=np.uint16)
    for place in sorted(range(len(masks)), key=lambda place: -areas[place]):
        values[masks[place]] = place + 1
    seen = np.bincount(values.ravel(), minlength=len(masks) + 1)[1:]
    kept = []
    for place, instance in enumerate(image.instances):
        if seen[place] == 0:
            losses.add("masks lie wholly under smaller ones and are left out", image, instance)
            continue
        if seen[place] < areas[place]:
            losses.add("masks give pixels to smaller ones that they overlap", image, instance)
            instance = replace(instance, rle=mask_to_rle(values == place + 1))
        assert instance.rle is not None
        tight = box_of_rle(instance.rle)
        if tight != instance.box and seen[place] == areas[place]:
            losses.add("boxes are drawn wider than the mask, whose box is read", image, instance)
        kept.append(replace(instance, box=tight or instance.box))
    return replace(image, instances=tuple(kept))


def _check_count(what: str, count: int) -> None:
    if count > MOST_16_BIT:
        raise FormatError(f"PNG masks number at most {MOST_16_BIT} {what}, got {count}")


def _picture(values: Values, highest: int) -> Image.Image:
    if highest > MOST_8_BIT:
        return Image.fromarray(values)  # 16-bit gray
    picture = Image.fromarray(values.astype(np.uint8)).convert("P")
    picture.putpalette(palette().tobytes())
    return picture

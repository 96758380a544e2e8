"""YOLO labels into files: ``data.yaml`` and ``labels/SPLIT/NAME.txt``, as Ultralytics reads them.

A line is ``class x y width height`` (detection) or ``class x y x y …`` (segmentation), all shares
of the photo. Classes are numbered from 0 in the project's order. `exports.yolo_read` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from engine.geometry import clip_box
from engine.types import Box, Instance, LabeledImage
from exports.contents import Held, Losses, check_names, held, one_stem_each
from exports.contours import outlines_of, polygon_to_rle
from exports.outlines import one_polygon
from exports.photo_names import stem
from exports.progress import WRITING, OnProgress, counted, silent
from exports.runs import box_of_rle
from exports.whole_files import whole_folder

DECIMALS = 8  # of a share of the photo: a thousandth of a pixel on 50,000 pixels
SETTINGS = "data.yaml"

OUTSIDE = "boxes outside their photo are left out"
CUT = "boxes are cut at the photo's edge"


def hold_boxes(images: Sequence[LabeledImage], classes: Sequence[str]) -> Held:
    """What stays for detection: boxes inside the photo. FormatError for unwritable names."""
    losses = Losses()
    check_names(images, classes)

    def hold(image: LabeledImage, instance: Instance) -> Instance | None:
        if instance.rle is not None:
            losses.add("masks are not written; yolo-seg writes them", image, instance)
        box = clip_box(instance.box, width=image.width, height=image.height)
        if box is None:
            losses.add(OUTSIDE, image, instance)
            return None
        if box != instance.box:
            losses.add(CUT, image, instance)
        return replace(instance, box=box, rle=None, points=())

    kept = held(one_stem_each(images, losses), losses, hold)
    return Held(tuple(kept), losses.found())


def hold_polygons(images: Sequence[LabeledImage], classes: Sequence[str]) -> Held:
    """What stays for segmentation: the mask as one polygon, which alone says what the box is."""
    losses = Losses()
    check_names(images, classes)

    def hold(image: LabeledImage, instance: Instance) -> Instance | None:
        if instance.rle is None:
            box = clip_box(instance.box, width=image.width, height=image.height)
            if box is None:
                losses.add(OUTSIDE, image, instance)
                return None
            # As it will be read: rounding can move an edge across the centre of a pixel.
            written = [float(share) for share in _rounded(image, corners_of(box))]
            sides = (image.width, image.height)
            corners = [share * sides[place % 2] for place, share in enumerate(written)]
            rle = polygon_to_rle([corners], size=(image.height, image.width))
            if box_of_rle(rle) is None:
                losses.add("boxes without a mask that hold no pixel are left out", image, instance)
                return None
            losses.add("boxes without a mask are written as rectangles", image, instance)
            return replace(instance, box=box, rle=rle, points=())
        tight = box_of_rle(instance.rle)
        if tight is None:
            losses.add("empty masks are left out", image, instance)
            return None
        outlines = outlines_of(instance.rle)
        if outlines.holes:
            losses.add("masks have holes, joined to the outline by a bridge", image, instance)
        if len(outlines.outer) > 1:
            losses.add("masks have several parts, joined by a bridge", image, instance)
        if tight != instance.box:
            losses.add("boxes are drawn wider than the mask, whose box is read", image, instance)
        return replace(instance, box=tight, points=())

    kept = held(one_stem_each(images, losses), losses, hold)
    return Held(tuple(kept), losses.found())


def write_yolo(
    folder: Path,
    images: Sequence[LabeledImage],
    classes: Sequence[str],
    *,
    on_progress: OnProgress = silent,
) -> None:
    """Write what one of the two above left, whole or not at all; a line an instance.

    A photo without objects gets an empty file. FormatError where the place is taken.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    with whole_folder(folder) as part:
        splits: dict[str, None] = {}
        for image in counted(WRITING, images, len(images), on_progress):
            split = image.split or "train"
            splits[split] = None
            path = part / "labels" / split / f"{stem(image.file_name)}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [
                " ".join([str(numbers[str(one.category)]), *_shares(image, one)])
                for one in image.instances
            ]
            path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")
        (part / "labels").mkdir(exist_ok=True)
        (part / SETTINGS).write_text(_settings(list(splits), classes), encoding="utf-8")


def corners_of(box: Box) -> list[float]:
    """The box as a polygon. In one file with polygons, a line of four numbers is misread."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _shares(image: LabeledImage, instance: Instance) -> list[str]:
    """The numbers of one line: of the box, or of the polygon where there is a mask."""
    x0, y0, x1, y1 = instance.box
    if instance.rle is None:
        values = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
    elif instance.box != box_of_rle(instance.rle):  # a box without a mask
        values = corners_of(instance.box)
    else:
        values = [float(value) for value in one_polygon(instance.rle).ravel()]
    return _rounded(image, values)


def _rounded(image: LabeledImage, values: Sequence[float]) -> list[str]:
    """Pixels x, y, x, y … as the shares of width and height that stand in the file."""
    sides = (image.width, image.height)
    shares = (value / sides[place % 2] for place, value in enumerate(values))
    return [f"{share:.{DECIMALS}f}".rstrip("0").rstrip(".") for share in shares]


def _settings(splits: Sequence[str], classes: Sequence[str]) -> str:
    """`data.yaml`: training programs insist on train and val, so one stands in for the other."""
    first = splits[0] if splits else "train"
    train = "train" if "train" in splits else first
    val = "val" if "val" in splits else train
    others = {name: f"images/{name}" for name in splits if name not in (train, val)}
    content = {
        "path": ".",
        "train": f"images/{train}",
        "val": f"images/{val}",
        **others,
        "names": dict(enumerate(classes)),
    }
    return str(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))

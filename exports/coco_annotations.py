"""One annotation of COCO, both ways: an `Instance` and its photo in, a JSON object out, and back.

Written: box and area of the mask, or of the box inside the photo where there is no mask; a polygon
where it says the same as the mask, else compressed RLE; ``iscrowd`` 0; beyond the format only
``score`` and ``attributes``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as coco_mask

from engine.errors import FormatError
from engine.geometry import clip_box
from engine.types import Box, Instance, LabeledImage, Rle, Source, Status
from exports.contours import polygon_to_rle, segmentation
from exports.runs import checked_rle
from exports.values import are_numbers

DECIMALS = 3
"""Of box corners: a thousandth of a pixel."""


@dataclass(frozen=True)
class Annotation:
    """An instance as it goes into the file."""

    id: int
    image: LabeledImage
    instance: Instance

    def __str__(self) -> str:
        return f"instance {self.id} of photo {self.image.file_name!r}"


def annotation_entry(annotation: Annotation, ids_of: Mapping[str, int]) -> dict[str, Any]:
    """Plain JSON; ``ids_of`` maps class names to ids. FormatError where it cannot be written."""
    instance = annotation.instance
    if instance.category is None:
        raise FormatError(f"{annotation} has no class; choose one or reject it")
    if instance.category not in ids_of:
        raise FormatError(
            f"{annotation} is of class {instance.category!r}, which is not in the class table;"
            " add it"
        )
    (x0, y0, x1, y1), area = box_and_area(annotation)
    entry: dict[str, Any] = {
        "id": annotation.id,
        "image_id": int(annotation.image.id),
        "category_id": ids_of[instance.category],
        "bbox": [x0, y0, round(x1 - x0, DECIMALS), round(y1 - y0, DECIMALS)],
        "area": area,
        "segmentation": [] if instance.rle is None else segmentation(instance.rle),
        "iscrowd": 0,
        "attributes": {"status": str(instance.status), "source": instance.source.as_dict()},
    }
    if instance.id is not None:
        entry["attributes"]["id"] = annotation.id  # by which `coco_sections.own_ids` knows it
    if instance.score is not None:
        entry["score"] = float(instance.score)
    return entry


def box_and_area(annotation: Annotation) -> tuple[Box, float]:
    """The box and the area: the mask's pixels, or where there is no mask the box's.

    The box is the instance's own, since a person may have drawn it with some room, unless the mask
    reaches out of it: then the tight box of the mask, because readers cut masks at the box.
    FormatError where nothing is left, or where mask and photo differ in size.
    """
    image, instance = annotation.image, annotation.instance
    if instance.rle is not None:
        tight, area = _mask_box_and_area(annotation, instance.rle)
        inside = clip_box(instance.box, width=image.width, height=image.height)
        box = _rounded(inside) if inside and tight and covers(inside, tight) else tight
    else:
        box = clip_box(instance.box, width=image.width, height=image.height)
        box = box and _rounded(box)
        area = round((box[2] - box[0]) * (box[3] - box[1]), DECIMALS) if box else 0.0
    if box is None or area <= 0:
        raise FormatError(f"{annotation} has no area inside the photo; delete or redraw it")
    return box, area


def covers(box: Box, tight: Box) -> bool:
    """Whether the pixels that the box touches hold the whole pixels of the tight box."""
    return (
        math.floor(box[0]) <= tight[0]
        and math.floor(box[1]) <= tight[1]
        and math.ceil(box[2]) >= tight[2]
        and math.ceil(box[3]) >= tight[3]
    )


def instance_of(
    entry: Mapping[str, Any], image: LabeledImage, oddities: list[str], **known: Any
) -> Instance:
    """The inverse of `annotation_entry`, also for files of others; FormatError with the reason.

    ``oddities`` takes what of it was left out. ``known`` are the fields of `Instance` that the
    file's other parts or the caller decide: category, id, and status and source for where the
    annotation states none.
    """
    if entry.get("iscrowd"):
        raise FormatError("it is a crowd, not an object")
    size = (image.height, image.width)
    rle = mask_of(entry.get("segmentation"), size=size, oddities=oddities)
    box = _box_of(entry.get("bbox"), image)
    if box is None and rle is not None and coco_mask.area(rle.as_dict()) > 0:
        x, y, width, height = (float(value) for value in coco_mask.toBbox(rle.as_dict()))
        box = (x, y, x + width, y + height)
    if box is None:
        raise FormatError(f"box {entry.get('bbox')!r} has no area inside the image")
    score = float(entry["score"]) if are_numbers([entry.get("score")]) else -1.0
    attributes = entry.get("attributes")
    stated = attributes if isinstance(attributes, dict) else {}
    return Instance(
        box=box,
        rle=rle,
        score=score if 0 <= score <= 1 else None,
        **{**known, **_stated_status(stated), **_stated_source(stated)},
    )


def _stated_status(attributes: Mapping[str, Any]) -> dict[str, Status]:
    status = attributes.get("status")
    return {"status": Status(status)} if isinstance(status, str) and status in set(Status) else {}


def _stated_source(attributes: Mapping[str, Any]) -> dict[str, Source]:
    source = attributes.get("source")
    if not isinstance(source, dict) or "pipeline" not in source:
        return {}
    try:
        return {"source": Source.from_dict(source)}
    except (TypeError, ValueError):  # options that are no object
        return {}


def mask_of(value: Any, *, size: tuple[int, int], oddities: list[str] | None = None) -> Rle | None:
    """A segmentation of any kind; None where there is none. FormatError where it is broken.

    With ``oddities`` a broken polygon beside good ones is named there and left out.
    """
    if not value:
        return None
    if isinstance(value, dict):
        return checked_rle(value, size=size)
    if not isinstance(value, list):
        raise FormatError(f"segmentation of type {type(value).__name__}")
    # Some tools forget the outer list.
    polygons = [value] if are_numbers(value) else value
    reasons = [_wrong_in(polygon, size) for polygon in polygons]
    good = [polygon for polygon, reason in zip(polygons, reasons, strict=True) if not reason]
    wrong = [reason for reason in reasons if reason]
    if wrong and (oddities is None or not good):
        raise FormatError(wrong[0])
    if oddities is not None:
        oddities += [f"a part was left out: {reason}" for reason in wrong]
    return polygon_to_rle(good, size=size)


def _wrong_in(polygon: Any, size: tuple[int, int]) -> str:
    """Why it cannot be drawn; empty where it can."""
    bound = 4 * max(size)  # pycocotools draws what lies outside too, point by point
    if not (isinstance(polygon, list) and are_numbers(polygon)):
        return "a polygon must be a list of numbers"
    if len(polygon) < 6 or len(polygon) % 2:
        return f"a polygon needs x and y of three points, got {len(polygon)} numbers"
    if min(polygon) < -bound or max(polygon) > bound:
        return "a polygon reaches far beyond its image"
    return ""


def _mask_box_and_area(annotation: Annotation, rle: Rle) -> tuple[Box | None, float]:
    image = annotation.image
    if rle.size != (image.height, image.width):
        raise FormatError(
            f"{annotation}: its mask is of (h, w) {rle.size}, the photo of"
            f" {(image.height, image.width)}; propose it again"
        )
    x, y, width, height = (float(value) for value in coco_mask.toBbox(rle.as_dict()))
    area = float(coco_mask.area(rle.as_dict()))
    return ((x, y, x + width, y + height) if area else None), area


def _box_of(value: Any, image: LabeledImage) -> Box | None:
    if not (isinstance(value, list) and len(value) == 4 and are_numbers(value)):
        return None
    x, y, width, height = map(float, value)
    if width <= 0 or height <= 0:
        return None
    return clip_box((x, y, x + width, y + height), width=image.width, height=image.height)


def _rounded(box: Box) -> Box:
    x0, y0, x1, y1 = (round(value, DECIMALS) for value in box)
    return (x0, y0, x1, y1)

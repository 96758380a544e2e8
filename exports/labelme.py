"""LabelMe JSON, a file a photo, in; `Reading` out: rectangles, polygons, circles and masks.

Shapes of one label and one ``group_id`` are parts of one object.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.errors import FormatError
from engine.geometry import clip_box, mask_to_rle
from engine.types import Box, Instance, LabeledImage, Rle, Source, Status
from exports.contents import Reading, class_name, noted, tags_of
from exports.contours import polygon_to_rle
from exports.photo_names import KnownPhotos, size_of
from exports.runs import box_of_rle, union_of_rles
from exports.values import are_numbers, checked_size

CIRCLE_CORNERS = 72
Points = list[tuple[float, float]]


def read_labelme(path: Path, photos: KnownPhotos | None = None) -> Reading:
    """Read one file, or all of a folder.

    Lines, points and shapes that make no sense are left out with a note, so are files that cannot
    be read. FormatError where no file is good.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    images: list[LabeledImage] = []
    notes: list[str] = []
    for file in files:
        own = file.name if path.is_file() else file.relative_to(path).as_posix()
        try:
            image, oddities = _read_file(file, own, photos, number_of=len(images) + 1)
        except FormatError as error:
            notes.append(f"{own} was left out: {error}")
            continue
        notes += [f"{own}: {text}" for text in oddities]
        images.append(image)
    if not images:
        raise FormatError(
            f"{str(path)!r} holds no LabelMe file" + "".join(f": {notes[0]}" for _ in notes[:1])
        )
    classes = dict.fromkeys(name for image in images for name in image.tags)
    return Reading(tuple(images), tuple(classes), tuple(notes))


def _read_file(
    file: Path, own: str, photos: KnownPhotos | None, *, number_of: int
) -> tuple[LabeledImage, list[str]]:
    try:
        content: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"it is no JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise FormatError("it has no list 'shapes'")
    stated = content.get("imagePath")
    # It is relative to the file, often with folders of the machine it was made on.
    name = str(stated).replace("\\", "/") if stated else f"{Path(own).stem}.jpg"
    folders = own.rpartition("/")[0]
    name = f"{folders}/{name}" if folders and "/" not in name else name.removeprefix("../")
    sides: tuple[Any, Any] = (content.get("imageWidth"), content.get("imageHeight"))
    if are_numbers(sides) and min(sides) >= 1:
        width, height = checked_size(*sides)
        name = (photos.find(name) if photos else None) or name
    else:
        name, (width, height) = size_of(name, photos)
    instances, notes = _objects(content["shapes"], (width, height), file.name)
    image = LabeledImage(
        id=number_of,
        file_name=name,
        width=width,
        height=height,
        instances=tuple(instances),
        tags=tags_of(instances),
    )
    return image, notes


def _objects(
    shapes: Sequence[Any], size: tuple[int, int], source: str
) -> tuple[list[Instance], list[str]]:
    """One instance a shape, or a group of shapes."""
    groups: dict[Any, list[tuple[Box, Rle | None]]] = {}
    flags: dict[Any, dict[str, Any]] = {}
    notes = []
    for place, shape in enumerate(shapes, start=1):
        try:
            if not isinstance(shape, dict):
                raise FormatError("it is no object")
            label = class_name(str(shape.get("label") or ""))
            part = _box_and_mask(shape, size)
        except FormatError as error:
            notes.append(f"shape {place} was left out: {error}")
            continue
        group = shape.get("group_id")
        key = (label, place) if not isinstance(group, int) else (label, None, group)
        groups.setdefault(key, []).append(part)
        flags[key] = shape["flags"] if isinstance(shape.get("flags"), dict) else {}
    return [_instance(key, parts, flags[key], source) for key, parts in groups.items()], notes


def _instance(
    key: Any, parts: Sequence[tuple[Box, Rle | None]], flags: dict[str, Any], source: str
) -> Instance:
    boxes = [box for box, _ in parts]
    masks = [rle for _, rle in parts if rle is not None]
    return Instance(
        box=(
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        ),
        rle=union_of_rles(masks) if masks else None,
        category=key[0],
        status=Status.ACCEPTED,
        source=noted(
            Source(source), {name: True for name, value in flags.items() if value is True}
        ),
    )


def _box_and_mask(shape: dict[str, Any], size: tuple[int, int]) -> tuple[Box, Rle | None]:
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"), size)
    rle: Rle | None = None
    if (kind == "rectangle" and len(points) == 2) or (kind == "mask" and len(points) == 2):
        outer = _around(points)
        if kind == "mask":
            rle = _picture(shape.get("mask"), outer, size)
    elif kind == "circle" and len(points) == 2:
        rle = _drawn(_circle(*points), size)
        outer = _around(_circle(*points))
    elif (kind == "polygon" and len(points) >= 3) or (kind == "rectangle" and len(points) == 4):
        rle = _drawn(points, size) if kind == "polygon" else None
        outer = _around(points)
    else:
        raise FormatError(f"a {kind} of {len(points)} points is no region")
    if kind == "mask" and rle is not None:
        outer = box_of_rle(rle) or outer
    x0, y0, x1, y1 = outer
    box = clip_box(outer, width=size[0], height=size[1]) if x0 < x1 and y0 < y1 else None
    if box is None or (rle is not None and box_of_rle(rle) is None):
        raise FormatError("it has no area inside the photo")
    return box, rle


def _points(value: Any, size: tuple[int, int]) -> Points:
    far = 4 * max(size)  # pycocotools draws what lies outside too, point by point
    points: Points = []
    for pair in value if isinstance(value, list) else []:
        is_pair = isinstance(pair, list) and len(pair) == 2 and are_numbers(pair)
        if not is_pair or max(map(abs, pair)) > far:
            raise FormatError(f"its point {pair!r} is no pair of numbers near the photo")
        points.append((float(pair[0]), float(pair[1])))
    return points


def _around(points: Points) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys), max(xs), max(ys))


def _circle(centre: tuple[float, float], rim: tuple[float, float]) -> Points:
    radius = math.dist(centre, rim)
    angles = [2 * math.pi * step / CIRCLE_CORNERS for step in range(CIRCLE_CORNERS)]
    return [
        (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
        for angle in angles
    ]


def _drawn(points: Points, size: tuple[int, int]) -> Rle:
    flat = [value for point in points for value in point]
    return polygon_to_rle([flat], size=(size[1], size[0]))


def _picture(value: Any, outer: Box, size: tuple[int, int]) -> Rle:
    """A PNG in base64, of the pixels from the first corner to the second, both included."""
    left, top = round(outer[0]), round(outer[1])
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(value), validate=True))) as picture:
            width, height = picture.size
            # Before it is decoded: a few bytes can unfold to any number of pixels.
            if left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
                raise FormatError("its mask reaches out of the photo")
            pixels = np.asarray(picture.convert("L")) > 0
    except Image.DecompressionBombError as error:
        raise FormatError("its mask is larger than any photo") from error
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        raise FormatError(f"its mask is no picture ({error})") from error
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[top : top + height, left : left + width] = pixels
    return mask_to_rle(mask)

"""CVAT for images 1.1 (one XML file) in, `Reading` out: boxes, polygons, ellipses and masks.

Corners are half-open pixels. Mask RLE is CVAT's own: runs row by row inside a box, off first.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from engine.errors import FormatError
from engine.geometry import clip_box, mask_to_rle
from engine.types import Box, Instance, LabeledImage, Rle, Source, Status
from exports.contents import Reading, class_name, noted, tags_of
from exports.contours import polygon_to_rle
from exports.photo_names import KnownPhotos, size_of
from exports.runs import box_of_rle
from exports.values import checked_size
from exports.xml_files import Element, number, parsed

SHAPES = ("box", "polygon", "ellipse", "mask")
OTHERS = ("polyline", "points", "cuboid", "skeleton", "tag")  # hold no region of an object
ELLIPSE_CORNERS = 72


def read_cvat(path: Path, photos: KnownPhotos | None = None) -> Reading:
    """Read ``annotations.xml``, or a folder that holds it.

    A shape that makes no sense, or that is no region, is left out with a note. FormatError for
    another file, and for one of tracks (CVAT for video).
    """
    file = path / "annotations.xml" if path.is_dir() else path
    root = parsed(file)
    if root.tag != "annotations" or (root.find("track") is not None and root.find("image") is None):
        raise FormatError(f"{str(file)!r} is no 'CVAT for images' file; export it as such")
    classes = dict.fromkeys(
        class_name(label.findtext("name")) for label in root.findall("meta//labels/label")
    )
    images: list[LabeledImage] = []
    notes: list[str] = []
    for entry in root.findall("image"):
        try:
            image, oddities = _read_image(entry, photos, file.name, number_of=len(images) + 1)
        except FormatError as error:
            notes.append(f"photo {entry.get('name')!r} was left out: {error}")
            continue
        notes += [f"{image.file_name}: {text}" for text in oddities]
        images.append(image)
    classes |= dict.fromkeys(name for image in images for name in image.tags)
    return Reading(tuple(images), tuple(classes), tuple(notes))


def _read_image(
    entry: Element, photos: KnownPhotos | None, source: str, *, number_of: int
) -> tuple[LabeledImage, list[str]]:
    name = entry.get("name") or ""
    if entry.get("width") and entry.get("height"):
        width, height = checked_size(
            *(number(entry.get(side), what=side) for side in ("width", "height"))
        )
        found = None if photos is None else photos.find(name)
        name = found or name
    else:
        name, (width, height) = size_of(name, photos)
    if not name:
        raise FormatError("it has no name")
    instances, notes = [], []
    for shape in entry:
        if shape.tag in OTHERS:
            notes.append(f"a {shape.tag} was left out: it is no region")
        elif shape.tag in SHAPES:
            try:
                instances.append(_instance(shape, (width, height), source))
            except FormatError as error:
                notes.append(f"a {shape.tag} was left out: {error}")
    image = LabeledImage(
        id=number_of,
        file_name=name,
        width=width,
        height=height,
        split=(entry.get("subset") or "").lower().replace("default", ""),
        instances=tuple(instances),
        tags=tags_of(instances),
    )
    return image, notes


def _instance(shape: Element, size: tuple[int, int], source: str) -> Instance:
    category = class_name(shape.get("label"))
    box, rle = _box_and_mask(shape, size)
    inside = clip_box(box, width=size[0], height=size[1]) if box else None
    if inside is None:
        raise FormatError("it has no area inside the photo")
    notes = {"occluded": True} if shape.get("occluded") == "1" else {}
    return Instance(
        box=inside,
        rle=rle,
        category=category,
        status=Status.ACCEPTED,
        source=noted(Source(source), dict(notes)),
    )


def _box_and_mask(shape: Element, size: tuple[int, int]) -> tuple[Box | None, Rle | None]:
    if shape.tag == "box":
        x0, y0, x1, y1 = (
            number(shape.get(name), what=name) for name in ("xtl", "ytl", "xbr", "ybr")
        )
        if number(shape.get("rotation") or "0", what="rotation"):
            raise FormatError("it is rotated, which boxes here are not")
        return ((x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None), None
    if shape.tag == "mask":
        rle = _cvat_mask(shape, size)
        return box_of_rle(rle), rle
    points = _ellipse(shape) if shape.tag == "ellipse" else _points(shape)
    far = 4 * max(size)  # pycocotools draws what lies outside too, point by point
    if len(points) < 6 or max(map(abs, points)) > far:
        raise FormatError("its corners are too few or far outside the photo")
    rle = polygon_to_rle([points], size=(size[1], size[0]))
    box = (min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2]))
    return (box if box_of_rle(rle) else None), rle


def _points(shape: Element) -> list[float]:
    pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair]
    if not all(len(pair) == 2 for pair in pairs):
        raise FormatError("its points are no pairs of numbers")
    return [number(value, what="a corner") for pair in pairs for value in pair]


def _ellipse(shape: Element) -> list[float]:
    x, y, rx, ry = (number(shape.get(name), what=name) for name in ("cx", "cy", "rx", "ry"))
    turn = math.radians(number(shape.get("rotation") or "0", what="rotation"))
    points: list[float] = []
    for step in range(ELLIPSE_CORNERS):
        angle = 2 * math.pi * step / ELLIPSE_CORNERS
        along, across = rx * math.cos(angle), ry * math.sin(angle)
        points.append(x + along * math.cos(turn) - across * math.sin(turn))
        points.append(y + along * math.sin(turn) + across * math.cos(turn))
    return points


def _cvat_mask(shape: Element, size: tuple[int, int]) -> Rle:
    left, top, width, height = (
        int(number(shape.get(name), what=name)) for name in ("left", "top", "width", "height")
    )
    runs = [int(number(run, what="a run")) for run in (shape.get("rle") or "").split(",")]
    fits = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
    if not fits or min(runs) < 0 or min(width, height) < 1 or sum(runs) != width * height:
        raise FormatError("its runs do not fill its box inside the photo")
    mask = np.zeros((size[1], size[0]), dtype=bool)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top : top + height, left : left + width] = values.reshape(height, width)
    return mask_to_rle(mask)

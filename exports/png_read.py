"""PNG masks of anyone in the layout of Pascal VOC in, `Reading` out; see `exports.png`.

Palette, gray and RGB files are understood; colours and values are those of ``labelmap.txt``. With
``SegmentationClass`` alone nobody knows the objects: each class of a photo is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import FormatError
from engine.geometry import mask_to_rle
from engine.photos import PIXEL_LIMIT
from engine.types import Instance, LabeledImage, Source, Status
from exports.contents import Reading, tags_of
from exports.label_map import FILE, LabelMap, read_label_map
from exports.photo_names import KnownPhotos, stem
from exports.png import CLASSES, OBJECTS, SETS
from exports.runs import box_of_rle

SPLITS = ("train", "val", "test")
VOID_8_BIT, VOID_16_BIT = 255, 65535

Numbers = NDArray[np.int32]  # (h, w)


def read_png(path: Path, photos: KnownPhotos | None = None) -> Reading:
    """Read a folder; a picture that makes no sense is left out with a note.

    FormatError where there are no pictures, or nothing says what their values mean.
    """
    base = path / CLASSES
    files = sorted(base.rglob("*.png")) if base.is_dir() else []
    if not files:
        raise FormatError(f"{str(path)!r} holds no {CLASSES}/NAME.png")
    labels = read_label_map(path / FILE)
    splits = _splits(path / SETS)
    images: list[LabeledImage] = []
    notes: list[str] = []
    for file in files:
        name = stem(file.relative_to(base).as_posix())
        try:
            of_class = _classes(file, labels)
            objects, note = _objects(path / OBJECTS / f"{name}.png", of_class)
            instances = _instances(of_class, objects, labels, path.name)
        except FormatError as error:
            notes.append(f"{name} was left out: {error}")
            continue
        notes += [f"{name}: {note}"] if note else []
        height, width = of_class.shape
        match = None if photos is None else photos.find(name, has_ending=False)
        images.append(
            LabeledImage(
                id=len(images) + 1,
                file_name=match or f"{name}.png",
                width=width,
                height=height,
                split=splits.get(name, ""),
                instances=tuple(instances),
                tags=tags_of(instances),
            )
        )
    return Reading(tuple(images), labels.names[1:], tuple(notes))


def _instances(
    of_class: Numbers, objects: Numbers, labels: LabelMap, source: str
) -> list[Instance]:
    instances = []
    for value in np.unique(objects[objects > 0]).tolist():
        inside = objects == value
        counts = np.bincount(of_class[inside & (of_class >= 0)], minlength=1)
        winner = int(counts.argmax()) if counts.sum() else 0
        if winner == 0:
            continue  # an object without a class is nothing that our classes know
        rle = mask_to_rle(inside)
        box = box_of_rle(rle)
        assert box is not None
        instances.append(
            Instance(
                box=box,
                rle=rle,
                category=labels.names[winner],
                status=Status.ACCEPTED,
                source=Source(source),
            )
        )
    return instances


def _objects(path: Path, of_class: Numbers) -> tuple[Numbers, str]:
    """A value for each object, void as 0; without such a file the class is the object."""
    if not path.is_file():
        return np.maximum(of_class, 0), f"no {OBJECTS}; each class is one object"
    with _opened(path) as picture:
        pixels = np.asarray(picture).astype(np.int32)
    if pixels.ndim == 3:  # a colour for each object
        pixels = _codes(pixels)
        void = (224 << 16) + (224 << 8) + 192  # what VOC paints void with
    else:
        void = VOID_16_BIT if _is_16_bit(path) else VOID_8_BIT
    if pixels.shape != of_class.shape:
        raise FormatError(f"{OBJECTS} is of (h, w) {pixels.shape}, {CLASSES} {of_class.shape}")
    return np.where(pixels == void, 0, pixels), ""


def _classes(path: Path, labels: LabelMap) -> Numbers:
    """The place of the class in the label map for each pixel, -1 for void."""
    with _opened(path) as picture:
        mode, colours = picture.mode, picture.getpalette()
        pixels = np.asarray(picture)
    if pixels.ndim == 3:
        return _by_colour(pixels[..., :3], labels)
    if mode == "P" and labels.by_colour and colours:
        table = np.array(colours, dtype=np.uint8).reshape(-1, 3)
        if pixels.max(initial=0) < len(table):
            return _by_colour(table[pixels], labels)
    values = pixels.astype(np.int32)
    void = VOID_16_BIT if _is_16_bit(path) else VOID_8_BIT
    values[values == void] = -1
    if values.max(initial=0) >= len(labels.names):
        raise FormatError(f"value {values.max()} is none of the {len(labels.names)} labels")
    return values


def _by_colour(pixels: NDArray[np.uint8], labels: LabelMap) -> Numbers:
    """Colours that the label map does not name are void."""
    codes = _codes(pixels)
    numbers = np.full(codes.shape, -1, dtype=np.int32)
    for (red, green, blue), place in labels.by_colour.items():
        numbers[codes == (red << 16) + (green << 8) + blue] = place
    return numbers


def _codes(pixels: NDArray[Any]) -> Numbers:
    """(h, w, 3 or more) to one number a colour; in place, for photos are large."""
    codes = pixels[..., 0].astype(np.int32)
    for channel in (1, 2):
        codes <<= 8
        codes += pixels[..., channel]
    return codes


def _is_16_bit(path: Path) -> bool:
    with _opened(path) as picture:
        return picture.mode.startswith("I")


def _opened(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        if picture.width * picture.height > PIXEL_LIMIT:
            raise FormatError(f"{path.name} has {picture.width} x {picture.height} pixels")
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path.name} is no PNG that opens ({error})") from error
    return picture


def _splits(folder: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split in SPLITS:
        if (folder / f"{split}.txt").is_file():
            text = (folder / f"{split}.txt").read_text(encoding="utf-8", errors="replace")
            splits.update((line.strip(), split) for line in text.split("\n") if line.strip())
    return splits

"""Files that were just written, read back by other means than our own readers.

Each function takes the folder or file and the photos that should be in it, and gives what stands
there for each photo: XML element by element, text word by word, pictures by Pillow.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import yaml  # type: ignore[import-untyped]
from PIL import Image
from pycocotools import mask as coco_mask

from engine.errors import FormatError
from engine.types import LabeledImage, Rle
from exports.progress import READING, OnProgress, counted, silent
from exports.verify import Seen

SeenOn = Mapping[str, Sequence[Seen]]


def seen_in_voc(
    folder: Path,
    images: Sequence[LabeledImage],
    *,
    first: float,
    on_progress: OnProgress = silent,
) -> SeenOn:
    """``first`` is the number of the first pixel: 0, or 1 where corners are inclusive."""
    seen: dict[str, list[Seen]] = {}
    sizes = {image.file_name: [image.width, image.height] for image in images}
    files = list((folder / "Annotations").rglob("*.xml"))
    for file in counted(READING, files, len(files), on_progress):
        root = ElementTree.parse(file).getroot()
        name = root.findtext("filename") or file.name
        size = [int(root.findtext(f"size/{side}") or 0) for side in ("width", "height")]
        if sizes.get(name, size) != size:
            raise FormatError(f"photo {name!r} is said to be of {size[0]} x {size[1]} pixels")
        seen[name] = []
        for entry in root.findall("object"):
            x0, y0, x1, y1 = (
                float(entry.findtext(f"bndbox/{corner}") or "nan")
                for corner in ("xmin", "ymin", "xmax", "ymax")
            )
            seen[name].append(Seen(entry.findtext("name"), (x0 - first, y0 - first, x1, y1)))
    return seen


def seen_in_yolo(
    folder: Path, images: Sequence[LabeledImage], *, on_progress: OnProgress = silent
) -> SeenOn:
    """Both flavours: four numbers are a box, more are the corners of a polygon."""
    names = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"]
    seen: dict[str, list[Seen]] = {}
    expected = {_own_path(image, image.split or "train", "txt"): image for image in images}
    files = list((folder / "labels").rglob("*.txt"))
    for file in counted(READING, files, len(files), on_progress):
        image = expected.get(file.relative_to(folder / "labels").as_posix())
        if image is None:
            seen[file.name] = []
            continue
        rows = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
        seen[image.file_name] = [
            _yolo_line(names[int(row[0])], [float(word) for word in row[1:]], image) for row in rows
        ]
    return seen


def seen_in_png(
    folder: Path,
    images: Sequence[LabeledImage],
    classes: Sequence[str],
    *,
    on_progress: OnProgress = silent,
) -> SeenOn:
    """The masks of all values, in their order."""
    seen: dict[str, list[Seen]] = {}
    for image in counted(READING, images, len(images), on_progress):
        files = [
            folder / kind / _own_path(image, "", "png")
            for kind in ("SegmentationClass", "SegmentationObject")
        ]
        if not all(file.is_file() for file in files):
            continue
        of_class, objects = (np.asarray(Image.open(file)).astype(int) for file in files)
        if of_class.shape != (image.height, image.width) or objects.shape != of_class.shape:
            raise FormatError(f"the masks of photo {image.file_name!r} are of {of_class.shape}")
        if np.any((of_class > 0) != (objects > 0)):
            raise FormatError(f"the two pictures of photo {image.file_name!r} differ in place")
        seen[image.file_name] = [
            _png_object(objects == value, of_class, classes)
            for value in range(1, int(objects.max(initial=0)) + 1)
        ]
    return seen


def tags_in_csv(path: Path) -> dict[str, tuple[str, ...]]:
    """File name to labels, by the csv module alone."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return {name: tuple(labels.split(";")) if labels else () for name, labels in rows[1:]}


def _own_path(image: LabeledImage, folder: str, ending: str) -> str:
    path = PurePosixPath(folder) / image.file_name
    return f"{path.with_suffix('')}.{ending}"


def _yolo_line(category: str, shares: Sequence[float], image: LabeledImage) -> Seen:
    width, height = image.width, image.height
    if len(shares) == 4:
        x, y, w, h = shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height
        return Seen(category, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    xs, ys = [x * width for x in shares[::2]], [y * height for y in shares[1::2]]
    polygon = [value for point in zip(xs, ys, strict=True) for value in point]
    (drawn,) = coco_mask.frPyObjects([polygon], height, width)
    return Seen(category, (min(xs), min(ys), max(xs), max(ys)), Rle.from_dict(drawn))


def _png_object(inside: np.ndarray, of_class: np.ndarray, classes: Sequence[str]) -> Seen:
    values = np.unique(of_class[inside])
    if values.size != 1:
        raise FormatError(f"an object lies on pixels of {values.size} classes")
    rows, columns = np.nonzero(inside)
    box = (
        float(columns.min()),
        float(rows.min()),
        float(columns.max() + 1),
        float(rows.max() + 1),
    )
    encoded = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return Seen(classes[int(values[0]) - 1], box, Rle.from_dict(encoded))

"""YOLO labels of anyone in, `Reading` out: ``data.yaml`` with ``labels`` (Ultralytics), or
``obj.data`` and ``obj.names`` (Darknet, CVAT); detection, segmentation and detections with a score.
Of lines with keypoints the boxes are read.

The files hold no photo sizes, so the photos must be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]

from engine.errors import FormatError
from engine.geometry import clip_box
from engine.types import Box, Instance, LabeledImage, Rle, Source, Status
from exports.contents import Reading, class_name, tags_of
from exports.contours import polygon_to_rle
from exports.photo_names import KnownPhotos, size_of, stem
from exports.runs import box_of_rle
from exports.xml_files import number

DECIMALS = 3
LARGEST_YAML = 1_000_000  # bytes; ten thousand classes take a fifth of it
SPLITS = ("train", "val", "valid", "test")  # "valid" is what Darknet and Roboflow say for val


@dataclass(frozen=True)
class _Labels:
    """The class names, and the label files with the photo's name (without ending) and split."""

    classes: tuple[str, ...]
    files: tuple[tuple[Path, str, str], ...]
    keypoints: int = 0  # numbers of a line that are keypoints, as data.yaml says


def read_yolo(path: Path, photos: KnownPhotos | None = None) -> Reading:
    """Read a folder, or its ``data.yaml`` or ``obj.data``.

    A line that makes no sense, and a file without a known photo, are left out with a note.
    FormatError where there are no class names, no label files, or no photos are given.
    """
    if photos is None:
        raise FormatError("YOLO files hold no photo sizes; read them for photos that are known")
    labels = _find(path)
    images: list[LabeledImage] = []
    notes: list[str] = []
    for file, name, split in labels.files:
        try:
            known, (width, height) = size_of(name, photos, has_ending=False)
        except FormatError:
            notes.append(f"{name}: no such photo; {file.name} was left out")
            continue
        blank = LabeledImage(
            id=len(images) + 1, file_name=known, width=width, height=height, split=split
        )
        instances, oddities = _read_lines(file, blank, labels, path.name)
        notes += [f"{name}: {text}" for text in oddities]
        images.append(replace(blank, instances=tuple(instances), tags=tags_of(instances)))
    return Reading(tuple(images), labels.classes, tuple(notes))


# -- where things are ----------------------------------------------------------------------------


def _find(path: Path) -> _Labels:
    folder = path if path.is_dir() else path.parent
    for name in ("data.yaml", "data.yml"):
        if (path.name == name or path.is_dir()) and (folder / name).is_file():
            return _described(folder / name)
    if path.suffix in (".yaml", ".yml") and path.is_file():  # coco128.yaml and the like
        return _described(path)
    for name in ("obj.names", "classes.txt"):
        if (folder / name).is_file():
            return _checked(folder, _lines(folder / name), folder)
    raise FormatError(f"{str(path)!r} holds neither data.yaml nor obj.names with the class names")


def _checked(folder: Path, names: Sequence[str], labels: Path) -> _Labels:
    classes = tuple(class_name(name) for name in names)
    if len(set(classes)) < len(classes):
        raise FormatError(f"{str(folder)!r} names a class twice: {', '.join(classes)}")
    # Roboflow puts the split in front: train/labels/a.txt.
    bases = [labels] if labels.is_dir() else list(folder.glob("*/labels"))
    files = [
        (file, *_name_and_split(file, base, folder))
        for base in sorted(bases)
        for file in sorted(base.rglob("*.txt"))
        if labels != folder or file.parent != folder  # there lie classes.txt, train.txt …
    ]
    if not files:
        raise FormatError(f"{str(folder)!r} holds no label files (labels/…/NAME.txt)")
    return _Labels(classes, tuple(files))


def _name_and_split(file: Path, base: Path, folder: Path) -> tuple[str, str]:
    """``labels/val/birds/a.txt`` is the photo ``birds/a`` of the split ``val``."""
    parts = PurePosixPath(file.relative_to(base).as_posix()).parts
    split = parts[0] if len(parts) > 1 and parts[0] in SPLITS else ""
    inside = "/".join(parts[1:]) if split or parts[0].startswith("obj_") else "/".join(parts)
    if not split and base.parent != folder and base.parent.name in SPLITS:
        split = base.parent.name
    return stem(inside), "val" if split == "valid" else split


def _described(path: Path) -> _Labels:
    """What a YAML file says of the folder that it lies in."""
    content = _yaml(path)
    names = content.get("names")
    if isinstance(names, Mapping) and names.keys() == {str(one) for one in range(len(names))}:
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise FormatError(f"{str(path)!r} needs 'names', the classes from number 0 without gaps")
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise FormatError(f"{str(path)!r}: class {place} is a {type(name).__name__}, no name")
    found = _checked(path.parent, names, path.parent / "labels")
    return replace(found, keypoints=_keypoints(content.get("kpt_shape")))


def _yaml(path: Path) -> Mapping[str, Any]:
    """The mapping in the file, every value of it as text: a class may be called ``no`` or ``1``.

    Aliases are refused: a few lines of them unfold to gigabytes, and no such file needs them.
    """
    try:
        text = path.read_bytes()
        if len(text) > LARGEST_YAML:
            raise FormatError(f"{str(path)!r} is larger than {LARGEST_YAML:,} bytes")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise FormatError(f"{str(path)!r} has aliases (*name), which are not read")
        content: Any = yaml.load(text, Loader=yaml.BaseLoader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{str(path)!r} cannot be read ({error})") from error
    return content if isinstance(content, Mapping) else {}


def _keypoints(shape: Any) -> int:
    """How many numbers of a line ``kpt_shape: [points, numbers a point]`` speaks of."""
    parts = shape if isinstance(shape, list) else []
    sizes = [int(part) for part in parts if isinstance(part, str) and part.isdecimal()]
    return sizes[0] * sizes[1] if len(sizes) == len(parts) == 2 else 0


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{str(path)!r} cannot be read ({error})") from error
    # Not splitlines, which splits at characters that may stand in a class name.
    return [line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


# -- one label file ------------------------------------------------------------------------------


def _read_lines(
    file: Path, image: LabeledImage, labels: _Labels, source: str
) -> tuple[list[Instance], list[str]]:
    instances, notes, poses = [], [], 0
    try:
        lines = _lines(file)
    except FormatError as error:
        return [], [str(error)]
    for place, line in enumerate(lines, start=1):
        try:
            numbers = _numbers(line.split(), len(labels.classes))
            is_pose = _is_pose(numbers[1:], labels.keypoints)
            poses += is_pose
            kept = numbers[:5] if is_pose else numbers
            instances.append(_instance(kept, image, labels.classes, source))
        except FormatError as error:
            notes.append(f"line {place} was left out: {error}")
    if poses:
        notes.append(f"the keypoints of {poses} objects were left out, their boxes were read")
    return instances, notes


def _numbers(words: Sequence[str], classes: int) -> list[float]:
    """Class and shares of a line."""
    values = [number(word, what="each word") for word in words]
    if len(values) < 5:
        raise FormatError(f"a line needs a class and at least four numbers, got {len(values)}")
    if values[0] != int(values[0]) or not 0 <= values[0] < classes:
        raise FormatError(f"class {words[0]!r} is none of the {classes} named ones")
    return values


def _is_pose(shares: Sequence[float], keypoints: int) -> bool:
    """Whether keypoints follow a box, as is said beside the labels, or as their flags show.

    Each third number is then 0, 1 or 2 (seen); no share of a photo is 2.
    """
    if keypoints:
        return len(shares) - 4 - keypoints in (0, 1)  # with or without a score
    flags = shares[6::3]
    return (len(shares) - 4) % 3 == 0 and set(flags) <= {0, 1, 2} and 2 in flags


def _instance(
    values: Sequence[float], image: LabeledImage, classes: Sequence[str], source: str
) -> Instance:
    shares = list(values[1:])
    # Pairs, and where one number is left over it is the score.
    score = shares.pop() if len(shares) % 2 else None
    rle: Rle | None = None
    if len(shares) == 4:
        box = _box(shares, image)
    else:
        box, rle = _polygon(shares, image)
    return Instance(
        box=box,
        rle=rle,
        category=classes[int(values[0])],
        score=score if score is not None and 0 <= score <= 1 else None,
        status=Status.ACCEPTED,
        source=Source(source),
    )


def _box(shares: Sequence[float], image: LabeledImage) -> Box:
    x, y, width, height = shares
    if width <= 0 or height <= 0:
        raise FormatError(f"its box is {width:g} wide and {height:g} high")
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return _inside(corners, image)


def _inside(corners: Sequence[float], image: LabeledImage) -> Box:
    """The box in pixels; shares of 0 to 1 are meant, and a little more is cut."""
    x0, y0, x1, y1 = (
        round(corner * side, DECIMALS)
        for corner, side in zip(corners, (image.width, image.height) * 2, strict=True)
    )
    box = None
    if x0 < x1 and y0 < y1:
        box = clip_box((x0, y0, x1, y1), width=image.width, height=image.height)
    if box is None or max(map(abs, corners)) > 2:
        raise FormatError("its box has no area inside the photo (shares from 0 to 1 are meant)")
    return box


def _polygon(shares: Sequence[float], image: LabeledImage) -> tuple[Box, Rle | None]:
    """The box around the corners, and the mask that pycocotools draws; None where it is empty."""
    box = _inside((min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])), image)
    sides = (image.width, image.height)
    points = [share * sides[place % 2] for place, share in enumerate(shares)]
    rle = polygon_to_rle([points], size=(image.height, image.width))
    return box, rle if box_of_rle(rle) else None

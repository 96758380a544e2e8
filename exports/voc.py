"""Pascal VOC XML, both ways: a folder with ``Annotations/NAME.xml``, ``ImageSets/Main``
and ``labelmap.txt``.

VOC holds boxes only. Its own corners count from 1 and are inclusive: the pixel at the top left is
1, 1, 1, 1. Nearly every other program writes 0-based half-open corners under the same names, and
the published files cannot be told apart, so the reader is told; see `VocOptions.corners`.
ImageNet's XML is the same with names of photos that have no ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from xml.etree import ElementTree

from engine.errors import FormatError
from engine.geometry import clip_box
from engine.types import Box, Instance, LabeledImage, Source, Status
from exports.contents import (
    Held,
    Losses,
    Reading,
    check_names,
    class_name,
    held,
    noted,
    notes_of,
    one_stem_each,
    tags_of,
)
from exports.label_map import FILE, label_losses, label_map_text, read_label_map
from exports.photo_names import KnownPhotos, size_of, stem
from exports.progress import WRITING, OnProgress, counted, silent
from exports.values import checked_size
from exports.whole_files import whole_folder
from exports.xml_files import Element, number, parsed, text_of

FLAGS = ("truncated", "difficult", "occluded")
SPLITS = ("train", "val", "test")
DECIMALS = 3


@dataclass(frozen=True)
class VocOptions:
    """How corners are written and read."""

    corners: Literal["plain", "inclusive"] = field(
        default="plain",
        metadata={"help": "plain: 0-based, half-open, as most tools; inclusive: 1-based, as VOC"},
    )
    whole_pixels: bool = field(
        default=False, metadata={"help": "round boxes, for programs that read whole numbers only"}
    )


def hold_voc(images: Sequence[LabeledImage], classes: Sequence[str], options: VocOptions) -> Held:
    """What stays of the instances: boxes inside the photo. FormatError for unwritable names."""
    losses = Losses()
    check_names(images, classes)

    def hold(image: LabeledImage, instance: Instance) -> Instance | None:
        if instance.rle is not None:
            losses.add("masks are not written: VOC XML holds boxes only", image, instance)
        inside = clip_box(instance.box, width=image.width, height=image.height)
        box = inside and _rounded(inside, options, image)
        if box is None or not (box[0] < box[2] and box[1] < box[3]):
            losses.add("boxes outside their photo are left out", image, instance)
            return None
        if max(abs(a - b) for a, b in zip(box, instance.box, strict=True)) >= 10**-DECIMALS:
            losses.add("boxes are rounded or cut at the photo's edge", image, instance)
        return replace(instance, box=box, rle=None, points=())

    kept = held(one_stem_each(images, losses), losses, hold)
    return Held(tuple(kept), (*losses.found(), *label_losses(classes)))


def write_voc(
    folder: Path,
    images: Sequence[LabeledImage],
    classes: Sequence[str],
    options: VocOptions,
    *,
    on_progress: OnProgress = silent,
) -> None:
    """Write what `hold_voc` left, whole or not at all; FormatError where the place is taken."""
    with whole_folder(folder) as part:
        names: dict[str, list[str]] = {}
        for image in counted(WRITING, images, len(images), on_progress):
            name = stem(image.file_name)
            path = part / "Annotations" / f"{name}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_xml(image, options), encoding="utf-8", newline="\n")
            names.setdefault(image.split or "default", []).append(name)
        sets = part / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        (part / "Annotations").mkdir(exist_ok=True)
        # Datumaro and CVAT refuse classes that are not VOC's own without it.
        (part / FILE).write_text(label_map_text(classes), encoding="utf-8", newline="\n")
        for split, stems in names.items():
            text = "".join(f"{name}\n" for name in stems)
            (sets / f"{split}.txt").write_text(text, encoding="utf-8", newline="\n")


def read_voc(
    path: Path, photos: KnownPhotos | None = None, options: VocOptions | None = None
) -> Reading:
    """Read a folder of XML files (or one that holds ``Annotations``), or a single one.

    A file or object that makes no sense is left out with a note. FormatError where none is good.
    """
    options = options or VocOptions()
    base = path / "Annotations" if (path / "Annotations").is_dir() else path
    files = [path] if path.is_file() else sorted(base.rglob("*.xml"))
    if not files:
        raise FormatError(f"{str(path)!r} holds no VOC XML file")
    splits = _splits(path)
    images: list[LabeledImage] = []
    notes: list[str] = []
    for file in files:
        own = file.name if path.is_file() else file.relative_to(base).as_posix()
        try:
            image, oddities = _read_image(parsed(file), stem(own), photos, options, path.name)
        except FormatError as error:
            notes.append(f"{own} was left out: {error}")
            continue
        notes += [f"{own}: {text}" for text in oddities]
        images.append(replace(image, id=len(images) + 1, split=splits.get(stem(own), "")))
    if not images:
        raise FormatError(f"{str(path)!r} holds no VOC XML file that can be read: {notes[0]}")
    listed = read_label_map(path / FILE).names[1:] if (path / FILE).is_file() else ()
    classes = dict.fromkeys([*listed, *(name for image in images for name in image.tags)])
    return Reading(tuple(images), tuple(classes), tuple(notes))


# -- writing -------------------------------------------------------------------------------------


def _rounded(box: Box, options: VocOptions, image: LabeledImage) -> Box:
    x0, y0, x1, y1 = (round(value, 0 if options.whole_pixels else DECIMALS) for value in box)
    if options.whole_pixels:  # at least the pixel that the box lies in
        x0, y0 = min(x0, image.width - 1), min(y0, image.height - 1)
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    return (float(x0), float(y0), float(x1), float(y1))


def _xml(image: LabeledImage, options: VocOptions) -> str:
    root = ElementTree.Element("annotation")
    path = PurePosixPath(image.file_name)
    _add(root, "folder", "" if path.parent == PurePosixPath(".") else str(path.parent))
    _add(root, "filename", image.file_name)
    size = _add(root, "size")
    for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        _add(size, name, str(value))
    _add(root, "segmented", "0")
    for instance in image.instances:
        entry = _add(root, "object")
        _add(entry, "name", instance.category)
        notes = notes_of(instance)
        _add(entry, "pose", str(notes.get("pose", "Unspecified")))
        for flag in FLAGS:
            _add(entry, flag, str(int(bool(notes.get(flag, False)))))
        box = _add(entry, "bndbox")
        shift = 1.0 if options.corners == "inclusive" else 0.0
        x0, y0, x1, y1 = instance.box
        for name, corner in (
            ("xmin", x0 + shift),
            ("ymin", y0 + shift),
            ("xmax", x1),
            ("ymax", y1),
        ):
            _add(box, name, f"{corner:.{DECIMALS}f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: Element, name: str, text: str | None = None) -> Element:
    child = ElementTree.SubElement(parent, name)
    child.text = text
    return child


# -- reading -------------------------------------------------------------------------------------


def _read_image(
    root: Element, own_stem: str, photos: KnownPhotos | None, options: VocOptions, source: str
) -> tuple[LabeledImage, list[str]]:
    if root.tag != "annotation":
        raise FormatError(f"its root is <{root.tag}>, not <annotation>")
    name, (width, height) = _photo(root, own_stem, photos)
    instances, notes = [], []
    for place, entry in enumerate(root.iter("object"), start=1):
        try:
            instances.append(_instance(entry, (width, height), options, source))
        except FormatError as error:
            notes.append(f"object {place} was left out: {error}")
    image = LabeledImage(
        id=1,
        file_name=name,
        width=width,
        height=height,
        tags=tags_of(instances),
        instances=tuple(instances),
    )
    return image, notes


def _photo(root: Element, own_stem: str, photos: KnownPhotos | None) -> tuple[str, tuple[int, int]]:
    """The photo's name and size: by <filename>, else by the name of the XML file itself."""
    stated = text_of(root, "filename")
    folders = own_stem.rpartition("/")[0]
    name = f"{folders}/{stated}" if folders and stated and "/" not in stated else stated
    found = None
    if photos is not None:
        # A copied file often keeps the <filename> of another one, never its own name.
        found = photos.find(own_stem, has_ending=False) or (photos.find(name) if name else None)
    width, height = text_of(root, "size/width"), text_of(root, "size/height")
    if width and height:
        size = (round(number(width, what="width")), round(number(height, what="height")))
        if min(size) >= 1:
            return found or name or own_stem, checked_size(*size)
    if found is None:
        return size_of(name or own_stem, photos)
    return size_of(found, photos)


def _instance(entry: Element, size: tuple[int, int], options: VocOptions, source: str) -> Instance:
    category = class_name(entry.findtext("name"))
    bounds = entry.find("bndbox")
    if bounds is None:
        raise FormatError("it has no <bndbox>")
    x0, y0, x1, y1 = (
        number(bounds.findtext(name), what=name) for name in ("xmin", "ymin", "xmax", "ymax")
    )
    if options.corners == "inclusive":
        x0, y0 = x0 - 1, y0 - 1
    box = None
    if x0 < x1 and y0 < y1:
        box = clip_box((x0, y0, x1, y1), width=size[0], height=size[1])
    if box is None:
        raise FormatError(f"its box {x0:g}, {y0:g}, {x1:g}, {y1:g} has no area inside the photo")
    notes: dict[str, Any] = {
        flag: True for flag in FLAGS if text_of(entry, flag).lower() in ("1", "true")
    }
    if text_of(entry, "pose") not in ("", "Unspecified"):
        notes["pose"] = text_of(entry, "pose")
    return Instance(
        box=box, category=category, status=Status.ACCEPTED, source=noted(Source(source), notes)
    )


def _splits(path: Path) -> dict[str, str]:
    """Photo name without ending -> split, of a folder with ``ImageSets``."""
    splits: dict[str, str] = {}
    for split in SPLITS:
        file = path / "ImageSets" / "Main" / f"{split}.txt"
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            splits.update((line.strip(), split) for line in text.split("\n") if line.strip())
    return splits

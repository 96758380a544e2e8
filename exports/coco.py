"""COCO JSON, both ways: `LabeledImage` and a class table in, one file out, and back.

Written so that the strictest readers agree: ids from 1, `info` and `licenses` present, photos
without objects kept, file names relative and POSIX. `exports.coco_annotations` says how an
instance is written.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from engine.errors import FormatError
from engine.types import CURATED, Instance, LabeledImage, Source, Status
from exports.coco_annotations import Annotation, annotation_entry, instance_of
from exports.photo_names import KnownPhotos, size_of
from exports.progress import WRITING, OnProgress, counted, silent
from exports.whole_files import write_whole

_Kind = TypeVar("_Kind", int, str)


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file says, and what of it could not be taken over."""

    images: tuple[LabeledImage, ...]  # in the order of the file; tags are the classes seen there
    categories: tuple[tuple[int, str], ...]  # as in the file: foreign ids may start at 0
    notes: tuple[str, ...]


def write_coco(
    path: Path | str,
    images: Iterable[LabeledImage],
    *,
    categories: Sequence[tuple[int, str]],
    date_created: str,
    description: str = "",
    version: str = "1.0",
    statuses: Iterable[Status] = CURATED,
    more_info: Mapping[str, Any] | None = None,
    more_of: Callable[[LabeledImage], Mapping[str, Any]] = lambda image: {},
    on_progress: OnProgress = silent,
) -> None:
    """Write all images, and of their instances those with one of the statuses.

    ``categories`` are (id, name) in the project's order, all of them. Image and instance ids are
    kept; instances without one are numbered after the highest. ``more_info`` and ``more_of`` are
    further keys of the file and of each image. FormatError, and nothing written, where ids, names,
    classes or masks are not fit for the format.
    """
    images = list(images)
    check_images(images)
    ids_of = _checked_categories(categories)
    annotations = chosen(images, statuses=statuses)
    info = {
        "description": description,
        "url": "",
        "version": version,
        "contributor": "",
        "date_created": date_created,
        **(more_info or {}),
    }
    sections: dict[str, Iterable[dict[str, Any]]] = {
        "licenses": [{"id": 1, "name": "unknown", "url": ""}],
        "images": ({**_image_entry(image), **more_of(image)} for image in images),
        "annotations": (
            annotation_entry(one, ids_of)
            for one in counted(WRITING, annotations, len(annotations), on_progress)
        ),
        "categories": [
            {"id": int(number), "name": name, "supercategory": ""} for number, name in categories
        ],
    }
    write_whole(path, _pieces(info, sections))


def _pieces(
    info: dict[str, Any], sections: Mapping[str, Iterable[dict[str, Any]]]
) -> Iterator[str]:
    """The file entry by entry: all of them together can be larger than the memory."""
    yield f'{{"info": {_json(info)}'
    for name, entries in sections.items():
        yield f', "{name}": ['
        for place, entry in enumerate(entries):
            yield (", " if place else "") + _json(entry)
        yield "]"
    yield "}\n"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def chosen(
    images: Iterable[LabeledImage], *, statuses: Iterable[Status] = CURATED
) -> list[Annotation]:
    """What a file of these statuses holds, with the ids that `write_coco` gives."""
    wanted = frozenset(statuses)
    pairs = [
        (image, instance)
        for image in images
        for instance in image.instances
        if instance.status in wanted
    ]
    given = [instance.id for _, instance in pairs if instance.id is not None]
    if given and min(given) < 1:
        # pycocotools takes an annotation of id 0 for "not matched".
        raise FormatError(f"instance ids start at 1, got {min(given)}")
    twice = [number for number, count in Counter(given).items() if count > 1]
    if twice:
        raise FormatError(f"two instances have the id {twice[0]}")
    following = max(given, default=0) + 1
    annotations = []
    for image, instance in pairs:
        number = instance.id
        if number is None:
            number, following = following, following + 1
        annotations.append(Annotation(int(number), image, instance))
    return annotations


def read_coco(
    path: Path | str,
    *,
    status: Status = Status.ACCEPTED,
    photos: KnownPhotos | None = None,
) -> CocoFile:
    """Read our own files and those of others; ``status`` is for instances that state none.

    With ``photos`` file names are matched to them, sizes that the file does not state are theirs,
    and what speaks of an unknown image or class is left out with a note instead of refused.

    Polygons, both kinds of RLE and no segmentation at all are understood. An annotation that
    makes no sense, and every crowd region, is left out with a note. Ids that are not whole
    numbers from 1 are replaced: of images by their place, of instances by None. FormatError where
    the file is no COCO, or speaks of an unknown image or class.
    """
    try:
        return coco_of(read_json(path), name=Path(path).name, status=status, photos=photos)
    except FormatError as error:
        raise FormatError(f"COCO file {os.fspath(path)!r}: {error}") from error


def coco_of(
    content: dict[str, Any],
    *,
    name: str,
    status: Status = Status.ACCEPTED,
    photos: KnownPhotos | None = None,
) -> CocoFile:
    """What `read_coco` makes of a file's content; ``name`` is the source of its instances."""
    names = {
        _field(entry, "id", int): _field(entry, "name", str)
        for entry in _section(content, "categories")
    }
    notes: list[str] = []
    blank = _read_images(_section(content, "images"), photos, notes)
    entries = _section(content, "annotations")
    if photos is not None:
        entries = _with_known_parents(entries, blank, names, notes)
    known = {"status": status, "source": Source(name)}
    images, more = _with_annotations(blank, names, entries, known)
    return CocoFile(images, tuple(names.items()), (*notes, *more))


def _image_entry(image: LabeledImage) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": int(image.id),
        "file_name": image.file_name,
        "width": int(image.width),
        "height": int(image.height),
        "license": 1,
    }
    return {**entry, "split": image.split} if image.split else entry


def _checked_categories(categories: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Class name to id."""
    ids_of = {name: int(number) for number, name in categories}
    numbers = set(ids_of.values())
    if len(numbers) < len(categories):
        raise FormatError(f"class ids and names must be unique, got {list(categories)!r}")
    # 0 is the background to Datumaro and CVAT: the label would vanish.
    if numbers and min(numbers) < 1:
        raise FormatError(f"class ids start at 1, got {min(numbers)}")
    if "" in ids_of:
        raise FormatError("a class has an empty name; rename it")
    return ids_of


def check_images(images: Sequence[LabeledImage]) -> None:
    """FormatError where a file name leads out of the photo folder, or a name or id is not alone."""
    numbers: set[int] = set()
    names: set[str] = set()
    for image in images:
        name = PurePosixPath(image.file_name)
        if not image.file_name or name.is_absolute() or ".." in name.parts:
            raise FormatError(f"file name {image.file_name!r} must lie inside the photo folder")
        if image.id < 1 or image.id in numbers:
            raise FormatError(f"{image.file_name!r}: id {image.id} is below 1 or taken already")
        if image.file_name in names:
            raise FormatError(f"two images have the file name {image.file_name!r}")
        numbers.add(image.id)
        names.add(image.file_name)


def read_json(path: Path | str) -> dict[str, Any]:
    """The object that a JSON file holds; FormatError, which does not name the file, else."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # of JSON and of its encoding
        raise FormatError(f"is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise FormatError("is no object; a list of detection results cannot be read")
    return content


def _section(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    section = content.get(name)
    if not isinstance(section, list) or not all(isinstance(entry, dict) for entry in section):
        raise FormatError(f"needs {name!r}, a list of objects")
    return section


def _field(entry: dict[str, Any], key: str, kind: type[_Kind]) -> _Kind:
    value = entry.get(key)
    if type(value) is not kind:
        shown = {name: entry[name] for name in ("id", "name", "file_name") if name in entry}
        raise FormatError(f"{shown} needs {key!r} of type {kind.__name__}, got {value!r}")
    return value


def _read_images(
    entries: list[dict[str, Any]], photos: KnownPhotos | None, notes: list[str]
) -> dict[Any, LabeledImage]:
    """By the id in the file; notes take what was left out."""
    images: dict[Any, LabeledImage] = {}
    keep_ids = _fit_as_ids(entry.get("id") for entry in entries)
    for place, entry in enumerate(entries, start=1):
        number: Any = entry.get("id")
        if type(number) not in (int, str) or number in images:
            raise FormatError(f"image ids must be unique, got {number!r}")
        try:
            name, (width, height) = _name_and_size(entry, photos)
        except FormatError as error:
            if photos is None:
                raise
            notes.append(f"image {number!r} was left out: {error}")
            continue
        if width < 1 or height < 1:
            raise FormatError(f"image {number!r} is {width} x {height} pixels")
        images[number] = LabeledImage(
            id=number if keep_ids else place,
            file_name=name,
            width=width,
            height=height,
            split=str(entry.get("split", "")),
        )
    return images


def _name_and_size(
    entry: dict[str, Any], photos: KnownPhotos | None
) -> tuple[str, tuple[int, int]]:
    name = _field(entry, "file_name", str)
    if photos is None or {"width", "height"} <= entry.keys():
        size = (_field(entry, "width", int), _field(entry, "height", int))
        return (photos.find(name) if photos else None) or name, size
    return size_of(name, photos)


def _with_known_parents(
    entries: list[dict[str, Any]],
    images: dict[Any, LabeledImage],
    names: dict[int, str],
    notes: list[str],
) -> list[dict[str, Any]]:
    """Without the annotations of images and classes that are not there."""
    kept = []
    for entry in entries:
        try:
            _image_and_class(entry, images, names)
        except FormatError as error:
            notes.append(f"{error}; it was left out")
        else:
            kept.append(entry)
    return kept


def _with_annotations(
    blank: dict[Any, LabeledImage],
    names: dict[int, str],
    entries: list[dict[str, Any]],
    known: dict[str, Any],
) -> tuple[tuple[LabeledImage, ...], tuple[str, ...]]:
    """The images with their instances and tags, and what was left out."""
    notes: list[str] = []
    instances: dict[Any, list[Instance]] = {number: [] for number in blank}
    tags: dict[Any, dict[str, None]] = {number: {} for number in blank}
    keep_ids = _fit_as_ids(entry.get("id") for entry in entries)
    for entry in entries:
        number, category = _image_and_class(entry, blank, names)
        own_id = entry.get("id")
        fields = {**known, "category": category, "id": own_id if keep_ids else None}
        try:
            instance = instance_of(entry, blank[number], **fields)
        except FormatError as error:
            notes.append(f"annotation {own_id!r} was left out: {error}")
        else:
            instances[number].append(instance)
            if instance.status is Status.REJECTED:
                continue
        tags[number][category] = None
    images = tuple(
        replace(image, instances=tuple(instances[number]), tags=tuple(tags[number]))
        for number, image in blank.items()
    )
    return images, tuple(notes)


def _fit_as_ids(values: Iterable[Any]) -> bool:
    """Whether all are whole numbers from 1, none twice."""
    numbers = list(values)
    whole = all(type(number) is int and number >= 1 for number in numbers)
    return whole and len(set(numbers)) == len(numbers)


def _image_and_class(
    entry: dict[str, Any], images: dict[Any, LabeledImage], names: dict[int, str]
) -> tuple[Any, str]:
    """The key of its image and the name of its class."""
    for key, known in (("image_id", images), ("category_id", names)):
        if type(entry.get(key)) not in (int, str) or entry[key] not in known:
            raise FormatError(
                f"annotation {entry.get('id')!r} has the unknown {key} {entry.get(key)!r}"
            )
    return entry["image_id"], names[entry["category_id"]]

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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import FormatError
from engine.types import CURATED, LabeledImage, Source, Status
from exports.coco_annotations import Annotation, annotation_entry
from exports.coco_sections import (
    numbered,
    own_ids,
    read_categories,
    read_images,
    with_annotations,
    with_known_parents,
)
from exports.photo_names import KnownPhotos
from exports.progress import WRITING, OnProgress, counted, silent
from exports.whole_files import write_whole

OURS = "tag2mask"  # the key of ``info`` that only we write
STAMP = "stamp"  # in it: see `exports.formats.About`


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file says, and what of it could not be taken over."""

    images: tuple[LabeledImage, ...]  # in the order of the file; tags as stated, or classes seen
    categories: tuple[tuple[int, str], ...]  # as in the file, from 0 perhaps; places of text ids
    notes: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]  # file name -> those that the file states
    ours: frozenset[int]  # ids of annotations that prove to be those that a project wrote
    stamp: str  # which project; empty in the files of others


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
    and an image or a class that makes no sense, and what speaks of an unknown one, is left out
    with a note instead of refused.

    Polygons, both kinds of RLE and no segmentation at all are understood. An annotation that
    makes no sense, and every crowd region, is left out with a note; so is a part of a
    segmentation beside good ones. Ids that are not whole numbers from 1 are replaced: of images
    by their place, of instances by None. FormatError where the file is no COCO, or speaks of an
    unknown image or class.
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
    notes: list[str] = []
    names = read_categories(_section(content, "categories"), photos, notes)
    blank, tags = read_images(_section(content, "images"), photos, notes)
    entries = _section(content, "annotations")
    if photos is not None:
        entries = with_known_parents(entries, blank, names, notes)
    known = {"status": status, "source": Source(name)}
    images, more = with_annotations(blank, names, entries, known)
    ours = own_ids(entries)
    return CocoFile(images, numbered(names), (*notes, *more), tags, ours, _stamp(content))


def _image_entry(image: LabeledImage) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": int(image.id),
        "file_name": image.file_name,
        "width": int(image.width),
        "height": int(image.height),
        "license": 1,
    }
    if image.split:
        entry["split"] = image.split
    if image.tags:
        entry["tags"] = list(image.tags)
    return entry


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


def _stamp(content: dict[str, Any]) -> str:
    info = content.get("info")
    ours = info.get(OURS) if isinstance(info, dict) else None
    stamp = ours.get(STAMP) if isinstance(ours, dict) else None
    return stamp if isinstance(stamp, str) else ""

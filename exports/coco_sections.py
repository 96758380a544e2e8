"""The lists of a COCO file, whoever wrote it: categories, images and annotations in, photos out.

An id may be a number or text; a number in quotes is that number. What makes no sense is left out
with a note where the photos are known, and a FormatError where they are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from engine.errors import FormatError
from engine.types import Instance, LabeledImage, Status
from exports.coco_annotations import instance_of
from exports.contents import class_name
from exports.photo_names import KnownPhotos, size_of
from exports.values import are_numbers, checked_size

Entry = dict[str, Any]
Key = int | str


def read_categories(
    entries: list[Entry], photos: KnownPhotos | None, notes: list[str]
) -> dict[Key, str]:
    """Class names by their ids, in the order of the file."""
    names: dict[Key, str] = {}
    for entry in entries:
        try:
            number = _key(entry.get("id"))
            if number is None:
                raise FormatError(f"{_shown(entry)} needs 'id', a whole number or text")
            names[number] = class_name(_text(entry, "name"))
        except FormatError as error:
            if photos is None:
                raise
            notes.append(f"category {entry.get('id')!r} was left out: {error}")
    return names


def numbered(names: Mapping[Key, str]) -> tuple[tuple[int, str], ...]:
    """(id, name) of each class; where an id is text, they are numbered from 1."""
    whole = [(number, name) for number, name in names.items() if isinstance(number, int)]
    return tuple(whole if len(whole) == len(names) else enumerate(names.values(), start=1))


def read_images(
    entries: list[Entry], photos: KnownPhotos | None, notes: list[str]
) -> tuple[dict[Key, LabeledImage], dict[str, tuple[str, ...]]]:
    """The photos, without objects yet, by their ids in the file; and the tags by file name."""
    images: dict[Key, LabeledImage] = {}
    tags: dict[str, tuple[str, ...]] = {}
    keep_ids = _fit_as_ids(entry.get("id") for entry in entries)
    for place, entry in enumerate(entries, start=1):
        number = _key(entry.get("id"))
        if number is None or number in images:
            raise FormatError(f"image ids must be unique, got {entry.get('id')!r}")
        try:
            name, (width, height) = _name_and_size(entry, photos)
        except FormatError as error:
            if photos is None:
                raise FormatError(f"image {number!r}: {error}") from error
            notes.append(f"image {number!r} was left out: {error}")
            continue
        if isinstance(entry.get("tags"), list):
            tags[name] = _tags(entry["tags"])
        images[number] = LabeledImage(
            id=int(number) if keep_ids else place,
            file_name=name,
            width=width,
            height=height,
            split=str(entry.get("split", "")),
            tags=tags.get(name, ()),
        )
    return images, tags


def _tags(stated: list[Any]) -> tuple[str, ...]:
    names = [class_name(one) for one in stated if isinstance(one, str) and one.strip()]
    return tuple(dict.fromkeys(names))


def own_ids(entries: Iterable[Entry]) -> frozenset[int]:
    """The ids of the annotations that say twice which one they are.

    A program that adds objects, copies them or counts anew changes only one of the two.
    """
    return frozenset(
        entry["id"]
        for entry in entries
        if type(entry.get("id")) is int
        and isinstance(entry.get("attributes"), dict)
        and entry["attributes"].get("id") == entry["id"]
    )


def with_known_parents(
    entries: list[Entry],
    images: Mapping[Key, LabeledImage],
    names: Mapping[Key, str],
    notes: list[str],
) -> list[Entry]:
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


def with_annotations(
    blank: Mapping[Key, LabeledImage],
    names: Mapping[Key, str],
    entries: list[Entry],
    known: dict[str, Any],
) -> tuple[tuple[LabeledImage, ...], tuple[str, ...]]:
    """The images with their instances and tags, and what was left out.

    ``known`` are status and source where the file states none.
    """
    notes: list[str] = []
    instances: dict[Key, list[Instance]] = {number: [] for number in blank}
    tags: dict[Key, dict[str, None]] = {number: {} for number in blank}
    keep_ids = _fit_as_ids(entry.get("id") for entry in entries)
    for entry in entries:
        number, category = _image_and_class(entry, blank, names)
        own_id = entry.get("id")
        fields = {**known, "category": category, "id": own_id if keep_ids else None}
        oddities: list[str] = []
        try:
            instance = instance_of(entry, blank[number], oddities, **fields)
        except FormatError as error:
            notes.append(f"annotation {own_id!r} was left out: {error}")
        else:
            notes += [f"annotation {own_id!r}: {text}" for text in oddities]
            instances[number].append(instance)
            if instance.status is Status.REJECTED:
                continue
        tags[number][category] = None
    images = tuple(
        replace(image, instances=tuple(instances[number]), tags=image.tags or tuple(tags[number]))
        for number, image in blank.items()
    )
    return images, tuple(notes)


def _key(value: Any) -> Key | None:
    """The id as it is compared: ``"7"`` and 7 are one; None for what cannot be an id."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else value
    return value if type(value) is int else None


def _name_and_size(entry: Entry, photos: KnownPhotos | None) -> tuple[str, tuple[int, int]]:
    name = _text(entry, "file_name")
    sides = (entry.get("width"), entry.get("height"))
    if photos is None:
        for side, value in zip(("width", "height"), sides, strict=True):
            if not are_numbers([value]):
                raise FormatError(f"{_shown(entry)} needs {side!r}, a number, got {value!r}")
        return name, checked_size(*sides)
    if None in sides:
        return size_of(name, photos)
    return photos.find(name) or name, checked_size(*sides)


def _text(entry: Entry, name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise FormatError(f"{_shown(entry)} needs {name!r} of type str, got {value!r}")
    return value


def _shown(entry: Entry) -> dict[str, Any]:
    return {name: entry[name] for name in ("id", "name", "file_name") if name in entry}


def _fit_as_ids(values: Iterable[Any]) -> bool:
    """Whether all are whole numbers from 1, none twice."""
    numbers = list(values)
    whole = all(type(number) is int and number >= 1 for number in numbers)
    return whole and len(set(numbers)) == len(numbers)


def _image_and_class(
    entry: Entry, images: Mapping[Key, LabeledImage], names: Mapping[Key, str]
) -> tuple[Key, str]:
    """The key of its image and the name of its class."""
    found: list[Key] = []
    for name, known in (("image_id", images), ("category_id", names)):
        key = _key(entry.get(name))
        if key is None or key not in known:
            raise FormatError(
                f"annotation {entry.get('id')!r} has the unknown {name} {entry.get(name)!r}"
            )
        found.append(key)
    return found[0], names[found[1]]

"""Open Images CSV of boxes in, `Reading` out: ``ImageID,…,LabelName,…,XMin,XMax,YMin,YMax,…``.

Corners are shares of the photo, also with a decimal comma. The file holds no photo sizes, so the
photos must be known. Class codes like ``/m/01g317`` are named by ``class-descriptions*.csv``
beside the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from engine.errors import FormatError
from engine.geometry import clip_box
from engine.types import Instance, LabeledImage, Source, Status
from exports.contents import Reading, class_name, noted, tags_of
from exports.photo_names import KnownPhotos
from exports.xml_files import number

NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
FLAGS = {"IsOccluded": "occluded", "IsTruncated": "truncated", "IsDepiction": "depiction"}
CORNERS = ("XMin", "YMin", "XMax", "YMax")
DECIMALS = 3


def read_openimages(path: Path, photos: KnownPhotos | None = None) -> Reading:
    """Read the CSV, or the only one of a folder.

    Groups of objects, and lines that make no sense, are left out with a note. FormatError where
    columns are missing or no photos are given.
    """
    if photos is None:
        raise FormatError("Open Images files hold no sizes; read them for photos that are known")
    file = _file(path)
    names = _class_names(file.parent)
    images: dict[str, LabeledImage] = {}
    instances: dict[str, list[Instance]] = {}
    notes: list[str] = []
    for line, row in _rows(file):
        asked = row["ImageID"] or ""
        known = photos.find(asked) or photos.find(asked, has_ending=False)
        if known is None:
            notes.append(f"line {line} was left out: no photo {asked!r}")
            continue
        if known not in images:
            width, height = photos.sizes[known]
            images[known] = LabeledImage(
                id=len(images) + 1, file_name=known, width=width, height=height
            )
        try:
            instance = _instance(row, images[known], names, file.name)
        except FormatError as error:
            notes.append(f"line {line} was left out: {error}")
            continue
        instances.setdefault(known, []).append(instance)
    filled = tuple(
        replace(image, instances=tuple(found), tags=tags_of(found))
        for name, image in images.items()
        for found in [instances.get(name, [])]
    )
    classes = dict.fromkeys(name for image in filled for name in image.tags)
    return Reading(filled, tuple(classes), tuple(notes))


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = [one for one in path.glob("*.csv") if not one.name.startswith("class-descriptions")]
    if len(files) != 1:
        raise FormatError(f"{str(path)!r} holds {len(files)} CSV files; give the one to read")
    return files[0]


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    text = _text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    with _named(path):
        missing = [name for name in NEEDED if name not in (reader.fieldnames or [])]
        if missing:
            raise FormatError(
                f"{str(path)!r} has no column {missing[0]!r}: it is no Open Images file"
            )
        return [(reader.line_num, row) for row in reader]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{str(path)!r} cannot be read ({error})") from error


def _class_names(folder: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for file in sorted(folder.glob("class-descriptions*.csv")):
        with _named(file):
            for row in csv.reader(io.StringIO(_text(file), newline="")):
                if len(row) == 2:
                    names[row[0]] = row[1]
    return names


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the csv module cannot read is a FormatError with the name of the file."""
    try:
        yield
    except csv.Error as error:
        raise FormatError(f"{str(path)!r} is no CSV ({error})") from error


def _instance(
    row: Mapping[str, str], image: LabeledImage, names: Mapping[str, str], source: str
) -> Instance:
    if row.get("IsGroupOf") == "1":
        raise FormatError("it is a group, not an object")
    label = row["LabelName"] or ""
    shares = [number((row[name] or "").replace(",", "."), what=name) for name in CORNERS]
    x0, y0, x1, y1 = (
        round(share * side, DECIMALS)
        for share, side in zip(shares, (image.width, image.height) * 2, strict=True)
    )
    box = None
    if x0 < x1 and y0 < y1 and max(map(abs, shares)) <= 2:
        box = clip_box((x0, y0, x1, y1), width=image.width, height=image.height)
    if box is None:
        raise FormatError("its box has no area inside the photo")
    confidence = (row.get("Confidence") or "").replace(",", ".")
    score = number(confidence, what="Confidence") if confidence else None
    # Confidence 1 is what verified boxes of people say.
    score = score if score is not None and 0 <= score < 1 else None
    notes = {note: True for flag, note in FLAGS.items() if row.get(flag) == "1"}
    return Instance(
        box=box,
        category=class_name(names.get(label, label)),
        score=score,
        status=Status.ACCEPTED,
        source=noted(Source(source), dict(notes)),
    )

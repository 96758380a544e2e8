"""Regions of Label Studio to objects: whatever a person or a program left there comes in.

Regions that share an id up to ``-box`` are one object. A region that makes no sense is a problem
with its reason, never an end of the reading; nothing here trusts a number or a size.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from engine.errors import FormatError
from engine.geometry import clip_box, mask_to_rle
from engine.photos import PIXEL_LIMIT
from engine.types import Box, Rle
from exports.contours import polygon_to_rle
from exports.label_studio import BITMASK, BOX_ENDING, BRUSH, OURS, POLYGON, RECTANGLE, SUGGESTED
from exports.label_studio_rle import SOLID, decode_brush
from exports.runs import box_of_rle, union_of_rles

_KINDS = (RECTANGLE, BRUSH, POLYGON, BITMASK)
_OUR_ID = re.compile(rf"([1-9]\d{{0,17}})(?:{BOX_ENDING})?", re.ASCII)
_SUGGESTED_ID = re.compile(rf"({SUGGESTED}[0-9a-z]+)(?:{BOX_ENDING})?", re.ASCII)
_FARTHEST = 1000.0  # percent; a polygon further out is a slip, and would take long to draw
_LARGEST = 1e100  # no number of a region comes near
_PNG_START = "data:image/png;base64,"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An object as its regions say it."""

    key: str  # what the ids of its regions have in common
    number: int | None  # our id, where the key is one and its ``meta`` says so too
    categories: tuple[str, ...]  # those that its regions name, each once
    box: Box | None  # of its rectangle, inside the photo
    rle: Rle | None  # of its masks
    score: float | None = None
    origin: str = ""  # "manual", "prediction", "prediction-changed", as the editor says
    provenance: Mapping[str, Any] = field(default_factory=dict)  # what we sent along
    notes: tuple[str, ...] = ()

    @property
    def extent(self) -> Box:
        """Its rectangle, or the tight box of its mask."""
        box = self.box
        if box is None and self.rle is not None:
            box = box_of_rle(self.rle)
        assert box is not None
        return box


def our_number(key: str) -> int | None:
    """The id of our instance in a region's id, or None."""
    match = _OUR_ID.fullmatch(key)
    return None if match is None else int(match.group(1))


def key_of_region(name: str) -> str:
    """What the regions of one object have in common: the id without what marks its rectangle."""
    match = _OUR_ID.fullmatch(name) or _SUGGESTED_ID.fullmatch(name)
    return name if match is None else match.group(1)


@dataclass(frozen=True)
class Found:
    """What stands in a result."""

    objects: tuple[Drawn, ...]  # in its order
    problems: tuple[str, ...]  # what could not be taken over
    unread: frozenset[str]  # keys of objects with a region that is there and makes no sense


def found_in(result: Sequence[Any], *, size_hw: tuple[int, int] | None = None) -> Found:
    """The objects in a result, what could not be taken over, and of which objects that was.

    Regions must have been drawn on a photo of ``size_hw``, or, where that is not known, of one
    size.
    """
    objects: dict[str, Drawn] = {}
    problems: list[str] = []
    unread: set[str] = set()
    for entry in result:
        try:
            one = _object_of(entry, size_hw)
        except FormatError as error:
            problems.append(str(error))
            if isinstance(entry, Mapping):
                unread.add(key_of_region(str(entry.get("id"))))
            continue
        if one is None:
            continue
        before = objects.get(one.key)
        objects[one.key] = one if before is None else _joined(before, one)
    return Found(tuple(objects.values()), tuple(problems), frozenset(unread))


def objects_of(
    result: Sequence[Any], *, size_hw: tuple[int, int] | None = None
) -> tuple[list[Drawn], list[str]]:
    """The objects and the problems of `found_in`."""
    found = found_in(result, size_hw=size_hw)
    return list(found.objects), list(found.problems)


def size_in(result: Sequence[Any]) -> tuple[int, int] | None:
    """(h, w) as the first region that says it has it."""
    for entry in result:
        if isinstance(entry, Mapping):
            width: Any = entry.get("original_width")
            height: Any = entry.get("original_height")
            are_numbers = isinstance(width, int) and isinstance(height, int)
            if are_numbers and min(width, height) > 0 and width * height <= PIXEL_LIMIT:
                return int(height), int(width)
    return None


def _object_of(entry: Any, size_hw: tuple[int, int] | None) -> Drawn | None:
    """None for what is no region: a choice, a text, a relation between regions."""
    if not isinstance(entry, Mapping):
        raise FormatError(f"a region must be an object, got {type(entry).__name__}")
    kind, value = entry.get("type"), entry.get("value")
    key = str(entry.get("id"))
    what = f"region {key!r}"
    if not isinstance(value, Mapping) or "original_width" not in entry:
        if kind in _KINDS:
            raise FormatError(f"{what} does not say where it is, or on how large a picture")
        return None
    size = size_in([entry])
    if size is None or size_hw not in (None, size):
        shown = f"{entry.get('original_width')!r} x {entry.get('original_height')!r}"
        raise FormatError(f"{what} was drawn on a picture of {shown} pixels, which is another one")
    if kind not in _KINDS:
        raise FormatError(f"{what} is of the kind {kind!r}, which is not read")
    if entry.get("image_rotation"):
        raise FormatError(f"{what} was drawn on a turned picture, which is not read")
    names = _labels(value.get(kind), what)
    notes = [f"{what} has {len(names)} labels; the first one counts"] if len(names) > 1 else []
    box, rle = _shape(str(kind), value, size, what, notes)
    number, meta = our_number(key), entry.get("meta")
    ours = meta.get(OURS) if isinstance(meta, Mapping) else None
    provenance: Mapping[str, Any] = ours if isinstance(ours, Mapping) else {}
    if number is not None and provenance.get("id") != number:
        number = None  # others count their regions, too
    score: Any = entry.get("score")
    return Drawn(
        key=key_of_region(key),
        number=number,
        categories=(names[0],),
        box=box,
        rle=rle,
        score=float(score) if _is_number(score) and 0 <= score <= 1 else None,
        origin=str(entry.get("origin", "")),
        provenance=provenance,
        notes=tuple(notes),
    )


def _joined(first: Drawn, second: Drawn) -> Drawn:
    """Two regions of one object: of two rectangles the first one counts, masks are united."""
    masks = [one.rle for one in (first, second) if one.rle is not None]
    return replace(
        first,
        number=second.number if first.number is None else first.number,
        categories=tuple(dict.fromkeys([*first.categories, *second.categories])),
        box=first.box or second.box,
        rle=union_of_rles(masks) if masks else None,
        score=second.score if first.score is None else first.score,
        origin=second.origin if first.origin in ("", "prediction") else first.origin,
        provenance=first.provenance or second.provenance,
        notes=(*first.notes, *second.notes),
    )


def _labels(value: Any, what: str) -> list[str]:
    names = [
        unicodedata.normalize("NFC", name.strip())
        for name in (value if isinstance(value, list) else [])
        if isinstance(name, str) and name.strip()
    ]
    if not names:
        raise FormatError(f"{what} has no label")
    return names


def _shape(
    kind: str, value: Mapping[str, Any], size: tuple[int, int], what: str, notes: list[str]
) -> tuple[Box | None, Rle | None]:
    if kind == RECTANGLE:
        return _box(value, size, what, notes), None
    if kind == POLYGON:
        rle = _polygon(value, size, what)
    else:
        decode = _brush_mask if kind == BRUSH else _bitmask
        try:
            rle = mask_to_rle(decode(value, size))
        except FormatError as error:
            raise FormatError(f"{what}: {error}") from error
    if box_of_rle(rle) is None:
        raise FormatError(f"{what} covers no pixel")
    return None, rle


def _box(value: Mapping[str, Any], size: tuple[int, int], what: str, notes: list[str]) -> Box:
    sides: list[Any] = [value.get(name) for name in ("x", "y", "width", "height")]
    turn = value.get("rotation") or 0.0
    if not all(_is_number(side) for side in (*sides, turn)):
        raise FormatError(f"{what} is a rectangle of {sides}, which are no numbers")
    height, width = size
    x, y, w, h = (
        side * full / 100 for side, full in zip(sides, (width, height, width, height), strict=True)
    )
    corners = np.array([(0.0, 0.0), (w, 0.0), (0.0, h), (w, h)])
    if turn % 360:
        # Clockwise around the corner at the top left, in pixels.
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        corners = corners @ np.array([(cos, sin), (-sin, cos)])
        notes.append(f"{what} is a turned rectangle; the upright box around it counts")
    x0, y0 = (float(one) for one in corners.min(axis=0))
    x1, y1 = (float(one) for one in corners.max(axis=0))
    inside = clip_box((x + x0, y + y0, x + x1, y + y1), width=width, height=height)
    if inside is None:
        raise FormatError(f"{what} is a rectangle without a pixel of the photo in it")
    return inside


def _polygon(value: Mapping[str, Any], size: tuple[int, int], what: str) -> Rle:
    points = value.get("points")
    good = isinstance(points, list) and all(
        isinstance(point, list)
        and len(point) == 2
        and all(_is_number(one) and abs(one) <= _FARTHEST for one in point)
        for point in points
    )
    if not good or len(points or ()) < 3:
        raise FormatError(f"{what} is no polygon: it needs three points or more, in percent")
    height, width = size
    corners = np.array(points, dtype=np.float64) / 100 * (width, height)
    return polygon_to_rle([corners.ravel().tolist()], size=size)


def _brush_mask(value: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    return decode_brush(value.get("rle", ()), size_hw=size)


def _bitmask(value: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    address = value.get("imageDataURL")
    if not isinstance(address, str) or not address.startswith(_PNG_START):
        raise FormatError("its mask is no PNG in a data address")
    try:
        content = base64.b64decode(address.removeprefix(_PNG_START), validate=True)
        with Pillow.open(io.BytesIO(content), formats=("PNG",)) as picture:
            if picture.size != (size[1], size[0]):
                raise FormatError(f"its mask is of {picture.size} pixels, the photo is not")
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    except Pillow.DecompressionBombError as error:
        raise FormatError("its mask is larger than any photo") from error
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"its mask is no PNG ({error})") from error
    return alpha >= SOLID


def _is_number(value: Any) -> bool:
    # JSON holds whole numbers of any length; math.isfinite raises for those that no float holds.
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST

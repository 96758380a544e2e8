"""``labelmap.txt``, both ways: the classes of a VOC folder with their colours, as CVAT and Datumaro
write it. A line is ``name:red,green,blue:parts:actions``; its place is the value in gray pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import FormatError
from exports.contents import NAMED, Loss, class_name

FILE = "labelmap.txt"
BACKGROUND = "background"
COLOURED = 254  # classes; 255 is void

_LINE = re.compile(r"^(.*):((?:\d{1,3},\d{1,3},\d{1,3})?):([^:]*):([^:]*)$")


@dataclass(frozen=True)
class LabelMap:
    """The names by value, the first one nothing; and values by colour."""

    names: tuple[str, ...]
    by_colour: Mapping[tuple[int, int, int], int]


def palette() -> NDArray[np.uint8]:
    """The (256, 3) colours of VOC: bit by bit from the low bits of the number."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            bits = ((numbers >> (3 * bit + channel)) & 1) << (7 - bit)
            colours[:, channel] |= bits.astype(np.uint8)
    return colours


def label_map_text(classes: Sequence[str]) -> str:
    """What stands in the file; colours only where there are enough for all."""
    colours = palette().tolist()
    lines = ["# label:color_rgb:parts:actions"]
    for number, name in enumerate([BACKGROUND, *classes]):
        colour = ",".join(map(str, colours[number])) if len(classes) <= COLOURED else ""
        lines.append(f"{name}:{colour}::")
    return "".join(f"{line}\n" for line in lines)


def label_losses(classes: Sequence[str]) -> tuple[Loss, ...]:
    """The class names that our reader understands in the file and strict ones do not."""
    names = [name for name in classes if ":" in name or name.startswith("#")]
    what = "class names with ':' or a leading '#' are misread by CVAT and Datumaro"
    return (Loss(what, len(names), tuple(names[:NAMED])),) if names else ()


def read_label_map(path: Path) -> LabelMap:
    """Read the file; FormatError where it cannot be read or names nothing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{str(path)!r} cannot be read ({error}); it must say which class each value is"
        ) from error
    names: list[str] = []
    by_colour: dict[tuple[int, int, int], int] = {}
    # Not splitlines, which splits at characters that may stand in a class name.
    for line in text.replace("\r\n", "\n").split("\n"):
        found = _LINE.match(line)
        if found is None or line.startswith("# label:"):
            continue
        if found[2]:
            red, green, blue = map(int, found[2].split(","))
            by_colour.setdefault((red, green, blue), len(names))
        names.append(class_name(found[1]))
    if not names:
        raise FormatError(f"{str(path)!r} holds no line 'name:red,green,blue::'")
    if names[0].casefold() not in (BACKGROUND, "_background_"):
        names.insert(0, BACKGROUND)
        by_colour = {colour: place + 1 for colour, place in by_colour.items()}
        by_colour.setdefault((0, 0, 0), 0)
    return LabelMap(tuple(names), by_colour)

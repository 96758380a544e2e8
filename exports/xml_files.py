"""XML from outside in, a tree out; values of elements as checked numbers."""

from __future__ import annotations

import math
import os
from pathlib import Path
from xml.etree import ElementTree

from engine.errors import FormatError

Element = ElementTree.Element

_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")  # ways to spell ASCII that the parser knows


def parsed(path: Path) -> Element:
    """The root element; FormatError where the file is no XML or declares entities.

    A few lines of nested entities unfold to gigabytes, and no annotation file needs them.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{os.fspath(path)!r} cannot be read ({error.strerror})") from error
    if any("<!ENTITY".encode(encoding) in content for encoding in _ENCODINGS):
        raise FormatError(f"{os.fspath(path)!r} declares entities, which is not read")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: encoding
        raise FormatError(f"{os.fspath(path)!r} is no XML ({error})") from error


def text_of(element: Element, name: str) -> str:
    """The text of the child, without blanks around it; empty where there is none."""
    return (element.findtext(name) or "").strip()


def number(text: str | None, *, what: str) -> float:
    """A finite number; FormatError else."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{what} should be a number, is {text!r}")
    return value

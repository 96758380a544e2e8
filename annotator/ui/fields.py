"""Reading untrusted JSON field by field: a dict in, checked values out, OptionError otherwise."""

from __future__ import annotations

import math
from typing import Any

from engine.errors import OptionError

LONGEST_TEXT = 1000
LONGEST_PATH = 20_000  # points of one brush stroke
LONGEST_MASK = 4_000_000  # characters of RLE; lace over 50 megapixels needs less


class Fields:
    """The fields of one JSON object, each read with its type and range."""

    def __init__(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise OptionError(f"expected an object with named fields, got {_short(message)}")
        self._message = message

    def text(self, name: str, default: str | None = None) -> str:
        """A string; without a default it must be there and not empty."""
        value = self._message.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
            raise self._wrong(name, f"a text of 1 to {LONGEST_TEXT} characters", value)
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None where it is missing or null."""
        return None if self._message.get(name) is None else self.text(name)

    def whole(self, name: str, *, low: int, high: int = 2**53) -> int:
        """An integer between the bounds, both included."""
        value = self._message.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}", value)
        return value

    def optional_whole(self, name: str) -> int | None:
        """A positive integer, or None where it is missing or null."""
        return None if self._message.get(name) is None else self.whole(name, low=1)

    def flag(self, name: str) -> bool:
        """True or false; false where it is missing or null."""
        value = self._message.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return bool(value)

    def number(self, name: str, *, low: float, high: float, default: float | None = None) -> float:
        """A finite number between the bounds, both included."""
        value = self._message.get(name)
        if value is None and default is not None:
            return default
        return self._number(name, value, low=low, high=high)

    def numbers(self, name: str, *, count: int) -> tuple[float, ...]:
        """Exactly so many finite numbers."""
        value = self._message.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise self._wrong(name, f"a list of {count} numbers", value)
        return tuple(self._number(name, one, low=-1e6, high=1e6) for one in value)

    def path(self, name: str) -> list[tuple[float, float]]:
        """At least one point ``[x, y]``."""
        value = self._message.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= LONGEST_PATH:
            raise self._wrong(name, f"a list of 1 to {LONGEST_PATH} points", value)
        points = []
        for point in value:
            if not isinstance(point, list) or len(point) != 2:
                raise self._wrong(name, "points of two numbers", point)
            x, y = (self._number(name, one, low=-1e6, high=1e6) for one in point)
            points.append((x, y))
        return points

    def optional_mask(self, name: str) -> dict[str, Any] | None:
        """A mask as COCO RLE text, not checked any further; None where it is missing or null."""
        value = self._message.get(name)
        if value is None:
            return None
        counts = value.get("counts") if isinstance(value, dict) else None
        if not isinstance(counts, str) or not 0 < len(counts) <= LONGEST_MASK:
            raise self._wrong(name, "a mask with size and counts", value)
        return dict(value)

    def optional_mapping(self, name: str) -> Fields:
        """A nested object; empty where it is missing or null."""
        value = self._message.get(name)
        return Fields({} if value is None else value)

    def _number(self, name: str, value: Any, *, low: float, high: float) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            raise self._wrong(name, f"a number from {low:g} to {high:g}", value)
        return float(value)

    def _wrong(self, name: str, expected: str, value: Any) -> OptionError:
        return OptionError(f"field '{name}': expected {expected}, got {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

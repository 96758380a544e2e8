"""Which photo is meant: a name as a file spells it comes in, a known photo's name comes out.

Names match whatever their Unicode composition, with ``\\`` for ``/``, and where one of both has
more folders in front than the other; never where several photos could be meant.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from engine.errors import FormatError


@dataclass(frozen=True)
class Match:
    """A known photo, and whether only the last part of its name told so."""

    name: str
    by_base_name: bool


class KnownPhotos:
    """The photos that a file may speak of, with their sizes (width, height) as shown."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self.sizes = dict(sizes)
        self._plain = _grouped((plain(name), name) for name in self.sizes)
        self._tails = _grouped((tail, name) for name in self.sizes for tail in _tails(plain(name)))
        self._stems = _grouped(
            (tail, name) for name in self.sizes for tail in _tails(stem(plain(name)))
        )

    def match(self, name: str, *, has_ending: bool = True) -> Match | None:
        """The photo that is meant; None where there is none, or more than one.

        ``has_ending`` False is for files that name photos without ``.jpg``.
        """
        if name in self.sizes:
            return Match(name, by_base_name=False)
        asked = plain(name)
        exact = self._plain.get(asked, []) if has_ending else []
        if len(exact) == 1:
            return Match(exact[0], by_base_name=False)
        index = self._tails if has_ending else self._stems
        for tail in _tails(asked):
            found = index.get(tail, [])
            full = [
                one for one in found if (plain(one) if has_ending else stem(plain(one))) == asked
            ]
            if len(full) == 1:
                return Match(full[0], by_base_name=False)
            if found:
                loose = tail != asked and "/" in asked and "/" not in tail
                return Match(found[0], by_base_name=loose) if len(found) == 1 else None
        return None

    def find(self, name: str, *, has_ending: bool = True) -> str | None:
        """As `match`, the name alone."""
        match = self.match(name, has_ending=has_ending)
        return None if match is None else match.name


def size_of(
    name: str, photos: KnownPhotos | None, *, has_ending: bool = True
) -> tuple[str, tuple[int, int]]:
    """The known photo's name and (width, height); FormatError where nobody knows it."""
    match = None if photos is None else photos.match(name, has_ending=has_ending)
    if photos is None or match is None:
        raise FormatError(f"the size of {name!r} stands nowhere, and no such photo is known")
    return match.name, photos.sizes[match.name]


def plain(name: str) -> str:
    """The name as photos are compared by: NFC, with ``/``, without a leading ``./``."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")


def stem(name: str) -> str:
    """The name without its ending, folders kept: ``a/b.c.jpg`` is ``a/b.c``."""
    return str(PurePosixPath(name).with_suffix("")) if name else name


def _tails(name: str) -> list[str]:
    """The name with fewer and fewer folders in front."""
    parts = [part for part in name.split("/") if part]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups

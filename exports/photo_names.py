"""Which photo is meant: a name as a file spells it comes in, a known photo's name comes out.

Names match whatever their Unicode composition, with ``\\`` for ``/``, and by the last parts of
a path; never where several photos could be meant.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from engine.errors import FormatError


class KnownPhotos:
    """The photos that a file may speak of, with their sizes (width, height) as shown."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self.sizes = dict(sizes)
        self._whole = _Index({name: name for name in self.sizes})
        self._stems = _Index({name: stem(name) for name in self.sizes})

    def find(self, name: str, *, has_ending: bool = True) -> str | None:
        """The photo that is meant; None where there is none, or more than one.

        ``has_ending`` False is for files that name photos without ``.jpg``.
        """
        return (self._whole if has_ending else self._stems).find(name)


class _Index:
    """Photos by every way to spell the key of each."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._exact = _grouped((key, name) for name, key in keys.items())
        self._plain = _grouped((plain(key), name) for name, key in keys.items())
        self._tails = _grouped(
            (tail, name) for name, key in keys.items() for tail in _tails(plain(key))
        )
        # Where base names repeat, folders tell what is what and must not be passed over.
        bases = {plain(key).rpartition("/")[2] for key in keys.values()}
        self._bases_tell = len(bases) == len(keys)

    def find(self, asked: str) -> str | None:
        tails = _tails(plain(asked))
        ways = [(self._exact, asked), (self._plain, plain(asked))]
        for group, key in [*ways, *((self._tails, tail) for tail in tails)]:
            found = group.get(key, [])
            if not found:
                continue
            is_base_of_both = (
                group is self._tails
                and len(tails) > 1
                and "/" not in key
                and key not in self._plain
            )
            if len(found) > 1 or (is_base_of_both and not self._bases_tell):
                return None
            return found[0]
        return None


def size_of(
    name: str, photos: KnownPhotos | None, *, has_ending: bool = True
) -> tuple[str, tuple[int, int]]:
    """The known photo's name and (width, height); FormatError where nobody knows it."""
    found = None if photos is None else photos.find(name, has_ending=has_ending)
    if photos is None or found is None:
        raise FormatError(f"the size of {name!r} stands nowhere, and no such photo is known")
    return found, photos.sizes[found]


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

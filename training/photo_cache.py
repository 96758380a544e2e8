"""Decoded photos in squares: names in, uint8 (side, side, 3) out, each decoded once if it fits.

The pixels lie in one file of the run's folder, mapped into memory, so an epoch costs no JPEG
decoding and a resumed run no preparation. Beside it an index says what each photo was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import PhotoError
from engine.photos import load
from engine.types import Image
from exports.whole_files import write_whole
from training.transforms import EvaluationView, evaluation_view

SPARE_SHARE = 0.5  # of the free disk at most


class KeptView(Protocol):
    """What is kept of a photo."""

    @property
    def side(self) -> int:
        """Of the kept square in pixels."""

    @property
    def described(self) -> list[Any]:
        """As plain JSON, so that what was kept of another view is not taken for this one's."""

    def of(self, photo: Image, *, file_name: str) -> Image:
        """The kept square of a decoded photo; PhotoError where it is not what was expected."""


V = TypeVar("V", bound=KeptView)


@dataclass(frozen=True)
class View:
    """A square of ``side``, of the whole photo or of its centre."""

    side: int
    resize: int
    view: EvaluationView = "direct"

    @property
    def described(self) -> list[Any]:
        """Every field."""
        return [self.side, self.resize, self.view]

    def of(self, photo: Image, *, file_name: str) -> Image:
        """The kept square of a decoded photo, whatever its name."""
        return evaluation_view(photo, image_size=self.side, resize=self.resize, view=self.view)


@dataclass(frozen=True)
class PhotoCache(Generic[V]):
    """The readable ones of the given photos, by number."""

    folder: Path  # of the photos
    view: V
    file_names: tuple[str, ...]
    sha256: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]  # name and reason of those that were left out
    pixels: NDArray[np.uint8] | None  # (all, side, side, 3); None: decoded at every use
    rows: tuple[int, ...]  # the number of each among the given ones, and where its pixels lie

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, number: int) -> Image:
        """(side, side, 3); PhotoError where an unkept photo broke since it was first read."""
        if self.pixels is not None:
            return self.pixels[self.rows[number]]
        name = self.file_names[number]
        return self.view.of(load(self.folder / name), file_name=name)


@dataclass(frozen=True)
class _Readers:
    count: int  # threads
    check: Callable[[], None]


def prepare(
    folder: Path,
    file_names: Sequence[str],
    view: V,
    *,
    place: Path,
    workers: int,
    byte_limit: int,
    check: Callable[[], None] = lambda: None,
) -> PhotoCache[V]:
    """Read every photo once, or take over what an earlier call left at ``place`` (without suffix).

    Photos that do not open are left out. What does not fit into ``byte_limit`` or half the free
    disk is checked now and decoded at every use. ``check`` is called for each photo and may raise.
    """
    index_file, pixel_file = place.with_suffix(".json"), place.with_suffix(".npy")
    described = {
        "view": view.described,
        "photos": list(file_names),
        "stamps": [_stamp(folder / name) for name in file_names],
    }
    index = _earlier(index_file, described)
    if index is None or (index["kept"] and not pixel_file.exists()):
        free = shutil.disk_usage(place.parent).free
        needed = len(file_names) * view.side**2 * 3
        kept = 0 < needed <= min(byte_limit, int(free * SPARE_SHARE))
        pool = _Readers(max(workers, 1), check)
        read = _read_all(folder, file_names, view, pixel_file if kept else None, pool)
        index = {**described, "kept": kept, "read": read}
        write_whole(index_file, json.dumps(index))
    entries = index["read"]
    good = [number for number, entry in enumerate(entries) if "sha256" in entry]
    pixels: NDArray[np.uint8] | None = None
    if index["kept"]:
        pixels = np.load(pixel_file, mmap_mode="r")
    return PhotoCache(
        folder=folder,
        view=view,
        file_names=tuple(file_names[number] for number in good),
        sha256=tuple(entries[number]["sha256"] for number in good),
        unreadable=tuple(
            (name, entry["problem"])
            for name, entry in zip(file_names, entries, strict=True)
            if "problem" in entry
        ),
        pixels=pixels,
        rows=tuple(good),
    )


def unkept(folder: Path, file_names: Sequence[str], view: V) -> PhotoCache[V]:
    """Photos decoded at every use, and not looked at before."""
    names = tuple(file_names)
    rows = tuple(range(len(names)))
    return PhotoCache(folder, view, names, sha256=(), unreadable=(), pixels=None, rows=rows)


def discard(place: Path) -> None:
    """Remove the pixels that `prepare` left; the index stays."""
    place.with_suffix(".npy").unlink(missing_ok=True)


def _read_all(
    folder: Path,
    file_names: Sequence[str],
    view: KeptView,
    pixel_file: Path | None,
    readers: _Readers,
) -> list[dict[str, str]]:
    """What each photo was; their pixels go to the file, which appears when it is whole."""
    beside = None if pixel_file is None else pixel_file.with_suffix(".part")
    pixels: Any = None
    if beside is not None:
        shape = (len(file_names), view.side, view.side, 3)
        pixels = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=shape)

    def read(number: int) -> dict[str, str]:
        readers.check()
        path = folder / file_names[number]
        try:
            kept = view.of(load(path), file_name=file_names[number])
            if pixels is not None:
                pixels[number] = kept
            with path.open("rb") as file:
                return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        except (PhotoError, OSError) as error:
            return {"problem": str(error)}

    with ThreadPoolExecutor(readers.count) as pool:
        entries = list(pool.map(read, range(len(file_names))))
    if beside is not None and pixel_file is not None:
        pixels.flush()
        os.replace(beside, pixel_file)
    return entries


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:  # the reading tells why
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]


def _earlier(index_file: Path, described: dict[str, Any]) -> dict[str, Any] | None:
    """An index of just these photos, none of them touched since; else None."""
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(index, dict) or any(index.get(key) != described[key] for key in described):
        return None
    return index

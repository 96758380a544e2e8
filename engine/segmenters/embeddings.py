"""What a slow segmenter computed of a photo, on disk: arrays in, the same arrays out another day.

One safetensors file a photo and network, named by the hashes of both, in a folder of bounded size.
A cache: it may forget, it never fails. What cannot be read is removed and computed again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from engine.errors import OptionError

logger = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[np.generic]]

LIMIT_BYTES = 4_000_000_000
"""About 1,900 photos of a published SAM at 2.1 MB each."""

SPARE_BYTES = 1_000_000_000
"""What a cache leaves free on its disk: the projects' databases may have to grow there."""

BROKEN = (SafetensorError, ValueError, LookupError, TypeError, RecursionError)
"""What reading raises on bytes that are no such file, or are one no longer."""

LIMIT_FILE = "limit.json"
LEFTOVER_SECONDS = 3600.0  # no file takes that long to write, so its writer was killed

_ENDING = ".safetensors"
_PART = ".part"
_FORMAT = "tag2mask embedding 1"
_HEX = frozenset("0123456789abcdef")


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/tag2mask/embeddings``, or the same under ``~/.cache``.

    One for all projects, like that of the checkpoints: the names are hashes of the pixels and of
    the network, so two projects with the same photo share its file.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "tag2mask" / "embeddings"


@dataclass(frozen=True)
class Usage:
    """How much lies in a store."""

    files: int
    bytes: int


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    used_ns: int


class EmbeddingStore:
    """Arrays by photo and network; several processes and threads may share a folder.

    When the files take more than the limit, those that were used longest ago go. The limit is
    that of the folder (`set_limit`) unless given; 0 keeps nothing. Nothing but the store's own
    files is counted or removed. Two processes that write at the same moment may pass the limit by
    one file until the slower one has finished.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        limit_bytes: int | None = None,
        spare_bytes: int = SPARE_BYTES,
    ) -> None:
        self.folder = default_folder() if folder is None else folder
        self.limit_bytes = self._kept_limit() if limit_bytes is None else limit_bytes
        self._spare_bytes = spare_bytes
        self._has_complained = False

    def get(self, photo: str, fingerprint: str) -> dict[str, NDArray[np.generic]] | None:
        """What `put` kept, or None. A file that is damaged is removed, with a warning."""
        path = self._path(photo, fingerprint)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain("read", path, error)
            return None
        try:
            arrays = _unpacked(content, photo=photo, fingerprint=fingerprint)
        except BROKEN as error:
            logger.warning("%s is damaged and was removed (%s)", path, error)
            _remove(path)
            return None
        _mark_used(path)
        return arrays

    def put(self, photo: str, fingerprint: str, arrays: Arrays) -> bool:
        """Keep the arrays, whole or not at all; False where there is no room or no permission."""
        path = self._path(photo, fingerprint)
        content = _packed(arrays, photo=photo, fingerprint=fingerprint)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files = self._files()
            if len(content) > self._allowed(files):
                return False
            _remove_all(self._surplus(files, room_for=len(content)))
            beside = path.with_name(f".{uuid.uuid4().hex}{_PART}")
            try:
                with beside.open("xb") as file:
                    file.write(content)
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
            self._trim()  # others may have written meanwhile
        except OSError as error:
            self._complain("write", path, error)
            return False
        return True

    def clean(self) -> Usage:
        """Remove what killed writers left and what passes the limit; how much was removed."""
        before = time.time() - LEFTOVER_SECONDS
        left = [part for part in self._parts() if part.used_ns < before * 1e9]
        removed = [*_remove_all(left), *self._trim()]
        return _usage(removed)

    def clear(self) -> Usage:
        """Remove everything; how much that was."""
        return _usage(_remove_all([*self._files(), *self._parts()]))

    def usage(self) -> Usage:
        """How much lies there now."""
        return _usage(self._files())

    def set_limit(self, limit_bytes: int) -> Usage:
        """From now on at most this much, for all who open the folder; how much had to go.

        OptionError if it is negative or the folder cannot be written to.
        """
        if limit_bytes < 0:
            raise OptionError(f"the cache cannot be limited to {limit_bytes} bytes; 0 turns it off")
        beside = self.folder / f".{uuid.uuid4().hex}{_PART}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({"bytes": limit_bytes}), encoding="utf-8")
            os.replace(beside, self.folder / LIMIT_FILE)
        except OSError as error:
            raise OptionError(
                f"the limit cannot be kept in {self.folder} ({error.strerror}); "
                f"set XDG_CACHE_HOME to a folder that can be written"
            ) from error
        self.limit_bytes = limit_bytes
        return self.clean()

    # -- inside ------------------------------------------------------------------------------

    def _kept_limit(self) -> int:
        path = self.folder / LIMIT_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["bytes"]
        except FileNotFoundError:
            return LIMIT_BYTES
        except (OSError, ValueError, LookupError, TypeError) as error:
            logger.warning("%s is ignored: it cannot be read (%s)", path, error)
            return LIMIT_BYTES
        if not isinstance(found, int) or found < 0:
            logger.warning("%s is ignored: %r is no number of bytes", path, found)
            return LIMIT_BYTES
        return found

    def _path(self, photo: str, fingerprint: str) -> Path:
        for name in (photo, fingerprint):
            if not name or not _HEX.issuperset(name):
                raise ValueError(f"{name!r} is no hash in hexadecimal digits")
        return self.folder / fingerprint / f"{photo}{_ENDING}"

    def _files(self) -> list[_File]:
        return [
            file
            for file in _listed(self.folder)
            if file.path.suffix == _ENDING
            and _HEX.issuperset(file.path.stem)
            and file.path.parent != self.folder
        ]

    def _parts(self) -> list[_File]:
        return [
            file
            for file in _listed(self.folder)
            if file.path.suffix == _PART and _HEX.issuperset(file.path.stem[1:])
        ]

    def _allowed(self, files: Iterable[_File]) -> int:
        """Bytes that the files may take: the limit, or less where the disk is nearly full."""
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            logger.debug("%s does not tell how full it is: %s", self.folder, error)
            return self.limit_bytes
        room = sum(file.size for file in files) + free - self._spare_bytes
        return min(self.limit_bytes, max(room, 0))

    def _surplus(self, files: Iterable[_File], *, room_for: int = 0) -> list[_File]:
        """Those used longest ago that must go before that many bytes more fit."""
        files = sorted(files, key=lambda file: file.used_ns)
        too_many = sum(file.size for file in files) + room_for - self._allowed(files)
        going = []
        for file in files:
            if too_many <= 0:
                break
            too_many -= file.size
            going.append(file)
        return going

    def _trim(self) -> list[_File]:
        files = self._files()
        return _remove_all(self._surplus(files)) if files else []

    def _complain(self, what: str, path: Path, error: OSError) -> None:
        # Once: a disk stays full for thousands of photos.
        log = logger.debug if self._has_complained else logger.warning
        log("cannot %s the cached %s (%s); going on without", what, path, error)
        self._has_complained = True


def _packed(arrays: Arrays, *, photo: str, fingerprint: str) -> bytes:
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about = {
        "format": _FORMAT,
        "photo": photo,
        "fingerprint": fingerprint,
        "checksum": str(_checksum(plain)),
    }
    return save(plain, metadata=about)


def _unpacked(content: bytes, *, photo: str, fingerprint: str) -> dict[str, NDArray[np.generic]]:
    """One of `BROKEN` for anything but what was put."""
    length = int.from_bytes(content[:8], "little")
    about = json.loads(content[8 : 8 + length])["__metadata__"]
    known = (about["format"], about["photo"], about["fingerprint"])
    if known != (_FORMAT, photo, fingerprint):
        raise ValueError("it belongs to another photo, network or version")
    arrays: dict[str, NDArray[np.generic]] = load(content)
    if about["checksum"] != str(_checksum(arrays)):
        raise ValueError("its checksum does not fit")
    return arrays


def _checksum(arrays: Arrays) -> int:
    """A power cut can leave a file of the right length full of zeros."""
    found = 0
    for name in sorted(arrays):
        found = zlib.crc32(np.ascontiguousarray(arrays[name]).data, found)
    return found


def _listed(folder: Path) -> Iterator[_File]:
    """The plain files in the folder and in the folders of the networks below it."""
    folders = [folder]
    for place in folders:
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("cannot look into the cache folder %s (%s)", place, error)
            continue
        for entry in entries:
            if place is folder and entry.is_dir(follow_symlinks=False):
                if _HEX.issuperset(entry.name):
                    folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # somebody else removed it just now
                    continue
                yield _File(Path(entry.path), status.st_size, status.st_mtime_ns)


def _mark_used(path: Path) -> None:
    # The time of the last access is not kept on most systems, so that of the last change serves.
    try:
        os.utime(path)
    except OSError as error:  # removed just now, or somebody else's file
        logger.debug("%s is not marked as used: %s", path, error)


def _remove_all(files: Iterable[_File]) -> list[_File]:
    """Those that this call removed; others may do the same at the same time."""
    return [file for file in files if _remove(file.path)]


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:  # open in another process, on Windows
        logger.warning("cannot remove the cached %s (%s)", path, error)
        return False
    return True


def _usage(files: Iterable[_File]) -> Usage:
    sizes = [file.size for file in files]
    return Usage(len(sizes), sum(sizes))

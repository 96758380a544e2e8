"""A whole file or none, made beside the target, which it replaces at the end; folders too."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import FormatError


def write_whole(path: Path | str, text: str | Iterable[str]) -> None:
    """Write UTF-8; until the last moment, and after any failure, an old file is as it was.

    The text may come in pieces, so that a large file never stands in memory. FormatError where
    the system refuses: no such folder, no permission, disk full.
    """
    # A link stays a link, and what it points to is replaced.
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{uuid.uuid4().hex}.part")  # short: names may be 255 bytes long
    try:
        try:
            with beside.open("xb") as file:
                for piece in (text,) if isinstance(text, str) else text:
                    file.write(_encoded(piece, path))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise FormatError(
            f"cannot write {os.fspath(path)!r}: {error.strerror or error}; choose another place"
        ) from error


def _encoded(text: str, path: Path | str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        around = text[max(error.start - 20, 0) : error.end]
        raise FormatError(
            f"cannot write {os.fspath(path)!r}: {around!r} is no text; rename what holds it"
        ) from error


@contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """A folder to fill, which takes its place at the end; after any failure nothing is there.

    FormatError where the place is taken: what lies in a folder already is never mixed with this.
    """
    target = Path(path)
    beside = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
            raise FormatError(f"{os.fspath(path)!r} is there already; choose a new folder")
        try:
            beside.mkdir()
            yield beside
            if target.is_dir():
                target.rmdir()
            os.replace(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise FormatError(
            f"cannot write {os.fspath(path)!r}: {error.strerror or error}; choose another place"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

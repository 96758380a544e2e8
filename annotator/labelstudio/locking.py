"""One push or pull at a time of a project with a server: a locked file in the project's folder.

The system lets go of the lock when the program ends, however it ends; the file stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator.file_locks import lock
from annotator.labelstudio.journal import FOLDER, url_key
from engine.errors import JobError, StoreError


@contextmanager
def alone_with(folder: Path, url: str) -> Iterator[None]:
    """Keep others out of what the project's folder knows of the server; JobError if one is in."""
    path = folder / FOLDER / f"{url_key(url)}.lock"
    try:
        path.parent.mkdir(exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror})") from error
    try:
        _lock(file, path, url)
        yield
    finally:
        os.close(file)  # lets go of the lock as well


def _lock(file: int, path: Path, url: str) -> None:
    try:
        lock(file, waits=False)
    except BlockingIOError as error:
        raise JobError(
            f"another push or pull of this project with {url} is under way; wait until it has ended"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be locked ({error.strerror})") from error

"""The projects that this person works on: a list in the user's state folder, opened on demand.

The list only remembers folders; removing it loses nothing but the order of the first screen.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator.file_locks import lock
from annotator.store import DATABASE, Project
from engine.errors import StoreError
from exports.whole_files import write_whole

KEPT = 30  # projects remembered


def state_folder() -> Path:
    """Where the list lives: ``$XDG_STATE_HOME/tag2mask``, by default below ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "tag2mask"


def key_of(folder: Path) -> str:
    """A short name for a project in addresses, which does not tell where it lies."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


class Workspace:
    """Remembers projects and keeps the open ones; safe to call from many threads."""

    def __init__(self, state: Path | None = None) -> None:
        self._file = (state or state_folder()) / "projects.json"
        self._open: dict[str, Project] = {}
        self._guard = threading.RLock()

    def folders(self) -> list[Path]:
        """The remembered projects that are still there, last used first."""
        try:
            names = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the list of projects {self._file} cannot be read ({error}); delete the file"
            ) from error
        # os.path says False of a folder that nobody may look into, where pathlib raises.
        return [Path(name) for name in names if os.path.isfile(Path(name) / DATABASE)]

    def remember(self, folder: Path) -> str:
        """Put a project at the top of the list; its key."""
        folder = folder.resolve()
        with self._guard, self._alone():
            others = [other for other in self.folders() if other != folder]
            names = [str(path) for path in [folder, *others][:KEPT]]
            write_whole(self._file, json.dumps(names, ensure_ascii=False, indent=1))
        return key_of(folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other programs from changing the list meanwhile: one of two changes would be lost.

        The system lets go of the lock when the program ends, however it ends; the file stays.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"cannot keep the list of projects in {self._file.parent} "
                f"({error.strerror}); set XDG_STATE_HOME to a folder that can be written"
            ) from error
        try:
            self._lock(file)
            yield
        finally:
            os.close(file)

    def _lock(self, file: int) -> None:
        try:
            lock(file, waits=True)  # for as long as it takes to write a few lines
        except OSError as error:
            raise StoreError(
                f"the list of projects {self._file} cannot be locked ({error.strerror}); "
                "set XDG_STATE_HOME to a folder on a disk of this machine"
            ) from error

    def get(self, key: str) -> Project:
        """The open project with this key; StoreError if it is not in the list."""
        with self._guard:
            if key in self._open and self._open[key].is_gone:
                self._open.pop(key).close()
            if key not in self._open:
                for folder in self.folders():
                    if key_of(folder) == key:
                        self._open[key] = Project.open(folder)
                        break
                else:
                    raise StoreError("this project is not on the list (any more); open it again")
            return self._open[key]

    def close(self) -> None:
        """Close every open project."""
        with self._guard:
            for project in self._open.values():
                project.close()
            self._open.clear()

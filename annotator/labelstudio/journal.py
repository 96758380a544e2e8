"""What was sent to and taken from a server, photo by photo: a file of JSON lines in the project.

A line holds all that is known of one photo and replaces earlier lines of it, so a file that was
cut off by a crash loses its last line at most, and what it said is found on the server again. The
server is the truth; the journal tells what changed since, and who changed it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from engine.errors import StoreError

FOLDER = "labelstudio"


@dataclass(frozen=True, kw_only=True)
class Base:
    """An object as both sides had it last."""

    category: str
    box: tuple[float, float, float, float]
    mask: str  # digest of the mask; empty for none
    sent: tuple[str, ...]  # "box", "mask": what stands there of it
    is_proposal: bool
    key: str = ""  # id of its region there, where that was drawn there

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Base:
        """The inverse of `dataclasses.asdict`."""
        x0, y0, x1, y1 = (float(side) for side in value["box"])
        return cls(
            category=str(value["category"]),
            box=(x0, y0, x1, y1),
            mask=str(value["mask"]),
            sent=tuple(value["sent"]),
            is_proposal=bool(value["is_proposal"]),
            key=str(value["key"]),
        )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """All that is known of one photo on one server."""

    image_id: int
    task: int | None = None
    address: str = ""  # of the photo, once uploaded
    proposed: str = ""  # digest of the proposals that were sent
    curated: str = ""  # digest of the decisions that stand there
    made_with: str = ""  # digest of the choices that regions were made with
    annotation: str = ""  # digest of the annotation that we made
    taken: str = ""  # digest of the annotation that was pulled last
    seen_at: str = ""  # when the task was changed last, as of the last pull
    base: Mapping[int, Base] = field(default_factory=dict)  # by our ids


class SyncJournal:
    """The entries of one project on one server; opened for one command at a time.

    ``project`` is our project's own key, ``title`` what the project there was asked for as.
    """

    def __init__(
        self, folder: Path, *, url: str, project: str, remote_project: int, title: str
    ) -> None:
        self.path = folder / FOLDER / f"{_key(url)}-{remote_project}.jsonl"
        self._opening = {"url": url, "of": project, "project": remote_project, "title": title}
        self._entries: dict[int, Entry] = {}
        self._file: TextIO | None = None
        lines = _lines(self.path)
        if lines and {**lines[0], "title": title} == self._opening:
            for line in lines[1:]:
                self._take(line)
        else:
            self._append([self._opening])

    def __enter__(self) -> SyncJournal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def get(self, image_id: int) -> Entry:
        """What is known of the photo; a blank entry where that is nothing."""
        return self._entries.get(image_id, Entry(image_id=image_id))

    def keep(self, entries: Iterable[Entry]) -> None:
        """Write these down, whole; the disk has them when this returns."""
        fresh = [one for one in entries if one != self._entries.get(one.image_id)]
        self._append([asdict(one) for one in fresh])
        self._entries.update({one.image_id: one for one in fresh})

    def update(self, image_id: int, **changes: Any) -> Entry:
        """Change one entry and keep it."""
        entry = replace(self.get(image_id), **changes)
        self.keep([entry])
        return entry

    def _append(self, values: list[dict[str, Any]]) -> None:
        if not values:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(exist_ok=True)
                self._file = self.path.open("a", encoding="utf-8", newline="\n")
                if self._file.tell() and not self._ends_with_newline():
                    self._file.write("\n")
            for value in values:
                self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written ({error.strerror})") from error

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _take(self, value: dict[str, Any]) -> None:
        try:
            base = {int(number): Base.from_dict(one) for number, one in value["base"].items()}
            entry = Entry(**{**value, "base": base})
        except (KeyError, TypeError, ValueError, AttributeError):
            return  # of another version: the next push finds out from the server
        self._entries[entry.image_id] = entry


def known_projects(folder: Path, *, url: str, project: str, title: str) -> list[int]:
    """The projects there that were asked for by this title before, latest first."""
    found = []
    for path in (folder / FOLDER).glob(f"{_key(url)}-*.jsonl"):
        opening = next(iter(_lines(path)), {})
        if opening.get("of") == project and opening.get("title") == title:
            found.append((path.stat().st_mtime, int(opening["project"])))
    return [number for _, number in sorted(found, reverse=True)]


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _lines(path: Path) -> list[dict[str, Any]]:
    """The good ones; a crash may have cut off the last."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror})") from error
    lines = []
    for line in text.split("\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def digest(value: Any) -> str:
    """A short fingerprint of JSON, the same whatever the order of keys."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

"""What was sent to and taken from a server, photo by photo: a file of JSON lines in the project.

A line holds all that is known of one photo and replaces earlier lines of it, so a file that was
cut off by a crash loses its last line at most, and what it said is found on the server again. The
server is the truth; the journal tells what changed since, and who changed it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from engine.errors import StoreError

FOLDER = "labelstudio"
FIRST = 0  # stands for the number of what came with the task: an import tells no numbers


@dataclass(frozen=True, kw_only=True)
class Base:
    """An object as both sides had it last."""

    category: str
    box: tuple[float, float, float, float]
    mask: str  # digest of the mask; empty for none
    sent: tuple[str, ...]  # "box", "mask": what stands there of it
    is_proposal: bool
    key: str = ""  # id of its region there, where that is not our id
    prediction: int = FIRST  # of a proposal: number of the prediction that it stands in

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
            prediction=int(value.get("prediction", FIRST)),
        )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An annotation there as it was looked at last.

    An object that it held and no longer holds was taken away in it; one that it never held was not.
    """

    digest: str  # of its result; empty where something in it could not be taken over
    holds: Mapping[int, str]  # our ids -> print of what stood there; empty for: as we sent it
    kept_here: Mapping[int, str] = field(default_factory=dict)
    """Conflicts decided for here: our ids -> print of theirs; empty for: taken away there."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Seen:
        """The inverse of `dataclasses.asdict`, after JSON made text of the ids."""
        holds, kept = (
            {int(number): str(text) for number, text in value[name].items()}
            for name in ("holds", "kept_here")
        )
        return cls(digest=str(value["digest"]), holds=holds, kept_here=kept)


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
    ours: int = FIRST  # its number
    taken: str = ""  # digest of what an earlier version pulled last, which kept no ``seen``
    seen_at: str = ""  # when the task was changed last, as of the last pull
    base: Mapping[int, Base] = field(default_factory=dict)  # by our ids
    seen: Mapping[int, Seen] = field(default_factory=dict)  # by the numbers of annotations

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Entry:
        """The inverse of `dataclasses.asdict`, also of what earlier versions wrote."""
        base = {int(number): Base.from_dict(one) for number, one in value["base"].items()}
        if "seen" in value:
            seen = {int(number): Seen.from_dict(one) for number, one in value["seen"].items()}
        else:
            # Before anything was pulled, whatever stands there of our decisions stands in ours.
            is_plain = not value.get("taken")
            held = {n: "" for n, one in base.items() if is_plain and not one.is_proposal}
            ours = str(value.get("annotation", ""))
            seen = {FIRST: Seen(digest=ours, holds=held)} if ours else {}
        return cls(**{**value, "base": base, "seen": seen})

    def settled(self, annotations: Sequence[Mapping[str, Any]]) -> Entry:
        """With the number of the annotation that came with the task, if that is still there."""
        mine = [one for one in annotations if one.get("import_id") == self.image_id]
        if FIRST not in self.seen or not mine:
            return self
        as_sent = [one for one in mine if digest(one["result"]) == self.annotation]
        number = min(int(one["id"]) for one in as_sent or mine)
        seen = dict(self.seen)
        first = seen.pop(FIRST)
        seen.setdefault(number, first)
        return replace(self, seen=seen, ours=self.ours or number)

    def knows(self, annotation: Mapping[str, Any]) -> bool:
        """Whether the annotation is as it was when it was sent or pulled."""
        standing = digest(annotation["result"])
        seen = self.seen.get(int(annotation["id"]))
        if seen is not None:
            return standing == seen.digest
        is_first = annotation.get("import_id") == self.image_id
        return standing == self.taken or (is_first and standing == self.annotation)


class SyncJournal:
    """The entries of one project on one server; opened for one command at a time.

    ``project`` is our project's own key, ``title`` what the project there was asked for as,
    ``remote_title`` what it is called and ``created`` when it was made: a server that begins anew
    counts from one again, and the journal of another project of the same number is worth nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        url: str,
        project: str,
        remote_project: int,
        title: str,
        remote_title: str,
        created: str,
    ) -> None:
        self.path = folder / FOLDER / f"{url_key(url)}-{remote_project}.jsonl"
        self._entries: dict[int, Entry] = {}
        self._file: TextIO | None = None
        opening = {"url": url, "of": project, "project": remote_project, "title": title}
        opening["created"] = created
        last: dict[str, Any] = {}
        for line in _lines(self.path):
            if "url" in line:
                last = line
                if not _is_same(line, opening, remote_title):
                    self._entries.clear()
            elif last and _is_same(last, opening, remote_title):
                self._take(line)
        if last.get("created") != created or not _is_same(last, opening, remote_title):
            self._append([opening, *(asdict(one) for one in self._entries.values())])

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
            entry = Entry.from_dict(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            return  # of another version: the next push finds out from the server
        self._entries[entry.image_id] = entry


def known_projects(
    folder: Path, *, url: str, project: str, title: str
) -> list[tuple[int, str | None]]:
    """The projects there that were asked for by this title before, latest first.

    Each as its number and when it was made, where that is known.
    """
    found = []
    for path in (folder / FOLDER).glob(f"{url_key(url)}-*.jsonl"):
        openings = [line for line in _lines(path) if "url" in line]
        opening = openings[-1] if openings else {}
        if opening.get("of") == project and opening.get("title") == title:
            made = opening.get("created")
            found.append((path.stat().st_mtime, int(opening["project"]), made))
    latest_first = sorted(found, key=lambda one: one[0], reverse=True)
    return [(number, made) for _, number, made in latest_first]


def url_key(url: str) -> str:
    """What the names of the files about one server begin with."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _is_same(line: Mapping[str, Any], opening: Mapping[str, Any], remote_title: str) -> bool:
    """Whether both are of one project there, whatever it was asked for as.

    An earlier version did not note when the project was made; then its title has to be the same.
    """
    if any(line.get(name) != opening[name] for name in ("url", "of", "project")):
        return False
    if "created" in line:
        return bool(line["created"] == opening["created"])
    return line.get("title") == remote_title


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

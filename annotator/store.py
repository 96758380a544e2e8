"""A project on disk: open or make one, read it, and change it in journalled transactions.

`Project.read` and `Project.write` hand out a `View` and a `Transaction` on one connection each. A
transaction either writes its rows and the event that explains them, or nothing. No torch here.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, bindparam, delete, insert, select, update
from sqlalchemy.exc import DatabaseError, OperationalError

from annotator import findings, schema
from annotator.journal import UNDO, Change, Event, replay
from annotator.views import Photo, View
from engine.errors import ReviewError, StoreError

DATABASE = "project.sqlite"
CACHE = ".cache"  # thumbnails and logs, made again at need; hidden, so never taken for photos
JOURNAL_FILES = ("", "-wal", "-shm", "-journal")  # what SQLite keeps beside a database


def now() -> str:
    """The time as the store writes it: ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Planned:
    """An event that is still to be written; see `Transaction.record_updates`."""

    kind: str
    image_id: int
    changes: tuple[Change, ...]
    target: int | None = None
    operation: str | None = None


class Transaction(View):
    """A view that can also write; see `Project.write`."""

    def record(
        self,
        kind: str,
        changes: Sequence[Change],
        *,
        actor: str,
        image_id: int | None = None,
        base_revision: int | None = None,
        operation: str | None = None,
        target: int | None = None,
    ) -> Event:
        """Apply the changes and append the event that explains them.

        ``base_revision`` is the photo's revision that the caller decided on: ConflictError if the
        photo has moved on since. ``operation`` is the caller's own id of the action.
        """
        if base_revision is not None and image_id is not None:
            self.require_revision(image_id, base_revision)
        applied = tuple(self._apply(change) for change in changes)
        # No finding is about an instance that had no number until now.
        findings.follow(
            self.connection,
            [
                one
                for one, asked in zip(applied, changes, strict=True)
                if asked.id is not None or asked.table != "instance"
            ],
        )
        at = now()
        result = self.connection.execute(
            insert(schema.journal).values(
                at=at,
                actor=actor,
                kind=kind,
                image_id=image_id,
                target=target,
                operation=operation,
                changes=[change.as_dict() for change in applied],
            )
        )
        assert result.inserted_primary_key is not None
        return Event(result.inserted_primary_key[0], at, actor, kind, image_id, target, applied)

    def record_updates(self, planned: Sequence[Planned], *, actor: str) -> None:
        """`record` on thousands of photos at once; for changes of rows that are there and stay."""
        at = now()
        changes = [change for one in planned for change in one.changes]
        for name in {change.table for change in changes}:
            table = schema.JOURNALED[name]
            rows = [
                {"changed": change.id, **{k: v for k, v in change.after.items() if k != "id"}}
                for change in changes
                if change.table == name and change.after is not None
            ]
            query = update(table).where(table.c.id == bindparam("changed"))
            self.connection.execute(query, rows)
        findings.follow(self.connection, changes)
        events = [
            {
                "at": at,
                "actor": actor,
                "kind": one.kind,
                "image_id": one.image_id,
                "target": one.target,
                "operation": one.operation,
                "changes": [change.as_dict() for change in one.changes],
            }
            for one in planned
        ]
        if events:
            self.connection.execute(insert(schema.journal), events)

    def _apply(self, change: Change) -> Change:
        table = schema.JOURNALED[change.table]
        self.forget_names()
        if change.before is None:
            assert change.after is not None
            result = self.connection.execute(insert(table).values(**change.after))
            assert result.inserted_primary_key is not None
            new_id = result.inserted_primary_key[0]
            return Change(change.table, new_id, None, {**change.after, "id": new_id})
        if change.after is None:
            self.connection.execute(delete(table).where(table.c.id == change.id))
        else:
            self.connection.execute(
                update(table).where(table.c.id == change.id).values(**change.after)
            )
        return change

    def move(self, kind: str, image_id: int, *, actor: str, **context: Any) -> Event:
        """Undo or redo (``kind``) the next step of this photo; ReviewError if there is none.

        Steps whose objects a run has replaced are passed over, see `View.next_step`.
        """
        step = self.next_step(kind, image_id)
        if step is None and any(self.history(image_id)[kind != UNDO]):
            raise ReviewError(
                f"nothing is left to {kind} on this photo: its objects have been replaced since, "
                "by a new run of suggestions"
            )
        if step is None:
            raise ReviewError(f"nothing to {kind} on this photo")
        event, changes, _ = step
        return self.record(
            kind, changes, actor=actor, image_id=image_id, target=event.id, **context
        )

    def add_category(self, name: str, *, actor: str) -> int:
        """The id of the class, made if it is new; StoreError for an empty name."""
        name = unicodedata.normalize("NFC", name.strip())
        if not name:
            raise StoreError("a class needs a name")
        known = self.category_ids()
        if name in known:
            return known[name]
        change = Change("category", None, None, {"name": name})
        new_id = self.record("add class", [change], actor=actor).changes[0].id
        assert new_id is not None
        return new_id

    def set_setting(self, key: str, value: Any) -> None:
        """Keep a preference (JSON); not journalled."""
        self.connection.execute(delete(schema.setting).where(schema.setting.c.key == key))
        self.connection.execute(insert(schema.setting).values(key=key, value=value))


class Project:
    """One project: a folder with a database; the photos stay where they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._made_its_folder = False
        self._file: tuple[int, int] | None = None  # device and number of the open database
        url = URL.create("sqlite", database=str(self.folder / DATABASE))
        self._engine = schema.connect(url)
        self._writer = self._engine.execution_options(writes=True)

    @classmethod
    def create(cls, folder: Path, *, name: str | None = None) -> Project:
        """Make an empty project; StoreError if there is one already."""
        if os.path.exists(folder / DATABASE):
            raise StoreError(
                f"{folder} already holds a project; use 'annotator add' to put more photos into it"
            )
        is_new = not os.path.exists(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
        project = cls(folder)
        project._made_its_folder = is_new
        project._upgrade()
        with project.write() as transaction:
            transaction.set_setting("name", name or folder.resolve().name)
            transaction.set_setting("created_at", now())
        return project

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Open a project, bringing its schema up to date; StoreError if there is none."""
        path = folder / DATABASE
        if not os.path.isfile(path):  # False also where nobody may look
            raise StoreError(
                f"no project in {folder} ({DATABASE} is missing); "
                "make one with 'annotator new DIR --images FOLDER'"
            )
        project = cls(folder)
        project._upgrade()
        return project

    def _upgrade(self) -> None:
        path = self.folder / DATABASE
        try:
            schema.upgrade(self._engine)
        except OperationalError as error:
            raise StoreError(f"{path} cannot be opened: {error.orig}") from error
        except DatabaseError as error:
            raise StoreError(f"{path} is not a project database: {error.orig}") from error
        self._file = _identity(path)

    @property
    def is_gone(self) -> bool:
        """Whether the database was removed or replaced by another one since it was opened.

        An open file can still be written then, and nobody would ever see it.
        """
        return _identity(self.folder / DATABASE) != self._file

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def discard(self) -> None:
        """Close it and remove what `create` made; for a project that never got its photos."""
        self.close()
        for ending in JOURNAL_FILES:
            (self.folder / (DATABASE + ending)).unlink(missing_ok=True)
        if self._made_its_folder and not any(self.folder.iterdir()):
            self.folder.rmdir()

    @property
    def cache(self) -> Path:
        """A folder for what can be made again at any time."""
        return self.subfolder(CACHE)

    def subfolder(self, name: str) -> Path:
        """A folder of the project, made if need be; StoreError where it cannot be."""
        path = self.folder / name
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {path}: {error.strerror}") from error
        return path

    @contextmanager
    def read(self) -> Iterator[View]:
        """A consistent view of the project; StoreError where the database cannot be read."""
        self._require_file()
        with _told("read"), self._engine.connect() as connection:
            yield View(connection)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction: everything in the block, or nothing; StoreError where it cannot be."""
        self._require_file()
        with _told("written"), self._writer.begin() as connection:
            yield Transaction(connection)

    def _require_file(self) -> None:
        if self._file is not None and self.is_gone:
            raise StoreError(
                f"the database of {self.folder} was removed or replaced while it was open; "
                "open the project again"
            )

    def photo_path(self, photo: Photo) -> Path:
        """Where the photo's file should be."""
        return self.folder / photo.folder / photo.path

    def stored_folder(self, folder: Path) -> str:
        """How a photo folder is stored: relative where it lies inside the project, else absolute.

        So a project that carries its photos can be moved as a whole.
        """
        absolute = folder.resolve()
        if absolute.is_relative_to(self.folder):
            return absolute.relative_to(self.folder).as_posix()
        return str(absolute)

    def check_journal(self) -> int:
        """Replay the journal against the tables; the number of events, or StoreError."""
        with self.read() as view:
            events = list(view.events())
            state = replay(events)
            for name, table in schema.JOURNALED.items():
                rows = {
                    row.id: dict(row._mapping) for row in view.connection.execute(select(table))
                }
                if rows != state.get(name, {}):
                    raise StoreError(
                        f"table '{name}' differs from the journal; restore a copy of the project"
                    )
        return len(events)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


@contextmanager
def _told(done: str) -> Iterator[None]:
    """The database's own troubles (locked, gone, disk full) as a sentence."""
    try:
        yield
    except DatabaseError as error:
        if type(error) not in (DatabaseError, OperationalError):
            raise  # a mistake of the program, not of the database
        if "locked" in str(error.orig):
            raise StoreError("the project is busy: another program is writing to it") from error
        raise StoreError(f"the project cannot be {done}: {error.orig}") from error

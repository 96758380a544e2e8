"""Reading a project: photos, classes, tags, instances, the journal. One connection, no writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from annotator import schema
from annotator.journal import UNDO, Change, Event, Step, history, inverse
from engine.errors import ConflictError, StoreError
from engine.types import CURATED, Instance, LabeledImage, Rle, Source, Status


@dataclass(frozen=True)
class Photo:
    """A photo's row: where it is and how large it is after orientation."""

    id: int
    file_name: str
    folder: str
    path: str
    width: int
    height: int
    format: str
    orientation: int
    sha256: str
    split: str
    notes: list[str]


def instance_row(
    instance: Instance,
    *,
    image_id: int,
    category_ids: dict[str, int],
    size_hw: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The instance as its table stores it; StoreError for a class that the project has not.

    ``size_hw`` is the photo's, where it is at hand: StoreError for a mask of another size. The
    table does not keep the size of a mask, so nothing could read it again.
    """
    if size_hw is not None and instance.rle is not None and instance.rle.size != size_hw:
        raise StoreError(
            f"a mask of (h, w) {instance.rle.size} does not fit its photo of {size_hw}; "
            "was the file replaced by another one?"
        )
    if instance.category is not None and instance.category not in category_ids:
        raise StoreError(f"unknown class '{instance.category}'; add it to the project first")
    row: dict[str, Any] = {} if instance.id is None else {"id": instance.id}
    x0, y0, x1, y1 = instance.box
    return row | {
        "image_id": image_id,
        "category_id": None if instance.category is None else category_ids[instance.category],
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "counts": None if instance.rle is None else instance.rle.counts,
        "score": instance.score,
        "status": instance.status.value,
        "edited": instance.edited,
        "points": [list(point) for point in instance.points],
        "source": instance.source.as_dict(),
    }


def row_instance(
    row: Mapping[Any, Any], *, size_hw: tuple[int, int], names: dict[int, str]
) -> Instance:
    """The inverse of `instance_row`; ``size_hw`` is the photo's."""
    return Instance(
        id=row["id"],
        box=(row["x0"], row["y0"], row["x1"], row["y1"]),
        category=None if row["category_id"] is None else names[row["category_id"]],
        status=Status(row["status"]),
        source=Source.from_dict(row["source"]),
        rle=None if row["counts"] is None else Rle(size_hw, row["counts"]),
        score=row["score"],
        points=tuple((float(x), float(y), int(label)) for x, y, label in row["points"]),
        edited=row["edited"],
    )


class View:
    """Reads on one connection; see `annotator.store.Project.read`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._names: dict[int, str] | None = None

    # -- photos ------------------------------------------------------------------------------

    def photo(self, image_id: int) -> Photo:
        """One photo; StoreError for an unknown id."""
        query = select(schema.image).where(schema.image.c.id == image_id)
        # An address may hold a number that SQLite cannot compare with.
        row = self.connection.execute(query).one_or_none() if abs(image_id) < 2**63 else None
        if row is None:
            raise StoreError(f"this project has no photo number {image_id}")
        return Photo(**row._mapping)

    def photos(self) -> list[Photo]:
        """All photos, in the order of their ids."""
        rows = self.connection.execute(select(schema.image).order_by(schema.image.c.id))
        return [Photo(**row._mapping) for row in rows]

    def refused(self) -> list[tuple[str, str]]:
        """The files that could not be opened, with the reason."""
        table = schema.refused
        rows = self.connection.execute(
            select(table.c.file_name, table.c.reason).order_by(table.c.id)
        )
        return [(row.file_name, row.reason) for row in rows]

    # -- classes and tags --------------------------------------------------------------------

    def category_names(self) -> dict[int, str]:
        """id -> name, in the project's order."""
        if self._names is None:
            rows = self.connection.execute(select(schema.category).order_by(schema.category.c.id))
            self._names = {row.id: row.name for row in rows}
        return self._names

    def forget_names(self) -> None:
        """Read the classes again at the next question."""
        self._names = None

    def category_ids(self) -> dict[str, int]:
        """name -> id."""
        return {name: number for number, name in self.category_names().items()}

    def tags(self, image_id: int) -> tuple[str, ...]:
        """The photo's tags, in the order in which they were given."""
        return self.all_tags([image_id]).get(image_id, ())

    def all_tags(self, image_ids: Sequence[int] | None = None) -> dict[int, tuple[str, ...]]:
        """Photo id -> tags, for the given photos or all; photos without tags are left out."""
        table = schema.image_tag
        query = select(table.c.image_id, table.c.category_id).order_by(table.c.id)
        if image_ids is not None:
            query = query.where(table.c.image_id.in_(image_ids))
        names = self.category_names()
        tags: dict[int, tuple[str, ...]] = {}
        for image_id, category_id in self.connection.execute(query):
            tags[image_id] = (*tags.get(image_id, ()), names[category_id])
        return tags

    def tag_change(self, image_id: int, category: str, *, is_on: bool) -> Change | None:
        """What gives the photo this tag or takes it away; None where it is so already."""
        table, ids = schema.image_tag, self.category_ids()
        values = {"image_id": image_id, "category_id": ids[category]}
        row = self.connection.execute(select(table).filter_by(**values)).one_or_none()
        if is_on == (row is not None):
            return None
        if row is None:
            return Change("image_tag", None, None, values)
        return Change("image_tag", row.id, dict(row._mapping), None)

    # -- instances ---------------------------------------------------------------------------

    def instances(self, image_id: int) -> list[Instance]:
        """All instances of a photo, whatever their status, oldest first."""
        photo = self.photo(image_id)
        table = schema.instance
        rows = self.connection.execute(
            select(table).where(table.c.image_id == image_id).order_by(table.c.id)
        )
        size, names = (photo.height, photo.width), self.category_names()
        return [row_instance(row._mapping, size_hw=size, names=names) for row in rows]

    def instance(self, image_id: int, instance_id: int) -> Instance:
        """One instance of a photo; StoreError if it is not there (any more)."""
        for instance in self.instances(image_id):
            if instance.id == instance_id:
                return instance
        raise StoreError(f"object {instance_id} is not on this photo (any more)")

    def labeled(self, statuses: frozenset[Status] = CURATED) -> Iterator[LabeledImage]:
        """Every photo with its tags and the instances of these statuses, in the order of ids."""
        tags, names, table = self.all_tags(), self.category_names(), schema.instance
        rows = self.connection.execute(
            select(table).where(table.c.status.in_(sorted(statuses))).order_by(table.c.id)
        )
        by_image: dict[int, list[Row[Any]]] = {}
        for row in rows:
            by_image.setdefault(row.image_id, []).append(row)
        for photo in self.photos():
            size = (photo.height, photo.width)
            yield LabeledImage(
                id=photo.id,
                file_name=photo.file_name,
                width=photo.width,
                height=photo.height,
                tags=tags.get(photo.id, ()),
                split=photo.split,
                instances=tuple(
                    row_instance(row._mapping, size_hw=size, names=names)
                    for row in by_image.get(photo.id, ())
                ),
            )

    def status_counts(self) -> dict[str, int]:
        """How many instances the project has in each status, zeros included."""
        table = schema.instance
        rows = self.connection.execute(
            select(table.c.status, func.count()).group_by(table.c.status)
        )
        found: dict[str, int] = {row[0]: row[1] for row in rows}
        return {status.value: found.get(status.value, 0) for status in Status}

    # -- journal -----------------------------------------------------------------------------

    def newest_event(self) -> int:
        """The id of the newest event of the project, 0 before the first."""
        newest = self.connection.execute(select(func.max(schema.journal.c.id))).scalar()
        return newest or 0

    def revision(self, image_id: int) -> int:
        """The id of the photo's newest event, 0 before the first."""
        table = schema.journal
        newest = self.connection.execute(
            select(func.max(table.c.id)).where(table.c.image_id == image_id)
        ).scalar()
        return newest or 0

    def require_revision(self, image_id: int, base_revision: int) -> None:
        """ConflictError unless the photo is still at this revision."""
        current = self.revision(image_id)
        if current != base_revision:
            raise ConflictError(
                "this photo was changed elsewhere meanwhile; it is shown as it is now, "
                "please repeat the last action"
            )

    def history(self, image_id: int) -> tuple[list[int], list[int]]:
        """The photo's events that can be undone and redone, next one last."""
        table = schema.journal
        rows = self.connection.execute(
            select(table.c.id, table.c.kind, table.c.target)
            .where(table.c.image_id == image_id)
            .order_by(table.c.id)
        )
        return history(Step(row.id, row.kind, row.target) for row in rows)

    def next_step(self, kind: str, image_id: int) -> tuple[Event, tuple[Change, ...], int] | None:
        """The event that undo or redo (``kind``) is about, its changes, how many are passed over.

        A run can take away what an event was about: objects that are gone are left out, and events
        of which nothing is left are passed over. None where no step is left.
        """
        undoable, redoable = self.history(image_id)
        steps = undoable if kind == UNDO else redoable
        for passed, event_id in enumerate(reversed(steps)):
            event = self.event(event_id)
            asked = inverse(event.changes) if kind == UNDO else event.changes
            rows = [(change, self._in_its_place(change)) for change in asked]
            left = [(one, row) for one, row in rows if row is not None or one.before is None]
            if left and all(row == one.before for one, row in left):
                return event, tuple(one for one, _ in left), passed
        return None

    def _in_its_place(self, change: Change) -> dict[str, Any] | None:
        """The row that a change is about; of a tag also the one that was given it anew since."""
        if change.table == "image_tag" and change.before is None and change.after is not None:
            table = schema.image_tag
            pair = {key: change.after[key] for key in ("image_id", "category_id")}
            row = self.connection.execute(select(table).filter_by(**pair)).one_or_none()
            return None if row is None else dict(row._mapping)
        return self.row(change.table, change.id)

    def changed_instances(self, image_id: int, *, since: int) -> list[int]:
        """The ids of the photo's instances that events after this revision touched, in order."""
        table = schema.journal
        rows = self.connection.execute(
            select(table.c.changes)
            .where(table.c.image_id == image_id, table.c.id > since)
            .order_by(table.c.id)
        )
        touched = [
            change["id"] for row in rows for change in row.changes if change["table"] == "instance"
        ]
        return list(dict.fromkeys(touched))

    def kinds_of(self, image_id: int, instance_id: int) -> set[str]:
        """The kinds of the actions on an instance that were not undone."""
        table = schema.journal
        rows = self.connection.execute(
            select(table.c.kind, table.c.changes).where(table.c.id.in_(self.history(image_id)[0]))
        )
        return {
            row.kind
            for row in rows
            for change in row.changes
            if (change["table"], change["id"]) == ("instance", instance_id)
        }

    def before_all(self, kind: str, photo: Photo, instance_id: int) -> Instance | None:
        """The instance as it was before the latest actions on it, while they are of this kind.

        Actions that were undone do not count; None where the latest one is of another kind.
        """
        undoable, _ = self.history(photo.id)
        table = schema.journal
        rows = self.connection.execute(
            select(table.c.kind, table.c.changes)
            .where(table.c.id.in_(undoable))
            .order_by(table.c.id.desc())
        )
        found: dict[str, Any] | None = None
        for row in rows:
            changes = [Change.from_dict(change) for change in row.changes]
            ours = [one for one in changes if (one.table, one.id) == ("instance", instance_id)]
            if ours and row.kind != kind:
                break
            if ours:
                found = ours[0].before
        if found is None:
            return None
        size = (photo.height, photo.width)
        return row_instance(found, size_hw=size, names=self.category_names())

    def event(self, event_id: int) -> Event:
        """One event; StoreError for an unknown id."""
        for event in self._events(schema.journal.c.id == event_id):
            return event
        raise StoreError(f"the journal has no event {event_id}")

    def events(self) -> Iterator[Event]:
        """The whole journal, oldest first."""
        return self._events()

    def has_operation(self, operation: str) -> bool:
        """Whether an action with the caller's own id is already in the journal."""
        table = schema.journal
        found = self.connection.execute(select(table.c.id).where(table.c.operation == operation))
        return found.first() is not None

    def made_by(self, operation: str) -> int | None:
        """The instance that an action with the caller's own id has made, or None."""
        for event in self._events(schema.journal.c.operation == operation):
            for change in event.changes:
                if change.table == "instance" and change.before is None:
                    return change.id
        return None

    def row(self, table_name: str, row_id: int | None) -> dict[str, Any] | None:
        """A journalled row as the journal would write it, or None."""
        table = schema.JOURNALED[table_name]
        row = self.connection.execute(select(table).where(table.c.id == row_id)).one_or_none()
        return None if row is None else dict(row._mapping)

    def _events(self, *conditions: Any) -> Iterator[Event]:
        table = schema.journal
        for row in self.connection.execute(select(table).where(*conditions).order_by(table.c.id)):
            yield Event(
                id=row.id,
                at=row.at,
                actor=row.actor,
                kind=row.kind,
                image_id=row.image_id,
                target=row.target,
                changes=tuple(Change.from_dict(change) for change in row.changes),
            )

    # -- preferences -------------------------------------------------------------------------

    def setting(self, key: str, default: Any = None) -> Any:
        """A preference kept with `Transaction.set_setting`."""
        row = self.connection.execute(
            select(schema.setting.c.value).where(schema.setting.c.key == key)
        ).one_or_none()
        return default if row is None else row.value

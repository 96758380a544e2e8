"""Files that this project wrote, known again: a stamp goes out with one, and what became of each
object since then comes back for it.

The stamp is the project's newest event with its time: no other project has the same one, nor a
copy of this one that has gone its own way. Only with it do the ids in a file mean our objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from annotator import schema
from annotator.journal import REDO, UNDO, Change
from annotator.views import Photo, View, row_instance
from engine.errors import StoreError
from engine.types import Instance, Status

_LONGEST = 18  # digits of an event's number


@dataclass(frozen=True)
class Past:
    """What became of a photo's objects since a file was written."""

    size: tuple[int, int]  # (width, height) of the photo
    # As files had them: when this one was written, and after the latest import since that was not
    # taken back. Only of objects that have changed; the others are as they were.
    versions: Mapping[int, tuple[Instance, ...]] = field(default_factory=dict)
    by_hand: frozenset[int] = frozenset()  # changed since by more than imports and their undoing
    made: frozenset[int] = frozenset()  # that are newer than the file


def stamp_of(view: View) -> str:
    """What a file written now is known again by; empty where nothing has happened yet."""
    newest = view.newest_event()
    return f"{newest} {view.event(newest).at}" if newest else ""


def event_of(view: View, stamp: str) -> int | None:
    """The event behind the stamp; None where it is none of this project's history."""
    number, _, at = stamp.partition(" ")
    if not (number.isascii() and number.isdecimal() and len(number) <= _LONGEST):
        return None
    try:
        return int(number) if view.event(int(number)).at == at else None
    except StoreError:
        return None


def past_of(view: View, photo: Photo, *, since: int, imports: str) -> Past:
    """What events after ``since`` did there; ``imports`` is the kind of those that files did."""
    table = schema.journal
    rows = view.connection.execute(
        select(table.c.id, table.c.kind, table.c.target, table.c.changes)
        .where(table.c.image_id == photo.id, table.c.id > since)
        .order_by(table.c.id)
    ).all()
    of_files = {row.id for row in rows if row.kind == imports}
    undone: dict[int, bool] = {}
    for row in rows:
        if row.kind in (UNDO, REDO) and row.target in of_files:
            undone[row.target] = row.kind == UNDO
    first: dict[int, list[Instance]] = {}
    latest: dict[int, list[Instance]] = {}
    by_hand: set[int] = set()
    for row in rows:
        for change in map(Change.from_dict, row.changes):
            if change.table != "instance" or change.id is None:
                continue
            first.setdefault(change.id, _instances(view, photo, change.before))
            if row.id not in of_files and row.target not in undone:
                by_hand.add(change.id)
            elif row.id in of_files and not undone.get(row.id):
                latest[change.id] = _instances(view, photo, change.after)
    return Past(
        size=(photo.width, photo.height),
        versions={number: (*one, *latest.get(number, ())) for number, one in first.items()},
        by_hand=frozenset(by_hand),
        made=frozenset(number for number, one in first.items() if not one),
    )


def untold(present: Sequence[Instance], photo: Photo) -> Past:
    """Where nobody knows when the file was written: all that is decided may have changed since."""
    decided = [one for one in present if one.status is not Status.PROPOSED or one.edited]
    return Past(
        size=(photo.width, photo.height),
        by_hand=frozenset(one.id for one in decided if one.id is not None),
    )


def _instances(view: View, photo: Photo, row: dict[str, Any] | None) -> list[Instance]:
    if row is None:
        return []
    size = (photo.height, photo.width)
    return [row_instance(row, size_hw=size, names=view.category_names())]

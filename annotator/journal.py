"""The append-only journal: events in, the state of a project out. Pure functions, no database.

An event holds whole rows before and after, so the state is a fold over the events, an undo is an
event whose changes are swapped, and nothing is ever rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import StoreError

Row = dict[str, Any]
State = dict[str, dict[int, Row]]  # table -> id -> row

UNDO = "undo"
REDO = "redo"
SUGGEST = "suggest"  # what a run did; a person's undo passes over it


@dataclass(frozen=True)
class Change:
    """One row of one table: ``before`` is None for a new row, ``after`` for a removed one.

    ``id`` is None only until the database has numbered a new row.
    """

    table: str
    id: int | None
    before: Row | None
    after: Row | None

    def as_dict(self) -> Row:
        """Plain JSON."""
        return {"table": self.table, "id": self.id, "before": self.before, "after": self.after}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Change:
        """The inverse of `as_dict`."""
        return cls(value["table"], value["id"], value["before"], value["after"])


@dataclass(frozen=True)
class Event:
    """One line of the journal: who did what, when, to which photo."""

    id: int
    at: str
    actor: str
    kind: str
    image_id: int | None
    target: int | None
    changes: tuple[Change, ...]


def inverse(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes that take back ``changes``, last first."""
    return tuple(
        Change(change.table, change.id, before=change.after, after=change.before)
        for change in reversed(changes)
    )


def replay(events: Iterable[Event]) -> State:
    """Fold the events, oldest first, into table -> id -> row.

    Raises StoreError where an event's ``before`` is not what the events so far give: then the
    journal has a gap or was changed by hand.
    """
    state: State = {}
    for event in events:
        for change in event.changes:
            rows = state.setdefault(change.table, {})
            if change.id is None or rows.get(change.id) != change.before:
                raise StoreError(
                    f"the journal does not fit together at event {event.id} "
                    f"({event.kind}, {change.table} {change.id}); restore a copy of the project"
                )
            if change.after is None:
                del rows[change.id]
            else:
                rows[change.id] = change.after
    return {table: rows for table, rows in state.items() if rows}


@dataclass(frozen=True)
class Step:
    """What the undo history needs to know of an event."""

    id: int
    kind: str
    target: int | None


def history(steps: Iterable[Step]) -> tuple[list[int], list[int]]:
    """The ids of the events that can be undone and redone, next one last, from a photo's events.

    A new action empties the redo list, as everywhere; runs are passed over. What stood above the
    step that was undone or done again was passed over, and will not come back.
    """
    undoable: list[int] = []
    redoable: list[int] = []
    for step in steps:
        if step.kind == SUGGEST:
            continue
        if step.kind == UNDO:
            redoable.append(_taken(undoable, step.target))
        elif step.kind == REDO:
            undoable.append(_taken(redoable, step.target))
        else:
            undoable.append(step.id)
            redoable.clear()
    return undoable, redoable


def _taken(stack: list[int], target: int | None) -> int:
    """Take the target off the stack with all above it; the top where there is no such target."""
    if target in stack:
        del stack[stack.index(target) + 1 :]
    return stack.pop()

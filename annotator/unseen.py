"""What was accepted above a score, all at once: whether anybody has looked at it since.

Two standings, for two questions. *Unchanged*: nobody has decided on the object or changed it, so
no photo with one is reviewed in full. *Unlooked*: nobody has looked at it for a reason that has
nothing to do with whether it is right, so neither that it stands nor that somebody took it away
tells how often such an object is right; see `annotator.thresholds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from annotator import schema
from annotator.journal import SUGGEST
from annotator.views import View
from engine.types import Status

ACCEPT_ABOVE, TAKE_BACK = "accept above", "take back"  # kinds of events

Changed = Mapping[str, Any]  # a change of an instance as the journal keeps it


class Unseen:
    """Follows them through the journal: everything is read once, then only what is new."""

    def __init__(self) -> None:
        self.unchanged: set[int] = set()  # instances
        self.unlooked: set[int] = set()
        self._at_once: dict[int, set[int]] = {}  # of a photo: not taken back, whatever came after
        self._taken_in = 0  # the newest event that these know of

    def follow(self, view: View) -> Unseen:
        """Take in what has happened; itself."""
        table, at_once = schema.journal, (ACCEPT_ABOVE, TAKE_BACK)
        target = table.alias("target")
        of_batch = table.c.kind.in_(at_once) | target.c.kind.in_(at_once)
        touched_at_once = select(table.c.image_id).where(table.c.kind == ACCEPT_ABOVE)
        newest = view.newest_event()
        # Oldest first: what was decided before a batch says nothing about it.
        for row in view.connection.execute(
            select(table.c.image_id, table.c.changes, of_batch.label("is_batch"))
            .outerjoin_from(table, target, table.c.target == target.c.id)
            .where(
                table.c.id > self._taken_in,
                table.c.kind != SUGGEST,
                table.c.image_id.in_(touched_at_once),
            )
            .order_by(table.c.id)
        ):
            changes = [change for change in row.changes if change["table"] == "instance"]
            if row.is_batch:
                self._follow_batch(row.image_id, changes)
            else:
                self._follow_person(row.image_id, changes)
        self._taken_in = newest
        return self

    def _follow_batch(self, image_id: int, changes: list[Changed]) -> None:
        at_once = self._at_once.setdefault(image_id, set())
        for change in changes:
            is_back = change["after"]["status"] == Status.PROPOSED.value
            for kept in (self.unchanged, self.unlooked, at_once):
                (kept.discard if is_back else kept.add)(change["id"])

    def _follow_person(self, image_id: int, changes: list[Changed]) -> None:
        at_once = self._at_once.get(image_id, set())
        self.unchanged -= {change["id"] for change in changes}
        # Opened again, it is an undecided proposal like any other.
        self.unlooked -= {change["id"] for change in changes if _is_proposed(change["after"])}
        # Whoever decides what the batch had left open sees what it accepted beside it.
        if any(_decides(change) for change in changes if change["id"] not in at_once):
            self.unlooked -= at_once


def _decides(change: Changed) -> bool:
    return _is_proposed(change["before"]) and not _is_proposed(change["after"])


def _is_proposed(row: Mapping[str, Any] | None) -> bool:
    return row is not None and row["status"] == Status.PROPOSED.value

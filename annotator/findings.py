"""What looks wrong in a project, as rows of the store; `annotator.qa` says how they come to be.

A finding is about a subject in a certain state, and is open while the subject is still in it and
nobody has said that it is right so. Both flags follow the journal, undo and redo included, so that
listing ten thousand photos asks nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from annotator import schema
from annotator.journal import Change
from annotator.views import View
from engine.geometry import iou_boxes
from engine.types import CURATED, Box

DROPPED, TAGS, DISAGREEMENT, DETECTOR = "dropped", "tags", "disagreement", "detector"
KINDS = (DROPPED, TAGS, DISAGREEMENT, DETECTOR)

SAME_PLACE_IOU = 0.5
"""Two boxes of one class that overlap so much are about the same thing."""

_CURATED = frozenset(status.value for status in CURATED)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that looks wrong: where, how bad from 0 to 1, why, and what found it.

    ``subject`` and ``state`` name what a person can confirm: an object as it is, a tag, a detection
    at a place. Several findings can be about one subject; kind, subject and state tell them apart.
    ``box`` is set where there is no object: something may be missing there.
    """

    image_id: int
    kind: str
    subject: str
    state: str
    badness: float
    reason: str
    made_by: str
    instance_id: int | None = None
    category_id: int | None = None
    box: Box | None = None

    @property
    def worst_first(self) -> tuple[float, int, str, str]:
        """What findings are sorted by; stable, whatever order they were made in."""
        return (-self.badness, self.image_id, self.subject, self.kind)


# -- subjects and their states -------------------------------------------------------------------


def object_subject(instance_id: int) -> str:
    """An object of the project."""
    return f"object {instance_id}"


def object_state(row: Mapping[Any, Any]) -> str:
    """Class, box, mask and standing of an instance's row; who stands behind it how is all one."""
    standing = "curated" if row["status"] in _CURATED else row["status"]
    box = [round(row[side], 2) for side in ("x0", "y0", "x1", "y1")]
    text = repr((row["category_id"], box, row["counts"], standing))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tag_subject(category_id: int) -> str:
    """A tag of the photo without an object."""
    return f"tag {category_id}"


def detection_subject(category_id: int) -> str:
    """An object of a class that may be missing."""
    return f"detection {category_id}"


def detection_state(box: Box) -> str:
    """Where it may be missing."""
    return " ".join(f"{value:.1f}" for value in box)


# -- following the journal -----------------------------------------------------------------------


def follow(connection: Connection, changes: Iterable[Change]) -> None:
    """Bring the flags of the findings in line with changes that were just written."""
    table = schema.finding
    states = [
        {
            "changed": change.id,
            "now": "gone" if change.after is None else object_state(change.after),
        }
        for change in changes
        if change.table == "instance"
    ]
    if states:
        query = update(table).where(table.c.instance_id == bindparam("changed"))
        connection.execute(query.values(stands=table.c.state == bindparam("now")), states)
    rows = [one.after or one.before for one in changes if one.table == "confirmation"]
    for image_id, subject in {(row["image_id"], row["subject"]) for row in rows if row}:
        _confirm_again(View(connection), image_id, subject)


def _confirm_again(view: View, image_id: int, subject: str) -> None:
    """Flag the findings about a subject by what is confirmed now, near places included."""
    table = schema.finding
    confirmed = Confirmed(view, {image_id})
    about = select(table).where(table.c.image_id == image_id, table.c.subject == subject)
    for row in view.connection.execute(about).all():
        query = update(table).where(table.c.id == row.id)
        view.connection.execute(query.values(confirmed=confirmed.covers(_finding_of(row))))


# -- writing -------------------------------------------------------------------------------------


def replace(
    view: View, kind: str, found: Sequence[Finding], *, image_id: int | None = None
) -> None:
    """Keep these instead of what there was of the kind, on one photo or on all.

    What a person has confirmed in its present state stays confirmed.
    """
    table = schema.finding
    query = delete(table).where(table.c.kind == kind)
    if image_id is not None:
        query = query.where(table.c.image_id == image_id)
    view.connection.execute(query)
    if not found:
        return
    confirmed = Confirmed(view, {one.image_id for one in found})
    view.connection.execute(
        insert(table),
        [
            {
                **asdict(one),
                "box": None if one.box is None else list(one.box),
                "stands": True,
                "confirmed": confirmed.covers(one),
            }
            for one in found
        ],
    )


class Confirmed:
    """What people said is right so, on some photos or on all."""

    def __init__(self, view: View, image_ids: Collection[int] | None = None) -> None:
        table = schema.confirmation
        query = select(table.c.image_id, table.c.subject, table.c.state)
        if image_ids is not None and len(image_ids) == 1:
            query = query.where(table.c.image_id.in_(image_ids))
        self._states: dict[tuple[int, str], list[str]] = {}
        for image_id, subject, state in view.connection.execute(query):
            self._states.setdefault((image_id, subject), []).append(state)

    def covers(self, finding: Finding) -> bool:
        """Whether somebody confirmed the subject of the finding in this state.

        A place counts as the same where the boxes overlap: no detector finds it twice alike.
        """
        states = self._states.get((finding.image_id, finding.subject), [])
        if finding.box is None or not states:
            return finding.state in states
        boxes = [[float(value) for value in state.split()] for state in states]
        return float(iou_boxes([finding.box], boxes).max()) >= SAME_PLACE_IOU


# -- reading -------------------------------------------------------------------------------------


def stored(view: View, *, kinds: Sequence[str], image_id: int | None = None) -> list[Finding]:
    """The findings of these kinds that are open, of one photo or of all."""
    table = schema.finding
    query = select(table).where(table.c.kind.in_(kinds), table.c.stands, ~table.c.confirmed)
    if image_id is not None:
        query = query.where(table.c.image_id == image_id)
    return [_finding_of(row) for row in view.connection.execute(query)]


def _finding_of(row: Row[Any]) -> Finding:
    fields = {name: row._mapping[name] for name in Finding.__dataclass_fields__}
    fields["box"] = None if row.box is None else tuple(row.box)
    return Finding(**fields)

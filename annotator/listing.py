"""Which photos to show, in which order, and where one stands: filters in, photo ids out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select, and_, case, exists, func, literal, or_, select, true

from annotator import schema
from annotator.views import View
from engine.errors import OptionError
from engine.types import CURATED, Status

STATUSES = ("all", "todo", "done", "rejected", "empty")
"""Filters of the review screen.

all; something undecided; everything decided; something rejected; nothing on it at all.
"""

PLAIN, UNCERTAIN, DISAGREEING, SUSPECT = "plain", "uncertainty", "disagreement", "suspicious"
ORDERS = (PLAIN, UNCERTAIN, DISAGREEING, SUSPECT)
"""In which order photos come; `annotator.queue` works them out."""

LAST = 2**31 - 1  # the place of a photo that an order has no reason to show
Key = tuple[int, int]  # place in the order, photo id


@dataclass(frozen=True)
class Filter:
    """What the filmstrip shows: one of `STATUSES`, photos with one class or of any, the order."""

    status: str = "all"
    category_id: int | None = None
    order: str = PLAIN

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise OptionError(
                f"filter '{self.status}' is unknown; choose from {', '.join(STATUSES)}"
            )
        if self.order not in ORDERS:
            raise OptionError(f"order '{self.order}' is unknown; choose from {', '.join(ORDERS)}")


@dataclass(frozen=True)
class Item:
    """One photo of the filmstrip."""

    id: int
    file_name: str
    sha256: str
    status: str  # todo, done or empty
    proposed: int
    curated: int


def _tally() -> Any:
    """Per photo: how many instances are proposed, curated and rejected."""
    table = schema.instance

    def count(statuses: Sequence[Status]) -> Any:
        values = [status.value for status in statuses]
        return func.sum(case((table.c.status.in_(values), 1), else_=0))

    return (
        select(
            table.c.image_id,
            count([Status.PROPOSED]).label("proposed"),
            count(sorted(CURATED)).label("curated"),
            count([Status.REJECTED]).label("rejected"),
        )
        .group_by(table.c.image_id)
        .subquery()
    )


@dataclass(frozen=True)
class _Photos:
    """All photos joined with their tally, and what each filter asks of them."""

    source: Any
    proposed: Any
    curated: Any
    decided: Any
    conditions: dict[str, Any]


def _photos() -> _Photos:
    tally = _tally()
    proposed = func.coalesce(tally.c.proposed, 0)
    decided = func.coalesce(tally.c.curated + tally.c.rejected, 0)
    return _Photos(
        source=schema.image.join(tally, tally.c.image_id == schema.image.c.id, isouter=True),
        proposed=proposed,
        curated=func.coalesce(tally.c.curated, 0),
        decided=decided,
        conditions={
            "all": true(),
            "todo": proposed > 0,
            "done": and_(proposed == 0, decided > 0),
            "rejected": func.coalesce(tally.c.rejected, 0) > 0,
            "empty": and_(proposed == 0, decided == 0),
        },
    )


def _query(chosen: Filter, *columns: Any) -> Select[Any]:
    image, photos = schema.image, _photos()
    place, source = _placed(chosen.order, photos.source)
    query = select(place, image.c.id, *columns, photos.proposed, photos.curated, photos.decided)
    query = query.select_from(source).where(photos.conditions[chosen.status])
    if chosen.category_id is not None:
        tag, instance = schema.image_tag, schema.instance
        is_tagged = exists().where(
            tag.c.image_id == image.c.id, tag.c.category_id == chosen.category_id
        )
        holds_one = exists().where(
            instance.c.image_id == image.c.id,
            instance.c.category_id == chosen.category_id,
            instance.c.status != Status.REJECTED.value,
        )
        query = query.where(or_(is_tagged, holds_one))
    return query.order_by(place, image.c.id)


def _placed(order: str, source: Any) -> tuple[Any, Any]:
    """The place of a photo in an order, and what to select it from."""
    if order == PLAIN:
        return literal(0), source
    queue = schema.queue_place
    in_order = and_(queue.c.image_id == schema.image.c.id, queue.c.order_name == order)
    return func.coalesce(queue.c.place, LAST), source.join(queue, in_order, isouter=True)


def photo_keys(view: View, chosen: Filter) -> list[Key]:
    """Place and id of the photos that pass the filter, in review order."""
    return [(row[0], row[1]) for row in view.connection.execute(_query(chosen))]


def photo_ids(view: View, chosen: Filter) -> list[int]:
    """The ids of the photos that pass the filter, in review order."""
    return [image_id for _, image_id in photo_keys(view, chosen)]


def key_of(view: View, chosen: Filter, image_id: int) -> Key:
    """Where a photo belongs in the order, whether or not it passes the filter."""
    if chosen.order == PLAIN:
        return (0, image_id)
    queue = schema.queue_place
    query = select(queue.c.place).where(
        queue.c.order_name == chosen.order, queue.c.image_id == image_id
    )
    place = view.connection.execute(query).scalar()
    return (LAST if place is None else place, image_id)


def page(view: View, chosen: Filter, *, offset: int, limit: int) -> list[Item]:
    """A stretch of the filmstrip."""
    asked = (schema.image.c.file_name, schema.image.c.sha256)
    query = _query(chosen, *asked).offset(offset).limit(limit)
    return [
        Item(
            id=image_id,
            file_name=file_name,
            sha256=sha256,
            status="todo" if proposed else "done" if decided else "empty",
            proposed=proposed,
            curated=curated,
        )
        for _, image_id, file_name, sha256, proposed, curated, decided in (
            view.connection.execute(query)
        )
    ]


def find(view: View, chosen: Filter, text: str, *, after: int) -> int | None:
    """The photo of this name, else at this place (from 1), else the next with this in its name.

    Names as they are spelled but for capitals, with folders or without; the photo ``after`` which
    to look comes last.
    """
    wanted = text.casefold()
    rows = [
        (row[1], row[2].casefold())
        for row in view.connection.execute(_query(chosen, schema.image.c.file_name))
    ]
    for image_id, name in rows:
        if wanted in (name, name.rpartition("/")[2]):
            return int(image_id)
    if text.isdecimal() and 1 <= int(text) <= len(rows):
        return int(rows[int(text) - 1][0])
    if not wanted:
        return None
    start = next((place for place, row in enumerate(rows) if row[0] == after), -1) + 1
    return next((int(row[0]) for row in [*rows[start:], *rows[:start]] if wanted in row[1]), None)


def counts(view: View) -> dict[str, int]:
    """How many photos pass each filter, over all classes."""
    photos = _photos()
    sums = [
        func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
        for condition in photos.conditions.values()
    ]
    row = view.connection.execute(select(*sums).select_from(photos.source)).one()
    return dict(zip(photos.conditions, row, strict=True))


Place = TypeVar("Place", int, Key)


def neighbours(keys: Sequence[Place], at: Place) -> tuple[Place | None, Place | None]:
    """What is before and after a photo, which need not pass the filter itself (any more)."""
    before, after = bisect_left(keys, at), bisect_right(keys, at)
    return (keys[before - 1] if before > 0 else None, keys[after] if after < len(keys) else None)


def following(keys: Sequence[Place], at: Place, count: int) -> list[Place]:
    """Up to so many behind a photo, which need not pass the filter itself (any more)."""
    after = bisect_right(keys, at)
    return list(keys[after : after + count])


def first_to_show(view: View, chosen: Filter) -> int | None:
    """Where the person stopped, else the first photo with something to do, else the first.

    An order that somebody chose begins with its first photo.
    """
    ids = photo_ids(view, chosen)
    if chosen.order != PLAIN:
        return ids[0] if ids else None
    stopped = view.setting("position")
    if stopped in ids:
        return int(stopped)
    todo = photo_ids(view, Filter("todo", chosen.category_id))
    wanted = [image_id for image_id in todo if image_id in set(ids)] or ids
    return wanted[0] if wanted else None

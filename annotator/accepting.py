"""Accepting every proposal above a score, on all photos or some: look first, do it, take it back.

One event a photo, so that undo works there as well; all of them carry the number of the batch, so
that one call takes back the lot. What a person did on a photo in between stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import Row, select

from annotator import listing, review, schema
from annotator.comparing import source_name
from annotator.journal import UNDO, Change, Event, inverse
from annotator.listing import Filter
from annotator.store import Project, Transaction
from annotator.thresholds import ACCEPT_ABOVE, TAKE_BACK, Estimate, Thresholds
from annotator.views import View, instance_row, row_instance
from engine.errors import OptionError, ReviewError
from engine.types import Source, Status

EXAMPLES = 6
LAST_BATCH = "accepted_above"  # setting: what `take_back` takes back unless told otherwise


@dataclass(frozen=True)
class Choice:
    """Which proposals: those of at least this score, of one class or all, of one source or all.

    ``source`` is a pipeline, "pipeline:checkpoint" or what `comparing.source_name` gives. ``photos``
    narrows it to the photos of a filter. A proposal without a class or without a score
    is never chosen.
    """

    min_score: float
    category_id: int | None = None
    source: str | None = None
    photos: Filter = field(default_factory=Filter)

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise OptionError(f"a score lies between 0 and 1, got {self.min_score:g}")


@dataclass(frozen=True)
class Example:
    """One proposal that would be accepted."""

    image_id: int
    instance_id: int
    category: str
    score: float
    box_share: tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the photo


@dataclass(frozen=True)
class Preview:
    """What accepting would do.

    ``expected`` is how many of the objects are right by one's own decisions, as a share with its
    interval, over the ``known`` objects whose kind was decided often enough. The examples are those
    with the lowest scores: if any are wrong, these are.
    """

    objects: int
    photos: int
    known: int
    expected: Estimate | None
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Batch:
    """What was accepted, or taken back, at once."""

    number: str
    objects: int
    photos: int


def preview(view: View, choice: Choice, thresholds: Thresholds) -> Preview:
    """What `accept_above` would accept now."""
    rows = _chosen(view, choice)
    told = [
        known
        for row in rows
        if (known := thresholds.estimate(row.category_id, _source(row), row.score)) is not None
    ]
    expected = None
    if told:
        expected = Estimate(
            right=sum(one.right for one in told) / len(told),
            low=sum(one.low for one in told) / len(told),
            high=sum(one.high for one in told) / len(told),
            decided=min(one.decided for one in told),
        )
    lowest = sorted(rows, key=lambda row: (row.score, row.id))[:EXAMPLES]
    return Preview(
        objects=len(rows),
        photos=len({row.image_id for row in rows}),
        known=len(told),
        expected=expected,
        examples=tuple(_example(view, row) for row in lowest),
    )


def accept_above(
    project: Project, choice: Choice, *, actor: str, expected_objects: int | None = None
) -> Batch:
    """Accept them in one transaction; ReviewError where there are none.

    With ``expected_objects``, the number that a person was shown, also where it is another by now.
    """
    batch = uuid4().hex
    with project.write() as transaction:
        by_photo: dict[int, list[int]] = {}
        for row in _chosen(transaction, choice):
            by_photo.setdefault(row.image_id, []).append(row.id)
        objects = sum(map(len, by_photo.values()))
        if not objects:
            raise ReviewError(
                f"no undecided object with a class has a score of {choice.min_score:g} or more; "
                "nothing was accepted"
            )
        if expected_objects not in (None, objects):
            raise ReviewError(
                f"{objects} objects would be accepted now, not {expected_objects}: the project has "
                "changed meanwhile, so look again"
            )
        for image_id, ids in by_photo.items():
            changes = _accepted(transaction, image_id, ids)
            operation = f"{batch}:{image_id}"
            transaction.record(
                ACCEPT_ABOVE, changes, actor=actor, image_id=image_id, operation=operation
            )
        transaction.set_setting(LAST_BATCH, batch)
    return Batch(batch, objects, len(by_photo))


def take_back(project: Project, *, actor: str, batch: str | None = None) -> Batch:
    """Undo a batch, the last one by default; ReviewError where nothing of it is left to undo.

    On photos where a person went on since, only the objects that nobody touched go back to
    undecided; what was undone by hand stays as it is.
    """
    objects = photos = 0
    with project.write() as transaction:
        number = batch or transaction.setting(LAST_BATCH)
        events = _events(transaction, number) if number else []
        for event in events:
            assert event.image_id is not None
            undone = _take_back_on(transaction, event, event.image_id, actor)
            objects += undone
            photos += undone > 0
        if not objects:
            raise ReviewError("nothing is left to take back of what was accepted above a score")
        if transaction.setting(LAST_BATCH) == number:
            transaction.set_setting(LAST_BATCH, None)
    return Batch(str(number), objects, photos)


# -- choosing ------------------------------------------------------------------------------------


def _chosen(view: View, choice: Choice) -> Sequence[Row[Any]]:
    """The rows of the proposals, without their masks, in the order of their photos."""
    table = schema.instance
    columns = [one for one in table.c if one.name not in ("counts", "points")]
    query = select(*columns).where(
        table.c.status == Status.PROPOSED.value,
        table.c.category_id.is_not(None),
        table.c.score >= choice.min_score,
    )
    if choice.category_id is not None:
        query = query.where(table.c.category_id == choice.category_id)
    rows = view.connection.execute(query.order_by(table.c.image_id, table.c.id)).all()
    if choice.photos != Filter():
        shown = set(listing.photo_ids(view, choice.photos))
        rows = [row for row in rows if row.image_id in shown]
    if choice.source is not None:
        rows = [row for row in rows if choice.source in _names_of(Source.from_dict(row.source))]
    return rows


def _names_of(source: Source) -> tuple[str, ...]:
    """What a person may call a source: by its pipeline alone, and as commands and lists do."""
    return (source.pipeline, source_name(source), f"{source.pipeline}:{source.checkpoint}")


def _source(row: Row[Any]) -> str:
    return source_name(Source.from_dict(row.source))


def _example(view: View, row: Row[Any]) -> Example:
    photo = view.photo(row.image_id)
    box = (
        row.x0 / photo.width,
        row.y0 / photo.height,
        row.x1 / photo.width,
        row.y1 / photo.height,
    )
    return Example(row.image_id, row.id, view.category_names()[row.category_id], row.score, box)


# -- writing -------------------------------------------------------------------------------------


def _accepted(transaction: Transaction, image_id: int, ids: Sequence[int]) -> list[Change]:
    """The changes that accept these objects of a photo."""
    photo, names = transaction.photo(image_id), transaction.category_names()
    category_ids = transaction.category_ids()
    changes = []
    for instance_id in ids:
        row = transaction.row("instance", instance_id)
        assert row is not None
        instance = row_instance(row, size_hw=(photo.height, photo.width), names=names)
        after = instance_row(review.accept(instance), image_id=image_id, category_ids=category_ids)
        changes.append(Change("instance", instance_id, row, after))
    return changes


def _events(view: View, batch: str) -> list[Event]:
    table = schema.journal
    numbers = view.connection.execute(
        select(table.c.id).where(table.c.operation.like(f"{batch}:%")).order_by(table.c.id)
    ).scalars()
    return [view.event(number) for number in numbers.all()]


def _take_back_on(transaction: Transaction, event: Event, image_id: int, actor: str) -> int:
    """Undo a batch on one photo; how many objects are undecided again."""
    undoable, _ = transaction.history(image_id)
    if event.id not in undoable:
        return 0  # undone already
    untouched = [
        change
        for change in event.changes
        if transaction.row(change.table, change.id) == change.after
    ]
    if not untouched:
        return 0
    is_last = undoable[-1] == event.id and len(untouched) == len(event.changes)
    transaction.record(
        UNDO if is_last else TAKE_BACK,
        inverse(untouched),
        actor=actor,
        image_id=image_id,
        target=event.id if is_last else None,
    )
    return len(untouched)

"""Accepting every proposal above a score, on all photos or some: look first, do it, take it back.

One event a photo, so that undo works there as well; all of them carry the number of the batch, so
that one call takes back the lot. What a person did on a photo in between stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from annotator import listing, review, schema
from annotator.comparing import joined_name
from annotator.journal import UNDO, Change, Step, history, inverse
from annotator.listing import Filter
from annotator.store import Planned, Project
from annotator.thresholds import Estimate, Thresholds, made_by, place_of
from annotator.unseen import ACCEPT_ABOVE, TAKE_BACK
from annotator.views import View, instance_row, row_instance
from engine.errors import OptionError, ReviewError
from engine.types import Status

EXAMPLES = 6
AT_ONCE = 500  # rows a question: databases limit how many numbers one may name
LAST_BATCH = "accepted_above"  # setting: the batch that `take_back` undoes unless told otherwise


@dataclass(frozen=True)
class Choice:
    """Which proposals: those of at least this score, of one class or all, of one source or all.

    ``source`` is a pipeline, "pipeline:checkpoint" or what `comparing.source_name` gives;
    ``photos`` narrows it to the photos of a filter. A proposal without a class or without a score
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
    with the lowest scores: if any are wrong, these are. The ``fingerprint`` tells whether it would
    still be the same objects later.
    """

    objects: int
    photos: int
    known: int
    expected: Estimate | None
    examples: tuple[Example, ...]
    fingerprint: str


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
        fingerprint=_fingerprint(row.id for row in rows),
    )


def accept_above(
    project: Project, choice: Choice, *, actor: str, fingerprint: str | None = None
) -> Batch:
    """Accept them in one transaction; ReviewError where there are none.

    With ``fingerprint``, that of the preview a person was shown, also where it would be others now.
    """
    batch = uuid4().hex
    with project.write() as transaction:
        ids = [row.id for row in _chosen(transaction, choice)]
        if not ids:
            raise ReviewError(
                f"no undecided object with a class has a score of {choice.min_score:g} or more; "
                "nothing was accepted"
            )
        if fingerprint not in (None, _fingerprint(ids)):
            raise ReviewError(
                "the project has changed meanwhile, and other objects would be accepted than were "
                f"shown ({len(ids)} now): look again; nothing was accepted"
            )
        changes = _accepted(transaction, ids)
        planned = [
            Planned(ACCEPT_ABOVE, image_id, tuple(those), operation=f"{batch}:{image_id}")
            for image_id, those in changes.items()
        ]
        transaction.record_updates(planned, actor=actor)
        done = Batch(batch, len(ids), len(changes))
        transaction.set_setting(LAST_BATCH, asdict(done))
    return done


def last_batch(view: View) -> Batch | None:
    """What was accepted at once last, as long as nobody took it back."""
    found = view.setting(LAST_BATCH)
    return None if found is None else Batch(**found)


def take_back(project: Project, *, actor: str, batch: str | None = None) -> Batch:
    """Undo a batch, the last one by default; ReviewError where nothing of it is left to undo.

    On photos where a person went on since, only the objects that nobody touched go back to
    undecided; what was undone by hand stays as it is.
    """
    with project.write() as transaction:
        last = last_batch(transaction)
        number = batch or (last.number if last else "")
        planned = _undone(transaction, number) if number else []
        transaction.record_updates(planned, actor=actor)
        if last is not None and last.number == number:
            transaction.set_setting(LAST_BATCH, None)  # also where all of it was undone by hand
    if not planned:
        raise ReviewError("nothing is left to take back of what was accepted above a score")
    return Batch(number, sum(len(one.changes) for one in planned), len(planned))


def _fingerprint(ids: Iterable[int]) -> str:
    text = " ".join(map(str, sorted(ids)))
    return hashlib.sha256(text.encode()).hexdigest()


# -- choosing ------------------------------------------------------------------------------------


def _chosen(view: View, choice: Choice) -> Sequence[Any]:
    """The rows of the proposals, without their masks, in the order of their photos."""
    table = schema.instance
    columns = [table.c[name] for name in ("id", "image_id", "score")]
    query = select(*columns, *place_of(table), *made_by(table)).where(
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
        rows = [row for row in rows if choice.source in _names_of(row)]
    return rows


def _names_of(row: Any) -> tuple[str, ...]:
    """What a person may call a source: by its pipeline alone, and as commands and lists do."""
    return (row.pipeline, _source(row), f"{row.pipeline}:{row.checkpoint}")


def _source(row: Any) -> str:
    return joined_name(row.pipeline, row.checkpoint)


def _example(view: View, row: Any) -> Example:
    photo = view.photo(row.image_id)
    box = (
        row.x0 / photo.width,
        row.y0 / photo.height,
        row.x1 / photo.width,
        row.y1 / photo.height,
    )
    return Example(row.image_id, row.id, view.category_names()[row.category_id], row.score, box)


# -- writing -------------------------------------------------------------------------------------


def _rows(view: View, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Whole rows of instances, as the journal writes them."""
    table = schema.instance
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), AT_ONCE):
        query = select(table).where(table.c.id.in_(ids[start : start + AT_ONCE]))
        found |= {row.id: dict(row._mapping) for row in view.connection.execute(query)}
    return found


def _accepted(view: View, ids: Sequence[int]) -> dict[int, list[Change]]:
    """By photo, the changes that accept these objects."""
    sizes = {photo.id: (photo.height, photo.width) for photo in view.photos()}
    names, category_ids = view.category_names(), view.category_ids()
    changes: dict[int, list[Change]] = {}
    for instance_id, row in _rows(view, ids).items():
        image_id = row["image_id"]
        instance = row_instance(row, size_hw=sizes[image_id], names=names)
        after = instance_row(review.accept(instance), image_id=image_id, category_ids=category_ids)
        changes.setdefault(image_id, []).append(Change("instance", instance_id, row, after))
    return changes


def _undone(view: View, batch: str) -> list[Planned]:
    """What takes a batch back: an undo of its event where nothing was done on the photo since."""
    table = schema.journal
    ours = table.c.operation.like(f"{batch}:%")
    events = view.connection.execute(
        select(table.c.id, table.c.image_id, table.c.changes).where(ours).order_by(table.c.id)
    ).all()
    images = select(table.c.image_id).where(ours)
    steps: dict[int, list[Step]] = {}
    for row in view.connection.execute(
        select(table.c.image_id, table.c.id, table.c.kind, table.c.target)
        .where(table.c.image_id.in_(images))
        .order_by(table.c.id)
    ):
        steps.setdefault(row.image_id, []).append(Step(row.id, row.kind, row.target))
    present = _rows(view, [change["id"] for event in events for change in event.changes])
    planned = []
    for event in events:
        undoable, _ = history(steps[event.image_id])
        changes = [Change.from_dict(change) for change in event.changes]
        # Who looked again and accepted it by hand left the same row, and stands behind it.
        touched = _touched_by(view, [number for number in undoable if number > event.id])
        untouched = [
            one
            for one in changes
            if one.id and one.id not in touched and present.get(one.id) == one.after
        ]
        if event.id not in undoable or not untouched:
            continue  # undone already, or every object was touched
        is_last = undoable[-1] == event.id and len(untouched) == len(changes)
        kind, target = (UNDO, event.id) if is_last else (TAKE_BACK, None)
        planned.append(Planned(kind, event.image_id, inverse(untouched), target=target))
    return planned


def _touched_by(view: View, events: Sequence[int]) -> set[int]:
    """The instances that these events changed."""
    if not events:
        return set()
    table = schema.journal
    rows = view.connection.execute(select(table.c.changes).where(table.c.id.in_(events))).scalars()
    return {change["id"] for changes in rows for change in changes if change["table"] == "instance"}

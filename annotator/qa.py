"""Findings: what looks wrong in a project, why, and how bad; a person confirms or mends it.

    dropped       what RoI drop threw out in the newest training of a detector that has ended
    tags          a tag without an object on a reviewed photo; an object without its tag
    disagreement  two pipelines proposed differently; kept when a run replaces the proposals
    detector      a run with `--check` over decided photos contradicts what was decided there

Tags are looked at anew each time, the others are rows (`annotator.findings`). Whoever asks for the
dropped ones first takes in what that training has left (`take_in_training`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, select

from annotator import schema
from annotator import training_files as files
from annotator.comparing import detector_findings
from annotator.findings import (
    DETECTOR,
    DISAGREEMENT,
    DROPPED,
    KINDS,
    SAME_PLACE_IOU,
    TAGS,
    Confirmed,
    Finding,
    object_state,
    object_subject,
    replace,
    stored,
    tag_subject,
)
from annotator.journal import Change, Event
from annotator.ranking import rank_suspicious
from annotator.store import Project, Transaction
from annotator.training_log import TrainingLog
from annotator.views import View
from engine.errors import FormatError, ReviewError
from engine.geometry import iou_boxes
from engine.types import CURATED, Box, Instance, Status
from exports.detection_data import read_detection_data

SUSPICIOUS = (DROPPED, TAGS, DETECTOR)
"""The kinds that speak against something decided, or against what was learnt from."""

LEAST_BADNESS = 0.4  # of a dropped label, to be a finding: most labels have lost a RoI once
TAG_WITHOUT_OBJECT = 0.6  # tag and review contradict each other, so one of them is wrong
OBJECT_WITHOUT_TAG = 0.4  # the object may just be something that nobody tagged

RECORDS, DATA = "instances.json", "data.json"  # in the folder of a detector's training
TAKEN_IN = "dropped_from"  # setting: the training and the time of the file last taken in
CONFIRM = "confirm"  # kind of the event
WARM_UP = 0.22  # of a training's steps, in which nothing is dropped, where it does not say
AT_ONCE = 500  # rows a question: databases limit how many numbers one may name
SAME_BOX = 0.05  # pixels; the training's file rounds

_CURATED = [status.value for status in sorted(CURATED)]


# -- all findings --------------------------------------------------------------------------------


def open_findings(
    view: View, *, kinds: Sequence[str] = KINDS, image_id: int | None = None
) -> list[Finding]:
    """What looks wrong on one photo or on all and was neither confirmed nor mended, worst first."""
    found = [
        *stored(view, kinds=[kind for kind in kinds if kind != TAGS], image_id=image_id),
        *(_tag_findings(view, image_id) if TAGS in kinds else []),
    ]
    found = _still_missing(view, _still_undecided(view, found))
    return sorted(found, key=lambda one: one.worst_first)


def _still_undecided(view: View, found: Sequence[Finding]) -> list[Finding]:
    """Without the disagreements of photos where nothing is left to decide."""
    asked = {one.image_id for one in found if one.kind == DISAGREEMENT}
    if not asked:
        return list(found)
    table = schema.instance
    query = select(table.c.image_id).where(table.c.status == Status.PROPOSED.value).distinct()
    if len(asked) == 1:
        query = query.where(table.c.image_id.in_(asked))
    undecided = set(view.connection.execute(query).scalars())
    return [one for one in found if one.kind != DISAGREEMENT or one.image_id in undecided]


def _still_missing(view: View, found: Sequence[Finding]) -> list[Finding]:
    """Without the detections where an object of the class was drawn or decided since."""
    asked = {one.image_id for one in found if one.box is not None}
    if not asked:
        return list(found)
    table = schema.instance
    sides = (table.c.x0, table.c.y0, table.c.x1, table.c.y1)
    query = select(table.c.image_id, table.c.category_id, *sides).where(
        table.c.status != Status.PROPOSED.value,
        exists().where(
            schema.finding.c.image_id == table.c.image_id, schema.finding.c.box.is_not(None)
        ),
    )
    if len(asked) == 1:
        query = query.where(table.c.image_id.in_(asked))
    decided: dict[tuple[int, int | None], list[Box]] = {}
    for image_id, category_id, *box in view.connection.execute(query):
        decided.setdefault((image_id, category_id), []).append((box[0], box[1], box[2], box[3]))

    def is_there(one: Finding, box: Box) -> bool:
        boxes = decided.get((one.image_id, one.category_id), [])
        return bool(boxes) and float(iou_boxes([box], boxes).max()) >= SAME_PLACE_IOU

    return [one for one in found if one.box is None or not is_there(one, one.box)]


# -- tags against objects ------------------------------------------------------------------------


def _tag_findings(view: View, image_id: int | None) -> list[Finding]:
    confirmed = Confirmed(view, None if image_id is None else [image_id])
    found = [*_tags_without_object(view, image_id), *_objects_without_tag(view, image_id)]
    return [one for one in found if not confirmed.covers(one)]


def _some_instance(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(schema.instance.c.id).where(*conditions))


def _tags_without_object(view: View, image_id: int | None) -> list[Finding]:
    """Tagged cat, everything decided, no cat."""
    tag, instance = schema.image_tag, schema.instance
    on_photo = instance.c.image_id == tag.c.image_id
    query = (
        select(tag.c.image_id, tag.c.category_id)
        .where(
            _some_instance(on_photo),
            ~_some_instance(on_photo, instance.c.status == Status.PROPOSED.value),
            ~_some_instance(
                on_photo,
                instance.c.category_id == tag.c.category_id,
                instance.c.status.in_(_CURATED),
            ),
        )
        .order_by(tag.c.id)
    )
    if image_id is not None:
        query = query.where(tag.c.image_id == image_id)
    names = view.category_names()
    return [
        Finding(
            image_id=row.image_id,
            kind=TAGS,
            subject=tag_subject(row.category_id),
            state="no object",
            badness=TAG_WITHOUT_OBJECT,
            reason=f"tagged {names[row.category_id]}, but everything is decided and there is none",
            made_by="tags",
            category_id=row.category_id,
        )
        for row in view.connection.execute(query)
    ]


def _objects_without_tag(view: View, image_id: int | None) -> list[Finding]:
    """A curated dog on a photo with tags, none of which is dog."""
    tag, instance = schema.image_tag, schema.instance
    of_photo = tag.c.image_id == instance.c.image_id
    own = and_(of_photo, tag.c.category_id == instance.c.category_id)
    query = select(instance).where(
        instance.c.status.in_(_CURATED),
        instance.c.category_id.is_not(None),
        exists(select(tag.c.id).where(of_photo)),
        ~exists(select(tag.c.id).where(own)),
    )
    if image_id is not None:
        query = query.where(instance.c.image_id == image_id)
    names = view.category_names()
    return [
        Finding(
            image_id=row.image_id,
            kind=TAGS,
            subject=object_subject(row.id),
            state=object_state(row._mapping),
            badness=OBJECT_WITHOUT_TAG,
            reason=f"a {names[row.category_id]}, but the photo is not tagged so",
            made_by="tags",
            instance_id=row.id,
        )
        for row in view.connection.execute(query.order_by(instance.c.id))
    ]


# -- what a training dropped ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Witness:
    """The training that tells which labels are suspicious."""

    number: int
    folder: Path
    has_ended: bool

    @property
    def stamp(self) -> list[int]:
        """Changes when there is something new to take in."""
        written = (self.folder / RECORDS).stat().st_mtime_ns
        return [self.number, written, int(self.has_ended)]


def take_in_training(project: Project) -> int | None:
    """Make findings of what a detector's training dropped; its number, None without one.

    It is the newest that has ended; while none has, the newest that is past its warm-up, which the
    findings say. One whose data is tidied away is passed over. Does nothing where that was done
    before. A label that was mended after the training began is no finding. FormatError where the
    files of the training are damaged.
    """
    witness = _witness(project)
    if witness is None:
        return None
    stamp, folder = witness.stamp, witness.folder
    with project.read() as view:
        if view.setting(TAKEN_IN) == stamp:
            return witness.number
    trained_on = _trained_on(folder / DATA)
    names = {one: name for one, (name, _) in trained_on.items()}
    ranked = rank_suspicious(_json(folder / RECORDS), names=names)
    if not witness.has_ended:
        ranked = [
            (one, badness, f"{reason}, so far: the training {folder.name} has not ended")
            for one, badness, reason in ranked
        ]
    with project.read() as view:
        found = _dropped_findings(view, ranked, trained_on, folder.name)
        seen = view.newest_event()
    with project.write() as transaction:
        if transaction.newest_event() != seen:  # somebody may have mended one meanwhile
            found = _dropped_findings(transaction, ranked, trained_on, folder.name)
        replace(transaction, DROPPED, found)
        transaction.set_setting(TAKEN_IN, stamp)
    return witness.number


def _witness(project: Project) -> _Witness | None:
    unfinished: _Witness | None = None
    for number, folder in reversed(files.numbered_folders(project).items()):
        if not all((folder / name).is_file() for name in (RECORDS, DATA)):
            continue
        if files.read_note(folder, files.KEPT):
            return _Witness(number, folder, has_ended=True)
        log = TrainingLog(folder / files.LOG).refresh()
        if log.ending is not None and log.ending.event == "done":
            return _Witness(number, folder, has_ended=True)
        if unfinished is None and _is_past_warm_up(folder, log):
            unfinished = _Witness(number, folder, has_ended=False)
    return unfinished


def _is_past_warm_up(folder: Path, log: TrainingLog) -> bool:
    """Whether the records, which are written at each validation, can tell of anything dropped."""
    recipe = files.read_note(folder, files.SETTINGS).get("recipe")
    start = recipe.get("drop_start") if isinstance(recipe, dict) else None
    share = float(start) if isinstance(start, int | float) else WARM_UP
    return log.total_steps > 0 and max(log.validations, default=0) > share * log.total_steps


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{str(path)!r} cannot be read: {error}; train again") from error


def _trained_on(path: Path) -> dict[int, tuple[str, Box]]:
    """Class and box of each label that the training saw."""
    return {
        one.id: (one.category or "object", one.box)
        for photo in read_detection_data(path).photos
        for one in photo.image.instances
        if one.id is not None
    }


def _dropped_findings(
    view: View,
    ranked: Sequence[tuple[int, float, str]],
    trained_on: Mapping[int, tuple[str, Box]],
    training: str,
) -> list[Finding]:
    names = view.category_names()
    worst = {
        number: (badness, reason) for number, badness, reason in ranked if badness >= LEAST_BADNESS
    }
    found = []
    for row in _rows(view, sorted(worst.keys() & trained_on.keys())):
        if row.status == Status.REJECTED.value:
            continue
        name, box = trained_on[row.id]
        now = (row.x0, row.y0, row.x1, row.y1)
        moved = max(abs(a - b) for a, b in zip(now, box, strict=True)) > SAME_BOX
        if moved or names.get(row.category_id) != name:
            continue
        badness, reason = worst[row.id]
        found.append(
            Finding(
                image_id=row.image_id,
                kind=DROPPED,
                subject=object_subject(row.id),
                state=object_state(row._mapping),
                badness=badness,
                reason=reason,
                made_by=f"training {training}",
                instance_id=row.id,
            )
        )
    return found


def _rows(view: View, ids: Sequence[int]) -> Iterator[Any]:
    """Those of these instances that are there, with their masks."""
    table = schema.instance
    for start in range(0, len(ids), AT_ONCE):
        query = select(table).where(table.c.id.in_(ids[start : start + AT_ONCE]))
        yield from view.connection.execute(query.order_by(table.c.id))


# -- a detector's second look --------------------------------------------------------------------


def record_check(view: View, image_id: int, detections: Sequence[Instance]) -> int:
    """Keep where the detections of a run contradict what was decided on a photo; how many."""
    table = schema.instance
    rows = view.connection.execute(select(table).where(table.c.image_id == image_id))
    found = detector_findings(
        image_id,
        view.instances(image_id),
        detections,
        states={row.id: object_state(row._mapping) for row in rows},
        category_ids=view.category_ids(),
    )
    replace(view, DETECTOR, found, image_id=image_id)
    return len(found)


# -- confirming ----------------------------------------------------------------------------------


def confirm(
    transaction: Transaction,
    image_id: int,
    *,
    subject: str,
    state: str,
    actor: str,
    **context: Any,
) -> Event:
    """Say that a subject is right in its state: no finding of any kind comes back for that.

    One event, which undo takes back. ReviewError where nothing is found about the subject as it is.
    """
    about = open_findings(transaction, image_id=image_id)
    if not any((one.subject, one.state) == (subject, state) for one in about):
        raise ReviewError("there is nothing to confirm: no finding is about this (any more)")
    row = {"image_id": image_id, "subject": subject, "state": state}
    change = Change("confirmation", None, None, row)
    return transaction.record(CONFIRM, [change], actor=actor, image_id=image_id, **context)

"""Runs of suggestions: photos without a decision in, `proposed` instances out, resumable.

A run stands in the store with its options and the list of its photos. What it did for a photo, the
instances and the note that the photo is done are one transaction, so a run that is killed goes on
where it stopped: no photo twice, none lost. What a person decided is never touched. A run of the
kind CHECK goes over decided photos instead and leaves findings, no instances.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, and_, exists, func, insert, select, update

from annotator import evidence, findings, qa, schema
from annotator.comparing import disagreement
from annotator.journal import SUGGEST, Change
from annotator.store import Project, Transaction, now
from annotator.views import View, instance_row
from engine.errors import JobError, OptionError
from engine.geometry import iou_boxes
from engine.types import Evidence, Instance, Status

WAITING, RUNNING, DONE, CANCELLED, FAILED = "waiting", "running", "done", "cancelled", "failed"
INTERRUPTED = "interrupted"  # never stored: its worker is gone, or never came
RESUMABLE = frozenset({INTERRUPTED, CANCELLED, FAILED, WAITING})

STALE_SECONDS = 60.0  # a worker beats several times in this time, however slow its photos are
ALREADY_DECIDED_IOU = 0.7  # a proposal this close to a decided instance asks nothing new

ACTOR = "machine"
PROPOSE, CHECK = "suggest", "check"  # kinds of runs


@dataclass(frozen=True)
class Run:
    """A run as the app and the command line show it."""

    id: int
    kind: str  # PROPOSE or CHECK
    pipeline: str
    options: dict[str, Any]
    status: str  # as above, INTERRUPTED included
    total: int
    done: int
    instances: int  # proposed, or findings of a CHECK
    seconds: float  # summed over its photos
    problems: int  # photos that got nothing, with a reason
    message: str
    created_at: str
    process: int | None

    @property
    def is_resumable(self) -> bool:
        """Whether there is something left to do and nobody at it."""
        return self.status in RESUMABLE and self.done < self.total


def select_photos(
    view: View, *, pipeline: str, options: Mapping[str, Any], again: bool, kind: str = PROPOSE
) -> list[int]:
    """The photos that a new run should work on, in the order of their ids.

    Those where something is still undecided or nothing was proposed yet, and to CHECK those where
    everything is decided; without ``again``, those that a run of this kind with the same pipeline
    and options has worked on are left out.
    """
    image, instance = schema.image, schema.instance
    has_any = exists().where(instance.c.image_id == image.c.id)
    undecided = exists().where(
        instance.c.image_id == image.c.id, instance.c.status == Status.PROPOSED.value
    )
    wanted = has_any & ~undecided if kind == CHECK else undecided | ~has_any
    query = select(image.c.id).where(wanted).order_by(image.c.id)
    chosen = list(view.connection.execute(query).scalars())
    if again:
        return chosen
    seen: set[int] = set()
    same = select(schema.run).where(schema.run.c.pipeline == pipeline, schema.run.c.kind == kind)
    for run in view.connection.execute(same):
        if run.options == dict(options):
            table = schema.run_photo
            seen.update(
                view.connection.execute(
                    select(table.c.image_id).where(table.c.run_id == run.id)
                ).scalars()
            )
    return [image_id for image_id in chosen if image_id not in seen]


def start(
    transaction: Transaction,
    *,
    pipeline: str,
    options: Mapping[str, Any],
    photos: Sequence[int],
    kind: str = PROPOSE,
) -> int:
    """Write down a new run, waiting for a worker; its id. OptionError where there is no photo."""
    if not photos and kind == CHECK:
        raise OptionError(
            "nothing to check: no photo is decided in full, or this pipeline has gone over all of "
            "them; review some, or use --again"
        )
    if not photos:
        raise OptionError(
            "nothing to do: every photo is decided or has these proposals already; "
            "use --again to propose anew where something is undecided"
        )
    result = transaction.connection.execute(
        insert(schema.run).values(
            kind=kind,
            pipeline=pipeline,
            options=dict(options),
            selection=list(photos),
            status=WAITING,
            created_at=now(),
            heartbeat_at=time.time(),
            cancel=False,
            message="",
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def _row(view: View, run_id: int) -> Row[Any]:
    row = view.connection.execute(select(schema.run).where(schema.run.c.id == run_id)).one_or_none()
    if row is None:
        raise JobError(f"this project has no run number {run_id}; see 'annotator status'")
    return row


def process_is_alive(process: int | None) -> bool:
    """Whether a process with this number exists on this machine."""
    if process is None:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _status(row: Row[Any]) -> str:
    if row.status not in (WAITING, RUNNING):
        return str(row.status)
    fresh = row.heartbeat_at is not None and time.time() - row.heartbeat_at < STALE_SECONDS
    at_it = row.status == WAITING or process_is_alive(row.process)
    return str(row.status) if fresh and at_it else INTERRUPTED


def _describe(view: View, row: Row[Any]) -> Run:
    table = schema.run_photo
    done, instances, seconds, problems = view.connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(table.c.instances), 0),
            func.coalesce(func.sum(table.c.seconds), 0.0),
            func.count(table.c.problem),
        ).where(table.c.run_id == row.id)
    ).one()
    return Run(
        id=row.id,
        kind=row.kind,
        pipeline=row.pipeline,
        options=row.options,
        status=_status(row),
        total=len(row.selection),
        done=done,
        instances=instances,
        seconds=seconds,
        problems=problems,
        message=row.message,
        created_at=row.created_at,
        process=row.process,
    )


def get(view: View, run_id: int) -> Run:
    """One run; JobError for an unknown id."""
    return _describe(view, _row(view, run_id))


def all_runs(view: View) -> list[Run]:
    """Every run, newest first."""
    rows = view.connection.execute(select(schema.run).order_by(schema.run.c.id.desc())).all()
    return [_describe(view, row) for row in rows]


def resumable(
    view: View, *, pipeline: str, options: Mapping[str, Any], kind: str = PROPOSE
) -> Run | None:
    """The newest unfinished run with this pipeline and these options, if nobody works on it."""
    for run in all_runs(view):
        if (run.kind, run.pipeline, run.options) == (kind, pipeline, dict(options)):
            return run if run.is_resumable else None
    return None


def problems(view: View, run_id: int) -> list[tuple[str, str]]:
    """File name and reason of each photo of the run that got nothing."""
    table = schema.run_photo
    rows = view.connection.execute(
        select(schema.image.c.file_name, table.c.problem)
        .join(schema.image, schema.image.c.id == table.c.image_id)
        .where(table.c.run_id == run_id, table.c.problem.is_not(None))
        .order_by(table.c.image_id)
    )
    return [(row.file_name, row.problem) for row in rows]


def expect_worker(project: Project, run_id: int) -> None:
    """Let the run wait for a worker that is about to start; JobError if one is at it."""
    with project.write() as transaction:
        _require_free(_row(transaction, run_id))
        _set(transaction, run_id, status=WAITING, heartbeat_at=time.time(), cancel=False)


def claim(project: Project, run_id: int, *, only_waiting: bool = False) -> None:
    """Become the run's only worker; JobError if another one is at it.

    With ``only_waiting`` also where the run does not wait (any more): somebody stopped it before
    its worker came.
    """
    with project.write() as transaction:
        row = _row(transaction, run_id)
        _require_free(row)
        if only_waiting and row.status != WAITING:
            raise JobError(f"run {run_id} does not wait for a worker: it is {row.status}")
        _set(
            transaction,
            run_id,
            status=RUNNING,
            process=os.getpid(),
            heartbeat_at=time.time(),
            cancel=False,
            finished_at=None,
            message="",
        )


def _require_free(row: Row[Any]) -> None:
    if _status(row) == RUNNING and row.process != os.getpid():
        raise JobError(f"run {row.id} is already being worked on by process {row.process}")


def _set(transaction: Transaction, run_id: int, **values: Any) -> None:
    transaction.connection.execute(
        update(schema.run).where(schema.run.c.id == run_id).values(**values)
    )


def beat(project: Project, run_id: int) -> None:
    """Say that the worker is alive."""
    with project.write() as transaction:
        _set(transaction, run_id, heartbeat_at=time.time())


def left(view: View, run_id: int) -> list[int]:
    """The photos of the run that are not done yet, in order."""
    table = schema.run_photo
    done = set(
        view.connection.execute(select(table.c.image_id).where(table.c.run_id == run_id)).scalars()
    )
    return [image_id for image_id in _row(view, run_id).selection if image_id not in done]


def is_cancelled(view: View, run_id: int) -> bool:
    """Whether somebody asked the worker to stop."""
    return bool(_row(view, run_id).cancel)


def cancel(project: Project, run_id: int) -> None:
    """Ask the worker to stop after the photo at hand; what it has done stays."""
    with project.write() as transaction:
        row = _row(transaction, run_id)
        if _status(row) == RUNNING:
            _set(transaction, run_id, cancel=True)
        elif row.status in (WAITING, RUNNING):
            _set(transaction, run_id, status=CANCELLED, cancel=True, finished_at=now())


def finish(project: Project, run_id: int, *, status: str, message: str = "") -> None:
    """Write down how the run ended."""
    with project.write() as transaction:
        _set(transaction, run_id, status=status, message=message, finished_at=now())


def record_photo(
    project: Project,
    run_id: int,
    image_id: int,
    *,
    instances: Sequence[Instance],
    seconds: float,
    problem: str | None = None,
    seen: Evidence | None = None,
) -> None:
    """Replace the photo's `proposed` instances and mark it done in this run, in one transaction.

    ``seen`` is what the proposals rest on and replaces that of earlier runs. A proposal of the
    same class that covers what a person decided already is left out. Where another pipeline's
    proposals are replaced, how far the two disagree is kept as a finding until they change. A photo
    that this run has done before is left as it is; so are proposals and evidence where there was a
    problem. A CHECK leaves findings instead of proposals.
    """
    with project.write() as transaction:
        table, run = schema.run_photo, schema.run
        this = and_(table.c.run_id == run.c.id, table.c.image_id == image_id)
        kind, done = transaction.connection.execute(
            select(run.c.kind, table.c.run_id)
            .select_from(run.join(table, this, isouter=True))
            .where(run.c.id == run_id)
        ).one()
        if done is not None:
            return
        count = 0
        if problem is None and kind == CHECK:
            count = qa.record_check(transaction, image_id, instances)
        elif problem is None:
            count = _replace_proposed(transaction, run_id, image_id, instances)
            evidence.replace(
                transaction,
                image_id,
                run_id=run_id,
                evidence=seen or Evidence(),
                proposed=instances,
            )
        transaction.connection.execute(
            insert(table).values(
                run_id=run_id,
                image_id=image_id,
                instances=count,
                seconds=seconds,
                problem=problem,
            )
        )
        _set(transaction, run_id, heartbeat_at=time.time())


def _replace_proposed(
    transaction: Transaction, run_id: int, image_id: int, instances: Sequence[Instance]
) -> int:
    present = transaction.instances(image_id)
    # What a person mended but could not accept yet, for want of a class, is theirs as well.
    decided = [one for one in present if one.status is not Status.PROPOSED or one.edited]
    ids = transaction.category_ids()
    # A model may know classes that were renamed here, or never were: a person says what it is.
    named = [one if one.category in ids else replace(one, category=None) for one in instances]
    fresh = [instance for instance in named if not _is_decided(instance, decided)]
    replaced = [old for old in present if old not in decided]
    compared = disagreement(image_id, replaced, fresh)
    if compared is not None or not _are_alike(replaced, fresh):
        # What is kept from before is about proposals that are gone.
        kept = [] if compared is None else [compared]
        findings.replace(transaction, findings.DISAGREEMENT, kept, image_id=image_id)
    table = schema.instance
    rows = transaction.connection.execute(select(table).where(table.c.image_id == image_id))
    before = {row.id: dict(row._mapping) for row in rows}
    changes = [Change("instance", old.id, before[old.id], None) for old in replaced if old.id]
    for instance in fresh:
        sourced = replace(instance, id=None, source=replace(instance.source, run=run_id))
        row = instance_row(sourced, image_id=image_id, category_ids=ids)
        changes.append(Change("instance", None, None, row))
    if changes:
        transaction.record(SUGGEST, changes, actor=ACTOR, image_id=image_id)
    return len(fresh)


def _are_alike(old: Sequence[Instance], new: Sequence[Instance]) -> bool:
    """Whether proposals have the same classes and boxes."""
    first, second = (sorted((one.category or "", one.box) for one in those) for those in (old, new))
    return first == second


def _is_decided(instance: Instance, decided: Sequence[Instance]) -> bool:
    same = [other.box for other in decided if other.category == instance.category]
    return bool(same) and float(iou_boxes([instance.box], same).max()) >= ALREADY_DECIDED_IOU

"""What people did in Label Studio, back into the project: one transaction a photo, undone as one.

Of each task the newest annotation counts that was not skipped and that we neither made nor took
before. Pulling again takes nothing twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from annotator.journal import Change
from annotator.labelstudio import contents
from annotator.labelstudio.journal import Base, Entry, SyncJournal, digest
from annotator.labelstudio.merging import Answers, Merge, Side, Sides, merge
from annotator.labelstudio.push import OnProgress, find_target, journal_of
from annotator.labelstudio.remote import Remote, RemoteTask
from annotator.store import Project, Transaction
from annotator.views import Photo, instance_row
from engine.errors import OptionError
from engine.types import CURATED, Instance, Status
from exports.label_studio_read import Drawn, objects_of

KIND = "label studio"  # of the events in the project's journal


@dataclass(frozen=True, kw_only=True)
class PullChoices:
    """Where from, and what to do with what is not plain."""

    title: str
    actor: str
    prefer: Side = "here"  # whose version counts where both sides changed an object
    add_classes: bool = False  # labels that the project does not know become classes


@dataclass(kw_only=True)
class PullReport:
    """What a pull found and did."""

    url: str
    title: str
    tasks: int = 0  # of this project's photos
    read: int = 0  # those that changed since the last pull
    photos: int = 0  # that changed here
    accepted: int = 0
    changed: int = 0
    added: int = 0
    rejected: int = 0  # taken away there
    skipped: int = 0  # tasks with a skipped annotation
    drafts: int = 0  # tasks with an annotation that nobody submitted
    foreign: int = 0  # tasks that are not of this project
    set_aside: list[str] = field(default_factory=list)  # photos with further annotations
    conflicts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing waits for a person."""
        return not (self.conflicts or self.problems)


def pull(
    project: Project,
    remote: Remote,
    choices: PullChoices,
    *,
    on_progress: OnProgress = lambda what, done, total: None,
) -> PullReport:
    """Take over what changed there; OptionError where nothing was ever pushed."""
    key = contents.key_of(project)
    target = find_target(project, remote, key=key, title=choices.title)
    if target is None:
        raise OptionError(
            f"{remote.client.url} has no project called {choices.title!r}; send it there first "
            "(push), or give the title that it has there"
        )
    report = PullReport(url=remote.client.url, title=target.title)
    with project.read() as view:
        photos = {photo.id: photo for photo in view.photos()}
    with journal_of(project, remote, target, key=key, title=choices.title) as journal:
        waiting = _changed_tasks(remote, target.id, journal, photos, key, report)
        on_progress("reading", 0, len(waiting))
        for done, whole in enumerate(remote.whole_tasks(target.id, list(waiting)), start=1):
            task, photo = waiting[int(whole["id"])]
            _take(project, whole["annotations"], task, photo, journal, choices, report)
            on_progress("reading", done, len(waiting))
        on_progress("reading", len(waiting), len(waiting))
    return report


def _changed_tasks(
    remote: Remote,
    number: int,
    journal: SyncJournal,
    photos: Mapping[int, Photo],
    key: str,
    report: PullReport,
) -> dict[int, tuple[RemoteTask, Photo]]:
    """Those with annotations that the last pull has not seen as they are, by their ids there."""
    tasks: dict[int, RemoteTask] = {}
    for task in remote.tasks(number):
        image_id = contents.image_id_of(key, task.ext_id)
        if image_id is None or image_id not in photos:
            report.foreign += 1
        elif image_id not in tasks or task.id < tasks[image_id].id:
            tasks[image_id] = task
    report.tasks = len(tasks)
    report.skipped = sum(task.skipped > 0 for task in tasks.values())
    report.drafts = sum(task.has_draft for task in tasks.values())
    return {
        task.id: (task, photos[image_id])
        for image_id, task in tasks.items()
        if task.annotations and task.updated_at != journal.get(image_id).seen_at
    }


def _take(
    project: Project,
    annotations: Sequence[Mapping[str, Any]],
    task: RemoteTask,
    photo: Photo,
    journal: SyncJournal,
    choices: PullChoices,
    report: PullReport,
) -> None:
    entry = journal.get(photo.id)
    report.read += 1
    fresh = [
        one
        for one in annotations
        if not one.get("was_cancelled") and digest(one["result"]) not in _known(entry)
    ]
    if not fresh:
        journal.update(photo.id, task=task.id, seen_at=task.updated_at)
        return
    newest = max(fresh, key=lambda one: (str(one.get("updated_at", "")), one["id"]))
    if len(fresh) > 1:
        report.set_aside.append(f"{photo.file_name}: {len(fresh) - 1} older annotations")
    drawn, problems = objects_of(newest["result"], size_hw=(photo.height, photo.width))
    sides = Sides(
        ours=(),
        theirs=drawn,
        base=entry.base,
        answers=_answers(newest, drawn, entry.base, photo.id),
        annotation=int(newest["id"]),
    )
    merged, ids, decisions = _write(project, photo, sides, choices)
    _count(report, photo, merged, problems)
    is_whole = not problems and not any("no class" in text for text in merged.problems)
    bases = {number: one for number, one in entry.base.items() if one.is_proposal}
    journal.update(
        photo.id,
        task=task.id,
        base={**bases, **merged.base, **ids},
        # What could not be taken over is looked at again next time.
        seen_at=task.updated_at if is_whole else "",
        taken=digest(newest["result"]) if is_whole else entry.taken,
        curated=decisions if merged.is_agreed and is_whole else entry.curated,
    )


def _known(entry: Entry) -> Collection[str]:
    return {entry.annotation, entry.taken} - {""}


def _answers(
    annotation: Mapping[str, Any], drawn: Sequence[Drawn], base: Mapping[int, Base], image_id: int
) -> Answers:
    """Whether it was made from our proposals, and from our annotation.

    One that a person drew on an empty photo says nothing about what they never saw.
    """
    of_ours = [base[one.number] for one in drawn if one.number is not None and one.number in base]
    is_in_place = annotation.get("import_id") == image_id
    return Answers(
        proposals=annotation.get("parent_prediction") is not None
        or any(one.is_proposal for one in of_ours),
        decisions=is_in_place
        or annotation.get("parent_annotation") is not None
        or any(not one.is_proposal for one in of_ours),
    )


def _write(
    project: Project, photo: Photo, sides: Sides, choices: PullChoices
) -> tuple[Merge, dict[int, Base], str]:
    """Merge and record in one transaction; the bases of what is new, by its ids."""
    with project.write() as transaction:
        if choices.add_classes:
            for name in dict.fromkeys(name for one in sides.theirs for name in one.categories):
                transaction.add_category(name, actor=choices.actor)
        sides = replace(sides, ours=transaction.instances(photo.id))
        merged = merge(sides, prefer=choices.prefer, classes=set(transaction.category_ids()))
        rows = _rows(transaction, photo, merged)
        ids: dict[int, Base] = {}
        if rows:
            event = transaction.record(KIND, rows, actor=choices.actor, image_id=photo.id)
            new = [change.id for change in event.changes if change.before is None]
            for number, (_, base) in zip(new, merged.added, strict=True):
                assert number is not None
                ids[number] = base
        curated = [one for one in transaction.instances(photo.id) if one.status in CURATED]
    return merged, ids, contents.fingerprint(curated)


def _rows(transaction: Transaction, photo: Photo, merged: Merge) -> list[Change]:
    ids = transaction.category_ids()

    def row(instance: Instance) -> dict[str, Any]:
        return instance_row(instance, image_id=photo.id, category_ids=ids)

    changed = [
        Change("instance", one.id, transaction.row("instance", one.id), row(one))
        for one in merged.changed
    ]
    return [*changed, *(Change("instance", None, None, row(one)) for one, _ in merged.added)]


def _count(report: PullReport, photo: Photo, merged: Merge, problems: Sequence[str]) -> None:
    by_status = [one.status for one in merged.changed]
    report.photos += bool(merged.changed or merged.added)
    report.added += len(merged.added)
    report.accepted += by_status.count(Status.ACCEPTED)
    report.rejected += by_status.count(Status.REJECTED)
    report.changed += by_status.count(Status.EDITED) + by_status.count(Status.DRAWN)
    report.conflicts += [f"{photo.file_name}: {text}" for text in merged.conflicts]
    report.problems += [f"{photo.file_name}: {text}" for text in (*problems, *merged.problems)]

"""What people did in Label Studio, back into the project: one transaction a photo, undone as one.

Every annotation that changed since it was looked at last is listened to, object by object: see
`annotator.labelstudio.voices`. Pulling again takes nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from annotator.journal import Change
from annotator.labelstudio import contents
from annotator.labelstudio.journal import Base, Entry, Seen, SyncJournal
from annotator.labelstudio.locking import alone_with
from annotator.labelstudio.merging import Merge, Side, Sides, merge
from annotator.labelstudio.push import OnProgress
from annotator.labelstudio.remote import Remote, RemoteTask
from annotator.labelstudio.targets import find_target, journal_of
from annotator.labelstudio.voices import Heard, Known, ShownBy, Voice, hear
from annotator.store import Project, Transaction
from annotator.views import Photo, instance_row
from engine.errors import OptionError
from engine.types import CURATED, Instance, LabeledImage, Status
from exports.label_studio_read import key_of_region

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
    read: int = 0  # those that changed since the last pull, or have an open conflict
    photos: int = 0  # that changed here
    accepted: int = 0
    changed: int = 0
    added: int = 0
    rejected: int = 0  # taken away there
    skipped: int = 0  # tasks with a skipped annotation
    drafts: int = 0  # tasks with an annotation that nobody submitted
    foreign: int = 0  # tasks that are not of this project
    deleted: list[str] = field(default_factory=list)  # annotations that are gone there as a whole
    twice: list[str] = field(default_factory=list)  # photos with more than one task there
    set_aside: list[str] = field(default_factory=list)  # annotations that a newer one overrules
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
    """Take over what changed there; OptionError where nothing was ever pushed.

    JobError while another push or pull is under way.
    """
    with alone_with(project.folder, remote.client.url):
        key = contents.key_of(project)
        target = find_target(project, remote, key=key, title=choices.title)
        if target is None:
            raise OptionError(
                f"{remote.client.url} has no project called {choices.title!r}; send it there "
                "first (push), or give the title that it has there"
            )
        report = PullReport(url=remote.client.url, title=target.title)
        with project.read() as view:
            photos = {photo.id: photo for photo in view.photos()}
        with journal_of(project, remote, target, key=key, title=choices.title) as journal:
            waiting = _changed_tasks(remote, target.id, journal, photos, key, report)
            on_progress("reading", 0, len(waiting))
            for done, whole in enumerate(remote.whole_tasks(target.id, list(waiting)), start=1):
                task, photo = waiting[int(whole["id"])]
                taking = _Taking(project, photo, task, journal.get(photo.id), choices, report)
                journal.keep([taking.take(whole["annotations"], _shown_by(remote))])
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
            continue
        if image_id in tasks:
            report.twice.append(photos[image_id].file_name)
        if image_id not in tasks or task.id < tasks[image_id].id:
            tasks[image_id] = task
    report.tasks = len(tasks)
    report.skipped = sum(task.skipped > 0 for task in tasks.values())
    report.drafts = sum(task.has_draft for task in tasks.values())
    return {
        task.id: (task, photos[image_id])
        for image_id, task in tasks.items()
        if _is_changed(task, journal.get(image_id))
    }


def _is_changed(task: RemoteTask, entry: Entry) -> bool:
    """Whether its annotations may be other ones than those that were looked at last."""
    count = task.annotations + task.skipped
    if count < len(entry.seen):
        return True  # a deletion does not always move the time of the task
    return count > 0 and task.updated_at != entry.seen_at


def _shown_by(remote: Remote) -> ShownBy:
    """The objects of a prediction there; each is asked for once."""
    known: dict[int, frozenset[str] | None] = {}

    def shown_by(number: int) -> frozenset[str] | None:
        if number not in known:
            prediction = remote.prediction_or_none(number)
            regions = None if prediction is None else prediction.get("result") or ()
            known[number] = None if regions is None else frozenset(_keys(regions))
        return known[number]

    return shown_by


def _keys(regions: Iterable[Any]) -> Iterable[str]:
    return (key_of_region(str(one.get("id"))) for one in regions if isinstance(one, Mapping))


@dataclass(frozen=True)
class _Taking:
    """One photo on its way back."""

    project: Project
    photo: Photo
    task: RemoteTask
    entry: Entry
    choices: PullChoices
    report: PullReport

    def take(self, annotations: Sequence[Mapping[str, Any]], shown_by: ShownBy) -> Entry:
        """Take over what they say, and count it; what is known of the photo afterwards."""
        entry = self.entry.settled(annotations)
        self.report.read += 1
        numbers = {int(one["id"]) for one in annotations}
        for number in entry.seen.keys() - numbers:
            which = f"annotation {number}" if number else "the annotation that was sent from here"
            self.report.deleted.append(f"{self.photo.file_name}: {which}")
        alive = [one for one in annotations if not one.get("was_cancelled")]
        with self.project.read() as view:
            known = Known(
                entry=entry,
                ours=_by_id(view.instances(self.photo.id)),
                size_hw=(self.photo.height, self.photo.width),
                shown_by=shown_by,
            )
        heard = hear(alive, known)  # may ask the server, so the database is not locked meanwhile
        if heard.voices:
            entry = self._taken(heard, entry)
        kept = {number: one for number, one in entry.seen.items() if number in numbers}
        is_done = all(one.digest and not one.kept_here for one in kept.values())
        return replace(
            entry,
            task=self.task.id,
            seen=kept,
            # What could not be taken over, or is in conflict, is looked at again next time.
            seen_at=self.task.updated_at if is_done else "",
            taken="",
        )

    def _taken(self, heard: Heard, entry: Entry) -> Entry:
        """Take over what there is to hear."""
        merged, new, after = self._merge(heard, entry.base)
        self._count(heard, merged)
        base = {number: one for number, one in entry.base.items() if number not in merged.gone}
        base |= merged.base | new
        curated = [one for one in after if one.status in CURATED]
        is_same = self._all_stand(curated, base)
        return replace(
            entry,
            base=base,
            seen={**entry.seen, **_seen(heard, merged, new)},
            curated=contents.fingerprint(curated) if is_same else entry.curated,
        )

    def _merge(
        self, heard: Heard, base: Mapping[int, Base]
    ) -> tuple[Merge, dict[int, Base], list[Instance]]:
        """In one transaction; also the bases of what is new, and the photo as it is then."""
        with self.project.write() as transaction:
            if self.choices.add_classes:
                self._add_classes(transaction, heard)
            ours = _by_id(transaction.instances(self.photo.id))
            sides = Sides(ours=ours, theirs=heard.said, base=base)
            classes = transaction.category_ids()
            merged = merge(sides, prefer=self.choices.prefer, classes=classes)
            new = self._write(transaction, merged)
            return merged, new, transaction.instances(self.photo.id)

    def _add_classes(self, transaction: Transaction, heard: Heard) -> None:
        names = [name for one in heard.said if one.drawn for name in one.drawn.categories]
        for name in dict.fromkeys(names):
            transaction.add_category(name, actor=self.choices.actor)

    def _write(self, transaction: Transaction, merged: Merge) -> dict[int, Base]:
        """Record what changes here as one event; the bases of what is new, by its ids."""
        ids = transaction.category_ids()

        def row(instance: Instance) -> dict[str, Any]:
            return instance_row(instance, image_id=self.photo.id, category_ids=ids)

        rows = [
            Change("instance", one.id, transaction.row("instance", one.id), row(one))
            for one in merged.changed
        ]
        rows += [Change("instance", None, None, row(one)) for one, _ in merged.added]
        if not rows:
            return {}
        actor, image_id = self.choices.actor, self.photo.id
        event = transaction.record(KIND, rows, actor=actor, image_id=image_id)
        new = [change.id for change in event.changes if change.before is None]
        bases = [base for _, base in merged.added]
        return {number: base for number, base in zip(new, bases, strict=True) if number is not None}

    def _all_stand(self, curated: Sequence[Instance], base: Mapping[int, Base]) -> bool:
        """Whether there and here the same decisions stand."""
        photo = self.photo
        image = LabeledImage(
            id=photo.id, file_name=photo.file_name, width=photo.width, height=photo.height
        )
        decided = {number for number, one in base.items() if not one.is_proposal}
        return decided == {one.id for one in curated} and all(
            contents.stands(one, base[one.id], image) for one in curated if one.id is not None
        )

    def _count(self, heard: Heard, merged: Merge) -> None:
        report, name = self.report, self.photo.file_name
        by_status = [one.status for one in merged.changed]
        report.photos += bool(merged.changed or merged.added)
        report.added += len(merged.added)
        report.accepted += by_status.count(Status.ACCEPTED)
        report.rejected += by_status.count(Status.REJECTED)
        report.changed += by_status.count(Status.EDITED) + by_status.count(Status.DRAWN)
        if heard.outvoted:
            report.set_aside.append(f"{name}: {len(heard.outvoted)} older annotations")
        report.conflicts += [f"{name}: {text}" for text in (*heard.conflicts, *merged.conflicts)]
        unread = [text for voice in heard.voices if voice.is_fresh for text in voice.problems]
        report.problems += [f"{name}: {text}" for text in (*unread, *merged.problems)]


def _by_id(instances: Iterable[Instance]) -> dict[int, Instance]:
    return {one.id: one for one in instances if one.id is not None}


def _seen(heard: Heard, merged: Merge, new: Mapping[int, Base]) -> dict[int, Seen]:
    """The annotations as they have been looked at now."""
    numbers = {base.key: number for number, base in new.items()}
    left = {(one.annotation, one.drawn.key) for one in merged.left if one.drawn is not None}
    seen = {}
    for voice in heard.voices:
        is_left = {key for number, key in left if number == voice.number} | voice.unread
        kept_here = {
            one.number: one.print
            for one in merged.kept_here
            if one.annotation == voice.number and one.number is not None
        }
        seen[voice.number] = Seen(
            digest="" if is_left else voice.digest,
            holds=_holds(voice, is_left, {**numbers, **voice.numbers}),
            kept_here=kept_here,
        )
    return seen


def _holds(voice: Voice, is_left: set[str], numbers: Mapping[str, int]) -> dict[int, str]:
    before = {} if voice.before is None else voice.before.holds
    holds = {number: before[number] for number in voice.held if number in before}
    for drawn in voice.objects:
        number = numbers.get(drawn.key)
        if number is not None and drawn.key not in is_left:
            holds[number] = contents.print_of(drawn)
    return holds

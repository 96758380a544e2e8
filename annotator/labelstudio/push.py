"""A project to Label Studio: plan, check everything, send what is new or changed, write it down.

Sending again sends nothing twice: tasks are known by their ``ext_id``, and a batch is all there or
not at all. What a person did there is never overwritten and never deleted; proposals there that
we made are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from annotator.labelstudio import contents
from annotator.labelstudio.addresses import UPLOADED, PhotoSource
from annotator.labelstudio.client import LabelStudioError, NoAnswer
from annotator.labelstudio.journal import FIRST, Entry, Seen, SyncJournal
from annotator.labelstudio.locking import alone_with
from annotator.labelstudio.packing import Pack, Packed
from annotator.labelstudio.planning import Plan, made_plan, new_data
from annotator.labelstudio.reconciling import Meant, Outcome, reconcile
from annotator.labelstudio.remote import Remote, RemoteProject, checked_title
from annotator.labelstudio.targets import journal_of
from annotator.store import Project
from engine.types import CURATED
from exports.choices import Selection
from exports.contents import Loss
from exports.label_studio import LabelStudioOptions
from exports.label_studio_check import LabelCheck

OnProgress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""

SETTLE_LOOKS = 20  # after a broken request: until the server has made up its mind
SETTLE_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class PushReport:
    """What a push did."""

    url: str
    remote_project: int
    title: str
    made: bool  # the project there is new
    config_added: tuple[str, ...]  # controls and labels that the label config lacked
    photos: int
    sent: int  # new tasks
    updated: int
    unchanged: int
    waiting: tuple[str, ...]  # photos that a person annotated there meanwhile: pull first
    twice: tuple[str, ...]  # photos that have more than one task there
    left_out: tuple[str, ...]  # photos that the server could not show, and why
    losses: tuple[Loss, ...]
    unclassed: int

    @property
    def is_complete(self) -> bool:
        """Whether all that was chosen is there."""
        return not (self.waiting or self.left_out or self.losses or self.unclassed)


@dataclass(frozen=True, kw_only=True)
class PushChoices:
    """What to send where."""

    title: str
    options: LabelStudioOptions = field(default_factory=LabelStudioOptions)
    settle_seconds: float = SETTLE_SECONDS  # between two looks after a broken request


def push(
    project: Project,
    remote: Remote,
    selection: Selection,
    choices: PushChoices,
    source: PhotoSource,
    *,
    on_progress: OnProgress = lambda what, done, total: None,
) -> PushReport:
    """Bring the project there in step with the selection.

    LabelStudioError, NoAnswer and other AnnotatorErrors stop it; what was sent by then is written
    down, and the same call goes on from there. Wrong data stops it before anything is sent.
    JobError while another push or pull is under way.
    """
    title = choices.title
    with alone_with(project.folder, remote.client.url):
        plan = made_plan(project, remote, selection, choices.options, source, title=title)
        with Pack(plan.key, plan.choices, LabelCheck(plan.config.xml)) as pack:
            _check(plan, pack, on_progress)
            target = _prepare(remote, plan, choices)
            source.prepare(remote, target.id, [plan.photos[number] for number in plan.images])
            with journal_of(project, remote, target, key=plan.key, title=title) as journal:
                sender = _Sender(
                    project, remote, target.id, plan, journal, source, choices, on_progress
                )
                sender.send_new(pack)
                outcomes = sender.send_changed()
    return _report(remote, selection, plan, target, outcomes)


def _report(
    remote: Remote,
    selection: Selection,
    plan: Plan,
    target: RemoteProject,
    outcomes: Mapping[int, Outcome],
) -> PushReport:
    updated = sum(one.did_something for one in outcomes.values())
    waiting = [plan.images[number].file_name for number, one in outcomes.items() if one.is_waiting]
    return PushReport(
        url=remote.client.url,
        remote_project=target.id,
        title=target.title,
        made=plan.target is None,
        config_added=() if plan.target is None else plan.config.added,
        photos=len(plan.images),
        sent=len(plan.new),
        updated=updated,
        unchanged=len(plan.images)
        - len(plan.new)
        - sum(one.did_something or one.is_waiting for one in outcomes.values()),
        waiting=tuple(waiting),
        twice=tuple(plan.twice),
        left_out=tuple(plan.left_out),
        losses=plan.losses,
        unclassed=selection.unclassed,
    )


# -- sending -------------------------------------------------------------------------------------


def _check(plan: Plan, pack: Pack, on_progress: OnProgress) -> None:
    """Make and check all that may be sent; FormatError where Label Studio would choke on it."""
    total = len(plan.new) + len(plan.changed)
    for done, image_id in enumerate(plan.new):
        on_progress("checking", done, total)
        pack.add(plan.images[image_id])
    for done, image_id in enumerate(plan.changed, start=len(plan.new)):
        on_progress("checking", done, total)
        pack.check(plan.images[image_id])


def _prepare(remote: Remote, plan: Plan, choices: PushChoices) -> RemoteProject:
    target = plan.target
    if target is None:
        target = remote.create_project(checked_title(choices.title), plan.config.xml)
    elif plan.config.added:
        remote.set_config(target.id, plan.config.xml)
    remote.ensure_view(target.id)
    return target


@dataclass(frozen=True)
class _Sender:
    project: Project
    remote: Remote
    number: int  # of the project there
    plan: Plan
    journal: SyncJournal
    source: PhotoSource
    settings: PushChoices
    on_progress: OnProgress

    def send_new(self, pack: Pack) -> None:
        """Batch by batch: the photos, then their tasks, then a note of it."""
        done, total = 0, len(pack.packed)
        for batch in pack.batches():
            addresses: dict[int, str] = {}
            for part in self._addresses([one.image_id for one in batch]):
                # Also where nothing more is done yet: this is where a person may stop it.
                self.on_progress("sending", done, total)
                addresses.update(part)
            ready = [one for one in batch if one.image_id in addresses]
            if ready:
                tasks = self._import(ready, pack.body(ready, addresses))
                self.journal.keep(
                    self._entry(one, task) for one, task in zip(ready, tasks, strict=True)
                )
            done += len(batch)
        self.on_progress("sending", done, total)

    def send_changed(self) -> dict[int, Outcome]:
        """Task by task: look at what is there, change what is ours."""
        outcomes = {}
        for done, image_id in enumerate(self.plan.changed):
            self.on_progress("updating", done, len(self.plan.changed))
            image, task = self.plan.images[image_id], self.plan.there[image_id]
            fresh = new_data(self.plan, image, self.source)
            if fresh is not None:
                self.remote.set_data(task.id, fresh)
            with self.project.read() as view:
                here = view.instances(image_id)
            meant = Meant(
                remote_project=self.number,
                task=task.id,
                image=image,
                prints=self.plan.prints[image_id],
                choices=self.plan.choices,
                decided=frozenset(
                    one.id for one in here if one.id is not None and one.status in CURATED
                ),
            )
            outcome = reconcile(self.remote, meant, self.journal.get(image_id))
            outcomes[image_id] = outcome.with_data(fresh is not None)
            self.journal.keep([outcome.entry])
        return outcomes

    def _addresses(self, numbers: Sequence[int]) -> Iterator[Mapping[int, str]]:
        """Those that are known, then the others, each noted as soon as it is."""
        known: dict[int, str] = {}
        left = []
        for number in numbers:
            photo = self.plan.photos[number]
            address, uploaded = self.source.address(photo), self.journal.get(number).address
            if address is None and uploaded.startswith(UPLOADED):
                address = uploaded  # before a break
            if address is None:
                left.append(photo)
            else:
                known[number] = address
        yield known
        for part in self.source.send(self.remote, self.number, left) if left else ():
            self.journal.keep(
                replace(self.journal.get(image_id), address=address)
                for image_id, address in part.addresses.items()
            )
            for number, problem in part.problems.items():
                self.plan.leave_out(number, problem)
            yield part.addresses

    def _import(self, batch: Sequence[Packed], body: bytes) -> list[int]:
        try:
            return self.remote.import_tasks(self.number, body, count=len(batch))
        except NoAnswer as error:
            found = self._settled([one.ext_id for one in batch])
            if len(found) < len(batch):
                raise LabelStudioError(
                    f"{error}; {len(found)} of the {len(batch)} photos on their way have arrived: "
                    "the same command goes on from there"
                ) from error
            return [found[one.ext_id][0] for one in batch]

    def _settled(self, ext_ids: Sequence[str]) -> dict[str, list[int]]:
        """What has arrived, once that no longer changes: the server finishes what it began."""
        found: dict[str, list[int]] = {}
        for _ in self._looks():
            before, found = found, self.remote.task_ids(self.number, ext_ids)
            if len(found) == len(ext_ids) or (found and found == before):
                break
        return found

    def _looks(self) -> Iterator[int]:
        for look in range(SETTLE_LOOKS):
            time.sleep(self.settings.settle_seconds if look else 0.0)
            yield look

    def _entry(self, one: Packed, task: int) -> Entry:
        image, choices = self.plan.images[one.image_id], self.plan.choices
        known = self.journal.get(one.image_id)
        held = {each.id: "" for each in contents.decisions(image) if each.id is not None}
        return Entry(
            image_id=one.image_id,
            task=task,
            address=known.address,
            proposed=self.plan.prints[one.image_id].proposed,
            curated=self.plan.prints[one.image_id].curated,
            made_with=contents.made_with(choices),
            annotation=one.annotation,
            seen={FIRST: Seen(digest=one.annotation, holds=held)} if one.annotation else {},
            base={
                instance.id: contents.base_of(instance, image, choices)
                for instance in image.instances
                if instance.id is not None
            },
        )

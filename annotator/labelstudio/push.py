"""A project to Label Studio: plan, check everything, send what is new or changed, write it down.

Sending again sends nothing twice: tasks are known by their ``ext_id``, and a batch is all there or
not at all. What a person did there is never overwritten and never deleted; proposals there that
we made are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from annotator.labelstudio import contents
from annotator.labelstudio.addresses import PhotoSource
from annotator.labelstudio.client import LabelStudioError, Missing, NoAnswer
from annotator.labelstudio.journal import Entry, SyncJournal, known_projects
from annotator.labelstudio.packing import Pack, Packed
from annotator.labelstudio.reconciling import Meant, Outcome, reconcile
from annotator.labelstudio.remote import Remote, RemoteProject, RemoteTask, checked_title
from annotator.store import Project
from annotator.views import Photo
from engine.errors import OptionError
from engine.types import LabeledImage
from exports.choices import Selection
from exports.contents import Loss
from exports.label_studio import LabelStudioOptions, TaskChoices, task_data
from exports.label_studio_check import LabelCheck
from exports.label_studio_config import FittedConfig, fitted_config, label_config
from exports.label_studio_files import hold_label_studio

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


@dataclass(kw_only=True)
class _Plan:
    """What there is to do; nothing of it has been done."""

    target: RemoteProject | None
    config: FittedConfig
    choices: TaskChoices
    images: dict[int, LabeledImage]  # as the format holds them
    prints: dict[int, contents.Prints]  # as they are here
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    there: dict[int, RemoteTask] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


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
    """
    key = contents.key_of(project)
    held = hold_label_studio(selection.images, choices.options)
    target = find_target(project, remote, key=key, title=choices.title)
    config = _config(target, selection, choices)
    plan = _Plan(
        target=target,
        config=config,
        choices=TaskChoices(choices.options, config.controls),
        images={image.id: image for image in held.images},
        prints={image.id: contents.prints_of(image) for image in selection.images},
    )
    with project.read() as view:
        photos = {photo.id: photo for photo in view.photos()}
    _leave_out(plan, photos, source)
    _sort(project, remote, plan, key=key, title=choices.title)
    with Pack(key, plan.choices, LabelCheck(config.xml)) as pack:
        for done, image_id in enumerate(plan.new):
            on_progress("checking", done, len(plan.new))
            pack.add(plan.images[image_id])
        target = _prepare(remote, plan, choices)
        source.prepare(remote, target.id)
        with journal_of(project, remote, target, key=key, title=choices.title) as journal:
            sender = _Sender(remote, target.id, plan, journal, source, choices, on_progress)
            sender.send_new(pack, photos)
            outcomes = sender.send_changed()
    return _report(remote, selection, plan, target, outcomes, held.losses)


def _report(
    remote: Remote,
    selection: Selection,
    plan: _Plan,
    target: RemoteProject,
    outcomes: Mapping[int, Outcome],
    losses: tuple[Loss, ...],
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
        unchanged=len(plan.images) - len(plan.new) - updated - len(waiting),
        waiting=tuple(waiting),
        twice=tuple(plan.twice),
        left_out=tuple(plan.left_out),
        losses=losses,
        unclassed=selection.unclassed,
    )


# -- planning ------------------------------------------------------------------------------------


def find_target(project: Project, remote: Remote, *, key: str, title: str) -> RemoteProject | None:
    """The project there: the one that was pushed to under this title, else one called so.

    OptionError where several could be meant.
    """
    title = checked_title(title)
    for number in known_projects(project.folder, url=remote.client.url, project=key, title=title):
        try:
            return remote.project(number)
        except Missing:
            continue  # deleted there
    found = remote.projects(title)
    if len(found) > 1:
        numbers = ", ".join(str(one.id) for one in found)
        raise OptionError(
            f"{remote.client.url} has {len(found)} projects called {title!r} (numbers {numbers}); "
            "rename all but one, or give the title of another"
        )
    return found[0] if found else None


def _config(
    target: RemoteProject | None, selection: Selection, choices: PushChoices
) -> FittedConfig:
    if not selection.classes:
        raise OptionError("the project has no classes yet, so there is nothing to label with")
    kinds, colours = choices.options.kinds, contents.colours_of(selection.categories)
    if target is None or target.label_config.strip() in ("", "<View></View>", "<View/>"):
        xml = label_config(selection.classes, kinds, colours=colours)
        return FittedConfig(xml, fitted_config(xml, selection.classes, kinds).controls, ("all",))
    return fitted_config(target.label_config, selection.classes, kinds, colours=colours)


def _leave_out(plan: _Plan, photos: Mapping[int, Photo], source: PhotoSource) -> None:
    """Photos that could not be shown there stay here, and are told."""
    for image_id, image in list(plan.images.items()):
        problem = source.problem(photos[image_id])
        if problem is not None:
            plan.left_out.append(f"{image.file_name}: {problem}")
            del plan.images[image_id]


def _sort(project: Project, remote: Remote, plan: _Plan, *, key: str, title: str) -> None:
    """What is new there, and what has changed since it was sent."""
    if plan.target is None:
        plan.new = list(plan.images)
        return
    for task in remote.tasks(plan.target.id):
        image_id = contents.image_id_of(key, task.ext_id)
        if image_id is None:
            continue
        known = plan.there.get(image_id)
        if known is not None and image_id in plan.images:
            plan.twice.append(plan.images[image_id].file_name)
        if known is None or task.id < known.id:
            plan.there[image_id] = task
    with journal_of(project, remote, plan.target, key=key, title=title) as journal:
        for image_id, image in plan.images.items():
            if image_id not in plan.there:
                plan.new.append(image_id)
            elif _is_changed(plan, image, journal.get(image_id)):
                plan.changed.append(image_id)


def journal_of(
    project: Project, remote: Remote, target: RemoteProject, *, key: str, title: str
) -> SyncJournal:
    """What is known of this project there; use it as a context."""
    return SyncJournal(
        project.folder,
        url=remote.client.url,
        project=key,
        remote_project=target.id,
        title=checked_title(title),
    )


def _is_changed(plan: _Plan, image: LabeledImage, entry: Entry) -> bool:
    task = plan.there[image.id]
    return (
        entry.task != task.id
        or entry.made_with != contents.made_with(plan.choices)
        or contents.Prints(entry.proposed, entry.curated) != plan.prints[image.id]
        or _new_data(plan, image) is not None
    )


def _new_data(plan: _Plan, image: LabeledImage) -> dict[str, Any] | None:
    """The data of the task with what has changed here; None where nothing has."""
    task, value = plan.there[image.id], plan.choices.controls.value
    address = str(task.data.get(value, ""))
    fresh = {
        **task.data,
        **task_data(image, address=address, ext_id=task.ext_id, value=value),
    }
    return fresh if fresh != task.data else None


# -- sending -------------------------------------------------------------------------------------


def _prepare(remote: Remote, plan: _Plan, choices: PushChoices) -> RemoteProject:
    target = plan.target
    if target is None:
        target = remote.create_project(checked_title(choices.title), plan.config.xml)
    elif plan.config.added:
        remote.set_config(target.id, plan.config.xml)
    remote.ensure_view(target.id)
    return target


@dataclass(frozen=True)
class _Sender:
    remote: Remote
    number: int  # of the project there
    plan: _Plan
    journal: SyncJournal
    source: PhotoSource
    settings: PushChoices
    on_progress: OnProgress

    def send_new(self, pack: Pack, photos: Mapping[int, Photo]) -> None:
        """Batch by batch: the photos, then their tasks, then a note of it."""
        done, total = 0, len(pack.packed)
        for batch in pack.batches():
            addresses: dict[int, str] = {}
            for part in self._addresses([photos[one.image_id] for one in batch]):
                # Also where nothing more is done yet: this is where a person may stop it.
                self.on_progress("sending", done, total)
                addresses.update(part)
            tasks = self._import(batch, pack.body(batch, addresses))
            self.journal.keep(
                self._entry(one, task) for one, task in zip(batch, tasks, strict=True)
            )
            done += len(batch)
        self.on_progress("sending", done, total)

    def send_changed(self) -> dict[int, Outcome]:
        """Task by task: look at what is there, change what is ours."""
        outcomes = {}
        for done, image_id in enumerate(self.plan.changed):
            self.on_progress("updating", done, len(self.plan.changed))
            image, task = self.plan.images[image_id], self.plan.there[image_id]
            fresh = _new_data(self.plan, image)
            if fresh is not None:
                self.remote.set_data(task.id, fresh)
            entry = self.journal.get(image_id)
            outcome = reconcile(
                self.remote,
                Meant(self.number, task.id, image, self.plan.prints[image_id], self.plan.choices),
                entry,
            )
            outcomes[image_id] = outcome.with_data(fresh is not None)
            self.journal.keep([outcome.entry])
        return outcomes

    def _addresses(self, photos: Sequence[Photo]) -> Iterator[Mapping[int, str]]:
        """Those from before a break, then the others, each noted as soon as it is known."""
        known = {photo.id: self.journal.get(photo.id).address for photo in photos}
        yield {image_id: address for image_id, address in known.items() if address}
        left = [photo for photo in photos if not known[photo.id]]
        for part in self.source.addresses(self.remote, self.number, left) if left else ():
            self.journal.keep(
                replace(self.journal.get(image_id), address=address)
                for image_id, address in part.items()
            )
            yield part

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
        return Entry(
            image_id=one.image_id,
            task=task,
            address=known.address,
            proposed=self.plan.prints[one.image_id].proposed,
            curated=self.plan.prints[one.image_id].curated,
            made_with=contents.made_with(choices),
            annotation=one.annotation,
            base={
                instance.id: contents.base_of(instance, image, choices)
                for instance in image.instances
                if instance.id is not None
            },
        )

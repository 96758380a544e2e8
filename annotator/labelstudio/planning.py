"""What a push has to do, found out before anything is sent: what is new there, what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotator.labelstudio import contents
from annotator.labelstudio.addresses import PhotoSource
from annotator.labelstudio.journal import Entry
from annotator.labelstudio.remote import Remote, RemoteProject, RemoteTask
from annotator.labelstudio.targets import find_target, journal_of
from annotator.store import Project
from annotator.views import Photo
from engine.errors import OptionError
from engine.types import LabeledImage
from exports.choices import Selection
from exports.contents import Loss
from exports.label_studio import LabelStudioOptions, TaskChoices, task_data
from exports.label_studio_config import FittedConfig, fitted_config, label_config
from exports.label_studio_files import hold_label_studio


@dataclass(kw_only=True)
class Plan:
    """What there is to do; nothing of it has been done."""

    key: str  # of our project, for the ``ext_id`` of its tasks
    target: RemoteProject | None
    config: FittedConfig
    choices: TaskChoices
    photos: Mapping[int, Photo]
    images: dict[int, LabeledImage]  # as the format holds them
    prints: dict[int, contents.Prints]  # as they are here
    losses: tuple[Loss, ...]
    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    there: dict[int, RemoteTask] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, image_id: int, problem: str) -> None:
        """Do without a photo that could not be shown there, and tell."""
        self.left_out.append(f"{self.images.pop(image_id).file_name}: {problem}")
        self.new = [number for number in self.new if number != image_id]


def made_plan(
    project: Project,
    remote: Remote,
    selection: Selection,
    options: LabelStudioOptions,
    source: PhotoSource,
    *,
    title: str,
) -> Plan:
    """Compare the selection with what stands there. OptionError and FormatError for wrong data."""
    key = contents.key_of(project)
    held = hold_label_studio(selection.images, options)
    target = find_target(project, remote, key=key, title=title)
    config = _config(target, selection, options)
    with project.read() as view:
        photos = {photo.id: photo for photo in view.photos()}
    plan = Plan(
        key=key,
        target=target,
        config=config,
        choices=TaskChoices(options, config.controls),
        photos=photos,
        images={image.id: image for image in held.images},
        prints={image.id: contents.prints_of(image) for image in selection.images},
        losses=held.losses,
    )
    _leave_out(plan, source)
    _sort(project, remote, plan, source, title=title)
    return plan


def new_data(plan: Plan, image: LabeledImage, source: PhotoSource) -> dict[str, Any] | None:
    """The data of the task with what has changed here; None where nothing has."""
    task, value = plan.there[image.id], plan.choices.controls.value
    address = source.address(plan.photos[image.id]) or str(task.data.get(value, ""))
    fresh = {
        **task.data,
        **task_data(image, address=address, ext_id=task.ext_id, value=value),
    }
    return fresh if fresh != task.data else None


def _config(
    target: RemoteProject | None, selection: Selection, options: LabelStudioOptions
) -> FittedConfig:
    if not selection.classes:
        raise OptionError("the project has no classes yet, so there is nothing to label with")
    kinds, colours = options.kinds, contents.colours_of(selection.categories)
    if target is None or target.label_config.strip() in ("", "<View></View>", "<View/>"):
        xml = label_config(selection.classes, kinds, colours=colours)
        return FittedConfig(xml, fitted_config(xml, selection.classes, kinds).controls, ("all",))
    return fitted_config(target.label_config, selection.classes, kinds, colours=colours)


def _leave_out(plan: Plan, source: PhotoSource) -> None:
    """Photos that could not be shown there stay here, and are told."""
    for image_id in list(plan.images):
        problem = source.problem(plan.photos[image_id])
        if problem is not None:
            plan.leave_out(image_id, problem)


def _sort(project: Project, remote: Remote, plan: Plan, source: PhotoSource, *, title: str) -> None:
    """What is new there, and what has changed since it was sent."""
    if plan.target is None:
        plan.new = list(plan.images)
        return
    for task in remote.tasks(plan.target.id):
        image_id = contents.image_id_of(plan.key, task.ext_id)
        if image_id is None:
            continue
        known = plan.there.get(image_id)
        if known is not None and image_id in plan.images:
            plan.twice.append(plan.images[image_id].file_name)
        if known is None or task.id < known.id:
            plan.there[image_id] = task
    with journal_of(project, remote, plan.target, key=plan.key, title=title) as journal:
        for image_id, image in plan.images.items():
            if image_id not in plan.there:
                plan.new.append(image_id)
            elif _is_changed(plan, image, journal.get(image_id), source):
                plan.changed.append(image_id)


def _is_changed(plan: Plan, image: LabeledImage, entry: Entry, source: PhotoSource) -> bool:
    task = plan.there[image.id]
    return (
        entry.task != task.id
        or entry.made_with != contents.made_with(plan.choices)
        or contents.Prints(entry.proposed, entry.curated) != plan.prints[image.id]
        or new_data(plan, image, source) is not None
    )

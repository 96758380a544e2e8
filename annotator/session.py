"""What a person can do to a photo, as calls: each reads, asks the segmenter, writes one event.

The segmenter works outside the transaction; the write then insists on the revision that the person
saw, so a slow mask can never overwrite what somebody did meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annotator import alternatives, evidence, qa, review, shaping
from annotator.assist import Assistant
from annotator.journal import REDO, UNDO, Change, Event
from annotator.shaping import Shape
from annotator.store import Project, Transaction
from annotator.views import Photo, instance_row
from engine.errors import FormatError, OptionError, ReviewError
from engine.types import Box, Instance, Mask, RankedMask, Rle, Status
from exports.runs import checked_rle

CHOOSE = "choose mask"
BY_HAND = frozenset({"click", "brush", "erase", CHOOSE})  # actions that shape a mask


@dataclass(frozen=True)
class Context:
    """Who acts on what they saw: the photo, its revision then, and the caller's id of the action.

    ``base_revision`` None means whatever is there now, for scripts that do not show anything.
    """

    image_id: int
    actor: str
    base_revision: int | None = None
    operation: str | None = None


class ReviewSession:
    """The actions of review on one project; each returns the id of the instance it ends on."""

    def __init__(self, project: Project, assistant: Assistant) -> None:
        self.project = project
        self.assistant = assistant

    # -- decisions ---------------------------------------------------------------------------

    def set_status(self, context: Context, instance_id: int, status: Status) -> int:
        """Accept, reject or reopen one instance."""
        rules = {
            Status.ACCEPTED: ("accept", review.accept),
            Status.REJECTED: ("reject", review.reject),
            Status.PROPOSED: ("reopen", review.reopen),
        }
        if status not in rules:
            raise OptionError(
                f"status '{status}' cannot be set: use accepted, rejected or proposed"
            )
        kind, rule = rules[status]
        return self._change(context, kind, instance_id, rule)

    def accept_all(self, context: Context, *, min_score: float = 0.0) -> int:
        """Accept every proposal of the photo that has a class and at least this score; how many."""
        with self.project.write() as transaction:
            _require_seen(transaction, context)
            accepted = [
                review.accept(instance)
                for instance in transaction.instances(context.image_id)
                if instance.status is Status.PROPOSED
                and instance.category is not None
                and (instance.score is None or instance.score >= min_score)
            ]
            if not accepted:
                raise ReviewError("nothing on this photo that has a class waits for a decision")
            changes = _rows_changed(transaction, context, accepted)
            _write(transaction, context, "accept all", changes)
        return len(accepted)

    def set_class(self, context: Context, instance_id: int, category: str) -> int:
        """Give an instance another class of the project."""
        return self._change(
            context, "change class", instance_id, lambda one: review.set_class(one, category)
        )

    def delete(self, context: Context, instance_id: int) -> None:
        """Take an instance away; undo brings it back under the same id."""
        with self.project.write() as transaction:
            _require_seen(transaction, context)
            transaction.instance(context.image_id, instance_id)
            row = transaction.row("instance", instance_id)
            change = Change("instance", instance_id, row, None)
            _write(transaction, context, "delete", [change])

    def confirm(self, context: Context, *, subject: str, state: str) -> None:
        """Say that what the findings are about is right as it is; see `annotator.qa`."""
        with self.project.write() as transaction:
            qa.confirm(
                transaction,
                context.image_id,
                subject=subject,
                state=state,
                actor=context.actor,
                base_revision=context.base_revision,
                operation=context.operation,
            )

    def set_tag(self, context: Context, category: str, *, is_on: bool) -> None:
        """Give the photo a tag, or take it away; one of the project's classes."""
        with self.project.write() as transaction:
            _require_seen(transaction, context)
            change = transaction.tag_change(context.image_id, category, is_on=is_on)
            if change is not None:
                _write(transaction, context, "tag" if is_on else "remove tag", [change])

    # -- shapes ------------------------------------------------------------------------------

    def set_box(self, context: Context, instance_id: int, box: Box) -> int:
        """Drag the box of an instance; its mask follows."""
        context, photo, instance = self._look_at(context, instance_id)
        box = shaping.clipped(box, width=photo.width, height=photo.height)
        if box == instance.box:
            return instance_id
        with self.project.read() as view:
            is_by_hand = not BY_HAND.isdisjoint(view.kinds_of(photo.id, instance_id))
        shape = shaping.kept_in_box(instance, box, is_by_hand=is_by_hand)
        if shape is None:
            with self.assistant.on(self.project, photo) as segmenter:
                shape = shaping.from_box(segmenter, box)
        return self._reshape(context, "move box", instance, shape)

    def add_box(self, context: Context, *, category: str | None, box: Box) -> int:
        """Draw a new object by its box; the segmenter proposes the mask."""
        context, photo, _ = self._look(context, None)
        box = shaping.clipped(box, width=photo.width, height=photo.height)
        with self.assistant.on(self.project, photo) as segmenter:
            shape = shaping.from_box(segmenter, box)
        return self._draw(context, "draw box", category, shape)

    def click(
        self,
        context: Context,
        instance_id: int | None,
        point: tuple[float, float, int],
        *,
        category: str | None = None,
    ) -> int:
        """Refine a mask by a click inside (1) or outside (0), or begin a new object with one."""
        context, photo, instance = self._look(context, instance_id)
        if not (0 <= point[0] < photo.width and 0 <= point[1] < photo.height):
            raise ReviewError(f"the click at {point[:2]} lies outside the photo")
        if instance is None and point[2] != 1:
            raise ReviewError("select an object before clicking what does not belong to it")
        with self.assistant.on(self.project, photo) as segmenter:
            shape = shaping.clicked(segmenter, instance, point)
        if instance is None:
            return self._draw(context, "click", category, shape)
        return self._reshape(context, "click", instance, shape)

    def brush(
        self,
        context: Context,
        instance_id: int | None,
        *,
        mode: str,
        radius: float,
        path: Sequence[tuple[float, float]],
        category: str | None = None,
    ) -> int:
        """Paint onto or erase from a mask, or begin a new object with a stroke."""
        context, photo, instance = self._look(context, instance_id)
        if mode not in ("add", "erase"):
            raise OptionError(f"brush mode '{mode}' is unknown: use add or erase")
        if instance is None and mode == "erase":
            raise ReviewError("select an object before erasing from it")
        start = _mask(instance, photo)
        points = () if instance is None else instance.points
        shape = shaping.brushed(start, mode=mode, radius=radius, path=path, points=points)
        kind = "brush" if mode == "add" else "erase"
        if instance is None:
            return self._draw(context, kind, category, shape)
        return self._reshape(context, kind, instance, shape)

    def clear_points(self, context: Context, instance_id: int) -> int:
        """Forget the clicks of an instance; the mask stays and later clicks start from it."""
        return self._change(
            context, "clear clicks", instance_id, lambda one: replace(one, points=())
        )

    # -- other masks -------------------------------------------------------------------------

    def alternatives(self, image_id: int, instance_id: int) -> list[RankedMask]:
        """Other masks that may be meant by an instance, best first; changes nothing.

        What the segmenter itself has to offer for the click or the box that began the object goes
        first, then the candidates that the newest run left. Where these give nothing, everything
        that the segmenter finds on the photo is looked through; ReviewError where that would take
        a minute, PhotoError where the photo is needed and gone.
        """
        with self.project.read() as view:
            photo, instance = view.photo(image_id), view.instance(image_id, instance_id)
            kept = evidence.candidates(view, photo)
        own = self._own_candidates(photo, instance)
        near = alternatives.about_the_same(instance, kept)
        found = alternatives.different([*own, *near], present=instance.rle)
        if kept and found:
            return found[: alternatives.LONGEST]
        gallery = self.assistant.gallery(self.project, photo)
        if gallery is None and not kept and not found:
            raise ReviewError(
                "no run has left other masks for this photo, and looking for some would take this "
                "segmenter a minute; propose for it again (Projects), or click the object (P)"
            )
        if gallery is not None:
            everything = alternatives.of_gallery(instance, gallery)
            near = alternatives.about_the_same(instance, [*kept, *everything])
            found = alternatives.different([*own, *near], present=instance.rle)
        return found[: alternatives.LONGEST]

    def _own_candidates(self, photo: Photo, instance: Instance) -> list[RankedMask]:
        prompts = alternatives.own_prompts(instance)
        if prompts is None:
            return []
        with self.assistant.on(self.project, photo) as segmenter:
            return shaping.answers(segmenter, prompts)

    def choose(self, context: Context, instance_id: int, chosen: Mapping[str, Any] | None) -> int:
        """Give an instance one of its `alternatives`, as COCO RLE; its box follows.

        Any mask of the photo's size will do, so that a list which a page once fetched stays good;
        ReviewError where it is none. Going back to the mask from which the choosing began (None
        for a box alone) leaves the instance as it was then, undecided if it was.
        """
        context, photo, instance = self._look_at(context, instance_id)
        rle = None if chosen is None else _checked(chosen, photo)
        if rle == instance.rle:
            return instance_id
        with self.project.read() as view:
            start = view.before_all(CHOOSE, photo, instance_id)
        if start is not None and start.rle == rle:
            return self._change(context, CHOOSE, instance_id, lambda one: start)
        if rle is None:
            raise ReviewError(
                "an object cannot lose its mask this way: undo, or reject or delete the object"
            )
        return self._reshape(context, CHOOSE, instance, shaping.chosen(rle, points=instance.points))

    # -- history -----------------------------------------------------------------------------

    def undo(self, context: Context) -> int | None:
        """Take back the last action on the photo; the instance it was about, if any is left."""
        return self._move(UNDO, context)

    def redo(self, context: Context) -> int | None:
        """Do again what was undone last; the instance it was about, if it is there."""
        return self._move(REDO, context)

    def _move(self, kind: str, context: Context) -> int | None:
        with self.project.write() as transaction:
            event = transaction.move(
                kind,
                context.image_id,
                actor=context.actor,
                base_revision=context.base_revision,
                operation=context.operation,
            )
        changed = [one for one in event.changes if one.table == "instance"]
        ids = [change.id for change in changed if change.after is not None]
        return ids[0] if len(ids) == 1 else None

    # -- around it ---------------------------------------------------------------------------

    def category_name(self, category_id: int) -> str:
        """The name of a class of the project; ReviewError for an unknown id."""
        with self.project.read() as view:
            names = view.category_names()
        if category_id not in names:
            raise ReviewError(f"this project has no class number {category_id}")
        return names[category_id]

    def prepare(self, *image_ids: int | None) -> None:
        """Prepare the segmenter for these photos in the background, first one first."""
        with self.project.read() as view:
            photos = [view.photo(image_id) for image_id in image_ids if image_id is not None]
        self.assistant.prefetch(self.project, photos)

    # -- the one way to read and the one way to write ----------------------------------------

    def _look(
        self, context: Context, instance_id: int | None
    ) -> tuple[Context, Photo, Instance | None]:
        """The photo and the instance, and the context pinned to the revision they were read at."""
        with self.project.read() as view:
            photo = view.photo(context.image_id)
            revision = view.revision(photo.id)
            if context.base_revision is not None:
                view.require_revision(photo.id, context.base_revision)
            instance = None if instance_id is None else view.instance(photo.id, instance_id)
        return replace(context, base_revision=revision), photo, instance

    def _look_at(self, context: Context, instance_id: int) -> tuple[Context, Photo, Instance]:
        context, photo, instance = self._look(context, instance_id)
        assert instance is not None
        return context, photo, instance

    def _change(
        self,
        context: Context,
        kind: str,
        instance_id: int,
        rule: Callable[[Instance], Instance],
    ) -> int:
        with self.project.write() as transaction:
            _require_seen(transaction, context)
            instance = transaction.instance(context.image_id, instance_id)
            after = rule(instance)
            if after != instance:
                _write(transaction, context, kind, _rows_changed(transaction, context, [after]))
        return instance_id

    def _reshape(self, context: Context, kind: str, instance: Instance, shape: Shape) -> int:
        assert instance.id is not None

        def rule(one: Instance) -> Instance:
            return review.set_shape(one, box=shape.box, rle=shape.rle, points=shape.points)

        return self._change(context, kind, instance.id, rule)

    def _draw(self, context: Context, kind: str, category: str | None, shape: Shape) -> int:
        drawn = review.draw(category=category, box=shape.box, rle=shape.rle, points=shape.points)
        with self.project.write() as transaction:
            photo = transaction.photo(context.image_id)
            row = instance_row(
                drawn,
                image_id=photo.id,
                category_ids=transaction.category_ids(),
                size_hw=(photo.height, photo.width),
            )
            event = _write(transaction, context, kind, [Change("instance", None, None, row)])
        new_id = event.changes[0].id
        assert new_id is not None
        return new_id


def _mask(instance: Instance | None, photo: Photo) -> Mask:
    if instance is None or instance.rle is None:
        return np.zeros((photo.height, photo.width), dtype=bool)
    return shaping.stored_mask(instance.rle)


def _checked(value: Mapping[str, Any], photo: Photo) -> Rle:
    try:
        return checked_rle(value, size=(photo.height, photo.width))
    except FormatError as error:
        raise ReviewError(f"this is no mask of this photo: {error}") from error


def _require_seen(transaction: Transaction, context: Context) -> None:
    """ConflictError where the photo moved on, before anything else is said about it.

    Who acts on a proposal that a run has replaced is to see the new ones, not that it is gone.
    """
    if context.base_revision is not None:
        transaction.require_revision(context.image_id, context.base_revision)


def _rows_changed(
    transaction: Transaction, context: Context, instances: Sequence[Instance]
) -> list[Change]:
    ids, photo = transaction.category_ids(), transaction.photo(context.image_id)
    size = (photo.height, photo.width)
    return [
        Change(
            "instance",
            instance.id,
            transaction.row("instance", instance.id),
            instance_row(instance, image_id=photo.id, category_ids=ids, size_hw=size),
        )
        for instance in instances
    ]


def _write(
    transaction: Transaction, context: Context, kind: str, changes: Sequence[Change]
) -> Event:
    return transaction.record(
        kind,
        changes,
        actor=context.actor,
        image_id=context.image_id,
        base_revision=context.base_revision,
        operation=context.operation,
    )

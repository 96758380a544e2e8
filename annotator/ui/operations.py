"""The one door of the review screen: an operation (JSON) in, what changed (JSON) out.

The page sends one dict a gesture; see `OPERATIONS` for the names. Everything in it is checked
here, since any program on this machine can reach the endpoint. A user's mistake becomes
``{"error": …}``; the page then shows the sentence, and the photo as it really is.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from annotator import evidence, listing, qa, queue
from annotator.alternatives import box_of
from annotator.comparing import source_name
from annotator.journal import REDO, UNDO
from annotator.listing import Filter, Key
from annotator.palette import colour
from annotator.pictures import file_problem, thumbnail_address
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.ui.actions import ACTIONS
from annotator.ui.fields import Fields
from annotator.ui.quality import Quality, described, filter_of
from annotator.views import Photo, View
from annotator.workspace import Workspace, key_of
from engine.errors import (
    AnnotatorError,
    ConflictError,
    OptionError,
    PhotoError,
    ReviewError,
    StoreError,
)
from engine.types import Evidence, Instance, Source

Answer = dict[str, Any]

CODES = {
    ConflictError: "conflict",
    ReviewError: "review",
    OptionError: "option",
    PhotoError: "photo",
    StoreError: "store",
}
LONGEST_PAGE = 500  # photos of the filmstrip that one answer may carry
ORDER = "review_order"  # setting: the order in which photos came last
AHEAD = 8  # photos behind the one on screen that are prepared; a SAM needs a minute for them


class Operations:
    """Answers the review screen for every project of the workspace."""

    def __init__(
        self,
        workspace: Workspace,
        session_of: Callable[[Project], ReviewSession],
        *,
        actor: str,
        root: str = "",
    ) -> None:
        self._workspace = workspace
        self._session_of = session_of
        self._actor = actor
        self._root = root
        self.quality = Quality(actor=actor, root=root)

    def handle(self, message: Any) -> Answer:
        """Answer one operation. Never raises for a user's mistake."""
        try:
            fields = Fields(message)
            name = fields.text("op")
            if name not in OPERATIONS:
                raise OptionError(f"operation '{name}' is unknown")
            project = self._workspace.get(fields.text("project"))
            try:
                return OPERATIONS[name](self, project, fields)
            except ConflictError as error:
                photo = self._full(project, fields.whole("photo", low=1), Filter())
                return {"error": _described(error), "full": photo}
        except AnnotatorError as error:
            return {"error": _described(error)}

    # -- looking -----------------------------------------------------------------------------

    def open_photo(self, project: Project, fields: Fields) -> Answer:
        """Show a photo; without one, where the person stopped. ``renew`` works the order out."""
        chosen = filter_of(fields)
        if fields.flag("renew"):
            queue.renew(project, chosen.order, self.quality.decisions_of(project))
            with project.write() as transaction:
                transaction.set_setting(ORDER, chosen.order)
        photo_id = fields.optional_whole("photo")
        if photo_id is None:
            with project.read() as view:
                photo_id = listing.first_to_show(view, chosen)
        return {"full": self._full(project, photo_id, chosen)}

    def step_photo(self, project: Project, fields: Fields) -> Answer:
        """Show the photo before or after the one at hand; or the next one with something to do.

        That is a finding (``flagged``), or a proposal without a decision (``undecided``).
        """
        chosen, direction = filter_of(fields), fields.whole("dir", low=-1, high=1)
        at = fields.whole("photo", low=1)
        with project.read() as view:
            keys, key = listing.photo_keys(view, chosen), listing.key_of(view, chosen, at)
            if fields.flag("flagged"):
                found = _next_flagged(view, keys, key)
            elif fields.flag("undecided"):
                todo = listing.photo_keys(view, replace(chosen, status="todo"))
                found = _next_of(keys, key, {image_id for _, image_id in todo})
            else:
                before, after = listing.neighbours(keys, key)
                found = after if direction > 0 else before
        if found is None and fields.flag("flagged"):
            raise ReviewError("no other photo of this list has a finding")
        if found is None and fields.flag("undecided"):
            raise ReviewError("on no other photo of this list is anything left to decide")
        if found is None:
            raise ReviewError(
                "this is the last photo of the list" if direction > 0 else "this is the first photo"
            )
        return {"full": self._full(project, found[1], chosen)}

    def find_photo(self, project: Project, fields: Fields) -> Answer:
        """Show the photo of this name, at this place of the list, or with this in its name."""
        chosen, text = filter_of(fields), fields.text("text").strip()
        at = fields.whole("photo", low=1)
        with project.read() as view:
            found = listing.find(view, chosen, text, after=at)
        if found is None:
            raise ReviewError(f"no photo of this list has the place or the name '{text}'")
        return {"full": self._full(project, found, chosen)}

    def strip(self, project: Project, fields: Fields) -> Answer:
        """A stretch of the filmstrip."""
        chosen = filter_of(fields)
        offset = fields.whole("offset", low=0)
        limit = fields.whole("limit", low=1, high=LONGEST_PAGE)
        key = fields.text("project")
        with project.read() as view:
            items = listing.page(view, chosen, offset=offset, limit=limit)
            total = len(listing.photo_ids(view, chosen))
        return {
            "offset": offset,
            "total": total,
            "items": [
                {
                    "id": item.id,
                    "name": item.file_name,
                    "thumb": f"{self._root}/{thumbnail_address(key, item.id, item.sha256)}",
                    "status": item.status,
                    "n_proposed": item.proposed,
                    "n_curated": item.curated,
                }
                for item in items
            ],
        }

    def same_photo(self, project: Project, fields: Fields) -> Answer:
        """The photo as the store has it."""
        return {"full": self._full(project, fields.whole("photo", low=1), filter_of(fields))}

    def alternatives(self, project: Project, fields: Fields) -> Answer:
        """Other masks for one instance, best first; nothing changes."""
        image_id, instance_id = fields.whole("photo", low=1), fields.whole("id", low=1)
        found = self._session_of(project).alternatives(image_id, instance_id)
        return {
            "id": instance_id,
            "masks": [
                {"rle": one.rle.as_dict(), "box": box_of(one.rle), "score": round(one.score, 4)}
                for one in found
            ],
        }

    # -- acting ------------------------------------------------------------------------------

    def act(self, project: Project, fields: Fields) -> Answer:
        """Do one action on a photo and answer with what it changed."""
        name, image_id = fields.text("op"), fields.whole("photo", low=1)
        operation, base = fields.text("op_id"), fields.whole("base_rev", low=0)
        context = Context(image_id, self._actor, base_revision=base, operation=operation)
        # The answer can be lost on the way while the action was not, or is still being done.
        if _is_done(project, operation):
            return self._done_before(project, image_id, operation)
        said = _passing_over(project, name, image_id)
        try:
            selected = ACTIONS[name](self._session_of(project), context, fields)
        except ConflictError:
            if not _is_done(project, operation):
                raise
            return self._done_before(project, image_id, operation)
        return {**self._patch(project, image_id, base, selected), **said}

    def _done_before(self, project: Project, image_id: int, operation: str) -> Answer:
        with project.read() as view:
            made = view.made_by(operation)
        return {"full": self._full(project, image_id, Filter()), "made": made}

    def add_class(self, project: Project, fields: Fields) -> Answer:
        """Add a class to the project and show the photo with it."""
        with project.write() as transaction:
            transaction.add_category(fields.text("name"), actor=self._actor)
        return {"full": self._full(project, fields.whole("photo", low=1), filter_of(fields))}

    # -- answers -----------------------------------------------------------------------------

    def _patch(self, project: Project, image_id: int, base: int, selected: int | None) -> Answer:
        with project.read() as view:
            present = {instance.id: instance for instance in view.instances(image_id)}
            ids = view.category_ids()
            changed = view.changed_instances(image_id, since=base)
            return {
                **_history(view, image_id),
                "upsert": [_instance(present[one], ids) for one in changed if one in present],
                "remove": [one for one in changed if one not in present],
                "select": selected,
                "findings": _findings(view, image_id),
                "tags": [ids[tag] for tag in view.tags(image_id)],
                "counts": _counts(view),
            }

    def _full(self, project: Project, image_id: int | None, chosen: Filter) -> Answer:
        with project.read() as view:
            base = {
                "classes": [
                    {"id": number, "name": name, "rgb": list(colour(index))}
                    for index, (number, name) in enumerate(view.category_names().items())
                ],
                "counts": _counts(view),
                "project_name": view.setting("name", ""),
            }
            if image_id is None:
                nothing: Answer = {key: [] for key in ("instances", "tags", "notes", "findings")}
                return {**base, **nothing, "photo": None, "why": ""}
            photo, ids = view.photo(image_id), view.category_ids()
            keys, key = listing.photo_keys(view, chosen), listing.key_of(view, chosen, image_id)
            answer = {
                **base,
                **_history(view, image_id),
                "photo": photo.id,
                "name": photo.file_name,
                "image": self._image(project, photo),
                "nav": self._nav(project, view, keys, key),
                "why": queue.why(view, chosen.order, image_id),
                "findings": _findings(view, image_id),
                "tags": [ids[tag] for tag in view.tags(image_id)],
                "instances": [_instance(one, ids) for one in view.instances(image_id)],
                "evidence": _evidence(evidence.overlays(view, image_id)),
            }
        problem = file_problem(project, photo)
        answer["notes"] = [*photo.notes, *([problem] if problem else [])]
        with project.write() as transaction:
            transaction.set_setting("position", photo.id)
        ahead = [image_id for _, image_id in listing.following(keys, key, AHEAD)]
        self._session_of(project).prepare(photo.id, *ahead)
        return answer

    def _nav(self, project: Project, view: View, keys: list[Key], key: Key) -> Answer:
        before, after = listing.neighbours(keys, key)
        following = None if after is None else self._image(project, view.photo(after[1]))["url"]
        index = bisect_left(keys, key)
        return {
            "index": index if index < len(keys) and keys[index] == key else None,
            "total": len(keys),
            "prev": None if before is None else before[1],
            "next": None if after is None else after[1],
            "next_url": following,
        }

    def _image(self, project: Project, photo: Photo) -> Answer:
        key = key_of(project.folder)
        return {
            "url": f"{self._root}/picture/{key}/{photo.id}?v={photo.sha256[:12]}",
            "thumb": f"{self._root}/{thumbnail_address(key, photo.id, photo.sha256)}",
            "w": photo.width,
            "h": photo.height,
        }


def _findings(view: View, image_id: int) -> list[Answer]:
    return [described(one) for one in qa.open_findings(view, image_id=image_id)]


def _next_flagged(view: View, keys: list[Key], at: Key) -> Key | None:
    """The next photo of the list with a suspicious finding."""
    return _next_of(keys, at, {one.image_id for one in qa.open_findings(view, kinds=qa.SUSPICIOUS)})


def _next_of(keys: list[Key], at: Key, wanted: set[int]) -> Key | None:
    """The next photo of the list that is wanted, from the beginning again at the end."""
    turned = sorted((key for key in keys if key != at), key=lambda key: (key < at, key))
    return next((key for key in turned if key[1] in wanted), None)


def _is_done(project: Project, operation: str) -> bool:
    with project.read() as view:
        return view.has_operation(operation)


def _described(error: AnnotatorError) -> Answer:
    return {"code": CODES.get(type(error), "error"), "message": str(error)}


def _counts(view: View) -> Answer:
    counts = listing.counts(view)
    return {**counts, "total": counts["all"]}


def _history(view: View, image_id: int) -> Answer:
    back, again = (view.next_step(kind, image_id) for kind in (UNDO, REDO))
    return {
        "rev": view.revision(image_id),
        "can_undo": back is not None,
        "can_redo": again is not None,
        "undo_label": None if back is None else back[0].kind,
        "redo_label": None if again is None else again[0].kind,
    }


def _passing_over(project: Project, name: str, image_id: int) -> Answer:
    """What is said of an undo or redo that passes over steps, since a run took their objects."""
    if name not in (UNDO, REDO):
        return {}
    with project.read() as view:
        step = view.next_step(name, image_id)
    if step is None or step[2] == 0:
        return {}
    steps = "a step" if step[2] == 1 else f"{step[2]} steps"
    done = "undid" if name == UNDO else "did again"
    return {
        "notice": f"{done} '{step[0].kind}', passing over {steps}: "
        "a new run of suggestions has replaced what they were about"
    }


def _instance(instance: Instance, category_ids: Mapping[str, int]) -> Answer:
    return {
        "id": instance.id,
        "cls": None if instance.category is None else category_ids[instance.category],
        "status": instance.status.value,
        "score": instance.score,
        "source": _source(instance.source),
        "maker": source_name(instance.source),
        "box": list(instance.box),
        "rle": None if instance.rle is None else instance.rle.as_dict(),
        "points": [list(point) for point in instance.points],
    }


def _source(source: Source) -> str:
    """What made an instance, in words: "pro2sam · sam_vit_b · fast"; "person" for a person."""
    mode = source.options.get("mode")
    parts = [source_name(source), mode if isinstance(mode, str) else ""]
    return " · ".join(part for part in parts if part)


def _evidence(seen: Evidence) -> Answer:
    """The map as rows of bytes (0 to 255) in base64, and the prompts."""
    if seen.coarse is None:
        return {"map": None, "prompts": seen.prompts}
    height, width = seen.coarse.shape
    levels = np.rint(seen.coarse * 255.0).astype(np.uint8)
    text = base64.b64encode(levels.tobytes()).decode("ascii")
    return {"map": {"w": width, "h": height, "levels": text}, "prompts": seen.prompts}


OPERATIONS: dict[str, Callable[[Operations, Project, Fields], Answer]] = {
    "open": Operations.open_photo,
    "step": Operations.step_photo,
    "find": Operations.find_photo,
    "list": Operations.strip,
    "get": Operations.same_photo,
    "alternatives": Operations.alternatives,
    "add_class": Operations.add_class,
    "thresholds": lambda self, project, _: self.quality.thresholds(project),
    "preview_above": lambda self, project, fields: self.quality.preview(project, fields),
    "accept_above": lambda self, project, fields: self.quality.accept(project, fields),
    "take_back": lambda self, project, fields: self.quality.take_back(project, fields),
    **dict.fromkeys(ACTIONS, Operations.act),
}

"""What a photo holds and what a file says of it come in; what to do about it comes out. Pure.

What a person decided is never touched by others' files. What was imported before is known again
by the mark that its source keeps, however it was edited since; so importing twice adds nothing
twice. Objects that this project wrote into the file itself are known by their ids: see `own`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from annotator.own_files import Past
from annotator.own_objects import Own, own
from engine.geometry import iou_boxes
from engine.types import Instance, Rle, Source, Status

SAME_OBJECT_IOU = 0.7  # as for proposals: closer than this is no other object of the class
SAME_BOX = 0.01  # pixels
MARK = "imported"  # key in the options of a source


@dataclass(frozen=True)
class Merge:
    """What an import does to one photo."""

    added: tuple[Instance, ...]
    removed: tuple[Instance, ...]  # undecided, and replaced by what is added
    known: int  # there already
    conflicts: tuple[Instance, ...]  # left out: a person decided otherwise here
    changed: tuple[Instance, ...] = ()  # objects of this project as the file has them now

    @property
    def changes_anything(self) -> bool:
        """Whether there is something to write."""
        return bool(self.added or self.removed or self.changed)


def prepared(
    instance: Instance, *, as_proposal: bool, source: str, file_name: str
) -> Instance | None:
    """The instance as it would be stored, marked; None where it should not be.

    As curated, a status and a source that the file states stay, and the id by which it may be one
    of ours; what states no status is `accepted`. As a proposal, what the file calls rejected
    stays out.
    """
    stated = instance.source.pipeline != file_name
    mark = _mark(instance)
    if as_proposal:
        if instance.status is Status.REJECTED:
            return None
        origin = Source(source, options={**_notes(instance), MARK: mark})
        return replace(
            instance, id=None, status=Status.PROPOSED, source=origin, points=(), edited=False
        )
    kept = instance.source if stated else replace(instance.source, pipeline=source)
    # A run's number is that of another project.
    origin = replace(kept, run=None, options={**kept.options, MARK: mark})
    return replace(instance, source=origin, edited=instance.status is Status.EDITED)


def merge(
    present: Sequence[Instance],
    incoming: Sequence[Instance],
    *,
    past: Past | None = None,
    renewed: str | None = None,
) -> Merge:
    """Fit what a file says (all from `prepared`) to what the photo holds.

    ``past`` is that of the photo where this project wrote the file, else None. ``renewed`` is the
    source whose proposals the file says anew, also where it says that there are none.
    """
    mine = own(present, incoming, past) if past is not None else Own()
    stands = {one.id: one for one in mine.changed}
    done = _merge_others(
        [stands.get(one.id, one) for one in present],
        [replace(one, id=None) for place, one in enumerate(incoming) if place not in mine.places],
        taken=mine.ids,
        renewed=renewed,
    )
    return replace(
        done,
        known=done.known + mine.known,
        conflicts=(*mine.conflicts, *done.conflicts),
        changed=mine.changed,
    )


def _merge_others(
    present: Sequence[Instance],
    incoming: Sequence[Instance],
    *,
    taken: frozenset[int],
    renewed: str | None,
) -> Merge:
    """What is known by no id. Objects that are ``taken`` already are no twins and give no way."""
    free = [one for one in present if one.id not in taken]
    new = []
    for one in incoming:
        twin = _twin(one, free)
        if twin is None:
            new.append(one)
        else:
            free.remove(twin)
    decided = [one for one in present if one.status is not Status.PROPOSED or one.edited]
    added = [one for one in new if not _is_decided(one, decided)]
    sources = {one.source.pipeline for one in incoming if one.status is Status.PROPOSED}
    if renewed is not None:
        sources.add(renewed)
    removed = [
        one
        for one in free
        if one not in decided and (one.source.pipeline in sources or _gives_way(one, added))
    ]
    return Merge(
        added=tuple(added),
        removed=tuple(removed),
        known=len(incoming) - len(new),
        conflicts=tuple(one for one in new if one not in added),
    )


def _twin(one: Instance, free: Sequence[Instance]) -> Instance | None:
    """The one that this import or an equal one brought, or that says exactly the same."""
    mark = one.source.options[MARK]
    for other in free:
        if other.source.options.get(MARK) == mark:
            return other
    for other in free:
        same_mask = one.rle is None or one.rle == other.rle
        # An equal proposal is not yet what a person stands behind.
        counts = one.status is Status.PROPOSED or other.status is not Status.PROPOSED
        if other.category == one.category and same_mask and counts and _same_box(one, other):
            return other
    return None


def _is_decided(one: Instance, decided: Sequence[Instance]) -> bool:
    """Whether a person has decided about this object, or about its very box."""
    if any(_same_box(one, other) for other in decided):
        return True
    same = [other.box for other in decided if other.category == one.category]
    return bool(same) and float(iou_boxes([one.box], same).max()) >= SAME_OBJECT_IOU


def _gives_way(old: Instance, added: Sequence[Instance]) -> bool:
    """Whether an undecided instance is replaced by a curated one that covers it."""
    same = [
        one.box for one in added if one.category == old.category and one.status != Status.PROPOSED
    ]
    return bool(same) and float(iou_boxes([old.box], same).max()) >= SAME_OBJECT_IOU


def _same_box(one: Instance, other: Instance) -> bool:
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True)) <= SAME_BOX


def _mark(instance: Instance) -> str:
    """Of class, box and mask as the file states them."""
    rle: Rle | None = instance.rle
    text = repr((instance.category, [round(value, 2) for value in instance.box], rle))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _notes(instance: Instance) -> dict[str, object]:
    """What the file said that our types have no field for."""
    return {key: value for key, value in instance.source.options.items() if key == "notes"}

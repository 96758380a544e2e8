"""The rules of review: an instance and a person's action in, the instance afterwards out. Pure.

    proposed ──accept──► accepted ──change──► edited        drawn: made by a person from nothing
        │  ▲                │                    │             │
      reject └──reopen── any of them ◄──────── reject ─────────┘

A change of box, mask or class is a decision: who mends a proposal stands behind it.
"""

from __future__ import annotations

from dataclasses import replace

from engine.errors import ReviewError
from engine.types import PERSON, Box, Instance, Rle, Status

Points = tuple[tuple[float, float, int], ...]


def _standing(instance: Instance) -> Status:
    """The curated status that fits how the instance came to be."""
    if instance.source.pipeline == PERSON.pipeline:
        return Status.DRAWN
    return Status.EDITED if instance.edited else Status.ACCEPTED


def accept(instance: Instance) -> Instance:
    """Stand behind it as it is; ReviewError while it has no class."""
    if instance.category is None:
        raise ReviewError("choose a class before accepting: this object has none (keys 1-9)")
    return replace(instance, status=_standing(instance))


def reject(instance: Instance) -> Instance:
    """Say that nothing of this class is there; kept as a known negative."""
    return replace(instance, status=Status.REJECTED)


def reopen(instance: Instance) -> Instance:
    """Back to undecided; what a person drew has no undecided state."""
    if instance.source.pipeline == PERSON.pipeline:
        raise ReviewError("a drawn object cannot be undecided again: delete or undo it instead")
    return replace(instance, status=Status.PROPOSED)


def _changed(instance: Instance) -> Instance:
    changed = replace(instance, edited=True)
    if changed.category is None:
        return changed  # still needs a class before anybody can stand behind it
    return replace(changed, status=_standing(changed))


def set_class(instance: Instance, category: str) -> Instance:
    """Give it another class; the same class on an undecided instance accepts nothing."""
    if category == instance.category:
        return instance
    return _changed(replace(instance, category=category))


def set_shape(instance: Instance, *, box: Box, rle: Rle | None, points: Points) -> Instance:
    """Give it another box and mask; ``points`` are the clicks that belong to the mask."""
    return _changed(replace(instance, box=box, rle=rle, points=points))


def draw(*, category: str | None, box: Box, rle: Rle | None, points: Points = ()) -> Instance:
    """A new instance made by a person; ReviewError without a class."""
    if category is None:
        raise ReviewError("choose a class first (keys 1-9), then draw the object")
    return Instance(
        box=box, category=category, status=Status.DRAWN, source=PERSON, rle=rle, points=points
    )

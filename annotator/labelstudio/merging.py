"""Three ways into one: an object as both sides had it last, as it is here, as it is there. Pure.

What changed on one side only is taken from there. What changed on both in different ways is a
conflict: the side that the caller prefers wins, and the object is named either way. What a person
took away there is rejected here, so that it can be had back. A proposal that stands in a person's
annotation there is accepted by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from annotator import review, shaping
from annotator.labelstudio.contents import is_near, mask_digest
from annotator.labelstudio.journal import Base
from annotator.labelstudio.voices import ORIGIN, Said
from engine.geometry import mask_to_rle, rle_to_mask
from engine.types import CURATED, PERSON, Box, Instance, Rle, Source, Status
from exports.label_studio_read import Drawn
from exports.runs import box_of_rle

Side = Literal["here", "there"]


@dataclass(kw_only=True)
class Merge:
    """What to do here, and what both sides have afterwards."""

    changed: list[Instance] = field(default_factory=list)  # with their ids
    added: list[tuple[Instance, Base]] = field(default_factory=list)  # without
    conflicts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what could not be taken over
    base: dict[int, Base] = field(default_factory=dict)  # of what has an id here
    gone: set[int] = field(default_factory=set)  # taken away there, and rejected here
    kept_here: list[Said] = field(default_factory=list)  # conflicts decided for what is here
    left: list[Said] = field(default_factory=list)  # of classes that the project has not


@dataclass(frozen=True)
class Sides:
    """One photo as it was and is."""

    ours: Mapping[int, Instance]  # all of the photo, whatever their status, by their ids
    theirs: Sequence[Said]
    base: Mapping[int, Base]


def merge(sides: Sides, *, prefer: Side, classes: Collection[str]) -> Merge:
    """Bring what is there here. ``classes`` are those that the project knows."""
    merged = Merge()
    for said in sides.theirs:
        mine = None if said.number is None else sides.ours.get(said.number)
        known = None if said.number is None else sides.base.get(said.number)
        if said.drawn is None:
            if mine is not None and known is not None:
                _only_here(merged, said, mine, known, prefer)
            continue
        merged.problems += said.drawn.notes
        unknown = [name for name in said.drawn.categories if name not in classes]
        if unknown:
            merged.problems.append(f"the project has no class {unknown[0]!r}; add it, pull again")
            merged.left.append(said)
        elif mine is not None:
            _both(merged, said, said.drawn, mine, known, prefer)
        else:
            _only_there(merged, said, said.drawn, known, prefer)
    return merged


# -- the cases -----------------------------------------------------------------------------------


def _both(
    merged: Merge, said: Said, drawn: Drawn, mine: Instance, known: Base | None, prefer: Side
) -> None:
    """It is here and there."""
    assert mine.id is not None
    target = _target(mine, drawn, known)
    if _is_same(mine, target) and mine.status in CURATED:
        merged.base[mine.id] = _base(target, drawn, mine.id)
        return
    changed_here = mine.status is not Status.PROPOSED if known is None else _moved(mine, known)
    changed_there = known is None or known.is_proposal or not _is_base(target, known)
    if not changed_there and not said.is_again:
        return
    if changed_here or said.is_again:
        verb = "rejected" if mine.status is Status.REJECTED else "changed"
        what = f"{verb} here and decided differently there"
        merged.conflicts.append(_told(mine.id, what, prefer))
        if prefer == "here":
            merged.kept_here.append(said)
            return
    merged.base[mine.id] = _base(target, drawn, mine.id)
    merged.changed.append(_decided(mine, target))


def _only_there(merged: Merge, said: Said, drawn: Drawn, known: Base | None, prefer: Side) -> None:
    """It was drawn there, or is gone here."""
    target = _target(None, drawn, known)
    # A proposal may have given way to those of a newer run: that is no decision of a person.
    if said.number is not None and not (known is not None and known.is_proposal):
        if known is not None and not said.is_again and _is_base(target, known):
            return  # deleted here, as it was there
        merged.conflicts.append(_told(said.number, "deleted here and changed there", prefer))
        if prefer == "here":
            merged.kept_here.append(said)
            return
    merged.added.append((_new(target, drawn, said.annotation), _base(target, drawn, None)))


def _only_here(merged: Merge, said: Said, mine: Instance, known: Base, prefer: Side) -> None:
    """A person took it away there."""
    assert mine.id is not None
    if mine.status is Status.REJECTED:
        return
    if _moved(mine, known) or said.is_again:
        what = "changed here and taken away there"
        merged.conflicts.append(_told(mine.id, what, prefer))
        if prefer == "here":
            merged.kept_here.append(said)
            return
    merged.gone.add(mine.id)
    merged.changed.append(review.reject(mine))


def _told(number: int, what: str, prefer: Side) -> str:
    outcome = "kept as it is here" if prefer == "here" else "taken as it is there"
    return f"object {number} was {what}: {outcome}"


# -- comparing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """How the object should be if they are right."""

    category: str
    box: Box
    rle: Rle | None
    sent: tuple[str, ...]  # what of it stands there


def _target(mine: Instance | None, drawn: Drawn, known: Base | None) -> _Target:
    """Class, box and mask as the regions there say, and as we have it where they say nothing.

    A mask that was repainted takes its box along, unless that was moved as well.
    """
    sent = ("box", "mask") if known is None else known.sent
    before = known.category if known is not None else (mine.category if mine else None)
    others = [name for name in drawn.categories if name != before]
    rle, box = drawn.rle, drawn.box
    repainted = known is not None and "mask" in sent and mask_digest(rle) != known.mask
    if box is None:
        if mine is not None and "box" not in sent and not repainted:
            box = mine.box
    elif known is not None and is_near(box, known.box):
        box = box_of_rle(rle) if repainted and rle is not None else known.box
    box = box or drawn.extent
    if mine is not None and is_near(box, mine.box):
        box = mine.box  # without what percent and back cost
    if rle is None and mine is not None and "mask" not in sent and mine.rle is not None:
        rle = mine.rle if box == mine.box else _cut(mine.rle, box)
    category = others[0] if others else (before or drawn.categories[0])
    return _Target(category, box, rle, sent)


def _cut(rle: Rle, box: Box) -> Rle | None:
    """The part of the mask in the box; None where there is none."""
    mask = shaping.inside_box(rle_to_mask(rle), box)
    return mask_to_rle(mask) if mask.any() else None


def _is_same(mine: Instance, target: _Target) -> bool:
    return (
        mine.category == target.category
        and is_near(mine.box, target.box)
        and mask_digest(mine.rle) == mask_digest(target.rle)
    )


def _is_base(target: _Target, known: Base) -> bool:
    """Whether nothing changed there."""
    return (
        target.category == known.category
        and is_near(target.box, known.box)
        and ("mask" not in known.sent or mask_digest(target.rle) == known.mask)
    )


def _moved(mine: Instance, known: Base) -> bool:
    """Whether a person changed it here."""
    is_decided = mine.status is not Status.PROPOSED
    return (
        mine.status is Status.REJECTED
        or is_decided == known.is_proposal
        or mine.category != known.category
        or not is_near(mine.box, known.box)
        or ("mask" in known.sent and mask_digest(mine.rle) != known.mask)
    )


# -- the outcome ---------------------------------------------------------------------------------


def _decided(mine: Instance, target: _Target) -> Instance:
    """The instance as a person there left it, by the rules of review here."""
    one = mine
    if target.category != one.category:
        one = review.set_class(one, target.category)
    if not _is_same(one, target):
        is_mask_kept = mask_digest(one.rle) == mask_digest(target.rle)
        points = one.points if is_mask_kept else ()
        one = review.set_shape(one, box=target.box, rle=target.rle, points=points)
    return review.accept(one)


def _new(target: _Target, drawn: Drawn, annotation: int) -> Instance:
    one = review.draw(category=target.category, box=target.box, rle=target.rle)
    origin = {ORIGIN: {"region": drawn.key, "annotation": annotation}}
    return replace(one, source=Source(PERSON.pipeline, options=origin))


def _base(target: _Target, drawn: Drawn, number: int | None) -> Base:
    """As both sides have it afterwards; ``number`` is our id, None while it has none yet."""
    return Base(
        category=target.category,
        box=target.box,
        mask=mask_digest(target.rle),
        sent=target.sent,
        is_proposal=False,
        key="" if drawn.key == str(number) else drawn.key,
    )

"""Objects that this project wrote into a file, as they come back: three versions in, one out. Pure.

An object is as the file had it, as it is here, and as the file says now. What changed on one side
only is taken from there; what a person changed here and somebody else there is a conflict, and
stays as it is here. What the file does not hold says nothing: it may not have been chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator import review, shaping
from annotator.own_files import Past
from engine.geometry import clip_box, mask_to_rle, rle_to_mask
from engine.types import CURATED, Box, Instance, Rle, Status
from exports.runs import box_of_rle

TOLERANCE = 0.01  # pixels; files round


@dataclass(frozen=True)
class Own:
    """What becomes of our own objects in a file."""

    places: frozenset[int] = frozenset()  # where they stand in it
    ids: frozenset[int] = frozenset()
    known: int = 0  # nothing new
    changed: tuple[Instance, ...] = ()  # with their ids
    conflicts: tuple[Instance, ...] = ()  # as the file says them


def own(present: Sequence[Instance], incoming: Sequence[Instance], past: Past) -> Own:
    """Find ours in what a file says; of two with the same id only the first one is it."""
    here = {one.id: one for one in present if one.id is not None}
    found: dict[int, int] = {}  # id -> place
    changed, conflicts, known = [], [], 0
    for place, one in enumerate(incoming):
        number = one.id
        if number is None or number in found or number in past.made:
            continue
        mine = here.get(number)
        versions = past.versions.get(number, () if mine is None else (mine,))
        if not versions:
            continue
        found[number] = place
        is_news = not any(_says(one, version, past.size) for version in (mine, *versions))
        # A proposal comes back as it went: nobody decides about it by leaving it alone.
        if not is_news or one.status is Status.PROPOSED:
            known += 1
        elif mine is None or number in past.by_hand:
            conflicts.append(one)
        else:
            changed.append(_updated(mine, one, past.size))
    return Own(
        places=frozenset(found.values()),
        ids=frozenset(found),
        known=known,
        changed=tuple(changed),
        conflicts=tuple(conflicts),
    )


def _says(one: Instance, other: Instance | None, size: tuple[int, int]) -> bool:
    """Whether the file says of the object what this version of it is."""
    return (
        other is not None
        and _standing(one.status) == _standing(other.status)
        and one.category == other.category
        and (one.rle is None or one.rle == other.rle)
        and _is_box_of(one, other, size)
    )


def _standing(status: Status) -> Status:
    return Status.ACCEPTED if status in CURATED else status


def _is_box_of(one: Instance, other: Instance, size: tuple[int, int]) -> bool:
    """Whether the file's box is that of the object, as a file can say it.

    Files cut boxes at the edge of the photo, and give one that its mask reaches out of up for the
    mask's own.
    """
    ways = [other.box, clip_box(other.box, width=size[0], height=size[1])]
    if one.rle is not None and one.rle == other.rle:
        ways.append(box_of_rle(one.rle))
    return any(way is not None and _is_near(one.box, way) for way in ways)


def _is_near(first: Box, second: Box) -> bool:
    return all(abs(a - b) <= TOLERANCE for a, b in zip(first, second, strict=True))


def _updated(mine: Instance, one: Instance, size: tuple[int, int]) -> Instance:
    """Ours as somebody left it in the file, by the rules of review here."""
    if one.status is Status.REJECTED:
        return review.reject(mine)
    assert one.category is not None
    done = review.set_class(mine, one.category)
    box, rle = _shape(mine, one, size)
    if (box, rle) != (mine.box, mine.rle):
        points = mine.points if rle == mine.rle else ()
        done = review.set_shape(done, box=box, rle=rle, points=points)
    return review.accept(done)


def _shape(mine: Instance, one: Instance, size: tuple[int, int]) -> tuple[Box, Rle | None]:
    """Box and mask: a repainted mask takes its box along, unless that was moved as well."""
    is_box_kept = _is_box_of(one, mine, size)
    if one.rle is None:
        rle = mine.rle if is_box_kept or mine.rle is None else _cut(mine.rle, one.box)
        return (mine.box if is_box_kept else one.box), rle
    if not is_box_kept:
        return one.box, one.rle
    if one.rle == mine.rle:
        return mine.box, mine.rle
    return box_of_rle(one.rle) or mine.box, one.rle


def _cut(rle: Rle, box: Box) -> Rle | None:
    """The part of the mask in the box, where the file holds no masks; None where there is none."""
    mask = shaping.inside_box(rle_to_mask(rle), box)
    return mask_to_rle(mask) if mask.any() else None

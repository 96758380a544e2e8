"""A simulated person who reviews a photo in the product itself, and what each action costs.

The truth is looked at by these rules alone: is an instance good (IoU of at least `Habits.good`),
which proposal belongs to which object, where to click (`clicks`), and the box to draw.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from annotator.session import Context, ReviewSession
from benchmarks.effort.clicks import Click, first_click, next_click
from benchmarks.effort.truth import TrueObject, TruePhoto, nearness
from engine.errors import ReviewError
from engine.geometry import iou_boxes
from engine.types import Instance, Status

ACTOR = "simulated person"

COSTS: Mapping[str, int] = {
    "accept": 1,  # one key
    "class": 1,  # one key; decides the proposal as well
    "gallery": 1,  # one key a press, back to the mask before it as well
    "click": 1,
    "draw": 2,  # a press and a release, at two places
    "reject": 1,  # one key
}
"""Actions that each thing counts for; choosing what to work on is not counted in any mode."""


@dataclass(frozen=True)
class Habits:
    """What the simulated person thinks good enough, and how patient they are."""

    good: float = 0.8  # IoU from which on an instance is left as it is
    mended_from: float = 0.3  # IoU of a proposal that is worth mending; others are rejected
    presses: int = 1  # of the gallery key, before clicking
    clicks: int = 5  # before drawing; 0 draws at once
    same: float = 0.5  # IoU of boxes from which on a second proposal is of the same object


@dataclass(frozen=True)
class ObjectRecord:
    """What one object took."""

    category: str
    counts: Mapping[str, int]  # of the keys of `COSTS`
    ended: str  # the last thing that was done to it
    iou: float  # in the end
    correct: bool
    futile_presses: int  # of the gallery key, those back included

    @property
    def actions(self) -> int:
        """What it cost."""
        return sum(COSTS[kind] * count for kind, count in self.counts.items())


@dataclass(frozen=True)
class PhotoRecord:
    """What one photo took."""

    objects: tuple[ObjectRecord, ...]
    rejected: int  # proposals that belong to no object, or to one that has another
    seconds: float  # of the processor, to answer the person

    @property
    def actions(self) -> int:
        """What it cost."""
        return sum(one.actions for one in self.objects) + COSTS["reject"] * self.rejected

    @property
    def correct(self) -> int:
        """Instances that are good in the end."""
        return sum(one.correct for one in self.objects)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "actions": self.actions, "correct": self.correct}


@dataclass(eq=False)
class SimulatedPerson:
    """Works through photos by the calls that the page and its keys make.

    ``chosen_class`` is the class key pressed last: as on the page, new objects get that class, and
    the photo's first tag as long as none was pressed.
    """

    session: ReviewSession
    habits: Habits = field(default_factory=Habits)
    chosen_class: str | None = None

    def review(self, image_id: int, photo: TruePhoto) -> PhotoRecord:
        """Decide everything on a photo; nothing is left undecided."""
        started = time.process_time()
        with self.session.project.read() as view:
            proposed = [one for one in view.instances(image_id) if one.status is Status.PROPOSED]
        pairs, left = assigned(photo.objects, proposed, self.habits)
        for instance in left:
            self._turn_down(image_id, instance, photo.objects)
        objects = tuple(
            _Work(self, image_id, photo, truth).finish(instance) for truth, instance in pairs
        )
        return PhotoRecord(objects, len(left), time.process_time() - started)

    def _turn_down(self, image_id: int, instance: Instance, objects: Sequence[TrueObject]) -> None:
        """Say that nothing of this class is there, or take away a second frame round an object."""
        assert instance.id is not None
        context = Context(image_id, ACTOR)
        same = [one.box for one in objects if one.category == instance.category]
        if same and iou_boxes([instance.box], same).max() >= self.habits.same:
            self.session.delete(context, instance.id)
        else:
            self.session.set_status(context, instance.id, Status.REJECTED)


def assigned(
    objects: Sequence[TrueObject], proposed: Sequence[Instance], habits: Habits
) -> tuple[list[tuple[TrueObject, Instance | None]], list[Instance]]:
    """The proposal with which each object is begun, if any, and the proposals that are left.

    Good ones first, of these those of the right class, then the nearest; each is used once.
    """
    candidates = []
    for number, truth in enumerate(objects):
        for at, instance in enumerate(proposed):
            near = nearness(instance, truth)
            if near >= habits.mended_from:
                fits = instance.category == truth.category
                candidates.append((min(near, habits.good), fits, near, -at, -number))
    chosen: dict[int, int] = {}
    for *_, at, number in sorted(candidates, reverse=True):
        if -number not in chosen and -at not in chosen.values():
            chosen[-number] = -at
    pairs = [
        (truth, proposed[chosen[number]] if number in chosen else None)
        for number, truth in enumerate(objects)
    ]
    used = set(chosen.values())
    return pairs, [instance for at, instance in enumerate(proposed) if at not in used]


class _Work:
    """One object, from what was proposed for it to what is left as it is."""

    def __init__(
        self, person: SimulatedPerson, image_id: int, photo: TruePhoto, truth: TrueObject
    ) -> None:
        self._person, self._session, self._habits = person, person.session, person.habits
        self._tags, self._truth = photo.tags, truth
        self._context = Context(image_id, ACTOR)
        self._id: int | None = None
        self._counts: Counter[str] = Counter()
        self._ended = ""
        self._futile = 0

    def finish(self, instance: Instance | None) -> ObjectRecord:
        """Do what the rules say until the object is good or drawn."""
        if instance is not None:
            self._id = instance.id
            self._take_up(instance)
        else:
            self._choose_class()
        if not self._is_good():
            self._click()
        if not self._is_good():
            self._draw()
        iou = self._nearness()
        return ObjectRecord(
            category=self._truth.category,
            counts=dict(self._counts),
            ended=self._ended,
            iou=round(iou, 4),
            correct=iou >= self._habits.good,
            futile_presses=self._futile,
        )

    def _do(self, kind: str, call: Callable[..., int], *arguments: Any, **named: Any) -> None:
        self._counts[kind] += 1
        self._ended = kind
        self._id = call(self._context, *arguments, **named)

    def _now(self) -> Instance | None:
        if self._id is None:
            return None
        with self._session.project.read() as view:
            return view.instance(self._context.image_id, self._id)

    def _nearness(self) -> float:
        instance = self._now()
        return 0.0 if instance is None else nearness(instance, self._truth)

    def _is_good(self) -> bool:
        return self._nearness() >= self._habits.good

    def _take_up(self, instance: Instance) -> None:
        """Class, then accept or look through the other masks."""
        number = instance.id
        assert number is not None
        if instance.category != self._truth.category:
            self._do("class", self._session.set_class, number, self._truth.category)
            self._person.chosen_class = self._truth.category
        if not self._is_good():
            self._look_through(number)
        elif instance.category == self._truth.category:
            self._do("accept", self._session.set_status, number, Status.ACCEPTED)

    def _choose_class(self) -> None:
        """The class key for a new object, where the class at hand is another."""
        at_hand = self._person.chosen_class or next(iter(self._tags), None)
        if at_hand != self._truth.category:
            self._counts["class"] += 1
            self._person.chosen_class = self._truth.category

    def _look_through(self, number: int) -> None:
        """Press the gallery key a few times; where none is good, go back to the nearest."""
        if self._habits.presses < 1:
            return
        present = self._now()
        assert present is not None
        others = self._session.alternatives(self._context.image_id, number)
        shown = [None if present.rle is None else present.rle.as_dict()]
        near = [self._nearness()]
        for other in others[: self._habits.presses]:
            shown.append(other.rle.as_dict())
            self._choose(number, shown[-1])
            near.append(self._nearness())
            if near[-1] >= self._habits.good:
                self._futile += len(shown) - 2
                return
        if not others:
            self._counts["gallery"] += 1  # pressed, to learn that there is none
            self._futile += 1
            return
        best = near.index(max(near))
        for back in reversed(shown[best:-1]):
            self._choose(number, back)
            self._futile += 1
        self._futile += len(shown) - 1

    def _choose(self, number: int, rle: Mapping[str, Any] | None) -> None:
        self._do("gallery", self._session.choose, number, rle)

    def _click(self) -> None:
        """Click until it is good, the patience ends, or a click would repeat an earlier one."""
        made: set[Click] = set()
        while len(made) < self._habits.clicks:
            instance = self._now()
            point = (
                first_click(self._truth) if instance is None else next_click(self._truth, instance)
            )
            if point is None or point in made:
                return
            made.add(point)
            try:
                self._do(
                    "click", self._session.click, self._id, point, category=self._truth.category
                )
            except ReviewError:  # nothing would be left of the mask: it stays as it is
                return
            if self._is_good():
                return

    def _draw(self) -> None:
        """The true box, dragged there from what is at hand, or drawn."""
        box = self._truth.box
        if self._id is None:
            self._do("draw", self._session.add_box, category=self._truth.category, box=box)
        else:
            self._do("draw", self._session.set_box, self._id, box)

"""What a project has to train a detector from: curated, rejected, if wanted proposed instances.

Held-back photos (`annotator.holdback`) only judge what was trained; some of the others choose among
the networks of a training. Everything else that was reviewed trains: curated instances as objects,
rejected ones as known negatives of their class. Photos reviewed in full are marked complete, those
with nothing on them as well; on the others nothing unlabelled may be called background.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from annotator import holdback
from annotator.holdback import Parts
from annotator.store import Project
from annotator.views import View
from engine.errors import OptionError
from engine.types import CURATED, Instance, LabeledImage, Status

FEWEST_PHOTOS = 2
SMALL_CLASS = 10  # instances; a class with fewer is hardly learned


@dataclass(frozen=True)
class DetectorMaterial:
    """What there is to learn from, and what there is to judge by."""

    train: tuple[LabeledImage, ...]  # with the instances that train, and nothing else
    complete: frozenset[int]  # ids of those that were reviewed in full
    validation: tuple[LabeledImage, ...]  # reviewed in full, with their curated instances
    judges: tuple[LabeledImage, ...]  # held back, with their curated instances
    unfinished: int  # photos held back that cannot judge yet
    photos: int  # of the project
    unseen: int = 0  # of the unfinished: all decided, but something was accepted unseen
    unseen_train: int = 0  # of those that train, likewise
    with_proposals: float | None = None  # the score from which proposals train as well

    @property
    def classes(self) -> dict[str, int]:
        """Class -> instances to learn from, most first."""
        return _count(self.train)

    @property
    def named_classes(self) -> frozenset[str]:
        """Classes that anything has which the trainer gets to see."""
        return frozenset(self.classes) | frozenset(_count(self.validation))

    @property
    def judged_classes(self) -> dict[str, int]:
        """Class -> curated instances on the photos that judge."""
        return _count(self.judges)

    @property
    def judging(self) -> int:
        """Photos that judge and have something to be found."""
        return holdback.with_objects(self.judges)

    @property
    def rejected(self) -> int:
        """Known negatives."""
        return sum(one.status is Status.REJECTED for image in self.train for one in image.instances)

    @property
    def proposed(self) -> int:
        """Proposals that train as if they were accepted."""
        return sum(one.status is Status.PROPOSED for image in self.train for one in image.instances)

    @property
    def small_classes(self) -> list[str]:
        """Classes that are hardly learned."""
        return [name for name, count in self.classes.items() if count < SMALL_CLASS]

    @property
    def parent(self) -> str:
        """The model that proposed most of what trains; empty where none did."""
        proposers = Counter(
            one.source.checkpoint
            for image in self.train
            for one in image.instances
            if one.status is not Status.REJECTED and one.source.checkpoint
        )
        return proposers.most_common(1)[0][0] if proposers else ""

    def problem(self) -> str:
        """Why no detector can be trained, and what to do; empty where one can."""
        positive = [image for image in self.train if _count([image])]
        if len(positive) >= FEWEST_PHOTOS:
            return ""
        if not positive and self.judging:
            return (
                f"all photos with accepted objects ({self.judging}) are held back for judging "
                "and never train: review more photos, or hold back a smaller share"
            )
        if not positive and self.with_proposals is not None:
            return (
                "nothing is accepted yet and no proposal has a score of "
                f"{self.with_proposals:g} or more: review photos, or take a lower score"
            )
        if not positive:
            return (
                "a detector learns from accepted objects, and none is accepted yet: review some "
                "photos first, or train from proposals above a score"
            )
        return (
            f"accepted objects lie on only 1 photo that may train, and it takes at least "
            f"{FEWEST_PHOTOS}: review more photos"
        )

    def require_enough(self) -> None:
        """OptionError where there is nothing to learn from."""
        if problem := self.problem():
            raise OptionError(problem)


def _count(images: Iterable[LabeledImage]) -> dict[str, int]:
    names = Counter(
        one.category
        for image in images
        for one in image.instances
        if one.category is not None and one.status is not Status.REJECTED
    )
    return dict(names.most_common())


def material(view: View, *, with_proposals: float | None = None) -> DetectorMaterial:
    """What there is in the project, without looking whether its photos are still there."""
    return _material(holdback.parts(view), with_proposals)


def material_here(
    project: Project, view: View, *, with_proposals: float | None = None
) -> tuple[DetectorMaterial, list[str]]:
    """The same without the photos that are gone; the names of those that would have taken part."""
    gone = {
        photo.id: photo.file_name
        for photo in view.photos()
        if not os.path.isfile(project.photo_path(photo))
    }
    found = holdback.parts(view)

    def here(images: Iterable[LabeledImage]) -> tuple[LabeledImage, ...]:
        return tuple(one for one in images if one.id not in gone)

    there = replace(
        found,
        train=here(found.train),
        judges=here(found.judges),
        unfinished=here(found.unfinished),
    )
    whole = _material(found, with_proposals)
    missing = [gone[one.id] for one in (*whole.train, *whole.validation) if one.id in gone]
    return _material(there, with_proposals), missing


def _material(found: Parts, with_proposals: float | None) -> DetectorMaterial:
    train = []
    for image in found.train:
        kept = tuple(one for one in image.instances if _trains(one, with_proposals))
        if kept or image.id in found.complete:
            train.append(replace(image, instances=kept))
    validates: frozenset[int] = frozenset()
    if sum(bool(_count([image])) for image in train) >= holdback.VALIDATION_FROM:
        chosen = [image for image in train if image.id in found.validates]
        # On photos with nothing to be found alone, no network is better than another.
        validates = found.validates if _count(chosen) else frozenset()
    learnt = tuple(image for image in train if image.id not in validates)
    return DetectorMaterial(
        train=learnt,
        complete=frozenset(image.id for image in learnt if image.id in found.complete),
        validation=_curated(image for image in found.train if image.id in validates),
        judges=_curated(found.judges),
        unfinished=len(found.unfinished),
        photos=len(found.train) + len(found.judges) + len(found.unfinished),
        unseen=found.waiting,
        unseen_train=sum(image.id in found.unseen for image in learnt),
        with_proposals=with_proposals,
    )


def _curated(images: Iterable[LabeledImage]) -> tuple[LabeledImage, ...]:
    return tuple(
        replace(image, instances=tuple(one for one in image.instances if one.status in CURATED))
        for image in images
    )


def _trains(instance: Instance, with_proposals: float | None) -> bool:
    if instance.category is None:  # nobody said what it is
        return False
    if instance.status is not Status.PROPOSED:
        return True
    return with_proposals is not None and (instance.score or 0.0) >= with_proposals

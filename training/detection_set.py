"""What a detector learns and is chosen from: settings in, readable photos with targets out."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.detectors import kind_of
from engine.detectors.fitting import fitted
from engine.errors import OptionError
from engine.types import Instance, Status
from exports.detection_data import DetectionData, DetectionPhoto, read_detection_data
from training.batches import Plan, ahead
from training.detection_views import Example, Fitted, MaskStore, example, varied
from training.detector_settings import DetectorSettings
from training.photo_cache import PhotoCache
from training.processes import ProcessGroup
from training.reading import PARTS, kept_photos

MANY = 20  # reasons that a log holds
LOOKED_AT = 20  # photos that train, where no others show what the network finds


@dataclass(frozen=True, eq=False)
class DetectionPart:
    """Photos and their pixels, by the same number."""

    photos: tuple[DetectionPhoto, ...]
    cache: PhotoCache[Fitted]
    asked: tuple[DetectionPhoto, ...]  # with those that do not open

    def __len__(self) -> int:
        return len(self.photos)

    @functools.cached_property
    def seen_for(self) -> tuple[int, ...]:
        """For each photo asked for its number here, or that of another where it does not open.

        So steps, and what the other photos look like in them, stay the same when one is lost.
        """
        number_of = {row: number for number, row in enumerate(self.cache.rows)}
        return tuple(number_of.get(row, row % len(self)) for row in range(len(self.asked)))


@dataclass(frozen=True, eq=False)
class LookedAt:
    """The photos on which figures and pictures are made, by their numbers in a part."""

    part: DetectionPart
    numbers: tuple[int, ...]
    has_trained: bool  # then they show that something is learned, and choose nothing


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """What is trained and validated on; photos that do not open are out already."""

    classes: tuple[str, ...]
    training: DetectionPart
    validation: DetectionPart  # complete ones alone: on others a find may be right unseen
    masks: MaskStore | None  # where the network draws some
    parent: str
    hash: str
    left_out: dict[str, Any]

    def example(self, part: DetectionPart, number: int, *, min_size: int | None = None) -> Example:
        """A photo as it is kept, or no larger than a network of that ``min_size`` detects on it."""
        photo, view = part.photos[number], part.cache.view
        width, height = view.size_of(photo.image)
        pixels = part.cache[number][:height, :width]
        if min_size is not None:
            pixels = fitted(pixels, min_size=min_size, max_size=view.max_size)
        number_of = {name: place for place, name in enumerate(self.classes, start=1)}
        return example(pixels, photo, number_of, masks=self.masks)

    @property
    def looked_at(self) -> LookedAt:
        """The validation part; without one some photos that train, complete ones first."""
        if len(self.validation):
            return LookedAt(self.validation, tuple(range(len(self.validation))), has_trained=False)
        photos = self.training.photos
        numbers = sorted(range(len(photos)), key=lambda number: not photos[number].complete)
        return LookedAt(self.training, tuple(numbers[:LOOKED_AT]), has_trained=True)

    @property
    def learnt(self) -> list[Instance]:
        """The objects of the photos that train, in order."""
        return [one for photo in self.training.photos for one in learnt_of(photo)]

    @property
    def asked(self) -> list[Instance]:
        """The same, with those of photos that do not open."""
        return [one for photo in self.training.asked for one in learnt_of(photo)]


@dataclass(frozen=True, eq=False)
class DetectionBatch:
    """What a process sees in a step."""

    examples: tuple[Example, ...]
    seeds: tuple[int, ...]  # one a photo, for what is drawn by chance on it


def detection_batches(
    data: DetectionSet,
    plan: Plan,
    settings: DetectorSettings,
    *,
    first_step: int,
    last_step: int,
) -> Generator[DetectionBatch, None, None]:
    """The batches of the steps from first to before last, made ahead in threads."""
    recipe = settings.recipe

    def make(step: int) -> DetectionBatch:
        epoch = step // plan.steps_an_epoch
        examples, seeds = [], []
        for number in plan.numbers(step).tolist():
            generator = np.random.default_rng((plan.seed, epoch, number))
            seeds.append(int(generator.integers(2**31)))
            seen = data.example(data.training, data.training.seen_for[number])
            examples.append(
                varied(seen, flip=recipe.flip, colour=recipe.colour, generator=generator)
            )
        return DetectionBatch(tuple(examples), tuple(seeds))

    workers = settings.machine.workers
    return ahead(make, first_step=first_step, last_step=last_step, workers=workers)


def read_detection_set(
    settings: DetectorSettings, group: ProcessGroup, check: Callable[[], None]
) -> DetectionSet:
    """All photos read once and kept small; ``check`` may raise in between.

    AnnotatorError where the data is wrong, no photo can be read, or no object is left to learn.
    """
    data = read_detection_data(settings.data)
    judged = [photo for photo in data.part("validation") if photo.complete]
    chosen = dict(zip(PARTS, (data.part("train"), judged), strict=True))
    parts = []
    for name, photos in chosen.items():
        cache = kept_photos(
            settings.photos,
            [photo.image.file_name for photo in photos],
            view_of(settings, photos),
            place=settings.out / name,
            machine=settings.machine,
            group=group,
            check=check,
        )
        parts.append(_readable(photos, cache))
    training, validation = parts
    if training.cache.unreadable and not len(training):
        raise OptionError(
            f"no photo could be read; the first one says: {training.cache.unreadable[0][1]}"
        )
    check_something_to_learn(training.photos, settings)
    return DetectionSet(
        classes=data.classes,
        training=training,
        validation=validation,
        masks=MaskStore() if kind_of(settings.model).has_masks else None,
        parent=data.parent,
        hash=_hash((training, validation), data.classes),
        left_out=_left_out(data, training, validation),
    )


def view_of(settings: DetectorSettings, photos: Sequence[DetectionPhoto]) -> Fitted:
    """Photos at the largest size that the network sees them at."""
    largest = max((settings.network["min_size"], *settings.recipe.scales))
    sizes = {one.image.file_name: (one.image.width, one.image.height) for one in photos}
    return Fitted(largest, settings.network["max_size"], sizes)


def learnt_of(photo: DetectionPhoto) -> list[Instance]:
    """Its objects without what a person refused."""
    return [one for one in photo.image.instances if one.status is not Status.REJECTED]


def check_something_to_learn(photos: Sequence[DetectionPhoto], settings: DetectorSettings) -> None:
    """OptionError where no photo has an object."""
    if not any(learnt_of(photo) for photo in photos):
        raise OptionError(
            f"{str(settings.data)!r} has no object to learn from on its {len(photos)} photos"
            " that train; accept or draw some first"
        )


def _readable(photos: Sequence[DetectionPhoto], cache: PhotoCache[Fitted]) -> DetectionPart:
    by_name = {photo.image.file_name: photo for photo in photos}
    readable = tuple(by_name[name] for name in cache.file_names)
    return DetectionPart(readable, cache, tuple(photos))


def _left_out(
    data: DetectionData, training: DetectionPart, validation: DetectionPart
) -> dict[str, Any]:
    """Counts of what is not used, and the first reasons."""
    unreadable = (*training.cache.unreadable, *validation.cache.unreadable)
    seen = {one.category for photo in training.photos for one in learnt_of(photo)}
    return {
        "unreadable": len(unreadable),
        "incomplete_validation": sum(not photo.complete for photo in data.part("validation")),
        "odd_annotations": len(data.notes),
        "classes_without_objects": [name for name in data.classes if name not in seen],
        "reasons": [*(reason for _, reason in unreadable), *data.notes][:MANY],
    }


def _hash(parts: Sequence[DetectionPart], classes: tuple[str, ...]) -> str:
    """Of everything that is asked to be learnt and validated on, whether it opens today or not.

    What is in the photos is compared one by one when a training goes on.
    """
    whole = hashlib.blake2b(json.dumps(classes).encode("utf-8"), digest_size=16)
    for photo in (photo for part in parts for photo in part.asked):
        objects = [
            (one.id, one.category, str(one.status), one.box, one.rle.counts if one.rle else "")
            for one in photo.image.instances
        ]
        line = json.dumps([photo.image.file_name, photo.part, photo.complete, objects])
        whole.update(line.encode("utf-8"))
    return whole.hexdigest()

"""What a training learns and is judged from: settings in, readable photos and truth out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import OptionError
from training.data import TaggedSet, data_hash, read_tagged_set
from training.photo_cache import PhotoCache, V, View, discard, prepare
from training.processes import ProcessGroup
from training.settings import Machine, Settings
from training.validation import Truth, check_truth

PARTS = ("training", "validation")


@dataclass(frozen=True, eq=False)
class ReadData:
    """What is trained and judged on; photos that do not open are out already."""

    tagged: TaggedSet
    training: PhotoCache[View]
    validation: PhotoCache[View]
    truth: Truth | None
    hash: str

    def _trained_classes(self) -> set[str]:
        numbers = {number for photo in self.tagged.training for number in photo.classes}
        return {self.tagged.classes[number] for number in numbers}

    @property
    def left_out(self) -> dict[str, Any]:
        """Counts of what is not trained on, and the first reasons."""
        unreadable = (*self.training.unreadable, *self.validation.unreadable)
        return {
            "without_tags": self.tagged.without_tags,
            "odd_lines": self.tagged.unknown_lines,
            "unreadable": len(unreadable),
            "classes_without_photos": sorted(set(self.tagged.classes) - self._trained_classes()),
            "reasons": [reason for _, reason in unreadable[:20]],
        }


def read_data(settings: Settings, group: ProcessGroup, check: Callable[[], None]) -> ReadData:
    """All photos read once and kept small; ``check`` may raise in between.

    AnnotatorError where tags, truth or lists are wrong, or no photo can be read.
    """
    recipe = settings.recipe
    tagged = read_tagged_set(
        settings.photos,
        settings.tags,
        classes_file=settings.classes,
        multi_label=settings.multi_label,
        validation_share=settings.val_share,
        validation_file=settings.val_list,
    )
    views = (
        View(recipe.resize, recipe.resize),
        View(recipe.image_size, recipe.resize, recipe.evaluation_view),
    )
    training, validation = (
        kept_photos(
            settings.photos,
            [photo.file_name for photo in getattr(tagged, name)],
            view,
            place=settings.out / name,
            machine=settings.machine,
            group=group,
            check=check,
        )
        for name, view in zip(PARTS, views, strict=True)
    )
    tagged = _without_unreadable(tagged, training, validation)
    truth = None if settings.truth is None else Truth.read(settings.truth)
    if truth is not None and settings.truth is not None:
        check_truth(truth, tagged.validation, settings.truth)
    sha256_of = dict(zip(training.file_names, training.sha256, strict=True))
    return ReadData(tagged, training, validation, truth, data_hash(tagged.training, sha256_of))


def kept_photos(
    folder: Path,
    file_names: Sequence[str],
    view: V,
    *,
    place: Path,
    machine: Machine,
    group: ProcessGroup,
    check: Callable[[], None],
) -> PhotoCache[V]:
    """Photos read once by the first process; the others find what it left."""
    read = functools.partial(
        prepare,
        folder,
        file_names,
        view,
        place=place,
        workers=machine.workers,
        byte_limit=int(machine.cache_gigabytes * 1e9),
        check=check,
    )
    cache = read() if group.leads else None
    group.wait()
    return cache if cache is not None else read()


def discard_pixels(out: Path) -> None:
    """Remove the decoded photos of a run that is done."""
    for part in PARTS:
        discard(out / part)


def _without_unreadable(
    tagged: TaggedSet, training: PhotoCache[View], validation: PhotoCache[View]
) -> TaggedSet:
    good = {*training.file_names, *validation.file_names}
    kept = {
        name: tuple(photo for photo in getattr(tagged, name) if photo.file_name in good)
        for name in PARTS
    }
    if not kept["training"]:
        raise OptionError(
            f"no photo with tags could be read; the first one says: {training.unreadable[0][1]}"
        )
    return dataclasses.replace(tagged, training=kept["training"], validation=kept["validation"])

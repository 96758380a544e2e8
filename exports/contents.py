"""What passes between formats: what a file said, and what a format can hold of what is meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from engine.errors import FormatError
from engine.types import Instance, LabeledImage, Source
from exports.photo_names import stem

NAMED = 5  # how many examples of a loss are named

# What neither XML 1.0 nor a line of text can hold.
_UNWRITABLE = re.compile("[^\x20-\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Reading:
    """What an annotation file says, and what of it could not be taken over.

    Instances are `accepted` unless the file states a status; what our types have no field for
    (difficult, truncated …) stands in ``source.options["notes"]``. An instance has an id only
    where the file proves that it is the one of the project that wrote it.
    """

    images: tuple[LabeledImage, ...]  # file names as in the project where the photos are known
    classes: tuple[str, ...]  # in the order of the file
    notes: tuple[str, ...]
    # By file name, where the file says so:
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # whatever is drawn there
    stamps: Mapping[str, str] = field(default_factory=dict)  # of `exports.formats.About`


@dataclass(frozen=True)
class Loss:
    """Something that a format cannot hold."""

    what: str  # "masks", "scores" …, with what becomes of them
    count: int
    examples: tuple[str, ...]  # the first few; none where it is all of them

    def __str__(self) -> str:
        more = f" and {self.count - len(self.examples)} more" if self.count > NAMED else ""
        named = f": {', '.join(self.examples)}{more}" if self.examples else ""
        return f"{self.count} {self.what}{named}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"what": self.what, "count": self.count, "examples": list(self.examples)}


class Losses:
    """Collects losses of the same kind while a format looks at what it should hold."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, what: str, image: LabeledImage, instance: Instance | None = None) -> None:
        """One more; named by its photo and object."""
        number = "" if instance is None or instance.id is None else f" (object {instance.id})"
        self._names.setdefault(what, []).append(image.file_name + number)

    def count(self, what: str, number: int) -> None:
        """So many more of what befalls all of them: nobody needs examples."""
        self._counts[what] = self._counts.get(what, 0) + number

    def found(self) -> tuple[Loss, ...]:
        """All of them, counted."""
        named = [
            Loss(what, len(names), tuple(dict.fromkeys(names))[:NAMED])
            for what, names in self._names.items()
        ]
        counted = [Loss(what, number, ()) for what, number in self._counts.items() if number]
        return (*named, *counted)


@dataclass(frozen=True)
class Held:
    """The photos with their instances as a format will hold them, and what is lost thereby."""

    images: tuple[LabeledImage, ...]
    losses: tuple[Loss, ...]


def held(
    images: Iterable[LabeledImage],
    losses: Losses,
    hold: Callable[[LabeledImage, Instance], Instance | None],
) -> list[LabeledImage]:
    """The photos with every instance as ``hold`` leaves it; None leaves it out.

    These formats know no scores, no tags beside the objects, and not what a person thought of an
    object or what made it: all of that is counted here.
    """
    kept: list[LabeledImage] = []
    for image in images:
        instances = []
        for instance in image.instances:
            if instance.score is not None:
                losses.add("scores are not written", image, instance)
            one = hold(image, instance)
            if one is not None:
                instances.append(replace(one, score=None))
        for tag in image.tags:
            if tag not in tags_of(instances):
                losses.add("tags are not written where no object is of that class", image)
        kept.append(replace(image, instances=tuple(instances)))
    losses.count(
        "objects lose their status and source: read back, they are accepted",
        sum(len(image.instances) for image in kept),
    )
    return kept


def one_stem_each(images: Iterable[LabeledImage], losses: Losses) -> list[LabeledImage]:
    """Without the photos whose name differs from an earlier one's only in its ending."""
    seen: set[str] = set()
    kept = []
    for image in images:
        key = stem(image.file_name)
        if key in seen:
            losses.add("photos share their name without the ending and are left out", image)
            continue
        seen.add(key)
        kept.append(image)
    return kept


def check_names(images: Sequence[LabeledImage], classes: Sequence[str]) -> None:
    """FormatError for a class or photo name that a line of text cannot hold, or a path outside."""
    for name in classes:
        if not name or name != name.strip() or _UNWRITABLE.search(name):
            raise FormatError(f"the class name {name!r} cannot be written; rename the class")
    for image in images:
        path = PurePosixPath(image.file_name)
        if path.is_absolute() or ".." in path.parts or _UNWRITABLE.search(image.file_name):
            raise FormatError(f"the file name {image.file_name!r} cannot be written; rename it")


def class_name(text: str | None) -> str:
    """A class as a file of others spells it; FormatError where nothing is left."""
    name = unicodedata.normalize("NFC", (text or "").strip())
    if not name:
        raise FormatError("an object without a class name")
    return name


def noted(source: Source, notes: dict[str, Any]) -> Source:
    """The source with what our types have no field for."""
    return replace(source, options={**source.options, "notes": notes}) if notes else source


def notes_of(instance: Instance) -> dict[str, Any]:
    """What `noted` put there."""
    notes = instance.source.options.get("notes")
    return dict(notes) if isinstance(notes, dict) else {}


def tags_of(instances: Iterable[Instance]) -> tuple[str, ...]:
    """The classes of the instances, each once."""
    return tuple(dict.fromkeys(one.category for one in instances if one.category is not None))

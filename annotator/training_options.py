"""What can be chosen for a training, and what a project has to train on; plain data, no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from annotator.training_kinds import DETECTOR, LOCALIZER
from annotator.views import Photo, View
from engine.detectors import DETECTORS
from engine.errors import OptionError
from engine.localizers import LOCALIZERS

DEFAULT_MODEL = "gtformer"
DEFAULT_DETECTOR = "maskrcnn"
SMALL_CLASS = 5  # photos; a class with fewer is hardly learned


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainingOptions:
    """What a person chooses; None leaves the choice to the preset. The trainer knows more flags."""

    what: ClassVar[str] = LOCALIZER

    model: str = _option(DEFAULT_MODEL, f"which localizer: {', '.join(LOCALIZERS)}")
    preset: str | None = _option(None, "named recipe of the trainer; none: the one for the model")
    epochs: int | None = _option(None, "times that every photo is seen")
    batch: int | None = _option(None, "photos a step")
    image_size: int | None = _option(None, "side of the network's input in pixels")
    val_share: float | None = _option(None, "share of the photos that only measure")
    seed: int | None = _option(None, "the same seed makes the same training")
    device: str | None = _option(None, "cpu, cuda, cuda:1 …; none: what is there")
    threads: int | None = _option(None, "threads on the CPU; none: as many as it likes")

    def __post_init__(self) -> None:
        if self.model not in LOCALIZERS:
            raise OptionError(
                f"there is no localizer {self.model!r}; choose from {', '.join(LOCALIZERS)}"
            )
        _require_positive(self, "epochs", "batch", "image_size", "threads")
        if self.val_share is not None and not 0 <= self.val_share < 1:
            raise OptionError(f"val_share must be at least 0 and below 1, got {self.val_share:g}")

    def flags(self) -> list[str]:
        """As the trainer reads them; what is None is left out."""
        return _flags(asdict(self))


@dataclass(frozen=True)
class DetectorTrainingOptions:
    """What a person chooses for a detector; None leaves it to the preset."""

    what: ClassVar[str] = DETECTOR

    model: str = _option(DEFAULT_DETECTOR, f"which detector: {', '.join(DETECTORS)}")
    preset: str | None = _option(None, "named recipe of the trainer; none: the one for the model")
    with_proposals: float | None = _option(
        None, "also learn from proposals of at least this score, as if they were accepted"
    )
    epochs: int | None = _option(None, "times that every photo is seen")
    batch: int | None = _option(None, "photos a step")
    drop: bool | None = _option(None, "leave out regions whose loss says that their label is wrong")
    seed: int | None = _option(None, "the same seed makes the same training")
    device: str | None = _option(None, "cpu, cuda, cuda:1 …; none: what is there")
    threads: int | None = _option(None, "threads on the CPU; none: as many as it likes")

    def __post_init__(self) -> None:
        if self.model not in DETECTORS:
            raise OptionError(
                f"there is no detector {self.model!r}; choose from {', '.join(DETECTORS)}"
            )
        _require_positive(self, "epochs", "batch", "threads")
        score = self.with_proposals
        if score is not None and not 0 <= score <= 1:
            raise OptionError(f"with_proposals is a score from 0 to 1, got {score:g}")

    def flags(self) -> list[str]:
        """As the trainer reads them; which proposals take part stands in its data."""
        chosen = asdict(self)
        del chosen["with_proposals"]
        if self.epochs is not None:
            chosen["least_steps"] = 0  # of the preset, which would have more epochs than asked for
        return _flags(chosen)


AnyOptions = TrainingOptions | DetectorTrainingOptions


OWN_FLAGS = {
    "--photos": "the photos are those of the project",
    "--tags": "what is learned are the tags of the project",
    "--data": "what is learned are the objects of the project",
    "--out": "each training has its folder in the project",
    "--model": "give it before the --",
    "--weights": "give it before the --, so that it is known what the model has learned from",
    "--truth": "give it before the --",
    "--resume": "give it before the --, with the number of the training",
    "--estimate": "give it before the --",
    "--describe": "ask the trainer itself: python -m training.detector --describe",
}
"""Flags of the trainers that a training of a project sets by itself, and what to do instead."""


def check_passed_on(words: Iterable[str]) -> None:
    """OptionError where one of these flags is passed on to the trainer, which would take it."""
    for word in words:
        flag = word.partition("=")[0]
        if flag in OWN_FLAGS:
            raise OptionError(f"{flag} cannot be passed on to the trainer: {OWN_FLAGS[flag]}")


def _require_positive(options: object, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionError(f"{name} must be at least 1, got {value}")


def _flags(chosen: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in chosen.items():
        if isinstance(value, bool):
            words.append("--" + "no-" * (not value) + name.replace("_", "-"))
        elif value is not None:
            words += ["--" + name.replace("_", "-"), str(value)]
    return words


@dataclass(frozen=True)
class Material:
    """What a project has for a training from tags."""

    photos: int
    tagged: int
    classes: dict[str, int]  # name -> photos, most first

    @property
    def small_classes(self) -> list[str]:
        """Classes that are hardly learned."""
        return [name for name, count in self.classes.items() if count < SMALL_CLASS]

    def require_enough(self) -> None:
        """OptionError where there is nothing to learn from."""
        if len(self.classes) < 2:
            raise OptionError(
                "training from tags learns what tells classes apart, so it needs photos with at "
                f"least two different tags; this project has {len(self.classes)} "
                f"on {self.tagged} photos"
            )


def material(view: View) -> Material:
    """Count what there is to train on."""
    tags = view.all_tags()
    counts = Counter(label for labels in tags.values() for label in labels)
    return Material(len(view.photos()), len(tags), dict(counts.most_common()))


def tagged_photos(view: View) -> list[tuple[Photo, tuple[str, ...]]]:
    """Every photo that has tags, with them, in the order of their ids."""
    tags = view.all_tags()
    return [(photo, tags[photo.id]) for photo in view.photos() if photo.id in tags]

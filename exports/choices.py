"""What goes into a file, whatever its format: photos, classes and choices in, a selection out."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engine.errors import OptionError
from engine.types import CURATED, Instance, LabeledImage, Status
from exports.contents import Loss, Losses

TRAIN, VAL = "train", "val"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a person wants in the file."""

    statuses: frozenset[Status] = CURATED
    classes: tuple[str, ...] = ()  # only instances of these; empty: of all
    splits: tuple[str, ...] = ()  # only photos of these splits; empty: all photos
    min_score: float = 0.0  # instances with a lower score stay out; those without one stay in
    val_share: float | None = None  # deal photos without a split into train and val; None: do not
    seed: int = 0  # of the dealing

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise OptionError(f"the lowest score must lie in [0, 1], got {self.min_score}")
        if self.val_share is not None and not 0.0 <= self.val_share <= 1.0:
            raise OptionError(f"the share of val must lie in [0, 1], got {self.val_share}")


@dataclass(frozen=True)
class Selection:
    """The photos with the chosen instances, the class table, and what a choice left out."""

    images: tuple[LabeledImage, ...]
    categories: tuple[tuple[int, str], ...]  # id, name; in the project's order
    unclassed: int  # instances that nobody gave a class
    left_out: tuple[Loss, ...]  # by the choices of classes and score

    @property
    def classes(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(name for _, name in self.categories)

    @property
    def instances(self) -> int:
        """How many are chosen."""
        return sum(len(image.instances) for image in self.images)


def select(
    images: Iterable[LabeledImage],
    categories: Sequence[tuple[int, str]],
    choices: Choices,
) -> Selection:
    """Apply the choices. Photos without a chosen instance stay: nothing on them is knowledge too.

    The class table keeps the project's order and ids; chosen classes leave the others out of it.
    OptionError for a class or a split that is not there.
    """
    wanted = [unicodedata.normalize("NFC", name) for name in choices.classes]
    unknown = [name for name in wanted if name not in [known for _, known in categories]]
    if unknown:
        raise OptionError(
            f"class {unknown[0]!r} is not in the project; "
            f"its classes are {', '.join(name for _, name in categories)}"
        )
    table = [(number, name) for number, name in categories if not wanted or name in wanted]
    names = {name for _, name in table}
    losses = Losses()
    kept, splits, unclassed = [], set(), 0
    for image in images:
        split = image.split or _dealt(image.file_name, choices)
        splits.add(split)
        if choices.splits and split not in choices.splits:
            continue
        instances = []
        for instance in image.instances:
            if instance.status not in choices.statuses:
                continue
            if instance.category is None:
                unclassed += 1
            elif _is_chosen(image, instance, names, choices, losses):
                instances.append(instance)
        kept.append(replace(image, split=split, instances=tuple(instances)))
    _check_splits(choices, splits)
    return Selection(tuple(kept), tuple(table), unclassed, losses.found())


def _is_chosen(
    image: LabeledImage, instance: Instance, names: set[str], choices: Choices, losses: Losses
) -> bool:
    if instance.category not in names:
        losses.add("objects of other classes are not chosen", image, instance)
        return False
    if instance.score is not None and instance.score < choices.min_score:
        losses.add(f"objects have a score below {choices.min_score:g}", image, instance)
        return False
    return True


def _check_splits(choices: Choices, present: set[str]) -> None:
    unknown = [name for name in choices.splits if name not in present]
    if unknown and choices.val_share is None:
        raise OptionError(
            f"no photo is in the split {unknown[0]!r}; the splits are "
            f"{', '.join(sorted(present - {''})) or 'none: deal them with a share for val'}"
        )


def _dealt(file_name: str, choices: Choices) -> str:
    """By the name alone, so that more photos move none of those that are there."""
    if choices.val_share is None:
        return ""
    digest = hashlib.sha256(f"{choices.seed}/{file_name}".encode("utf-8", "surrogatepass"))
    share = int.from_bytes(digest.digest()[:8], "big") / 2**64
    return VAL if share < choices.val_share else TRAIN

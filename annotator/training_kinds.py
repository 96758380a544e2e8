"""What can be trained: each kind's trainer, and the file in which it is told what to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from annotator.views import Photo
from engine.errors import FormatError
from exports.coco import read_json
from exports.tags import read_tags

LOCALIZER, DETECTOR = "localizer", "detector"
CLASSIFIER = "classifier"  # never trained here; brought in


@dataclass(frozen=True)
class TrainingKind:
    """One kind of model: the same run folder and the same contract, another trainer."""

    name: str  # what the command line, the request and a model's card call it
    title: str  # what a person learns from which
    module: str  # of the trainer
    variable: str  # of the environment: another command for the trainer, for example with torchrun
    data: str  # the file of the run folder that it learns from
    data_flag: str
    names_in: Callable[[Path], Iterable[str]]  # the photos in that file

    def photo_names(self, folder: Path) -> set[str]:
        """The photos that take part in the training of this folder, by their names."""
        return set(self.names_in(folder / self.data))


def _names_in_tags(path: Path) -> Iterable[str]:
    return read_tags(path).labels_of


def _names_in_coco(path: Path) -> Iterable[str]:
    try:
        return [str(entry["file_name"]) for entry in read_json(path)["images"]]
    except (FormatError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is not the data of a training: {error}") from error


KINDS: Mapping[str, TrainingKind] = {
    LOCALIZER: TrainingKind(
        name=LOCALIZER,
        title="localizer from tags",
        module="training.wsol",
        variable="TAG2MASK_TRAINER",
        data="tags.csv",
        data_flag="--tags",
        names_in=_names_in_tags,
    ),
    DETECTOR: TrainingKind(
        name=DETECTOR,
        title="detector from what was accepted",
        module="training.detector",
        variable="TAG2MASK_DETECTOR_TRAINER",
        data="data.json",
        data_flag="--data",
        names_in=_names_in_coco,
    ),
}


@dataclass(frozen=True)
class Gathered:
    """What a training learns from, found in the project and ready to be written down."""

    photos: tuple[Photo, ...]  # that are where they were
    missing: tuple[str, ...]  # names of those that are not
    classes: dict[str, int]  # name -> how often
    write: Callable[[Path], None]  # into the file of its kind
    facts: Mapping[str, object]  # more for the request, plain JSON

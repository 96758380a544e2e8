"""What a detector learns from, as one file: COCO JSON that also says which photos choose.

Beyond COCO each image has ``part`` ("train" or "validation", which chooses among the networks of
one training) and ``complete`` (nothing undecided there, so that what is not marked is background),
and ``info`` names the model that proposed. Photos that judge finished detectors are not in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import FormatError
from engine.types import CURATED, LabeledImage, Status
from exports.coco import OURS, check_images, coco_of, read_json, write_coco

Part = Literal["train", "validation"]
PARTS: tuple[Part, ...] = get_args(Part)
_FORMERLY = {"held_back": "validation"}  # in files written before photos that judge stayed out

LEARNT = CURATED | {Status.REJECTED}
"""What a file holds by default: what a person stands behind, and what a person refused."""


@dataclass(frozen=True)
class DetectionPhoto:
    """A photo with its instances, of which rejected ones are known negatives of their class.

    Proposed instances are pseudo labels. A ``complete`` photo has none: everything in it was
    looked at, so whatever is not marked there is background.
    """

    image: LabeledImage
    part: Part
    complete: bool

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise FormatError(
                f"photo {self.image.file_name!r} has the part {self.part!r};"
                f" allowed are {', '.join(PARTS)}"
            )
        proposed = sum(one.status is Status.PROPOSED for one in self.image.instances)
        if self.complete and proposed:
            raise FormatError(
                f"photo {self.image.file_name!r} is called complete, but {proposed} of its objects"
                " are only proposed; decide on them, or call it incomplete"
            )


@dataclass(frozen=True)
class DetectionData:
    """What a file says."""

    photos: tuple[DetectionPhoto, ...]  # in the order of the file
    classes: tuple[str, ...]  # in the order of the file
    parent: str  # the model that proposed what was reviewed, or ""
    notes: tuple[str, ...] = ()  # on what could not be taken over

    def part(self, part: Part) -> tuple[DetectionPhoto, ...]:
        """The photos of one part."""
        return tuple(photo for photo in self.photos if photo.part == part)


def write_detection_data(
    path: Path | str,
    photos: Iterable[DetectionPhoto],
    *,
    categories: Sequence[tuple[int, str]],
    date_created: str,
    parent: str = "",
    statuses: Iterable[Status] = LEARNT,
) -> int:
    """Write all photos with their instances of these statuses, and return how many were left out.

    An instance that was never given a class teaches nothing and is left out. ``categories`` are
    (id, name) as in `exports.coco.write_coco`, which also says what raises FormatError.
    """
    wanted = frozenset(statuses)
    known: dict[str, DetectionPhoto] = {}
    images = []
    left_out = 0
    for photo in photos:
        chosen = [one for one in photo.image.instances if one.status in wanted]
        kept = tuple(one for one in chosen if one.category is not None)
        left_out += len(chosen) - len(kept)
        images.append(replace(photo.image, instances=kept))
        known[photo.image.file_name] = photo
    write_coco(
        path,
        images,
        categories=categories,
        date_created=date_created,
        description="Training data of a detector",
        statuses=wanted,
        more_info={OURS: {"parent": parent}},
        more_of=lambda image: {
            "part": known[image.file_name].part,
            "complete": known[image.file_name].complete,
        },
    )
    return left_out


def read_detection_data(path: Path | str) -> DetectionData:
    """The inverse of `write_detection_data`.

    FormatError where the file is no COCO, an image lacks its part or whether it is complete, a
    class or file name stands there twice, a file name leads out of the photo folder, or an
    annotation has no id of its own from 1.
    """
    try:
        content = read_json(path)
        found = coco_of(content, name=Path(path).name)
        check_images(found.images)
        classes = tuple(name for _, name in found.categories)
        twice = [name for place, name in enumerate(classes) if name in classes[:place]]
        if twice:
            raise FormatError(f"the class {twice[0]!r} stands there twice")
        photos = tuple(
            _photo(image, entry)
            for image, entry in zip(found.images, content["images"], strict=True)
        )
        return DetectionData(photos, classes, _parent(content), found.notes)
    except FormatError as error:
        raise FormatError(f"training data {os.fspath(path)!r}: {error}") from error


def _photo(image: LabeledImage, entry: dict[str, Any]) -> DetectionPhoto:
    part, complete = entry.get("part"), entry.get("complete")
    if not isinstance(part, str) or type(complete) is not bool:
        raise FormatError(
            f"photo {image.file_name!r} needs 'part', one of {', '.join(PARTS)}, and 'complete',"
            f" true or false; got {part!r} and {complete!r}"
        )
    part = _FORMERLY.get(part, part)
    if any(instance.id is None for instance in image.instances):
        raise FormatError("annotation ids must be whole numbers from 1, none of them twice")
    return DetectionPhoto(image, part, complete)  # type: ignore[arg-type]


def _parent(content: dict[str, Any]) -> str:
    info = content.get("info")
    ours = info.get(OURS) if isinstance(info, dict) else None
    parent = ours.get("parent") if isinstance(ours, dict) else None
    return parent if isinstance(parent, str) else ""

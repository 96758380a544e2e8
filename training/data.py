"""Photos and tags as training sees them: a folder and a tags file in, numbered targets out.

Who is in the validation split is decided by each photo's own name, so it stays when others come.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import OptionError, TagsError
from engine.photos import photo_files
from exports.tags import read_tags

MultiLabel = Literal["auto", "yes", "no"]


@dataclass(frozen=True)
class TaggedPhoto:
    """A photo and the numbers of its classes, ascending; never empty."""

    file_name: str
    classes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TaggedSet:
    """All photos with tags, in two parts, sorted by name."""

    classes: tuple[str, ...]
    multi_label: bool
    training: tuple[TaggedPhoto, ...]
    validation: tuple[TaggedPhoto, ...]
    without_tags: int  # photos of the folder that were left out for want of a tag
    unknown_lines: int  # lines of the tags file that name no photo, or make no sense

    def targets(self, photos: Sequence[TaggedPhoto]) -> NDArray[np.int64]:
        """Class numbers (n,), or (n, classes) of 0 and 1 for several tags a photo."""
        if not self.multi_label:
            return np.array([photo.classes[0] for photo in photos], dtype=np.int64)
        targets = np.zeros((len(photos), len(self.classes)), dtype=np.int64)
        for row, photo in enumerate(photos):
            targets[row, list(photo.classes)] = 1
        return targets


def read_tagged_set(
    folder: Path,
    tags_file: Path,
    *,
    classes_file: Path | None = None,
    multi_label: MultiLabel = "auto",
    validation_share: float = 0.2,
    validation_file: Path | None = None,
) -> TaggedSet:
    """Read and split; the classes are those of the file in its order, or all tags sorted.

    TagsError or OptionError where nothing is left to train on, a tag is not among the classes, or
    a photo has several tags and ``multi_label`` is "no".
    """
    names, _ = photo_files(folder)
    report = read_tags(tags_file, known_files=names)
    labels_of = {name: labels for name, labels in report.labels_of.items() if labels}
    if not labels_of:
        raise TagsError(
            f"tags file {os.fspath(tags_file)!r} has no tags for any photo of"
            f" {os.fspath(folder)!r}; file names must be relative to that folder"
        )
    classes = _classes(labels_of, classes_file)
    number_of = {name: number for number, name in enumerate(classes)}
    photos = [
        TaggedPhoto(name, tuple(sorted(number_of[label] for label in labels_of[name])))
        for name in sorted(labels_of)
    ]
    held_out = _validation_names(photos, validation_share, validation_file)
    tagged = TaggedSet(
        classes=classes,
        multi_label=_is_multi_label(photos, multi_label),
        training=tuple(photo for photo in photos if photo.file_name not in held_out),
        validation=tuple(photo for photo in photos if photo.file_name in held_out),
        without_tags=len(names) - len(photos),
        unknown_lines=len(report.problems),
    )
    if not tagged.training:
        raise OptionError("every photo with tags is held out for validation; hold out fewer")
    return tagged


def is_held_out(file_name: str, share: float) -> bool:
    """Whether a photo belongs to validation: its name alone decides, in any Unicode spelling."""
    name = unicodedata.normalize("NFC", file_name).encode("utf-8")
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
    return number < share * 2**64


def data_hash(photos: Iterable[TaggedPhoto], sha256_of: Mapping[str, str]) -> str:
    """One hash of names, contents and tags, whatever the order."""
    lines = sorted(
        "\0".join((photo.file_name, sha256_of[photo.file_name], *map(str, photo.classes)))
        for photo in photos
    )
    return hashlib.blake2b("\n".join(lines).encode("utf-8"), digest_size=16).hexdigest()


def _classes(
    labels_of: Mapping[str, tuple[str, ...]], classes_file: Path | None
) -> tuple[str, ...]:
    seen = {label for labels in labels_of.values() for label in labels}
    if classes_file is None:
        return tuple(sorted(seen))
    lines = [unicodedata.normalize("NFC", line.strip()) for line in _lines(classes_file)]
    listed = [line for line in lines if line]
    twice = [name for name, count in Counter(listed).items() if count > 1]
    if twice:
        raise OptionError(f"classes file {os.fspath(classes_file)!r} names {twice[0]!r} twice")
    if unknown := sorted(seen - set(listed)):
        raise OptionError(
            f"tag {unknown[0]!r} is not in the classes file {os.fspath(classes_file)!r};"
            " add a line for it"
        )
    return tuple(listed)


def _is_multi_label(photos: Sequence[TaggedPhoto], wanted: MultiLabel) -> bool:
    several = next((photo for photo in photos if len(photo.classes) > 1), None)
    if wanted == "no" and several is not None:
        raise OptionError(
            f"photo {several.file_name!r} has {len(several.classes)} tags;"
            " with multi-label off every photo may have one"
        )
    return wanted == "yes" or several is not None


def _validation_names(
    photos: Sequence[TaggedPhoto], share: float, listed_in: Path | None
) -> frozenset[str]:
    if listed_in is None:
        if not 0.0 <= share < 1.0:
            raise OptionError(f"val-share {share!r} must be at least 0 and below 1")
        return frozenset(photo.file_name for photo in photos if is_held_out(photo.file_name, share))
    known = {unicodedata.normalize("NFC", photo.file_name): photo.file_name for photo in photos}
    chosen = set()
    for line in _lines(listed_in):
        name = unicodedata.normalize("NFC", line.strip().replace("\\", "/").removeprefix("./"))
        if not name:
            continue
        if name not in known:
            raise OptionError(
                f"validation list {os.fspath(listed_in)!r} names {name!r},"
                " which is no photo with tags; correct or remove the line"
            )
        chosen.add(known[name])
    return frozenset(chosen)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise OptionError(f"cannot read {os.fspath(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{os.fspath(path)!r} is not UTF-8; save it as UTF-8") from error

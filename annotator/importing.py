"""Annotations of others into a project: a file in any format in, instances and a report out.

Photos are matched by name and must have the size that the file states. One event a photo, so that
a person can undo it there; everything in one transaction, so that a failure changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from annotator.journal import Change
from annotator.labelstudio.contents import KEY, image_id_of
from annotator.merging import Merge, merge, prepared
from annotator.own_files import event_of, past_of, untold
from annotator.store import Project, Transaction
from annotator.views import Photo, View, instance_row
from engine.errors import FormatError, OptionError
from engine.options import from_dict
from engine.types import PERSON, Instance, LabeledImage
from exports.contents import Reading
from exports.formats import formats_to_read
from exports.photo_names import KnownPhotos

FORMATS = tuple(formats_to_read())
TAGS = "tags"  # read by `annotator.intake`: tags are no instances
IMPORT = "import"  # kind of the event
As = Literal["curated", "proposed"]
PROGRESS_EVERY = 20  # photos


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What became of a file."""

    path: str
    format: str
    taken_as: str
    photos: int  # that the file speaks of
    matched: int  # of them in the project
    changed: int  # photos that were changed
    instances: int  # in the file, on matched photos
    added: int
    known: int  # there already
    replaced: int  # undecided ones that gave way
    updated: int  # objects of this project that were changed in a file of its own
    tagged: int  # photos that had no tags
    conflicts: tuple[str, ...]  # left out: decided otherwise here
    refused: tuple[str, ...]  # photos that are not in the project, or of another size
    notes: tuple[str, ...]  # what the reader left out
    new_classes: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out."""
        return not (self.conflicts or self.refused or self.notes)

    def summary(self) -> str:
        """One or two lines."""
        lines = [
            f"{self.added} instances added as {self.taken_as} on {self.changed} photos;"
            f" {self.known} were there already, {self.replaced} undecided ones replaced",
            f"{self.matched} of {self.photos} photos of {self.path} are in the project",
        ]
        if self.updated:
            lines.append(f"{self.updated} objects of this project were changed in the file")
        if self.tagged:
            lines.append(f"{self.tagged} photos without tags got those of the file")
        if self.new_classes:
            lines.append(f"new classes: {', '.join(self.new_classes)}")
        if self.conflicts:
            lines.append(f"{len(self.conflicts)} left out: decided otherwise here")
        return "\n".join(lines)

    def oddities(self) -> list[str]:
        """Everything that was left out, a line each."""
        return [
            *(f"no match: {text}" for text in self.refused),
            *(f"decided here already: {text}" for text in self.conflicts),
            *(f"in the file: {text}" for text in self.notes),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "complete": self.is_complete}


def import_file(
    project: Project,
    format_name: str,
    path: Path,
    *,
    actor: str,
    taken_as: As = "curated",
    source: str | None = None,
    folders: Sequence[Path] = (),
    options: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Read the file and add what it says to the photos that the project has.

    ``source`` names where instances come from that state it not themselves (default: the file's
    name). With ``folders``, names in the file are relative to one of these. What a person decided
    stays; see `annotator.merging`. FormatError where the file cannot be read or speaks of none of
    the photos.
    """
    read, own = _reader(format_name, options)
    if taken_as == "proposed" and source == PERSON.pipeline:
        raise OptionError(f"source '{source}' means drawn by hand; name where proposals come from")
    if not path.exists():
        raise FormatError(f"{str(path)!r} is not there; give the file or folder to import")
    with project.read() as view:
        photos = _named_photos(project, view, folders)
    sizes = {name: (photo.width, photo.height) for name, photo in photos.items()}
    reading = read(path, KnownPhotos(sizes), own)
    matched, refused = _matched(reading, photos)
    if not matched:
        why = f": {refused[0]}" if refused else f": {reading.notes[0]}" if reading.notes else ""
        raise FormatError(f"{str(path)!r} speaks of no photo of this project{why}")
    origin = source or path.name
    incoming = {photo.id: _prepared(image, taken_as, origin, path.name) for photo, image in matched}
    how = _How(reading, actor, renewed=origin if taken_as == "proposed" else None)
    with project.write() as transaction:
        tags = _missing_tags(transaction, reading, matched)
        classes = _add_classes(transaction, incoming, tags, actor)
        merges = _write(transaction, how, matched, incoming, tags, on_progress)
    return ImportReport(
        path=str(path),
        format=format_name,
        taken_as=taken_as,
        photos=len(reading.images),
        matched=len(matched),
        instances=sum(map(len, incoming.values())),
        refused=tuple(refused),
        notes=reading.notes,
        new_classes=classes,
        tagged=len(tags),
        **_counted(merges),
    )


Read = Callable[[Path, KnownPhotos | None, Any], Reading]


def _reader(format_name: str, options: Mapping[str, Any] | None) -> tuple[Read, Any]:
    """How the format is read, and its options; OptionError for unknown ones."""
    kind = formats_to_read().get(format_name)
    if kind is None or kind.read is None:
        raise OptionError(f"format '{format_name}' is unknown; choose from {', '.join(FORMATS)}")
    return kind.read, from_dict(kind.read_options, options or {})


def _counted(merges: Sequence[tuple[Photo, Merge]]) -> dict[str, Any]:
    """The fields of a report that tell what was done."""
    return {
        "changed": sum(one.changes_anything for _, one in merges),
        "added": sum(len(one.added) for _, one in merges),
        "known": sum(one.known for _, one in merges),
        "replaced": sum(len(one.removed) for _, one in merges),
        "updated": sum(len(one.changed) for _, one in merges),
        "conflicts": tuple(
            f"{photo.file_name}: {_shown(one)}" for photo, done in merges for one in done.conflicts
        ),
    }


# -- photos --------------------------------------------------------------------------------------


def _named_photos(project: Project, view: View, folders: Sequence[Path]) -> dict[str, Photo]:
    """The photos by the names that a file may call them by."""
    if not folders:
        return {photo.file_name: photo for photo in view.photos()}
    named: dict[str, Photo] = {}
    for folder in folders:
        if not folder.is_dir():
            raise OptionError(f"there is no folder {str(folder)!r}; give the photos' folder")
        base = folder.resolve()
        for photo in view.photos():
            path = project.photo_path(photo).resolve()
            if path.is_relative_to(base):
                named.setdefault(path.relative_to(base).as_posix(), photo)
    if not named:
        raise OptionError(f"no photo of the project lies in {', '.join(map(str, folders))}")
    return named


def _matched(
    reading: Reading, photos: Mapping[str, Photo]
) -> tuple[list[tuple[Photo, LabeledImage]], list[str]]:
    """Photos with what the file says of them, and why the others have none."""
    matched: dict[int, tuple[Photo, LabeledImage]] = {}
    refused = []
    for image in reading.images:
        photo = photos.get(image.file_name)
        if photo is None:
            refused.append(f"{image.file_name}: no such photo in the project")
        elif (image.width, image.height) != (photo.width, photo.height):
            refused.append(_other_size(image, photo))
        elif photo.id in matched:
            _, first = matched[photo.id]
            both = replace(first, instances=first.instances + image.instances)
            matched[photo.id] = (photo, both)
        else:
            matched[photo.id] = (photo, image)
    return list(matched.values()), refused


def _other_size(image: LabeledImage, photo: Photo) -> str:
    turned = (image.height, image.width) == (photo.width, photo.height)
    hint = "; the file ignores how the camera was held" if turned else ""
    return (
        f"{photo.file_name}: {image.width} x {image.height} pixels in the file,"
        f" {photo.width} x {photo.height} as shown{hint}"
    )


# -- instances -----------------------------------------------------------------------------------


def _prepared(image: LabeledImage, taken_as: As, source: str, file_name: str) -> list[Instance]:
    found = (
        prepared(one, as_proposal=taken_as == "proposed", source=source, file_name=file_name)
        for one in image.instances
    )
    return [one for one in found if one is not None]


Tags = Mapping[int, tuple[str, ...]]  # of photos


def _missing_tags(
    transaction: Transaction, reading: Reading, matched: Sequence[tuple[Photo, LabeledImage]]
) -> Tags:
    """What the file says of photos that have no tags; what a person said of the others stays."""
    present = transaction.all_tags()
    return {
        photo.id: reading.tags[image.file_name]
        for photo, image in matched
        if reading.tags.get(image.file_name) and photo.id not in present
    }


def _add_classes(
    transaction: Transaction, incoming: Mapping[int, Sequence[Instance]], tags: Tags, actor: str
) -> tuple[str, ...]:
    """The classes that the project had not, in the order in which they come."""
    known = transaction.category_ids()
    names = dict.fromkeys(
        one.category for instances in incoming.values() for one in instances if one.category
    )
    names |= dict.fromkeys(tag for labels in tags.values() for tag in labels)
    new = tuple(name for name in names if name not in known)
    for name in new:
        transaction.add_category(name, actor=actor)
    return new


@dataclass(frozen=True)
class _How:
    """What holds for all photos of an import."""

    reading: Reading
    actor: str
    renewed: str | None  # the source whose proposals the file says anew


def _write(
    transaction: Transaction,
    how: _How,
    matched: Sequence[tuple[Photo, LabeledImage]],
    incoming: Mapping[int, Sequence[Instance]],
    tags: Tags,
    on_progress: Callable[[int, int], None] | None,
) -> list[tuple[Photo, Merge]]:
    """One event for each photo on which something changes."""
    splits = {image.split for _, image in matched}
    stamps = how.reading.stamps
    written = {stamp: event_of(transaction, stamp) for stamp in dict.fromkeys(stamps.values())}
    key = str(transaction.setting(KEY, ""))
    ids = transaction.category_ids()
    merges = []
    for place, (photo, image) in enumerate(matched, start=1):
        present, past = transaction.instances(photo.id), None
        stamp = stamps.get(image.file_name, "")
        since = written.get(stamp)
        if since is not None:
            past = past_of(transaction, photo, since=since, imports=IMPORT)
        elif image_id_of(key, stamp) == photo.id:
            past = untold(present, photo)
        done = merge(present, incoming[photo.id], past=past, renewed=how.renewed)
        changes = _changes(transaction, photo, done)
        changes += [
            Change("image_tag", None, None, {"image_id": photo.id, "category_id": ids[tag]})
            for tag in tags.get(photo.id, ())
        ]
        # One split for all photos is none.
        if image.split and not photo.split and len(splits) > 1:
            row = transaction.row("image", photo.id)
            assert row is not None
            changes.append(Change("image", photo.id, row, {**row, "split": image.split}))
        if changes:
            transaction.record(IMPORT, changes, actor=how.actor, image_id=photo.id)
        merges.append((photo, done))
        if on_progress is not None and (place % PROGRESS_EVERY == 0 or place == len(matched)):
            on_progress(place, len(matched))
    return merges


def _changes(transaction: Transaction, photo: Photo, done: Merge) -> list[Change]:
    ids = transaction.category_ids()
    rows = [instance_row(one, image_id=photo.id, category_ids=ids) for one in done.changed]
    gone = [(old.id, None) for old in done.removed]
    kept = [(one.id, row) for one, row in zip(done.changed, rows, strict=True)]
    new = [instance_row(one, image_id=photo.id, category_ids=ids) for one in done.added]
    return [
        *(
            Change("instance", number, transaction.row("instance", number), row)
            for number, row in [*gone, *kept]
        ),
        *(Change("instance", None, None, row) for row in new),
    ]


def _shown(instance: Instance) -> str:
    x0, y0, x1, y1 = instance.box
    which = "" if instance.id is None else f"object {instance.id}, "
    return f"{which}{instance.category} at {x0:g}, {y0:g} to {x1:g}, {y1:g}"

"""Photos and tags into a project: a folder and perhaps a tags file in, a report out.

Nothing is copied: the project keeps paths and hashes. A file that does not open is listed with its
reason and stops nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from annotator import schema
from annotator.journal import Change
from annotator.store import Project, Transaction
from engine.errors import StoreError, TagsError
from engine.photos import FoundPhoto, SkippedFile, find_photos
from exports.tags import TagProblem, read_tags, tags_from_folders

BATCH = 500  # rows an event, so that a large folder does not make one giant line of the journal


@dataclass(frozen=True)
class IntakeReport:
    """What became of a folder and of its tags."""

    added: int
    known: int  # photos that the project had already
    refused: tuple[SkippedFile, ...]
    notes: tuple[tuple[str, str], ...]  # file name, what a person should know
    tagged: int  # photos that got tags
    untagged: int  # photos of the project without any
    classes: int  # classes of the project
    tag_problems: tuple[TagProblem, ...]


Tags = Mapping[str, Sequence[str]]


def read_tag_choice(
    names: Sequence[str], *, tags_file: Path | None, from_folders: bool
) -> tuple[Tags, tuple[TagProblem, ...]]:
    """The tags of the named files from one of the two sources, or none; TagsError for both."""
    if tags_file is not None and from_folders:
        raise TagsError("choose one source of tags: --tags FILE.csv or --tags-from-folders")
    if tags_file is not None:
        report = read_tags(tags_file, known_files=names)
        return report.labels_of, report.problems
    return (tags_from_folders(names), ()) if from_folders else ({}, ())


def add_photos(
    project: Project,
    folder: Path,
    *,
    actor: str,
    tags_file: Path | None = None,
    from_folders: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> IntakeReport:
    """Add every photo below the folder, and the tags.

    Tags of photos that the project has already are replaced where the source names them.
    PhotoError where there is no such folder, TagsError where the tags cannot be read; then
    nothing has been added. StoreError where the folder holds no photo at all.
    """
    found = find_photos(folder, on_progress=on_progress)
    if not found.photos:
        raise StoreError(
            f"{folder} holds no photo that opens"
            + (f" ({len(found.skipped)} files were refused)" if found.skipped else "")
            + "; give a folder with JPEG, PNG, WebP, TIFF or BMP files"
        )
    paths = [photo.file_name for photo in found.photos]
    tags, problems = read_tag_choice(paths, tags_file=tags_file, from_folders=from_folders)
    stored = project.stored_folder(folder)
    with project.write() as transaction:
        ids, added = _insert_photos(transaction, stored, folder.resolve().name, found.photos, actor)
        tagged = _set_tags(transaction, {ids[path]: labels for path, labels in tags.items()}, actor)
        _set_refused(transaction, found.skipped, opened=paths, actor=actor)
        all_tags = transaction.all_tags()
        photos, classes = len(transaction.photos()), len(transaction.category_names())
    return IntakeReport(
        added=added,
        known=len(paths) - added,
        refused=found.skipped,
        notes=tuple(
            (one.file_name, "; ".join(one.facts.notes)) for one in found.photos if one.facts.notes
        ),
        tagged=tagged,
        untagged=photos - len(all_tags),
        classes=classes,
        tag_problems=problems,
    )


def set_tags_from_file(project: Project, tags_file: Path, *, actor: str) -> IntakeReport:
    """Read a tags file for the photos that the project has; as `add_photos` without photos."""
    with project.write() as transaction:
        ids = {photo.file_name: photo.id for photo in transaction.photos()}
        report = read_tags(tags_file, known_files=ids)
        tagged = _set_tags(
            transaction, {ids[name]: tags for name, tags in report.labels_of.items()}, actor
        )
        untagged = len(ids) - len(transaction.all_tags())
        classes = len(transaction.category_names())
    return IntakeReport(0, len(ids), (), (), tagged, untagged, classes, report.problems)


def _insert_photos(
    transaction: Transaction,
    stored: str,
    folder_name: str,
    photos: Sequence[FoundPhoto],
    actor: str,
) -> tuple[dict[str, int], int]:
    """Path in the folder -> id for all of them, and how many were new."""
    present = transaction.photos()
    ids = {photo.path: photo.id for photo in present if photo.folder == stored}
    taken = {photo.file_name for photo in present}
    new = [photo for photo in photos if photo.file_name not in ids]
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        changes = [
            Change(
                "image",
                None,
                None,
                _image_row(photo, stored, _free_name(photo, folder_name, taken)),
            )
            for photo in batch
        ]
        event = transaction.record("add photos", changes, actor=actor)
        for photo, change in zip(batch, event.changes, strict=True):
            assert change.id is not None
            ids[photo.file_name] = change.id
    return ids, len(new)


def _image_row(photo: FoundPhoto, stored: str, file_name: str) -> dict[str, object]:
    facts = photo.facts
    return {
        "file_name": file_name,
        "folder": stored,
        "path": photo.file_name,
        "width": facts.width,
        "height": facts.height,
        "format": facts.format,
        "orientation": facts.orientation,
        "sha256": facts.sha256,
        "split": "",
        "notes": list(facts.notes),
    }


def _free_name(photo: FoundPhoto, folder_name: str, taken: set[str]) -> str:
    """The name in exports: the path, led by the folder's name where another folder has it too."""
    name, number = photo.file_name, 1
    while name in taken:
        name = f"{folder_name}{'' if number == 1 else f'-{number}'}/{photo.file_name}"
        number += 1
    taken.add(name)
    return name


def _set_tags(transaction: Transaction, tags: Mapping[int, Sequence[str]], actor: str) -> int:
    """Make these the tags of these photos; how many photos have some now."""
    present = transaction.all_tags()
    changed = {
        image_id: labels
        for image_id, labels in tags.items()
        if tuple(labels) != present.get(image_id, ())
    }
    known = transaction.category_ids()
    fresh = [label for labels in changed.values() for label in labels if label not in known]
    if fresh:
        names = [Change("category", None, None, {"name": name}) for name in dict.fromkeys(fresh)]
        transaction.record("add class", names, actor=actor)
    ids = transaction.category_ids()
    changes: list[Change] = []
    old_rows = _tag_rows(transaction, set(changed))
    for image_id, labels in changed.items():
        changes += [Change("image_tag", row["id"], row, None) for row in old_rows.get(image_id, ())]
        changes += [
            Change("image_tag", None, None, {"image_id": image_id, "category_id": ids[label]})
            for label in labels
        ]
    for start in range(0, len(changes), BATCH):
        transaction.record("set tags", changes[start : start + BATCH], actor=actor)
    return sum(bool(labels) for labels in tags.values())


def _tag_rows(transaction: Transaction, image_ids: set[int]) -> dict[int, list[dict[str, int]]]:
    rows: dict[int, list[dict[str, int]]] = {}
    for row in transaction.connection.execute(select(schema.image_tag)):
        if row.image_id in image_ids:
            rows.setdefault(row.image_id, []).append(dict(row._mapping))
    return rows


def _set_refused(
    transaction: Transaction,
    skipped: Sequence[SkippedFile],
    *,
    opened: Sequence[str],
    actor: str,
) -> None:
    """Keep the list of refused files true: new reasons in, files that open by now out."""
    rows = {
        row.file_name: dict(row._mapping)
        for row in transaction.connection.execute(select(schema.refused))
    }
    changes: list[Change] = []
    for file in skipped:
        old = rows.get(file.file_name)
        row = {"file_name": file.file_name, "reason": file.reason}
        if old is None:
            changes.append(Change("refused", None, None, row))
        elif old["reason"] != file.reason:
            changes.append(Change("refused", old["id"], old, {**row, "id": old["id"]}))
    for name in opened:
        if name in rows:
            changes.append(Change("refused", rows[name]["id"], rows[name], None))
    if changes:
        transaction.record("refuse files", changes, actor=actor)

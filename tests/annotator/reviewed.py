"""A project that was reviewed: photos with accepted objects, made on the spot, for tests."""

from __future__ import annotations

from pathlib import Path

from annotator.holdback import is_held_back
from annotator.intake import add_photos
from annotator.journal import Change
from annotator.store import Project
from annotator.views import instance_row
from engine.types import Box, Instance, Source, Status
from tests.conftest import save_scene

EGG: Box = (30.0, 20.0, 85.0, 75.0)  # roughly where `save_scene` puts something


def bare_project(folder: Path, *, photos: int) -> Project:
    """A project with so many different photos and nothing on them."""
    for seed in range(photos):
        save_scene(folder / "photos" / f"{seed}.png", seed=seed)
    project = Project.create(folder / "reviewed")
    add_photos(project, folder / "photos", actor="tester")
    return project


def reviewed_project(folder: Path, *, photos: int, classes: tuple[str, ...] = ("egg",)) -> Project:
    """A project whose every photo has one accepted object."""
    project = bare_project(folder, photos=photos)
    with project.read() as view:
        found = view.photos()
    for place, photo in enumerate(found):
        put(project, photo.id, category=classes[place % len(classes)])
    return project


def put(
    project: Project,
    image_id: int,
    *,
    category: str | None = "egg",
    status: Status = Status.ACCEPTED,
    score: float | None = None,
    checkpoint: str = "",
    box: Box = EGG,
) -> int:
    """One more object on a photo; its id."""
    made = Instance(
        box=box,
        category=category,
        status=status,
        score=score,
        source=Source("pro2sam" if checkpoint else "person", checkpoint=checkpoint),
    )
    with project.write() as transaction:
        if category is not None:
            transaction.add_category(category, actor="tester")
        row = instance_row(made, image_id=image_id, category_ids=transaction.category_ids())
        change = Change("instance", None, None, row)
        event = transaction.record("accept", [change], actor="tester", image_id=image_id)
    number = event.changes[0].id
    assert number is not None
    return number


def tag(project: Project, image_id: int, category: str) -> None:
    """One more tag on a photo."""
    with project.write() as transaction:
        transaction.add_category(category, actor="tester")
        row = {"image_id": image_id, "category_id": transaction.category_ids()[category]}
        transaction.record("set tags", [Change("image_tag", None, None, row)], actor="tester")


def sorted_photos(project: Project, share: float = 0.2) -> tuple[list[int], list[int]]:
    """The ids of the photos that train, and of those that are held back."""
    with project.read() as view:
        photos = view.photos()
    held_back = [photo.id for photo in photos if is_held_back(photo.sha256, share)]
    return [photo.id for photo in photos if photo.id not in held_back], held_back

"""The sample project: tagged photos that scikit-image carries along, proposals made here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from annotator import intake, runs, suggest
from annotator.store import DATABASE, Project
from engine import pipelines
from engine.errors import StoreError
from engine.options import defaults_of
from exports.tags import write_tags

NAME, PHOTOS, TAGS_FILE = "Sample", "photos", "tags.csv"

TAGS: dict[str, tuple[str, ...]] = {
    "astronaut.png": ("person",),
    "camera.png": ("person", "camera"),
    "chelsea.png": ("cat",),
    "coffee.png": ("cup",),
    "coins.png": ("coin",),
    "horse.png": ("horse",),
    "motorcycle_left.png": ("motorcycle",),
    "rocket.jpg": ("rocket",),
    "hubble_deep_field.jpg": (),
}
"""What is in each photo; the last one has no tags, as some photos of every folder."""


def make_sample(
    folder: Path, *, actor: str, on_progress: Callable[[runs.Run], None] | None = None
) -> Path:
    """Make the sample project, or finish one that was begun; its folder."""
    project = _opened(folder)
    try:
        with project.read() as view:
            has_photos = bool(view.photos())
        if not has_photos:
            _copy_photos(folder)
            tags = folder / TAGS_FILE
            intake.add_photos(project, folder / PHOTOS, actor=actor, tags_file=tags)
        options = defaults_of(pipelines.PIPELINES[pipelines.DEFAULT].options)
        with project.write() as transaction:
            newest = next(iter(runs.all_runs(transaction)), None)
            run_id = newest.id if newest is not None and newest.is_resumable else None
            if newest is None:
                run_id = runs.start(
                    transaction,
                    pipeline=pipelines.DEFAULT,
                    options=options,
                    photos=[photo.id for photo in transaction.photos()],
                )
        if run_id is not None:
            suggest.work_on(project, run_id, on_progress=on_progress)
    finally:
        project.close()
    return folder


def _opened(folder: Path) -> Project:
    """The sample that is there, finished or not, or a new one; StoreError in another folder."""
    if not os.path.exists(folder / DATABASE):
        if os.path.isdir(folder) and any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty; give a new folder for the sample")
        return Project.create(folder, name=NAME)
    project = Project.open(folder)
    with project.read() as view:
        name = view.setting("name", NAME)
    if name != NAME:
        project.close()
        raise StoreError(f"{folder} holds the project '{name}'; give a new folder for the sample")
    return project


def _copy_photos(folder: Path) -> None:
    photos = folder / PHOTOS
    photos.mkdir(exist_ok=True)
    bundled = files("skimage") / "data"
    for name in TAGS:
        with (bundled / name).open("rb") as source, (photos / name).open("wb") as target:
            shutil.copyfileobj(source, target)
    write_tags(folder / TAGS_FILE, TAGS)

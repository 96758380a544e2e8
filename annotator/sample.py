"""The sample project: tagged photos that scikit-image carries along, proposals made here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from annotator import intake, runs, suggest
from annotator.store import DATABASE, Project
from engine import pipelines
from engine.options import defaults_of
from exports.tags import write_tags

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
    project = Project.open(folder) if (folder / DATABASE).exists() else _begin(folder, actor)
    try:
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


def _begin(folder: Path, actor: str) -> Project:
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    bundled = files("skimage") / "data"
    for name in TAGS:
        with (bundled / name).open("rb") as source, (photos / name).open("wb") as target:
            shutil.copyfileobj(source, target)
    write_tags(folder / "tags.csv", TAGS)
    project = Project.create(folder, name="Sample")
    intake.add_photos(project, photos, actor=actor, tags_file=folder / "tags.csv")
    return project

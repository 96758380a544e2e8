"""A project with drafts to decide on, and things that a small detector learns at once."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from annotator import holdback, promotion
from annotator.importing import import_file
from annotator.intake import add_photos
from annotator.store import Project
from engine.types import LabeledImage, Status
from exports.coco import write_coco
from exports.tags import write_tags
from tests.builders import make_image, make_instance
from tests.training.detector_runs import CLASSES, scene

DRAFTED, REST = 24, 8  # photos with proposals to decide on, and those that the detector gets
WRONG = (3, 5, 7)  # photos whose second proposal is of nothing; photos count from 1
SIDE = 64


def make_loop_project(place: Path) -> Path:
    """The project's folder: squares and discs, one a photo, all tagged, the first ones drafted."""
    images = [_photo(place / "photos", number) for number in range(1, DRAFTED + REST + 1)]
    write_tags(place / "tags.csv", {one.file_name: one.tags for one in images})
    write_coco(
        place / "draft.json",
        images[:DRAFTED],
        categories=CLASSES,
        date_created="2000-01-01T00:00:00+00:00",
        statuses=[Status.PROPOSED],
    )
    project = Project.create(place / "shapes")
    add_photos(project, place / "photos", actor="tester", tags_file=place / "tags.csv")
    import_file(
        project,
        "coco",
        place / "draft.json",
        actor="tester",
        taken_as="proposed",
        source="draft",
    )
    with project.write() as transaction:
        holdback.set_share(transaction, 0.3)
        promotion.set_by_hand(transaction, True)
    project.close()
    return project.folder


def _photo(folder: Path, number: int) -> LabeledImage:
    pixels, found = scene(number, objects=1, size=SIDE)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{number:02}.png"
    Image.fromarray(pixels).save(folder / name)
    ((category, mask),) = found
    instances = [make_instance(mask, category=category, status=Status.PROPOSED, id=number)]
    if number in WRONG:
        x = SIDE - 12.0 if mask[:, : SIDE // 2].any() else 0.0
        nothing = make_instance(
            box=(x, 20.0, x + 12, 34.0), category=category, status=Status.PROPOSED, id=1000 + number
        )
        instances.append(nothing)
    return make_image(
        *instances, id=number, file_name=name, width=SIDE, height=SIDE, tags=(category,)
    )

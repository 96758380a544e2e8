from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.cocoeval import COCOeval

from engine.errors import FormatError
from engine.types import LabeledImage, Status
from exports.coco import read_coco, write_coco
from exports.verify_coco import verify_coco
from tests.builders import make_image, make_instance, make_mask

DATA = Path(__file__).parents[3] / "shared" / "data"
CATEGORIES = [(1, "cat"), (2, "dog")]
RING = make_mask((1, 1, 20, 20)) ^ make_mask((5, 5, 9, 9))


def three_photos() -> list[LabeledImage]:
    """A polygon, a ring, a bare box, a machine's proposal, and a photo without objects."""
    return [
        make_image(
            make_instance(make_mask((3, 3, 12, 9)), id=1),
            make_instance(RING, id=2, category="dog"),
            make_instance(make_mask((0, 0, 9, 9)), id=3, status=Status.PROPOSED),
        ),
        make_image(make_instance(box=(0.1, 0.2, 10.3, 20.55), id=4), id=2, file_name="b/é.png"),
        make_image(id=3, file_name="c.png"),
    ]


def written(folder: Path, images: list[LabeledImage], **options: Any) -> Path:
    path = folder / "coco.json"
    write_coco(path, images, categories=CATEGORIES, date_created="2026-01-02", **options)
    return path


def test_a_file_that_says_what_was_meant_is_found_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = three_photos()
    report = verify_coco(written(tmp_path, images), images)
    assert report.ok
    assert (report.images, report.instances, report.masks) == (3, 3, 2)
    assert (report.box_error, report.mask_iou, report.self_ap) == (0.0, 1.0, 1.0)
    assert report.summary() == (
        "3 photos, 3 instances, 2 masks; boxes within 0 px, masks IoU at least 1.0000"
    )
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True
    assert capsys.readouterr().out == ""


def test_other_statuses_are_compared_when_they_were_asked_for(tmp_path: Path) -> None:
    images = three_photos()
    path = written(tmp_path, images, statuses=Status)
    assert verify_coco(path, images, statuses=Status).instances == 4
    assert verify_coco(path, images).problems[0] == "4 objects in the file, 3 meant"


def test_a_file_without_objects_has_no_self_evaluation(tmp_path: Path) -> None:
    images = [make_image()]
    report = verify_coco(written(tmp_path, images), images)
    assert report.ok
    assert report.self_ap is None


def test_more_than_100_objects_of_a_class_on_a_photo_still_reach_ap_one(tmp_path: Path) -> None:
    boxes = [(x, y, x + 3.0, y + 3.0) for x in range(0, 36, 3) for y in range(0, 30, 3)]
    image = make_image(*(make_instance(box=box) for box in boxes))
    assert len(boxes) == 120
    assert verify_coco(written(tmp_path, [image]), [image]).self_ap == 1.0


def moved(entry: dict[str, Any]) -> None:
    entry["bbox"][0] += 1.0


def as_corners(entry: dict[str, Any]) -> None:
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x, y, x + width, y + height]


def shrunk(entry: dict[str, Any]) -> None:
    entry["segmentation"] = [[4, 4, 11, 4, 11, 8, 4, 8]]


def setting(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.update(fields)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (moved, "its box is off by 1 pixels"),
        (as_corners, "its box is off by 3 pixels"),
        (shrunk, "its mask came back with IoU 0.519"),  # 7 x 4 of 9 x 6 pixels
        (setting(category_id=2), "should be of class 'cat', and is of 'dog'"),
        (setting(category_id=9), "should be of class 'cat', and is of None"),
        (setting(image_id=2), "is on photo 2"),
        (setting(iscrowd=1), "is a crowd"),
        (setting(segmentation=[]), "came back with IoU 0.000"),
        (setting(segmentation=[[1, 2, 3, 4]]), "its segmentation is broken"),
        (setting(segmentation=[3, 3, 12, 3, 12, 9]), "its segmentation is broken"),
        (setting(segmentation={"size": [30, 40], "counts": "zzzz"}), "its segmentation is broken"),
        (setting(bbox=None), "its bbox is None"),
        (setting(area=None), "its area is None, not 54.0"),
        (setting(area=55.0), "its area is 55.0, not 54.0"),
        (setting(id=0), "an id is no whole number from 1"),
        (setting(id=2), "annotations: id 2 is there more than once"),
    ],
)
def test_a_damaged_annotation_is_told(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], problem: str
) -> None:
    images = three_photos()
    path = written(tmp_path, images)
    content = json.loads(path.read_text(encoding="utf-8"))
    damage(content["annotations"][0])
    path.write_text(json.dumps(content))
    report = verify_coco(path, images)
    assert not report.ok
    assert any(problem in found for found in report.problems), report.problems
    assert report.summary().startswith("the file is wrong: ")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda images: images[:2], "3 photos in the file, 2 meant"),
        (lambda images: [*images, make_image(id=4, file_name="d.png")], "photo 4 should be"),
        (lambda images: [replace(images[0], width=41), *images[1:]], "photo 1 should be"),
        (lambda images: [replace(images[0], file_name="x.jpg"), *images[1:]], "photo 1 should be"),
        (
            lambda images: [
                replace(images[0], instances=(*images[0].instances, make_instance(id=9))),
                *images[1:],
            ],
            "instance 9 of photo 'a.jpg' is missing",
        ),
    ],
)
def test_a_file_of_other_photos_or_objects_is_told(
    tmp_path: Path, change: Callable[[list[LabeledImage]], list[LabeledImage]], problem: str
) -> None:
    images = three_photos()
    report = verify_coco(written(tmp_path, images), change(images))
    assert any(problem in found for found in report.problems), report.problems


def test_a_file_that_fails_its_own_evaluation_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LosesBoxes(COCOeval):
        def evaluate(self) -> None:
            for detection in self.cocoDt.dataset["annotations"]:
                detection["bbox"] = [39, 29, 1, 1]
            super().evaluate()

    monkeypatch.setattr("exports.verify_coco.COCOeval", LosesBoxes)
    images = three_photos()
    report = verify_coco(written(tmp_path, images), images)
    assert report.self_ap == 0.0
    assert report.problems == ("evaluated against itself it gets AP 0.000, not 1.0",)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"images": [{}]}', '{"images": [], "annotations": [], "x": 1}']
)
def test_a_file_that_pycocotools_cannot_load_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=r"coco\.json"):
        verify_coco(path, [])


def test_datumaro_imports_every_object_of_the_file(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    images = three_photos()
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances_train.json"
    write_coco(path, images, categories=CATEGORIES, date_created="2026-01-02")
    for image in images:
        photo = tmp_path / "images" / "train" / image.file_name
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((image.height, image.width, 3), dtype=np.uint8)).save(photo)
    for kind in (datumaro.Dataset, datumaro.StreamDataset):
        dataset = kind.import_from(str(tmp_path), "coco_instances")
        found = {item.id: {(one.id, one.label) for one in item.annotations} for item in dataset}
        # Datumaro numbers labels from 0: cat, dog.
        assert found == {"a": {(1, 0), (2, 1)}, "b/é": {(4, 0)}, "c": set()}


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason="the photo sets are not beside the checkout")
@pytest.mark.parametrize("name", ["coco_attribution", "pets_masks", "voc100_formats"])
def test_photo_sets_verify(tmp_path: Path, name: str) -> None:
    file = read_coco(DATA / name / "annotations.json")
    path = tmp_path / "coco.json"
    write_coco(path, file.images, categories=file.categories, date_created="2026-01-02")
    report = verify_coco(path, file.images)
    assert report.ok, report.problems
    assert (report.mask_iou, report.self_ap) == (1.0, 1.0)

"""COCO files of others come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import FormatError
from engine.geometry import rle_to_mask
from engine.types import Source, Status
from exports.coco import read_coco, write_coco
from exports.tags import read_tags

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = [
    "birds10",
    "caltech_animals",
    "coco_attribution",
    "fork_scissors",
    "odd_files",
    "pets_masks",
    "voc100_formats",
]


def foreign(**annotation: Any) -> dict[str, Any]:
    """A file of another tool with one annotation."""
    given = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{**given, **annotation}],
    }


def read(folder: Path, content: Any) -> Any:
    path = folder / "theirs.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_coco(path)


SQUARE = [5, 6, 9, 6, 9, 8, 5, 8]


@pytest.mark.parametrize(
    ("segmentation", "pixels"),
    [
        ([SQUARE], 8),
        (SQUARE, 8),
        ([SQUARE, [20, 20, 22, 20, 22, 22, 20, 22]], 12),
        ({"size": [30, 40], "counts": [0, 7, 1193]}, 7),
    ],
    ids=["polygon", "polygon without its outer list", "two polygons", "uncompressed RLE"],
)
def test_segmentations_of_others_become_masks(
    tmp_path: Path, segmentation: Any, pixels: int
) -> None:
    (instance,) = read(tmp_path, foreign(segmentation=segmentation)).images[0].instances
    assert rle_to_mask(instance.rle).sum() == pixels
    assert instance.box == (1.0, 2.0, 4.0, 6.0)
    assert instance.status is Status.ACCEPTED
    assert instance.source == Source("theirs.json")


def test_without_a_box_the_mask_gives_one(tmp_path: Path) -> None:
    (instance,) = read(tmp_path, foreign(segmentation=[SQUARE], bbox=None)).images[0].instances
    assert instance.box == (5.0, 6.0, 9.0, 8.0)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"iscrowd": 1}, "crowd"),
        ({"iscrowd": True}, "crowd"),
        ({"bbox": [1, 2, 0, 4]}, "no area inside"),
        ({"bbox": [100, 2, 3, 4]}, "no area inside"),
        ({"bbox": [1, 2, 3]}, "no area inside"),
        ({"bbox": ["1", 2, 3, 4]}, "no area inside"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three points, got 4"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "three points, got 7"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e9]]}, "far beyond"),
        ({"segmentation": [["a"] * 6]}, "list of numbers"),
        ({"segmentation": "abc"}, "segmentation of type str"),
        ({"segmentation": {"size": [30, 40], "counts": [3]}}, "do not add up"),
        ({"segmentation": {"size": [40, 30], "counts": [1200]}}, "RLE of size"),
    ],
)
def test_an_annotation_without_sense_is_left_out_with_a_note(
    tmp_path: Path, annotation: dict[str, Any], reason: str
) -> None:
    file = read(tmp_path, foreign(**annotation))
    assert file.images[0].instances == ()
    assert file.images[0].tags == ("cat",)
    (note,) = file.notes
    assert note.startswith("annotation 1 was left out")
    assert reason in note


def test_ids_that_do_not_start_at_one_are_replaced(tmp_path: Path) -> None:
    content = foreign(id=0, image_id="x")
    content["images"] = [
        {"id": 0, "file_name": "b.jpg", "width": 40, "height": 30},
        {**content["images"][0], "id": "x"},
    ]
    content["categories"][0]["id"] = content["annotations"][0]["category_id"] = 0
    file = read(tmp_path, content)
    assert [(image.id, image.file_name) for image in file.images] == [(1, "b.jpg"), (2, "a.jpg")]
    assert file.images[1].instances[0].id is None
    assert file.images[1].instances[0].category == "cat"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "detection results"),
        ("[" * 100_000, "is no JSON"),
        ({}, "needs 'categories'"),
        ({**foreign(), "annotations": [1]}, "needs 'annotations'"),
        (foreign(image_id=5), "annotation 1 has the unknown image_id 5"),
        (foreign(image_id=[1]), "unknown image_id"),
        (foreign(category_id=5), "unknown category_id 5"),
        ({**foreign(), "images": [{"id": 1, "file_name": "a.jpg"}]}, "'a.jpg'.*needs 'width'"),
        ({**foreign(), "images": foreign()["images"] * 2}, "must be unique"),
        ({**foreign(), "categories": [{"id": 1}]}, "needs 'name' of type str, got None"),
    ],
)
def test_a_file_that_is_no_coco_is_refused_with_its_name(
    tmp_path: Path, content: Any, reason: str
) -> None:
    with pytest.raises(FormatError, match=f"theirs.json.*{reason}"):
        read(tmp_path, content)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        read_coco(tmp_path / "gone.json")


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason="the photo sets are not beside the checkout")
@pytest.mark.parametrize("name", SETS)
def test_the_truth_of_a_photo_set_goes_through_unchanged(tmp_path: Path, name: str) -> None:
    file = read_coco(DATA / name / "annotations.json")
    tags = read_tags(DATA / name / "image_labels.csv").labels_of
    assert all(set(image.tags) == set(tags[image.file_name]) for image in file.images)
    assert all("crowd" in note for note in file.notes)
    write_coco(
        tmp_path / "coco.json",
        file.images,
        categories=file.categories,
        date_created="2026-01-02T03:04:05Z",
    )
    back = read_coco(tmp_path / "coco.json")
    for image, other in zip(file.images, back.images, strict=True):
        assert [one.rle for one in image.instances] == [one.rle for one in other.instances]
        assert [one.category for one in image.instances] == [
            one.category for one in other.instances
        ]

"""Files of others that are nearly right: what is good in them comes in, the rest is named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from engine.errors import FormatError
from engine.geometry import rle_to_mask
from engine.types import Source, Status
from exports.coco import read_coco
from exports.contents import Reading
from tests.exports.labelled import PHOTOS, corners, put, read

SQUARE = [5, 2, 9, 2, 9, 4, 5, 4]


def coco(folder: Path, *, annotation: Any = None, image: Any = None, category: Any = None) -> Path:
    """Two photos with an object each; the fields of the second one can be changed."""
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    content = {
        "images": [
            {"id": 1, "file_name": "s/a.jpg", "width": 40, "height": 30},
            {"id": 2, "file_name": "b.jpg", "width": 20, "height": 10, **(image or {})},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", **(category or {})}],
        "annotations": [
            one,
            {**one, "id": 2, "image_id": 2, "category_id": 2, **(annotation or {})},
        ],
    }
    put(folder, {"x.json": json.dumps(content)})
    return folder / "x.json"


def objects(reading: Reading) -> list[tuple[str, str | None]]:
    return [(image.file_name, one.category) for image in reading.images for one in image.instances]


BOTH = [("s/a.jpg", "cat"), ("b.jpg", "dog")]

# -- COCO ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (unicodedata.normalize("NFD", "chérie"), "chérie"),
        (" dog ", "dog"),
        ("cat", "cat"),
    ],
)
def test_class_names_are_read_as_in_every_other_format(
    tmp_path: Path, written: str, meant: str
) -> None:
    reading = read(coco(tmp_path, category={"name": written}), "coco", PHOTOS)
    assert objects(reading) == [("s/a.jpg", "cat"), ("b.jpg", meant)]
    assert reading.classes == tuple(dict.fromkeys(["cat", meant]))


@pytest.mark.parametrize("category", [{"name": ""}, {"name": "  "}, {"name": 5}, {"id": [2]}])
def test_a_class_without_a_name_leaves_its_objects_out(
    tmp_path: Path, category: dict[str, Any]
) -> None:
    path = coco(tmp_path, category=category)
    reading = read(path, "coco", PHOTOS)
    assert objects(reading) == BOTH[:1]
    assert len(reading.notes) == 2
    with pytest.raises(FormatError):
        read_coco(path)


@pytest.mark.parametrize(
    "image",
    [{"width": 0, "height": 0}, {"width": "20"}, {"height": 9.5}, {"file_name": None}],
)
def test_one_image_without_sense_does_not_cost_the_others(
    tmp_path: Path, image: dict[str, Any]
) -> None:
    path = coco(tmp_path, image=image)
    reading = read(path, "coco", PHOTOS)
    assert objects(reading) == BOTH[:1]
    assert "image 2 was left out" in reading.notes[0]
    with pytest.raises(FormatError):
        read_coco(path)


@pytest.mark.parametrize("image", [{"width": 20.0, "height": 10.0}, {"width": None}])
def test_sizes_with_a_point_and_sizes_that_are_not_there_are_understood(
    tmp_path: Path, image: dict[str, Any]
) -> None:
    reading = read(coco(tmp_path, image=image), "coco", PHOTOS)
    assert objects(reading) == BOTH
    assert (reading.images[1].width, reading.images[1].height) == (20, 10)


@pytest.mark.parametrize(
    ("there", "said"), [("2", 2), (2, "2"), ("dog-class", "dog-class"), ("0", "0")]
)
def test_ids_may_be_text(tmp_path: Path, there: Any, said: Any) -> None:
    path = coco(tmp_path, category={"id": there}, annotation={"category_id": said})
    assert objects(read(path, "coco", PHOTOS)) == BOTH
    assert [name for _, name in read_coco(path).categories] == ["cat", "dog"]
    assert all(type(number) is int for number, _ in read_coco(path).categories)
    path = coco(tmp_path, image={"id": there}, annotation={"image_id": said})
    assert objects(read(path, "coco", PHOTOS)) == BOTH


@pytest.mark.parametrize(
    "attributes",
    [
        {"status": []},
        {"status": {"a": 1}},
        {"source": {"pipeline": "x", "options": 5}},
        {"source": {"pipeline": "x", "options": ["ab", "c"]}},
        {"source": 5, "status": 5},
    ],
)
def test_attributes_of_another_kind_say_nothing(tmp_path: Path, attributes: dict[str, Any]) -> None:
    reading = read(coco(tmp_path, annotation={"attributes": attributes}), "coco", PHOTOS)
    (instance,) = reading.images[1].instances
    assert (instance.status, instance.source) == (Status.ACCEPTED, Source("x.json"))
    assert reading.notes == ()


@pytest.mark.parametrize("bad", [[1, 1, 2, 2], [1, 1, 2, 2, 3], ["x"], [1e9] * 6])
def test_a_broken_part_does_not_cost_the_good_ones(tmp_path: Path, bad: list[Any]) -> None:
    reading = read(coco(tmp_path, annotation={"segmentation": [SQUARE, bad]}), "coco", PHOTOS)
    (instance,) = reading.images[1].instances
    assert instance.rle is not None
    assert rle_to_mask(instance.rle).sum() == 8
    (note,) = reading.notes
    assert note.startswith("annotation 2: a part was left out: a polygon")


# -- Open Images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["class-descriptions.csv", "boxes.csv"])
def test_a_csv_with_an_endless_field_is_named(tmp_path: Path, name: str) -> None:
    files: dict[str, str | bytes] = {
        "class-descriptions.csv": "/m/01,Cat\n",
        "boxes.csv": "ImageID,LabelName,XMin,XMax,YMin,YMax\na,/m/01,0,1,0,1\n",
    }
    put(tmp_path, {**files, name: f"x,{'y' * 200_000}\n"})
    with pytest.raises(FormatError, match=f"{name}' is no CSV"):
        read(tmp_path, "openimages", PHOTOS)


# -- YOLO ----------------------------------------------------------------------------------------

POINTS = " .4 .4 2" * 5
POSE = f"0 .5 .5 .4 .4{POINTS}\n"


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ("kpt_shape: [5, 3]", POSE),
        ("kpt_shape: [5, 2]", "0 .5 .5 .4 .4" + " .4 .4" * 5),
        ("kpt_shape: [5, 3]", f"0 .5 .5 .4 .4{POINTS} .9"),
        ("", POSE),
    ],
)
def test_of_keypoints_the_box_is_read(tmp_path: Path, shape: str, line: str) -> None:
    put(tmp_path, {"data.yaml": f"names: [person]\n{shape}\n", "labels/b.txt": line})
    reading = read(tmp_path, "yolo", PHOTOS)
    assert corners(reading) == [(6.0, 3.0, 14.0, 7.0)]
    assert reading.images[0].instances[0].rle is None
    assert reading.notes == ("b: the keypoints of 1 objects were left out, their boxes were read",)


def test_a_polygon_along_the_edges_is_no_pose(tmp_path: Path) -> None:
    line = "0 0 0 1 0 1 1 .5 1 0 1\n"
    put(tmp_path, {"data.yaml": "names: [person]\n", "labels/b.txt": line})
    reading = read(tmp_path, "yolo", PHOTOS)
    assert corners(reading) == [(0.0, 0.0, 20.0, 10.0)]
    assert reading.images[0].instances[0].rle is not None
    assert reading.notes == ()

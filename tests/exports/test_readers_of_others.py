"""CVAT, Open Images and LabelMe files, good and broken; each is written out here by hand."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import FormatError
from engine.geometry import rle_to_mask
from tests.builders import encoded
from tests.exports.labelled import PHOTOS, corners, only, put, read

# -- CVAT ----------------------------------------------------------------------------------------


def cvat(shapes: str, size: str = 'width="40" height="30"') -> str:
    labels = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    image = f'<image id="0" name="a.jpg" {size}>{shapes}</image>'
    return f"<annotations>{labels}{image}</annotations>"


@pytest.mark.parametrize(
    ("shape", "box", "area"),
    [
        ('<box label="cat" occluded="1" xtl="1" ytl="2" xbr="5.5" ybr="9"/>', (1, 2, 5.5, 9), None),
        ('<polygon label="cat" points="1,2;5,2;5,9;1,9"/>', (1, 2, 5, 9), 28),
        (
            '<mask label="cat" rle="1,2,1,2,2" left="3" top="4" width="4" height="2"/>',
            (3, 4, 6, 6),
            4,
        ),
        ('<ellipse label="cat" cx="20" cy="15" rx="10" ry="5"/>', (10, 10, 30, 20), 157),
    ],
)
@pytest.mark.parametrize("size", ['width="40" height="30"', ""])
def test_cvat_shapes_are_read(
    tmp_path: Path, shape: str, box: tuple[float, ...], area: int | None, size: str
) -> None:
    put(tmp_path, {"annotations.xml": cvat(shape, size)})
    instance = only(read(tmp_path, "cvat", PHOTOS))
    assert instance.box == pytest.approx(box, abs=1e-9)
    assert (instance.rle is None) == (area is None)
    if instance.rle is not None:
        assert rle_to_mask(instance.rle).sum() == pytest.approx(area, rel=0.05)
    if "occluded" in shape:
        assert instance.source.options["notes"] == {"occluded": True}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ('<box label="cat" rotation="5" xtl="1" ytl="2" xbr="5" ybr="9"/>', "rotated"),
        ('<box label="" xtl="1" ytl="2" xbr="5" ybr="9"/>', "without a class name"),
        ('<polygon label="cat" points="1,2;5,2"/>', "too few"),
        ('<polygon label="cat" points="1,2;5,2;1"/>', "no pairs"),
        ('<polygon label="cat" points="1,2;5,2;1e7,3"/>', "far outside"),
        ('<mask label="cat" rle="1,9" left="3" top="4" width="4" height="2"/>', "do not fill"),
        ('<mask label="cat" rle="8" left="38" top="4" width="4" height="2"/>', "do not fill"),
        ('<polyline label="cat" points="1,2;5,2"/>', "no region"),
    ],
)
def test_a_cvat_shape_without_sense_is_left_out_with_a_note(
    tmp_path: Path, shape: str, reason: str
) -> None:
    put(tmp_path, {"x.xml": cvat(shape)})
    reading = read(tmp_path / "x.xml", "cvat", PHOTOS)
    assert corners(reading) == []
    (note,) = reading.notes
    assert reason in note


def test_tracks_of_a_video_are_refused(tmp_path: Path) -> None:
    put(tmp_path, {"x.xml": "<annotations><track/></annotations>", "y.xml": "<annotation/>"})
    for name in ("x.xml", "y.xml"):
        with pytest.raises(FormatError, match="no 'CVAT for images' file"):
            read(tmp_path / name, "cvat", PHOTOS)


# -- Open Images ---------------------------------------------------------------------------------

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"


def test_open_images_with_codes_and_without_endings_is_read(tmp_path: Path) -> None:
    rows = [
        HEADER,
        "a,x,/m/01,1,0.25,0.75,0.1,0.5,1,0,0",
        'a.jpg,x,dog,"0,5","0,25","0,75","0,1","0,5",,,',
        "a,x,/m/01,1,0.25,0.75,0.1,0.5,0,0,1",
        "gone,x,/m/01,1,0.25,0.75,0.1,0.5,0,0,0",
        "a,x,/m/01,1,0.25,0.25,0.1,0.5,0,0,0",
    ]
    files: dict[str, str | bytes] = {
        "boxes.csv": "\n".join(rows),
        "class-descriptions-boxable.csv": "/m/01,Cat\n",
    }
    reading = read(put(tmp_path, files), "openimages", PHOTOS)
    first, second = reading.images[0].instances
    assert (first.category, second.category) == ("Cat", "dog")
    assert first.box == second.box == (10.0, 3.0, 30.0, 15.0)
    assert (first.score, second.score) == (None, 0.5)
    assert first.source.options["notes"] == {"occluded": True}
    assert [note.split(":")[0] for note in reading.notes] == [
        f"line {number} was left out" for number in (4, 5, 6)
    ]
    with pytest.raises(FormatError, match="photos that are known"):
        read(tmp_path, "openimages")


def test_a_csv_of_something_else_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "file,labels\n"})
    with pytest.raises(FormatError, match="no column 'ImageID'"):
        read(tmp_path, "openimages", PHOTOS)
    put(tmp_path, {"b.csv": ""})
    with pytest.raises(FormatError, match="holds 2 CSV files"):
        read(tmp_path, "openimages", PHOTOS)


# -- LabelMe -------------------------------------------------------------------------------------


def labelme(*shapes: dict[str, Any], **fields: Any) -> str:
    given = {"imagePath": "..\\s\\a.jpg", "imageWidth": 40, "imageHeight": 30}
    return json.dumps({**given, **fields, "shapes": shapes})


def shape(kind: str, points: list[list[float]], **fields: Any) -> dict[str, Any]:
    return {"label": "cat", "shape_type": kind, "points": points, "group_id": None, **fields}


@pytest.mark.parametrize(
    ("kind", "points", "box", "area"),
    [
        ("rectangle", [[9, 8], [1, 2]], (1, 2, 9, 8), None),
        ("polygon", [[1, 2], [5, 2], [5, 9], [1, 9]], (1, 2, 5, 9), 28),
        ("circle", [[20, 15], [25, 15]], (15, 10, 25, 20), 79),
        (None, [[1, 2], [5, 2], [5, 9], [1, 9]], (1, 2, 5, 9), 28),
    ],
)
def test_labelme_shapes_are_read(
    tmp_path: Path, kind: str, points: list[list[float]], box: tuple[float, ...], area: int | None
) -> None:
    put(tmp_path, {"a.json": labelme(shape(kind, points, flags={"difficult": True, "x": False}))})
    instance = only(read(tmp_path, "labelme", PHOTOS))
    assert instance.box == pytest.approx(box)
    assert instance.source.options["notes"] == {"difficult": True}
    assert (instance.rle is None) == (area is None)
    if instance.rle is not None:
        assert rle_to_mask(instance.rle).sum() == pytest.approx(area, rel=0.05)


def test_labelme_masks_and_parts_of_a_group_are_one_object(tmp_path: Path) -> None:
    picture = np.array([[255, 0], [255, 255]], dtype=np.uint8)
    mask = base64.b64encode(encoded(picture, "PNG")).decode()
    parts = [
        shape("mask", [[3, 4], [4, 5]], mask=mask, group_id=1),
        shape("polygon", [[10, 10], [14, 10], [14, 12], [10, 12]], group_id=1),
    ]
    put(tmp_path, {"a.json": labelme(*parts, imageWidth=None)})
    instance = only(read(tmp_path / "a.json", "labelme", PHOTOS))
    assert instance.box == (3.0, 4.0, 14.0, 12.0)
    assert instance.rle is not None
    assert rle_to_mask(instance.rle).sum() == 3 + 8


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (shape("line", [[1, 2], [3, 4]]), "a line of 2 points is no region"),
        (shape("polygon", [[1, 2], [3, 4]]), "is no region"),
        (shape("polygon", [[1, 2], [3, "x"], [1, 1]]), "no pair of numbers"),
        (shape("polygon", [[1, 2], [3, 1e9], [1, 1]]), "no pair of numbers"),
        (shape("rectangle", [[100, 2], [130, 4]]), "no area"),
        (shape("mask", [[1, 2], [3, 4]], mask="%%"), "no picture"),
        ({**shape("rectangle", [[1, 2], [3, 4]]), "label": " "}, "without a class name"),
        (3, "it is no object"),
    ],
)
def test_a_labelme_shape_without_sense_is_left_out_with_a_note(
    tmp_path: Path, bad: Any, reason: str
) -> None:
    put(tmp_path, {"a.json": labelme(bad)})
    reading = read(tmp_path, "labelme", PHOTOS)
    (note,) = reading.notes
    assert note.startswith("a.json: shape 1 was left out")
    assert reason in note


def test_a_folder_without_labelme_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no LabelMe file"):
        read(tmp_path, "labelme", PHOTOS)
    put(tmp_path, {"a.json": "[1]"})
    with pytest.raises(FormatError, match="no list 'shapes'"):
        read(tmp_path, "labelme", PHOTOS)

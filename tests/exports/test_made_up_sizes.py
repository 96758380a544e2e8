"""Files that state what no photo can be, or unfold to more than they are: refused, in no time."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from engine.errors import FormatError
from engine.photos import PIXEL_LIMIT
from exports.coco import read_coco
from exports.contents import Reading
from exports.contours import LONGEST_OUTLINE, polygon_to_rle
from exports.label_studio_read import objects_of
from exports.values import are_numbers, checked_size
from tests.exports.labelled import PHOTOS, put, read

HUGE = 10**400  # JSON holds it, no float does
SIDES = [70_000, 10**7, 10**8, 10**300]


def coco(*annotations: dict[str, Any], **image: Any) -> str:
    given = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "b.jpg", "width": 20, "height": 10, **image}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{**given, "id": n, **one} for n, one in enumerate(annotations, 1)],
        }
    )


def labelme(*shapes: dict[str, Any], side: float = 10) -> str:
    fields = {"imagePath": "b.jpg", "imageWidth": 2 * side, "imageHeight": side}
    return json.dumps({**fields, "shapes": [{"label": "cat", **one} for one in shapes]})


def png_of(side: int) -> str:
    """A whole PNG of a few bytes that says it has side x side pixels, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def triangle(side: int) -> dict[str, str]:
    """The same in every format that can say it."""
    voc = (
        f"<annotation><filename>b.jpg</filename><size><width>{side}</width><height>{side}</height>"
        "</size><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
        "<ymax>9</ymax></bndbox></object></annotation>"
    )
    cvat = (
        f'<annotations><image name="b.jpg" width="{side}" height="{side}">'
        f'<polygon label="cat" points="0,0;{side},0;{side},{side}"/>'
        '<mask label="cat" left="0" top="0" width="1" height="1" rle="0,1"/></image></annotations>'
    )
    shapes: list[dict[str, Any]] = [
        {"shape_type": "polygon", "points": [[0, 0], [side, 0], [side, side]]},
        {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": png_of(2)},
    ]
    polygon = {"segmentation": [[0, 0, side, 0, side, side]]}
    return {
        "coco": coco(polygon, width=side, height=side),
        "labelme": labelme(*shapes, side=side),
        "cvat": cvat,
        "voc": voc,
    }


def noted(path: Path, kind: str) -> str:
    """What the reader left out; the reason of its refusal where nothing was left."""
    try:
        reading: Reading = read(path, kind, PHOTOS)
    except FormatError as error:
        return str(error)
    assert not any(image.instances for image in reading.images)
    return "\n".join(reading.notes)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["coco", "labelme", "cvat", "voc"])
def test_a_size_that_no_photo_has_is_refused_before_anything_is_drawn(
    tmp_path: Path, kind: str, side: int
) -> None:
    ending = "json" if kind in ("coco", "labelme") else "xml"
    put(tmp_path, {f"x.{ending}": triangle(side)[kind]})
    assert f"a photo has at most {PIXEL_LIMIT:,}" in noted(tmp_path / f"x.{ending}", kind)


def test_without_known_photos_a_size_that_no_photo_has_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, {"x.json": coco(width=10**8, height=10**8)})
    with pytest.raises(FormatError, match=r"x\.json.*a photo has at most"):
        read_coco(tmp_path / "x.json")


def test_a_size_that_a_photo_may_have_passes_whatever_the_kind_of_number() -> None:
    assert checked_size(40.0, 30) == (40, 30)
    assert checked_size(PIXEL_LIMIT, 1) == (PIXEL_LIMIT, 1)
    for sides in [(40.5, 30), ("40", 30), (None, 30), (True, 30), (HUGE, 1), (0, 30), (-1, -1)]:
        with pytest.raises(FormatError):
            checked_size(*sides)
    assert not are_numbers([HUGE])
    assert not are_numbers([float("nan")])


def test_an_outline_that_would_take_all_memory_is_refused() -> None:
    """Each of its edges is one that a photo may have; pycocotools died of all together."""
    edges = [0, 0, 100, 100] * (LONGEST_OUTLINE // 100 // 2 + 1)
    with pytest.raises(FormatError, match="outline of a polygon"):
        polygon_to_rle([edges], size=(100, 100))
    assert polygon_to_rle([[0, 0, 4, 0, 4, 4, 0, 4]], size=(10, 10)).size == (10, 10)


@pytest.mark.parametrize(
    "annotation",
    [
        {"bbox": [HUGE, 1, 2, 2]},
        {"segmentation": [[HUGE, 1, 2, 2, 3, 3]], "bbox": None},
        {"segmentation": {"size": [10, 20], "counts": [HUGE]}},
    ],
)
def test_numbers_that_no_float_holds_leave_their_annotation_out(
    tmp_path: Path, annotation: dict[str, Any]
) -> None:
    put(tmp_path, {"x.json": coco(annotation)})
    assert "annotation 1 was left out" in noted(tmp_path / "x.json", "coco")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"shape_type": "rectangle", "points": [[0, 0], [HUGE, 1]]}, "no pair of numbers"),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": png_of(30_000)},
            "larger than any photo",
        ),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": png_of(5_000)},
            "reaches out of the photo",
        ),
    ],
)
def test_labelme_shapes_of_made_up_numbers_are_left_out(
    tmp_path: Path, shape: dict[str, Any], reason: str
) -> None:
    put(tmp_path, {"x.json": labelme(shape)})
    assert reason in noted(tmp_path / "x.json", "labelme")


def test_regions_of_made_up_numbers_are_problems() -> None:
    common = {"id": "q", "original_width": 40, "original_height": 30}
    bitmask = {"imageDataURL": f"data:image/png;base64,{png_of(30_000)}", "bitmasklabels": ["cat"]}
    box = {"x": HUGE, "y": 1, "width": 1, "height": 1, "rectanglelabels": ["cat"]}
    found, problems = objects_of(
        [
            {**common, "type": "bitmasklabels", "value": bitmask},
            {**common, "type": "rectanglelabels", "value": box},
        ]
    )
    assert found == []
    assert "larger than any photo" in problems[0]
    assert "no numbers" in problems[1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_however_they_are_spelled(tmp_path: Path, encoding: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE annotation [<!ENTITY n "cat">]>'
        "<annotation><filename>b.jpg</filename><object><name>&n;</name></object></annotation>"
    )
    put(tmp_path, {"x.xml": text.encode(encoding)})
    assert "declares entities" in noted(tmp_path / "x.xml", "voc")


def test_yaml_that_unfolds_is_refused(tmp_path: Path) -> None:
    """393 bytes that took half a minute and 632 MB."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    lines.append("names: [*a7]")
    put(tmp_path, {"data.yaml": "\n".join(lines), "labels/b.txt": "0 .5 .5 .1 .1\n"})
    assert "has aliases" in noted(tmp_path, "yolo")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("names: [[a, b]]", "class 0 is a list, no name"),
        ("names: {0: {a: b}}", "class 0 is a dict, no name"),
        (f"names: [{'x' * 1_000_000}]", "larger than 1,000,000 bytes"),
        ("names: " + "[" * 10_000, "cannot be read"),
    ],
)
def test_class_names_in_yaml_are_text_of_a_sensible_length(
    tmp_path: Path, text: str, reason: str
) -> None:
    put(tmp_path, {"data.yaml": text, "labels/b.txt": "0 .5 .5 .1 .1\n"})
    assert reason in noted(tmp_path, "yolo")


def test_class_names_that_yaml_takes_for_something_else_stay_as_they_are(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "data.yaml": "names: {0: no, 1: 7, 2: 1.50, 3: 2026-01-02}",
        "labels/b.txt": "".join(f"{number} .5 .5 .1 .1\n" for number in range(4)),
    }
    reading = read(put(tmp_path, files), "yolo", PHOTOS)
    assert reading.classes == ("no", "7", "1.50", "2026-01-02")

"""The training data of a detector: what is written comes back, and nonsense is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from engine.errors import FormatError
from engine.types import Instance, Source, Status
from exports.detection_data import (
    LEARNT,
    DetectionPhoto,
    read_detection_data,
    write_detection_data,
)
from tests.builders import make_image, make_instance, make_mask

CATEGORIES = ((2, "cat"), (7, "собака 🐕"))
EDGE = make_mask((0, 0, 40, 30))
HOLE = make_mask((5, 5, 20, 20)) & ~make_mask((8, 8, 12, 12))
PIXEL = make_mask((39, 29, 40, 30))


def write(path: Path, *photos: DetectionPhoto, **more: Any) -> int:
    given = {"categories": CATEGORIES, "date_created": "2000-01-01", **more}
    return write_detection_data(path, photos, **given)


def reviewed() -> DetectionPhoto:
    instances = (
        make_instance(EDGE, id=4),
        make_instance(HOLE, id=9, status=Status.EDITED, score=0.25, category="собака 🐕"),
        make_instance(PIXEL, id=2, status=Status.REJECTED, source=Source("classical", "m1", 3)),
        make_instance(id=3, box=(0.5, 0.0, 40.0, 30.0), status=Status.DRAWN),
    )
    image = make_image(*instances, id=5, file_name="é/写真 1.jpg", tags=("cat", "собака 🐕"))
    return DetectionPhoto(image, "train", True)


def test_everything_that_teaches_comes_back(tmp_path: Path) -> None:
    empty = DetectionPhoto(make_image(id=6, file_name="empty.png"), "validation", True)
    pseudo = make_instance(HOLE, id=11, status=Status.PROPOSED, score=0.5)
    undecided = DetectionPhoto(make_image(pseudo, id=7, file_name="b.png"), "train", False)
    path = tmp_path / "data.json"
    statuses = LEARNT | {Status.PROPOSED}
    assert write(path, reviewed(), empty, undecided, parent="0001-cam", statuses=statuses) == 0
    data = read_detection_data(path)
    assert data.photos == (reviewed(), empty, _with_tags(undecided, ("cat",)))
    assert data.classes == ("cat", "собака 🐕")
    assert (data.parent, data.notes) == ("0001-cam", ())
    assert data.part("validation") == (empty,)


def _with_tags(photo: DetectionPhoto, tags: tuple[str, ...]) -> DetectionPhoto:
    return DetectionPhoto(
        make_image(
            *photo.image.instances, id=photo.image.id, file_name=photo.image.file_name, tags=tags
        ),
        photo.part,
        photo.complete,
    )


def test_it_is_a_coco_file_to_others(tmp_path: Path) -> None:
    write(tmp_path / "data.json", reviewed())
    coco = COCO(str(tmp_path / "data.json"))
    assert sorted(coco.getAnnIds()) == [2, 3, 4, 9]
    assert coco.annToMask(coco.anns[9]).astype(bool).tolist() == HOLE.tolist()


def test_proposals_stay_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    instances = (make_instance(id=1), make_instance(id=2, status=Status.PROPOSED))
    write(tmp_path / "data.json", DetectionPhoto(make_image(*instances), "train", False))
    (photo,) = read_detection_data(tmp_path / "data.json").photos
    assert [one.id for one in photo.image.instances] == [1]


def test_an_object_without_a_class_is_left_out_and_counted(tmp_path: Path) -> None:
    instances = (make_instance(id=1), make_instance(id=2, category=None, status=Status.REJECTED))
    photo = DetectionPhoto(make_image(*instances), "train", True)
    assert write(tmp_path / "data.json", photo) == 1
    (read,) = read_detection_data(tmp_path / "data.json").photos
    assert [one.id for one in read.image.instances] == [1]


def test_a_complete_photo_has_nothing_undecided() -> None:
    undecided = make_image(make_instance(status=Status.PROPOSED), file_name="x.jpg")
    with pytest.raises(FormatError, match=r"'x\.jpg' is called complete, but 1 .* proposed"):
        DetectionPhoto(undecided, "train", True)


def _of_image(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["images"][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_of_image("part", "test"), r"'test'; allowed are train, validation"),
        (_of_image("part", None), r"needs 'part', one of train, validation"),
        (_of_image("complete", 1), r"'complete', true or false; got 'train' and 1"),
        (lambda content: content["images"][0].pop("complete"), "'complete'"),
        (_of_image("file_name", "../secret.png"), "'../secret.png' must lie inside the photo"),
        (_of_image("file_name", "a/../../b.png"), "'a/../../b.png' must lie inside the photo"),
        (_of_image("file_name", "/etc/b.png"), "'/etc/b.png' must lie inside the photo folder"),
        (_of_image("file_name", ""), "'' must lie inside the photo folder"),
        (
            lambda content: content["images"].append({**content["images"][0], "id": 77}),
            r"two images have the file name 'é/写真 1\.jpg'",
        ),
        (lambda content: content.pop("images"), "'images'"),
        (lambda content: content["annotations"][0].update(id=0), "ids must be whole numbers"),
        (lambda content: content["annotations"][0].update(id=9), "none of them twice"),
        (lambda content: content["annotations"][0].update(image_id=77), "unknown image_id 77"),
        (lambda content: content["categories"][0].update(name="собака 🐕"), "stands there twice"),
    ],
)
def test_a_spoilt_file_is_refused_and_named(
    spoil: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.json"
    write(path, reviewed())
    content = json.loads(path.read_text(encoding="utf-8"))
    spoil(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FormatError, match=r"training data '.*data\.json': .*" + said):
        read_detection_data(path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"images": 3}', b"\xff\xfe"])
def test_what_is_no_coco_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"data\.json"):
        read_detection_data(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no\.json.*cannot be read"):
        read_detection_data(tmp_path / "no.json")


def test_a_plain_coco_file_of_others_lacks_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    write(path, reviewed())
    content = json.loads(path.read_text(encoding="utf-8"))
    for entry in content["images"]:
        del entry["part"], entry["complete"]
    path.write_text(json.dumps({**content, "info": []}), encoding="utf-8")
    with pytest.raises(FormatError, match="needs 'part'"):
        read_detection_data(path)


def test_files_of_former_times_hold_back_what_validates_now(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    write(path, DetectionPhoto(make_image(make_instance(id=1)), "validation", True))
    text = path.read_text(encoding="utf-8")
    assert '"validation"' in text
    path.write_text(text.replace('"validation"', '"held_back"'), encoding="utf-8")
    assert read_detection_data(path).photos[0].part == "validation"


@st.composite
def instances_of_any_status(draw: st.DrawFn) -> list[Instance]:
    statuses = draw(st.lists(st.sampled_from(sorted(LEARNT)), max_size=5))
    categories = st.sampled_from([name for _, name in CATEGORIES])
    masks = st.sampled_from([None, EDGE, HOLE, PIXEL])
    return [
        make_instance(draw(masks), id=number, status=status, category=draw(categories))
        for number, status in enumerate(statuses, start=1)
    ]


@given(instances_of_any_status(), st.booleans(), st.sampled_from(["train", "validation"]))
def test_any_reviewed_photo_survives_the_way(
    tmp_path_factory: pytest.TempPathFactory, instances: list[Instance], complete: bool, part: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    photo = DetectionPhoto(make_image(*instances), part, complete)
    write(path, photo)
    (read,) = read_detection_data(path).photos
    assert (read.part, read.complete) == (part, complete)
    assert list(read.image.instances) == instances


def test_reading_it_loads_no_torch() -> None:
    code = "import sys, exports.detection_data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""One ground truth as eight programs published it, against our readers and writers."""

from __future__ import annotations

from pathlib import Path

import pytest

from exports.choices import Choices, Selection, select
from exports.coco import read_coco
from exports.contents import Reading
from exports.photo_names import KnownPhotos
from tests.exports.labelled import read, written

DATA = Path(__file__).parents[3] / "shared" / "data" / "voc100_formats"
PUBLISHED = {
    "coco_format_v1/instances_default.json": "coco",
    "coco_format_v2/instances_v2.json": "coco",
    "cvat_format": "cvat",
    "imagenet_format": "imagenet",
    "labelme_format": "labelme",
    "openimages_format": "openimages",
    "pascalvoc_format": "voc",
    "yolo_format": "yolo",
}
Boxes = dict[tuple[str, str], list[tuple[float, ...]]]

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.is_dir(), reason="the photo sets are not beside the checkout"),
]


@pytest.fixture(scope="module")
def truth() -> Selection:
    """What was made from the VOC XML by hand: 273 boxes of 20 classes on 100 photos."""
    file = read_coco(DATA / "annotations.json")
    return select(file.images, file.categories, Choices())


def known(truth: Selection) -> KnownPhotos:
    return KnownPhotos({one.file_name: (one.width, one.height) for one in truth.images})


def boxes(found: Reading | Selection) -> Boxes:
    """Of each photo and class, in any order."""
    grouped: Boxes = {}
    for image in found.images:
        for one in image.instances:
            grouped.setdefault((image.file_name, str(one.category)), []).append(one.box)
    return {key: sorted(group) for key, group in grouped.items()}


def assert_same(found: Boxes, meant: Boxes) -> None:
    assert found.keys() == meant.keys()
    for key, group in meant.items():
        assert len(found[key]) == len(group)
        for one, other in zip(found[key], group, strict=True):
            assert one == pytest.approx(other, abs=0.01)


@pytest.mark.parametrize("place", PUBLISHED)
def test_every_published_version_holds_the_same_273_boxes(place: str, truth: Selection) -> None:
    reading = read(DATA / "original_formats" / place, PUBLISHED[place], known(truth))
    assert reading.notes == ()
    assert sum(len(image.instances) for image in reading.images) == 273
    assert sorted(reading.classes) == sorted(truth.classes)
    assert_same(boxes(reading), boxes(truth))


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "yolo-seg"])
def test_our_exports_agree_with_every_published_version(
    name: str, truth: Selection, tmp_path: Path
) -> None:
    _, report = written(tmp_path / "out", name, truth)
    assert report.ok
    assert report.instances == 273
    ours = boxes(read(tmp_path / "out", name, known(truth)))
    for place, kind in PUBLISHED.items():
        theirs = read(DATA / "original_formats" / place, kind, known(truth))
        assert_same(ours, boxes(theirs))

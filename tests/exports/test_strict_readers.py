"""Our files in the hands of the strictest reader: Datumaro, which CVAT imports with."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.types import LabeledImage
from exports.choices import Choices, Selection, select
from tests.builders import make_image, make_instance, make_mask
from tests.exports.labelled import written

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    from datumaro.components.dataset import StreamDataset

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RING = make_mask((1, 1, 20, 20)) ^ make_mask((5, 5, 9, 9))
PARTS = make_mask((20, 20, 30, 28), (32, 2, 38, 9))
DOG = "пёс"
CLASSES = ((1, "cat"), (3, DOG))


def photos() -> tuple[LabeledImage, ...]:
    """A ring, two parts, a polygon, a box with fractions; one photo without objects."""
    return (
        make_image(
            make_instance(RING, id=1), make_instance(PARTS, id=2, category=DOG), split="train"
        ),
        make_image(id=2, file_name="b.jpg", split="val"),
        make_image(
            make_instance(make_mask((3, 4, 9, 9)), id=3),
            make_instance(box=(10.25, 1.5, 30.125, 20.0), id=4, category=DOG),
            id=3,
            file_name="é.jpg",
            split="train",
        ),
    )


def chosen(images: tuple[LabeledImage, ...]) -> Selection:
    return select(images, CLASSES, Choices())


def put_photos(folder: Path, images: tuple[LabeledImage, ...]) -> None:
    for image in images:
        path = folder / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (image.width, image.height)).save(path)


def objects(dataset: Any) -> Counter[tuple[str, str, str]]:
    """Photo, class and kind of every annotation."""
    names = dataset.categories()[datumaro.AnnotationType.label]
    return Counter(
        (item.id, names[one.label].name, one.type.name)
        for item in dataset
        for one in item.annotations
    )


def boxes(dataset: Any) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    for item in dataset:
        of_item = [one.points for one in item.annotations if one.type.name == "bbox"]
        found[item.id] = sorted(of_item)
    return found


MEANT = {
    "a": [[1.0, 1.0, 20.0, 20.0], [20.0, 2.0, 38.0, 28.0]],
    "b": [],
    "é": [[3.0, 4.0, 9.0, 9.0], [10.25, 1.5, 30.125, 20.0]],
}


def assert_boxes(found: dict[str, list[list[float]]]) -> None:
    assert found.keys() == MEANT.keys()
    for name, meant in MEANT.items():
        for one, other in zip(found[name], meant, strict=True):
            assert one == pytest.approx(other, abs=0.01)  # Datumaro rounds to hundredths


def test_coco_is_imported_whole_both_ways(tmp_path: Path) -> None:
    put_photos(tmp_path / "images", photos())
    (tmp_path / "annotations").mkdir()
    _, report = written(tmp_path / "annotations" / "instances_train.json", "coco", chosen(photos()))
    assert (report.ok, report.self_ap) == (True, pytest.approx(1.0))
    normal = datumaro.Dataset.import_from(str(tmp_path), "coco")
    streamed = StreamDataset.import_from(str(tmp_path), "coco")
    assert len(normal) == len(streamed) == 3
    assert objects(normal) == objects(streamed)
    kinds = Counter((kind, label) for _, label, kind in objects(normal).elements())
    # A hole and parts go as RLE, what is one outline as a polygon; every mask has its box.
    assert kinds[("mask", "cat")] == kinds[("mask", DOG)] == 1
    assert kinds[("polygon", "cat")] == 1
    masks = {
        one.label: int(one.image.sum())
        for item in normal
        for one in item.annotations
        if one.type.name == "mask"
    }
    assert masks == {0: int(RING.sum()), 1: int(PARTS.sum())}


@pytest.mark.parametrize(
    ("corners", "mode"), [("plain", "dm-zero-based"), ("inclusive", "voc-one-based")]
)
def test_voc_is_imported_with_its_own_classes(tmp_path: Path, corners: str, mode: str) -> None:
    folder = tmp_path / "voc"
    written(folder, "voc", chosen(photos()), corners=corners)
    put_photos(folder / "JPEGImages", photos())
    dataset = datumaro.Dataset.import_from(str(folder), "voc", coordinate_mode=mode)
    assert_boxes(boxes(dataset))
    assert {item.id: item.subset for item in dataset} == {"a": "train", "b": "val", "é": "train"}
    assert objects(dataset)[("a", DOG, "bbox")] == 1


def test_yolo_is_imported_from_the_layout_of_ultralytics(tmp_path: Path) -> None:
    folder = tmp_path / "yolo"
    images = photos()
    written(folder, "yolo", chosen(images))
    for image in images:
        put_photos(folder / "images" / image.split, (image,))
    dataset = datumaro.Dataset.import_from(str(folder), "yolo")
    assert_boxes(boxes(dataset))
    assert objects(dataset)[("a", DOG, "bbox")] == 1


def test_png_masks_are_imported_object_by_object(tmp_path: Path) -> None:
    folder = tmp_path / "png"
    images = photos()
    written(folder, "png", chosen(images))
    put_photos(folder / "JPEGImages", images)
    dataset = datumaro.Dataset.import_from(str(folder), "voc_segmentation")
    names = dataset.categories()[datumaro.AnnotationType.label]
    found = {
        (item.id, names[one.label].name, int(one.image.sum()))
        for item in dataset
        for one in item.annotations
    }
    assert found == {
        ("a", "cat", int(RING.sum())),
        ("a", DOG, int(PARTS.sum())),
        ("é", "cat", 30),
    }

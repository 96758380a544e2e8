from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import FormatError
from engine.geometry import mask_to_box
from engine.types import LabeledImage, Mask, Source, Status
from exports.coco import read_coco, write_coco
from exports.coco_annotations import Annotation, box_and_area
from exports.verify_coco import verify_coco
from tests.builders import make_image, make_instance, make_mask, masks_with_pixels

CATEGORIES = [(1, "cat"), (3, "пёс")]
RING = make_mask((1, 1, 20, 20)) ^ make_mask((5, 5, 9, 9))


def written(folder: Path, *images: LabeledImage, **options: Any) -> dict[str, Any]:
    path = folder / "coco.json"
    options = {"categories": CATEGORIES, "date_created": "2026-01-02T03:04:05Z", **options}
    write_coco(path, images, **options)
    return json.loads(path.read_text(encoding="utf-8"))


def test_an_instance_with_a_mask_keeps_its_box_and_takes_the_area_from_the_mask(
    tmp_path: Path,
) -> None:
    instance = make_instance(RING, box=(0.0, 0.0, 39.0, 29.0), id=7, score=0.25)
    (entry,) = written(tmp_path, make_image(instance, id=4))["annotations"]
    assert entry.pop("segmentation") == instance.rle.as_dict()  # type: ignore[union-attr]
    assert entry == {
        "id": 7,
        "image_id": 4,
        "category_id": 1,
        "bbox": [0.0, 0.0, 39.0, 29.0],
        "area": 19.0 * 19 - 16,
        "iscrowd": 0,
        "score": 0.25,
        "attributes": {
            "id": 7,
            "status": "accepted",
            "source": {"pipeline": "person", "checkpoint": "", "run": None, "options": {}},
        },
    }


@pytest.mark.parametrize(
    ("box", "written_box"),
    [
        # The mask ends at 20 to the right; 19.2 touches that pixel column, 18.9 does not.
        ((0.5, 0.5, 19.2, 25.0), [0.5, 0.5, 18.7, 24.5]),
        ((0.5, 0.5, 18.9, 25.0), [1.0, 1.0, 19.0, 19.0]),
    ],
)
def test_a_box_that_the_mask_reaches_out_of_gives_way_to_the_tight_one(
    tmp_path: Path, box: tuple[float, float, float, float], written_box: list[float]
) -> None:
    instance = make_instance(RING, box=box, id=7)
    (entry,) = written(tmp_path, make_image(instance, id=4))["annotations"]
    assert entry["bbox"] == pytest.approx(written_box)
    assert verify_coco(tmp_path / "coco.json", [make_image(instance, id=4)]).ok


def test_an_instance_without_a_mask_keeps_its_box_and_has_no_segmentation(tmp_path: Path) -> None:
    instance = make_instance(box=(0.1, 0.2, 10.3, 20.55), category="пёс")
    (entry,) = written(tmp_path, make_image(instance))["annotations"]
    assert entry["segmentation"] == []
    assert entry["bbox"] == [0.1, 0.2, 10.2, 20.35]
    assert entry["area"] == pytest.approx(10.2 * 20.35, abs=1e-3)
    assert entry["category_id"] == 3
    assert "score" not in entry


def test_a_box_over_the_edge_is_cut_to_the_photo(tmp_path: Path) -> None:
    instance = make_instance(box=(-5.0, 20.0, 50.0, 35.0))
    (entry,) = written(tmp_path, make_image(instance))["annotations"]
    assert entry["bbox"] == [0.0, 20.0, 40.0, 10.0]


def test_one_pixel_has_area_one(tmp_path: Path) -> None:
    (entry,) = written(tmp_path, make_image(make_instance(make_mask((39, 29, 40, 30)))))[
        "annotations"
    ]
    assert (entry["bbox"], entry["area"]) == ([39.0, 29.0, 1.0, 1.0], 1.0)
    assert len(entry["segmentation"][0]) == 8


def test_the_sections_that_strict_readers_want_are_there(tmp_path: Path) -> None:
    content = written(tmp_path, make_image(), description="my photos", version="2")
    assert content["info"]["date_created"] == "2026-01-02T03:04:05Z"
    assert (content["info"]["description"], content["info"]["version"]) == ("my photos", "2")
    assert content["licenses"] == [{"id": 1, "name": "unknown", "url": ""}]
    assert content["categories"] == [
        {"id": 1, "name": "cat", "supercategory": ""},
        {"id": 3, "name": "пёс", "supercategory": ""},
    ]


def test_photos_without_objects_stay_and_names_keep_folders_and_letters(tmp_path: Path) -> None:
    image = make_image(id=9, file_name="été/写真 🦜.jpg", split="val")
    content = written(tmp_path, image)
    assert content["images"] == [
        {"id": 9, "file_name": "été/写真 🦜.jpg", "width": 40, "height": 30, "license": 1}
        | {"split": "val"}
    ]
    assert content["annotations"] == []
    assert "写真 🦜" in (tmp_path / "coco.json").read_text(encoding="utf-8")


def test_only_what_a_person_stands_behind_is_written_unless_asked(tmp_path: Path) -> None:
    instances = [make_instance(status=status, id=n) for n, status in enumerate(Status, start=1)]
    image = make_image(*instances)
    by_default = [
        entry["attributes"]["status"] for entry in written(tmp_path, image)["annotations"]
    ]
    assert by_default == ["accepted", "edited", "drawn"]
    asked = written(tmp_path, image, statuses=[Status.PROPOSED, Status.REJECTED])["annotations"]
    assert [entry["id"] for entry in asked] == [1, 4]


def test_instances_without_an_id_are_numbered_after_the_highest(tmp_path: Path) -> None:
    images = [
        make_image(make_instance(), make_instance(id=5)),
        make_image(make_instance(), id=2, file_name="b.jpg"),
    ]
    assert [entry["id"] for entry in written(tmp_path, *images)["annotations"]] == [6, 5, 7]


def test_numpy_numbers_become_plain_ones(tmp_path: Path) -> None:
    instance = make_instance(
        box=tuple(np.float32([1, 2, 3, 4])), score=np.float32(0.5), id=np.int64(3)
    )
    image = make_image(instance, id=np.int64(2), width=np.int32(40), height=np.int32(30))
    entry = written(tmp_path, image, categories=[(np.int64(1), "cat")])["annotations"][0]
    assert (entry["id"], entry["score"], entry["bbox"]) == (3, 0.5, [1.0, 2.0, 2.0, 2.0])


@given(masks_with_pixels())
def test_box_and_area_are_those_of_the_decoded_mask(mask: Mask) -> None:
    height, width = mask.shape
    instance = make_instance(mask)
    image = make_image(instance, width=width, height=height)
    box, area = box_and_area(Annotation(1, image, instance))
    assert box == mask_to_box(mask)
    assert area == mask.sum()
    assert type(area) is float


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (make_image(make_instance(category=None)), r"instance 1 of photo 'a\.jpg' has no class"),
        (make_image(make_instance(category="cow")), "class 'cow', which is not in the class table"),
        (make_image(make_instance(make_mask(height=9), box=(0, 0, 1, 1))), r"mask is of \(h, w\)"),
        (make_image(make_instance(make_mask(), box=(0, 0, 1, 1))), "no area inside the photo"),
        (make_image(make_instance(box=(40, 0, 41, 1))), "no area inside the photo"),
        (make_image(make_instance(box=(0, 0, 1e-4, 1))), "no area inside the photo"),
        (make_image(make_instance(id=0)), "start at 1, got 0"),
        (make_image(make_instance(id=2), make_instance(id=2)), "two instances have the id 2"),
        (make_image(id=0), "id 0 is below 1"),
        (make_image(file_name="/a.jpg"), "inside the photo folder"),
        (make_image(file_name="../a.jpg"), "inside the photo folder"),
        (make_image(file_name=""), "inside the photo folder"),
        (make_image(file_name="caf\udce9.jpg"), "no text; rename"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_the_old_file_stays(
    tmp_path: Path, image: LabeledImage, reason: str
) -> None:
    path = tmp_path / "coco.json"
    path.write_text("old")
    with pytest.raises(FormatError, match=reason):
        written(tmp_path, image)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "categories", [[(0, "cat")], [(1, "cat"), (1, "dog")], [(1, "cat"), (2, "cat")], [(1, "")]]
)
def test_a_class_table_that_readers_would_misread_is_refused(
    tmp_path: Path, categories: list[tuple[int, str]]
) -> None:
    with pytest.raises(FormatError, match="class"):
        written(tmp_path, make_image(), categories=categories)


def test_two_photos_of_one_name_or_id_are_refused(tmp_path: Path) -> None:
    for second in (make_image(id=2), make_image(file_name="b.jpg")):
        with pytest.raises(FormatError, match=r"taken already|two images"):
            written(tmp_path, make_image(), second)


def no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda patch: patch.setattr(os, "fsync", no_space), FormatError),
        (lambda patch: patch.setattr(os, "replace", no_space), FormatError),
        (lambda patch: patch.setattr(Path, "open", no_space), FormatError),
        (lambda patch: patch.setattr(json, "dumps", no_space), FormatError),
    ],
    ids=["write", "replace", "open", "serialise"],
)
def test_whatever_fails_the_old_file_stays_and_nothing_lies_beside_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    error: type[Exception],
) -> None:
    path = tmp_path / "coco.json"
    path.write_text("old")
    break_it(monkeypatch)
    with pytest.raises(error, match="No space left"):
        write_coco(path, [make_image()], categories=CATEGORIES, date_created="")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "coco.json").symlink_to(tmp_path / "real.json")
    written(tmp_path, make_image())
    assert (tmp_path / "coco.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["images"]


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file or directory; choose another place"):
        write_coco(tmp_path / "gone" / "a.json", [], categories=[], date_created="")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 4))
def test_our_own_file_reads_back_as_what_was_written(tmp_path: Path, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = []
    for number in range(1, count + 1):
        mask = generator.random((30, 40)) < generator.random()
        mask[generator.integers(30), generator.integers(40)] = True
        drawn.append(
            make_instance(
                mask,
                id=number,
                category=str(generator.choice(["cat", "пёс"])),
                status=Status(generator.choice(list(Status))),
                score=float(generator.random()),
                source=Source("pro2sam", "weights", 3, {"k": [1, 2]}),
            )
        )
    image = make_image(*drawn, file_name="sub/é.jpg", split="train")
    written(tmp_path, image, statuses=Status)
    back = read_coco(tmp_path / "coco.json")
    assert back.notes == ()
    assert back.categories == tuple(CATEGORIES)
    assert replace(back.images[0], tags=()) == image
    seen = {one.category for one in drawn if one.status is not Status.REJECTED}
    assert set(back.images[0].tags) == seen


@pytest.mark.parametrize(("few", "many"), [(20, 80)])
def test_a_larger_file_takes_hardly_more_memory(tmp_path: Path, few: int, many: int) -> None:
    """Of each instance a few words, not its dictionary and its text."""
    peaks = []
    for photos in (few, many):
        images = [
            make_image(
                *(make_instance(RING, id=5 * number + one) for one in range(1, 6)),
                id=number + 1,
                file_name=f"{number}.jpg",
            )
            for number in range(photos)
        ]
        path = tmp_path / f"{photos}.json"
        tracemalloc.start()
        write_coco(path, images, categories=CATEGORIES, date_created="")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Measured: 221 bytes an instance. An entry kept as dictionary or text takes 1,000 and more.
    assert peaks[1] - peaks[0] < 500 * 5 * (many - few)

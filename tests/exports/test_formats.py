"""Every format there and back: what it can hold comes back, the rest is counted before."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from engine.errors import FormatError
from engine.types import Instance, LabeledImage
from exports.contours import iou_rles
from exports.formats import FORMATS, formats_to_read, formats_to_write
from exports.label_map import palette
from exports.progress import silent
from tests.builders import make_image, make_instance, make_mask
from tests.exports.labelled import CLASSES, known, photo_sets, read, selected, written

BOTH_WAYS = [name for name in formats_to_write() if name in formats_to_read()]
RING = make_mask((1, 1, 20, 20)) ^ make_mask((5, 5, 9, 9))
PARTS = make_mask((25, 1, 30, 9), (31, 10, 40, 30))
PIXEL = make_mask((39, 29, 40, 30))


def assert_same(found: Sequence[Instance], meant: Sequence[Instance]) -> None:
    """Class, box within a hundredth of a pixel, and the very same mask."""
    assert [one.category for one in found] == [one.category for one in meant]
    for one, other in zip(found, meant, strict=True):
        assert one.box == pytest.approx(other.box, abs=0.01)
        assert (one.rle is None) == (other.rle is None)
        if one.rle is not None and other.rle is not None:
            assert iou_rles(one.rle, other.rle) == 1.0


def assert_round_trip(name: str, images: tuple[LabeledImage, ...], **options: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        held, report = written(path, name, selected(*images), **options)
        assert report.ok, report.problems
        found = read(path, name, known(images), **options)
    assert found.notes == ()
    by_name = {one.file_name: one.instances for one in found.images}
    assert by_name.keys() == {one.file_name for one in held.images}
    for image in held.images:
        assert_same(by_name[image.file_name], image.instances)


@pytest.mark.parametrize("name", BOTH_WAYS)
@given(images=photo_sets())
@settings(max_examples=25)
def test_whatever_a_format_holds_comes_back(name: str, images: tuple[LabeledImage, ...]) -> None:
    assert_round_trip(name, images)


@given(images=photo_sets())
@settings(max_examples=15)
def test_inclusive_corners_come_back_too(images: tuple[LabeledImage, ...]) -> None:
    assert_round_trip("voc", images, corners="inclusive")


@pytest.mark.parametrize("name", ["coco", "yolo-seg", "png", "labelstudio"])
@given(images=photo_sets(boxes_too=False, most=1))
@settings(max_examples=25)
def test_masks_are_held_pixel_by_pixel(name: str, images: tuple[LabeledImage, ...]) -> None:
    """One object a photo, so that nothing overlaps; the masks held are the masks meant."""
    with tempfile.TemporaryDirectory() as folder:
        held, report = written(Path(folder) / "out", name, selected(*images))
    assert report.mask_iou == 1.0
    for image, meant in zip(held.images, images, strict=True):
        assert_same(image.instances, meant.instances)


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_three_hundred_objects_on_a_photo_come_back(name: str) -> None:
    instances = []
    for number in range(300):
        x, y = 2 * (number % 20), 2 * (number // 20)
        mask = make_mask((x, y, x + 1, y + 2))
        category = CLASSES[number % 3][1]
        instances.append(make_instance(mask, category=category, id=number + 1))
    assert_round_trip(name, (make_image(*instances),))


@pytest.mark.parametrize("name", list(formats_to_write()))
def test_a_photo_without_objects_and_no_photo_at_all_are_written(name: str, tmp_path: Path) -> None:
    for place, images in enumerate([(make_image(),), ()]):
        _, report = written(tmp_path / str(place), name, selected(*images))
        assert report.ok
        assert report.images == len(images)


@pytest.mark.parametrize("name", list(formats_to_write()))
def test_what_is_lost_is_counted_and_named(name: str, tmp_path: Path) -> None:
    image = make_image(
        make_instance(RING, id=1, score=0.5, box=(0.0, 0.0, 30.0, 30.0)),
        make_instance(PARTS, id=2),
        make_instance(box=(0.5, 1.0, 9.0, 9.0), id=3),
        make_instance(make_mask((4, 4, 20, 20)), id=4),
        file_name="é.jpg",
        tags=("cat", CLASSES[1][1]),  # an object shows the first one only
    )
    held, report = written(tmp_path / "out", name, selected(image))
    assert report.ok
    lost = {
        loss.what.split(":")[0]: (loss.count, loss.examples)
        for loss in held.losses
        if "class names" not in loss.what
    }
    ring, parts, box, square = (f"é.jpg (object {number})" for number in (1, 2, 3, 4))
    left = 3 if name == "png" else 4
    plain = {
        "scores are not written": (1, (ring,)),
        "tags are not written where no object is of that class": (1, ("é.jpg",)),
        "objects lose their status and source": (left, ()),
    }
    wide = {"boxes are drawn wider than the mask, whose box is read": (1, (ring,))}
    assert (
        lost
        == {
            "coco": {},
            "labelstudio": {},
            "voc": plain | {"masks are not written": (3, (ring, parts, square))},
            "yolo": plain
            | {"masks are not written; yolo-seg writes them": (3, (ring, parts, square))},
            "yolo-seg": plain
            | wide
            | {
                "masks have holes, joined to the outline by a bridge": (1, (ring,)),
                "masks have several parts, joined by a bridge": (1, (parts,)),
                "boxes without a mask are written as rectangles": (1, (box,)),
            },
            "png": plain
            | {
                "boxes without a mask are left out": (1, (box,)),
                "masks give pixels to smaller ones that they overlap": (1, (ring,)),
            },
            "tags": {
                "objects are written as tags of their photo alone": (4, (ring, parts, box, square))
            },
        }[name]
    )


def test_a_loss_that_befalls_all_is_one_short_line(tmp_path: Path) -> None:
    many = [make_instance(make_mask((4, 4, 20, 20)), id=number) for number in range(1, 30)]
    held, _ = written(tmp_path / "out", "yolo", selected(make_image(*many)))
    assert str(held.losses[-1]) == (
        "29 objects lose their status and source: read back, they are accepted"
    )


def test_tags_of_chosen_classes_come_back_from_coco(tmp_path: Path) -> None:
    """Also those that no object shows; strict readers pass over the extra key."""
    image = make_image(make_instance(RING, id=1), tags=("cat", CLASSES[1][1], CLASSES[2][1]))
    chosen = selected(image, classes=("cat", CLASSES[2][1]))
    _, report = written(tmp_path / "x.json", "coco", chosen)
    assert report.ok
    reading = read(tmp_path / "x.json", "coco")
    assert reading.images[0].tags == ("cat", CLASSES[2][1])
    assert reading.tags == {image.file_name: ("cat", CLASSES[2][1])}
    # A file that lost them is found out.
    text = (tmp_path / "x.json").read_text(encoding="utf-8").replace('"tags"', '"labels"')
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    kind = FORMATS["coco"]
    assert kind.writer is not None
    held = replace(chosen, images=kind.writer.hold(chosen, kind.options()).images)
    report = kind.writer.verify(tmp_path / "x.json", held, kind.options(), silent)
    assert "should have the tags" in report.problems[0]


@pytest.mark.parametrize("name", ["voc", "png"])
def test_class_names_that_strict_readers_misread_are_named(name: str, tmp_path: Path) -> None:
    held, _ = written(tmp_path / "out", name, selected())
    assert [loss.examples for loss in held.losses] == [(CLASSES[1][1], CLASSES[2][1])]


@pytest.mark.parametrize("name", ["voc", "yolo", "yolo-seg", "png"])
def test_photos_that_differ_only_in_their_ending_are_told_apart_before_writing(
    name: str, tmp_path: Path
) -> None:
    first, second = make_image(file_name="s/a.jpg"), make_image(id=2, file_name="s/a.png")
    held, report = written(tmp_path / "out", name, selected(first, second))
    assert [image.file_name for image in held.images] == ["s/a.jpg"]
    assert (held.losses[0].count, held.losses[0].examples) == (1, ("s/a.png",))
    assert report.ok


@pytest.mark.parametrize("name", ["voc", "yolo", "yolo-seg", "png"])
def test_a_folder_that_holds_something_is_not_written_into(name: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "mine.txt").write_text("x")
    with pytest.raises(FormatError, match=r"out' is there already"):
        written(path, name, selected(make_image()))
    assert [one.name for one in tmp_path.rglob("*")] == ["out", "mine.txt"]


@pytest.mark.parametrize("name", ["voc", "yolo", "yolo-seg", "png"])
def test_a_disk_that_fails_leaves_nothing_behind(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FormatError, match=r"No space left.*choose another place"):
        written(tmp_path / "out", name, selected(make_image(make_instance(RING))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["voc", "yolo", "yolo-seg", "png"])
@pytest.mark.parametrize("bad", ["a\nb.jpg", "../a.jpg", "/a.jpg", "a\x01.jpg"])
def test_a_photo_name_that_a_line_cannot_hold_is_refused(
    name: str, bad: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="cannot be written; rename it"):
        written(tmp_path / "out", name, selected(make_image(file_name=bad)))


@pytest.mark.parametrize("name", ["voc", "yolo", "yolo-seg", "png", "labelstudio"])
def test_a_change_of_the_files_is_found_by_reading_back(name: str, tmp_path: Path) -> None:
    image = make_image(make_instance(PIXEL, id=1), make_instance(RING, id=2))
    path = tmp_path / "out"
    selection = selected(image)
    held, report = written(path, name, selection)
    assert report.ok
    kind = FORMATS[name]
    assert kind.writer is not None
    for meant in (
        make_image(*held.images[0].instances[:1]),
        make_image(*held.images[0].instances[::-1]),
        make_image(file_name="b.jpg"),
    ):
        other = selected(meant)
        assert not kind.writer.verify(path, other, kind.options(), silent).ok
    for file in path.rglob("*.*"):
        file.unlink()
    report = kind.writer.verify(path, selection, kind.options(), silent)
    assert report.problems


@pytest.mark.parametrize("name", formats_to_write())
def test_writing_and_reading_back_are_counted_to_their_ends(name: str, tmp_path: Path) -> None:
    images = [
        make_image(make_instance(RING, id=number), id=number, file_name=f"{number}.jpg")
        for number in (1, 2, 3)
    ]
    told: list[tuple[str, int, int]] = []
    _, report = written(tmp_path / "out", name, selected(*images), lambda *step: told.append(step))
    assert report.ok
    steps = list(dict.fromkeys(what for what, _, _ in told))
    assert steps[0] == "writing"
    assert len(steps) >= 2
    for step in steps:
        counts = [done for what, done, _ in told if what == step]
        assert counts == sorted(counts)
        assert set(counts) == {0, 1, 2, 3}
        assert {total for what, _, total in told if what == step} == {3}


def test_the_palette_is_that_of_voc() -> None:
    assert palette()[[0, 1, 2, 3, 8, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [64, 0, 0],
        [224, 224, 192],
    ]
    assert len(np.unique(palette(), axis=0)) == 256

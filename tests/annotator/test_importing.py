"""Annotation files into a project, and out of it again."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator import exporting, importing
from annotator.__main__ import DONE, ERROR, LEFT_OUT, main
from annotator.intake import add_photos
from annotator.journal import UNDO, Change
from annotator.store import Project
from annotator.views import instance_row
from engine.errors import AnnotatorError, FormatError
from engine.types import Instance, Status
from exports import voc
from exports.choices import Choices
from exports.formats import formats_to_read, formats_to_write
from tests.annotator.command_line import Captured, answer, complaint, decide
from tests.builders import make_instance
from tests.conftest import save_scene

DEEP = unicodedata.normalize("NFD", "été\\写真.png")  # as a Mac writes what Windows joined
SIZE = {"width": 120, "height": 90}


def coco(path: Path, *boxes: tuple[str, list[float]], **fields: Any) -> Path:
    """A file of another program: photo and box of each object; categories from 0, ids with gaps."""
    names = list(dict.fromkeys(name for name, _ in boxes))
    content = {
        "images": [
            {"id": 3 * number, "file_name": name, **SIZE} for number, name in enumerate(names)
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 9, "name": "owl"}],
        "annotations": [
            {"id": 5 * place, "image_id": 3 * names.index(name), "category_id": 9, "bbox": box}
            for place, (name, box) in enumerate(boxes)
        ],
    }
    path.write_text(json.dumps({**content, **fields}), encoding="utf-8")
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return coco(
        tmp_path / "theirs.json",
        ("images/a.png", [1, 2, 30, 40]),
        ("images/a.png", [50, 2, 30, 40]),
        (DEEP, [1, 2, 30, 40]),
    )


def owls(project: Project, image_id: int) -> list[Instance]:
    with project.read() as view:
        return [one for one in view.instances(image_id) if one.category == "owl"]


def run(project: Project, path: Path, kind: str = "coco", **options: Any) -> importing.ImportReport:
    return importing.import_file(project, kind, path, actor="tester", **options)


# -- in ------------------------------------------------------------------------------------------


def test_objects_come_to_the_photos_that_are_meant_and_only_once(
    project: Project, theirs: Path
) -> None:
    report = run(project, theirs)
    assert (report.added, report.matched, report.changed, report.known) == (3, 2, 2, 0)
    assert report.new_classes == ("owl",)
    assert report.is_complete
    assert [one.box for one in owls(project, 1)] == [(1, 2, 31, 42), (50, 2, 80, 42)]
    assert [one.status for one in owls(project, 4)] == [Status.ACCEPTED]
    again = run(project, theirs)
    assert (again.added, again.changed, again.known) == (0, 0, 3)
    project.check_journal()


def test_an_import_is_one_step_a_photo_that_can_be_undone(project: Project, theirs: Path) -> None:
    run(project, theirs)
    with project.write() as transaction:
        transaction.move(UNDO, 1, actor="tester")
    assert owls(project, 1) == []
    assert len(owls(project, 4)) == 1
    project.check_journal()


def test_what_was_decided_stays_and_is_named(project: Project, tmp_path: Path) -> None:
    """The proposal that a person accepted is a cat at 1, 1 to 40, 30."""
    number = decide(project, 1)
    path = coco(tmp_path / "x.json", ("a.png", [1, 1, 39, 30]), ("a.png", [50, 2, 30, 40]))
    text = path.read_text(encoding="utf-8").replace('"category_id": 9', '"category_id": 0')
    path.write_text(text, encoding="utf-8")
    report = run(project, path)
    assert report.conflicts == ("a.png: cat at 1, 1 to 40, 31",)
    assert not report.is_complete
    with project.read() as view:
        found = view.instances(1)
    assert [one.box for one in found] == [(1, 1, 40, 30), (50, 2, 80, 42)]
    assert found[0].id == number


def test_proposals_of_a_named_source_are_undecided(project: Project, theirs: Path) -> None:
    report = run(project, theirs, taken_as="proposed", source="owlnet")
    assert report.added == 3
    assert {(one.status, one.source.pipeline) for one in owls(project, 1)} == {
        (Status.PROPOSED, "owlnet")
    }
    with pytest.raises(AnnotatorError, match="means drawn by hand"):
        run(project, theirs, taken_as="proposed", source="person")


def test_proposals_that_a_source_takes_back_go_where_the_file_speaks_of_the_photo(
    project: Project, tmp_path: Path
) -> None:
    box = [1, 2, 30, 40]
    first = coco(tmp_path / "x.json", ("a.png", box), ("b.png", box), ("c.png", box))
    run(project, first, taken_as="proposed", source="owlnet")
    images = [
        {"id": 3 * number, "file_name": f"{name}.png", **SIZE} for number, name in enumerate("ab")
    ]
    second = coco(tmp_path / "y.json", ("a.png", [1, 2, 30, 41]), images=images)
    report = run(project, second, taken_as="proposed", source="owlnet")
    assert (report.added, report.replaced, report.changed) == (1, 2, 2)
    assert [len(owls(project, number)) for number in (1, 2, 3)] == [1, 0, 1]
    project.check_journal()


def test_tags_of_a_file_go_to_photos_that_have_none(project: Project, tmp_path: Path) -> None:
    images = [
        {"id": place, "file_name": f"{name}.png", "tags": ["owl", "hén"], **SIZE}
        for place, name in enumerate("ac")
    ]
    path = coco(tmp_path / "x.json", images=images, annotations=[])
    report = run(project, path)
    assert (report.tagged, report.new_classes, report.changed) == (1, ("owl", "hén"), 0)
    assert "1 photos without tags" in report.summary()
    with project.read() as view:
        assert (view.tags(1), view.tags(3)) == (("cat",), ("owl", "hén"))
    assert run(project, path).tagged == 0
    with project.write() as transaction:
        transaction.move(UNDO, 3, actor="tester")
    with project.read() as view:
        assert view.tags(3) == ()
    project.check_journal()


def test_photos_that_are_not_there_or_of_another_size_are_named(
    project: Project, tmp_path: Path
) -> None:
    names = {"a.png": (120, 90), "b.png": (90, 120), "c.png": (60, 45), "gone.png": (120, 90)}
    images = [
        {"id": place, "file_name": name, "width": width, "height": height}
        for place, (name, (width, height)) in enumerate(names.items())
    ]
    boxes = [
        {"id": place, "image_id": place, "category_id": 0, "bbox": [1, 2, 3, 4]}
        for place in range(4)
    ]
    path = coco(tmp_path / "x.json", images=images, annotations=boxes)
    report = run(project, path)
    assert (report.matched, report.added) == (1, 1)
    assert report.refused == (
        "b.png: 90 x 120 pixels in the file, 120 x 90 as shown;"
        " the file ignores how the camera was held",
        "c.png: 60 x 45 pixels in the file, 120 x 90 as shown",
        "gone.png: no such photo in the project",
    )


def test_missing_sizes_are_those_of_the_photo_and_strays_are_noted(
    project: Project, tmp_path: Path
) -> None:
    images = [{"id": "x", "file_name": "a.png"}, {"id": "y", "file_name": "gone.png"}]
    boxes = [
        {"image_id": image, "category_id": category, "bbox": [1, 2, 3, 4]}
        for image, category in (("x", 0), ("y", 0), ("z", 0), ("x", 5))
    ]
    report = run(project, coco(tmp_path / "x.json", images=images, annotations=boxes))
    assert (report.added, len(report.notes)) == (1, 4)


def test_names_count_from_the_folder_that_is_given(tmp_path: Path) -> None:
    """Two folders of the project hold photos of the same names."""
    project = Project.create(tmp_path / "p")
    for name in ("first", "second"):
        save_scene(tmp_path / name / "a.png", seed=len(name))
        add_photos(project, tmp_path / name, actor="tester")
    path = coco(tmp_path / "x.json", ("a.png", [1, 2, 30, 40]))
    report = run(project, path, folders=[tmp_path / "second"])
    assert report.added == 1
    assert (len(owls(project, 1)), len(owls(project, 2))) == (0, 1)
    for folder, text in ((tmp_path / "gone", "no folder"), (tmp_path / "p", "no photo of the")):
        with pytest.raises(AnnotatorError, match=text):
            run(project, path, folders=[folder])
    project.close()


@pytest.mark.parametrize("name", list(formats_to_read()))
def test_a_file_without_sense_changes_nothing(name: str, project: Project, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x00\xff nonsense")
    (tmp_path / "empty").mkdir()
    with project.read() as view:
        before = len(list(view.events()))
    for path in ("x", "empty", "gone"):
        with pytest.raises(FormatError):
            run(project, tmp_path / path, name)
    with project.read() as view:
        assert len(list(view.events())) == before


def test_a_failure_half_way_changes_nothing(
    project: Project, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "PROGRESS_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        run(project, theirs, on_progress=fails)
    assert owls(project, 1) == []
    project.check_journal()


# -- out and in again ----------------------------------------------------------------------------


def turned_photos(folder: Path) -> None:
    """One photo for each way to hold a camera: 60 x 40 pixels in the file."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = np.random.default_rng(orientation).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"é{orientation}.jpg", exif=exif)


def with_objects(folder: Path, photos: Path) -> Project:
    """An object on every photo: a corner with a hole, and a part in the last row."""
    made = Project.create(folder)
    add_photos(made, photos, actor="tester")
    with made.write() as transaction:
        transaction.add_category("пёс", actor="tester")
        ids = transaction.category_ids()
        for photo in transaction.photos():
            mask = np.zeros((photo.height, photo.width), dtype=bool)
            mask[2:20, 3:9] = mask[14:20, 3:30] = mask[-1, -2:] = True
            mask[4:6, 5:7] = False
            one = make_instance(mask, category="пёс", status=Status.DRAWN)
            row = instance_row(one, image_id=photo.id, category_ids=ids)
            change = Change("instance", None, None, row)
            transaction.record("draw", [change], actor="tester", image_id=photo.id)
    return made


@pytest.mark.parametrize("kind", [one for one in formats_to_write() if one in formats_to_read()])
def test_what_goes_out_of_one_project_comes_into_another_however_the_camera_was_held(
    kind: str, tmp_path: Path
) -> None:
    turned_photos(tmp_path / "photos")
    first = with_objects(tmp_path / "first", tmp_path / "photos")
    report = exporting.export(first, kind, tmp_path / "out")
    assert report.verified.ok
    assert json.loads((tmp_path / "out.report.json").read_text())["verified"]["ok"] is True
    second = Project.create(tmp_path / "second")
    add_photos(second, tmp_path / "photos", actor="tester")
    taken = run(second, tmp_path / "out", kind)
    assert (taken.added, taken.is_complete) == (8, True)
    # The first one knows all of it again.
    assert run(first, tmp_path / "out", kind).added == 0
    with first.read() as view, second.read() as other:
        sizes = {(photo.width, photo.height) for photo in view.photos()}
        assert sizes == {(60, 40), (40, 60)}
        for photo in view.photos():
            (meant,), (found,) = view.instances(photo.id), other.instances(photo.id)
            assert found.box == pytest.approx(meant.box, abs=0.01)
            assert found.category == "пёс"
            assert found.rle in (None, meant.rle)
            assert (found.rle is None) == (kind in ("voc", "yolo"))
    first.close()
    second.close()


def test_dealt_splits_come_back_where_there_are_several(tmp_path: Path, project: Project) -> None:
    decide(project, 1)
    exporting.export(project, "yolo", tmp_path / "out", choices=Choices(val_share=0.5))
    run(project, tmp_path / "out", "yolo")
    with project.read() as view:
        splits = {photo.file_name: photo.split for photo in view.photos()}
    assert set(splits.values()) == {"train", "val"}
    images = exporting.plan(project, "coco").selection.images
    assert {image.file_name: image.split for image in images} == splits
    with project.write() as transaction:
        transaction.move(UNDO, 2, actor="tester")
    project.check_journal()


# -- as commands ---------------------------------------------------------------------------------


def test_import_answers_what_came_of_it(project: Project, theirs: Path, capsys: Captured) -> None:
    words = ("import", project.folder, "coco", theirs, "--as", "proposed", "--source", "owlnet")
    code, value = answer(capsys, *words)
    assert (code, value["added"], value["complete"]) == (DONE, 3, True)
    stray = coco(theirs.parent / "stray.json", ("a.png", [1, 2, 3, 4]), ("gone.png", [1, 2, 3, 4]))
    code, value = answer(capsys, "import", project.folder, "coco", stray)
    assert (code, value["refused"]) == (LEFT_OUT, ["gone.png: no such photo in the project"])
    line = complaint(capsys, "import", project.folder, "yolo", theirs)
    assert "neither data.yaml nor obj.names" in line
    line = complaint(capsys, "import", project.folder, "coco", theirs, "--corners", "plain")
    assert "--corners is not an option of the format 'coco'" in line


def test_tags_go_out_and_come_in_as_commands(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 3)
    out = tmp_path / "tags out.csv"
    code, value = answer(capsys, "export", project.folder, "tags", out)
    assert (code, value["verified"]["ok"]) == (DONE, True)
    assert out.read_text(encoding="utf-8").splitlines()[1:] == [
        "a.png,cat",
        "b.png,cat;dog",
        "c.png,cat",  # tagged by what a person accepted there
        "été/写真.png,dog",
    ]
    code, value = answer(capsys, "import", project.folder, "tags", out)
    assert (code, value["tagged"], value["problems"]) == (DONE, 4, {})
    line = complaint(capsys, "import", project.folder, "tags", out, "--source", "x")
    assert "tags are no instances" in line


def test_a_dry_run_tells_what_would_be_lost_and_writes_nothing(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    out = tmp_path / "masks"
    code, value = answer(capsys, "export", project.folder, "png", out, "--dry-run")
    assert (code, value["instances"]) == (DONE, 0)
    assert [(loss["what"], loss["count"]) for loss in value["losses"]] == [
        ("scores are not written", 1),
        ("boxes without a mask are left out", 1),
        ("tags are not written where no object is of that class", 4),
    ]
    assert not out.exists()


def test_the_choices_are_flags(project: Project, tmp_path: Path, capsys: Captured) -> None:
    decide(project, 1)
    words = ("export", project.folder, "voc", tmp_path / "out", "--corners", "inclusive")
    flags = ("--class", "cat", "--min-score", 0.1, "--val-share", 1, "--seed", 3)
    code, value = answer(capsys, *words, *flags)
    assert (code, value["options"]["corners"], value["instances"]) == (DONE, "inclusive", 1)
    text = (tmp_path / "out" / "Annotations" / "a.xml").read_text(encoding="utf-8")
    assert "<xmin>2</xmin>" in text
    assert len((tmp_path / "out" / "ImageSets" / "Main" / "val.txt").read_text().split()) == 4
    line = complaint(capsys, *words[:3], tmp_path / "x", "--split", "test")
    assert "no photo is in the split 'test'" in line


def test_a_file_that_does_not_say_what_was_meant_is_an_error(
    project: Project, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(project, 1)
    right = voc._xml

    def wrong(*words: Any) -> str:
        return right(*words).replace("<xmin>2<", "<xmin>12<")

    monkeypatch.setattr(voc, "_xml", wrong)
    words = ("export", project.folder, "voc", tmp_path / "out", "--corners", "inclusive")
    capsys.readouterr()
    assert main([str(word) for word in words]) == ERROR
    assert "does not say what it should (object 1 of photo 'a.png'" in capsys.readouterr().err

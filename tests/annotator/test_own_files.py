"""Files that a project wrote come back changed: its objects are known by their ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotator import exporting, importing, review
from annotator.intake import add_photos
from annotator.journal import REDO, UNDO, Change
from annotator.labelstudio.contents import ext_id_of, key_of
from annotator.own_files import event_of, stamp_of
from annotator.store import Project
from annotator.views import instance_row
from engine.geometry import rle_to_mask
from engine.types import Box, Instance, Status
from exports.choices import Choices
from exports.label_studio_rle import encode_brush
from tests.builders import make_instance, make_mask

MOVED: Box = (50.0, 20.0, 80.0, 40.0)
OTHER: Box = (60.0, 50.0, 70.0, 80.0)
Edit = Callable[[dict[str, Any]], None]


def draw(project: Project, box: Box = (1.0, 2.0, 31.0, 42.0), **fields: Any) -> int:
    """An object with a mask on the first photo, made here; its id."""
    mask = make_mask(tuple(int(side) for side in box), height=90, width=120)
    one = make_instance(mask, **{"category": "cat", "status": Status.DRAWN, **fields})
    return changed(project, None, one)


def changed(project: Project, number: int | None, one: Instance | None) -> int:
    with project.write() as transaction:
        before = None if number is None else transaction.row("instance", number)
        after = None
        if one is not None:
            ids = transaction.category_ids()
            after = instance_row(replace(one, id=number), image_id=1, category_ids=ids)
        change = Change("instance", number, before, after)
        event = transaction.record("by hand", [change], actor="tester", image_id=1)
    assert event.changes[0].id is not None
    return event.changes[0].id


def here(project: Project) -> dict[int, Instance]:
    with project.read() as view:
        return {one.id: one for one in view.instances(1) if one.id is not None}


def written(project: Project, path: Path, **choices: Any) -> Path:
    exporting.export(project, "coco", path, choices=Choices(**choices))
    return path


def edit(path: Path, number: int, change: Edit) -> Path:
    """Somebody changes an object in the file, which keeps all that we wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for entry in content["annotations"]:
        if entry["id"] == number:
            change(entry)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def to(box: Box, category: int | None = None) -> Edit:
    """Moves box and mask, and perhaps gives another class."""
    x0, y0, x1, y1 = box

    def change(entry: dict[str, Any]) -> None:
        entry["bbox"] = [x0, y0, x1 - x0, y1 - y0]
        entry["segmentation"] = [[x0, y0, x1, y0, x1, y1, x0, y1]]
        entry["category_id"] = category or entry["category_id"]

    return change


def take(project: Project, path: Path, **options: Any) -> importing.ImportReport:
    return importing.import_file(project, "coco", path, actor="tester", **options)


def told(report: importing.ImportReport) -> tuple[int, int, int, int]:
    return (report.updated, report.added, report.known, len(report.conflicts))


def test_what_was_moved_in_the_file_moves_here_and_is_one_step(
    project: Project, tmp_path: Path
) -> None:
    first, second = draw(project), draw(project, (90.0, 2.0, 110.0, 42.0))
    before = here(project)
    path = edit(written(project, tmp_path / "x.json"), first, to(MOVED, category=2))
    report = take(project, path)
    assert told(report) == (1, 0, 1, 0)
    assert "1 objects of this project were changed in the file" in report.summary()
    after = here(project)
    assert after.keys() == before.keys()
    assert (after[first].box, after[first].category) == (MOVED, "dog")
    assert after[first].source == before[first].source
    assert after[second] == before[second]
    assert told(take(project, path)) == (0, 0, 2, 0)
    with project.write() as transaction:
        transaction.move(UNDO, 1, actor="tester")
    assert here(project) == before
    # Nobody worked on it since, so it can be had again.
    assert told(take(project, path)) == (1, 0, 1, 0)
    project.check_journal()


def test_a_file_that_says_nothing_new_leaves_what_changed_here(
    project: Project, tmp_path: Path
) -> None:
    number = draw(project)
    path = written(project, tmp_path / "x.json")
    changed(project, number, replace(here(project)[number], box=MOVED, edited=True))
    before = here(project)
    assert told(take(project, path)) == (0, 0, 1, 0)
    assert here(project) == before


def test_what_changed_on_both_sides_stays_and_is_named(project: Project, tmp_path: Path) -> None:
    number = draw(project)
    path = edit(written(project, tmp_path / "x.json"), number, to(MOVED))
    changed(project, number, replace(here(project)[number], box=OTHER, edited=True))
    before = here(project)
    report = take(project, path)
    assert report.conflicts == (f"a.png: object {number}, cat at 50, 20 to 80, 40",)
    assert told(report) == (0, 0, 0, 1)
    assert here(project) == before


def test_a_second_change_in_the_same_file_comes_in_after_the_first_one(
    project: Project, tmp_path: Path
) -> None:
    number = draw(project)
    path = written(project, tmp_path / "x.json")
    take(project, edit(path, number, to(MOVED)))
    assert told(take(project, edit(path, number, to(OTHER)))) == (1, 0, 0, 0)
    assert here(project)[number].box == OTHER
    # What a person makes of that afterwards is theirs.
    changed(project, number, replace(here(project)[number], category="dog"))
    assert told(take(project, path)) == (0, 0, 1, 0)
    assert told(take(project, edit(path, number, to(MOVED)))) == (0, 0, 0, 1)


def test_what_was_deleted_here_stays_away_unless_it_changed_there(
    project: Project, tmp_path: Path
) -> None:
    number = draw(project)
    path = written(project, tmp_path / "x.json")
    changed(project, number, None)
    assert told(take(project, path)) == (0, 0, 1, 0)
    assert told(take(project, edit(path, number, to(MOVED)))) == (0, 0, 0, 1)
    assert number not in here(project)


def test_statuses_that_changed_in_the_file_count(project: Project, tmp_path: Path) -> None:
    """A proposal that was accepted there, and a decision that was refused."""
    proposed = draw(project, (90.0, 2.0, 110.0, 42.0), status=Status.PROPOSED, score=0.5)
    drawn = draw(project)
    path = written(project, tmp_path / "x.json", statuses=frozenset(Status))
    edit(path, proposed, lambda entry: entry["attributes"].update(status="accepted"))
    edit(path, drawn, lambda entry: entry["attributes"].update(status="rejected"))
    assert told(take(project, path))[:2] == (2, 0)
    after = here(project)
    assert after[proposed].status in (Status.ACCEPTED, Status.DRAWN)
    assert after[drawn].status is Status.REJECTED


def test_an_untouched_proposal_is_neither_doubled_nor_decided(
    project: Project, tmp_path: Path
) -> None:
    number = draw(project, status=Status.PROPOSED)
    path = written(project, tmp_path / "x.json", statuses=frozenset(Status))
    changed(project, number, review.accept(here(project)[number]))
    before = here(project)
    report = take(project, path)
    assert (report.updated, report.added, report.conflicts) == (0, 0, ())
    assert here(project) == before


def test_what_another_program_adds_is_new_whatever_its_number(
    project: Project, tmp_path: Path
) -> None:
    """It counts on from the highest id in the file, or copies an object of ours."""
    number = draw(project)
    path = written(project, tmp_path / "x.json")
    later = draw(project, (90.0, 2.0, 110.0, 42.0))
    content = json.loads(path.read_text(encoding="utf-8"))
    copy = json.loads(json.dumps(content["annotations"][-1]))
    to(MOVED)(copy)
    content["annotations"].append({**copy, "id": later})
    path.write_text(json.dumps(content), encoding="utf-8")
    before = here(project)
    assert told(take(project, path)) == (0, 1, 1, 0)
    after = here(project)
    assert {after[one] == before[one] for one in (number, later)} == {True}


def test_the_file_of_another_project_has_no_objects_of_ours(
    project: Project, photo_folder: Path, tmp_path: Path
) -> None:
    """Same photos, same ids, other objects."""
    ours = draw(project)
    before = here(project)
    other = Project.create(tmp_path / "other")
    add_photos(other, photo_folder, actor="tester")
    with other.write() as transaction:
        transaction.add_category("cat", actor="tester")
    while draw(other, OTHER) < ours:
        pass
    path = written(other, tmp_path / "x.json")
    other.close()
    report = take(project, path)
    assert (report.updated, report.added > 0) == (0, True)
    assert here(project)[ours] == before[ours]


@pytest.mark.parametrize("stamp", ["", "x", "1", "1 2026", "-1 x", f"{'9' * 30} x", "99 x", "٣ x"])
def test_a_stamp_of_no_event_of_ours_means_nothing(project: Project, stamp: str) -> None:
    with project.read() as view:
        assert event_of(view, stamp) is None
        assert event_of(view, stamp_of(view)) == view.newest_event()


def test_doing_again_what_was_taken_back_is_no_work_of_a_person(
    project: Project, tmp_path: Path
) -> None:
    number = draw(project)
    path = edit(written(project, tmp_path / "x.json"), number, to(MOVED))
    take(project, path)
    for kind in (UNDO, REDO):
        with project.write() as transaction:
            transaction.move(kind, 1, actor="tester")
    assert told(take(project, edit(path, number, to(OTHER)))) == (1, 0, 0, 0)


def test_a_box_that_the_file_gives_up_for_that_of_the_mask_has_not_moved(
    project: Project, tmp_path: Path
) -> None:
    """COCO is told the mask's box where the mask reaches out of ours."""
    number = draw(project)
    changed(project, number, replace(here(project)[number], box=(5.0, 5.0, 20.0, 20.0)))
    before = here(project)
    assert told(take(project, written(project, tmp_path / "x.json"))) == (0, 0, 1, 0)
    assert here(project) == before


# -- Label Studio --------------------------------------------------------------------------------


def tasks(project: Project, folder: Path, *, sent: bool = False) -> Path:
    """A JSON export of the project there, with every rectangle and mask of ours moved."""
    exporting.export(project, "labelstudio", folder, options={"boxes": True, "masks": "brush"})
    path = folder / "tasks-001.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    mask = encode_brush(make_mask((50, 20, 80, 40), height=90, width=120))
    for task in content:
        if sent:  # by the other way, which knows no stamp
            del task["data"]["tag2mask"]
            task["data"]["ext_id"] = ext_id_of(key_of(project), 1)
        for region in [one for found in task["annotations"] for one in found["result"]]:
            value = region["value"]
            if "rle" in value:
                value["rle"] = mask
            else:
                value.update(x=5000 / 120, y=2000 / 90, width=3000 / 120, height=2000 / 90)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_what_was_moved_in_label_studio_comes_back_by_file(
    project: Project, tmp_path: Path
) -> None:
    number = draw(project)
    source = here(project)[number].source
    path = tasks(project, tmp_path / "out")
    report = importing.import_file(project, "labelstudio", path, actor="tester")
    assert told(report) == (1, 0, 0, 0)
    (one,) = here(project).values()
    assert (one.id, one.source, one.status) == (number, source, Status.DRAWN)
    assert one.box == pytest.approx(MOVED)
    assert one.rle is not None
    assert rle_to_mask(one.rle).sum() == 30 * 20
    report = importing.import_file(project, "labelstudio", path, actor="tester")
    assert told(report) == (0, 0, 1, 0)
    project.check_journal()


def test_tasks_that_were_sent_to_a_server_double_nothing_when_they_come_by_file(
    project: Project, tmp_path: Path
) -> None:
    """Nobody knows what changed since; `annotator labelstudio pull` does."""
    number = draw(project)
    before = here(project)
    path = tasks(project, tmp_path / "out", sent=True)
    report = importing.import_file(project, "labelstudio", path, actor="tester")
    assert told(report) == (0, 0, 0, 1)
    assert f"object {number}" in report.conflicts[0]
    assert here(project) == before

"""Taking back what people did there: their decisions count, conflicts are named, nothing twice."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from annotator.labelstudio.pull import PullChoices, PullReport, pull
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.errors import OptionError
from engine.geometry import mask_to_rle, rle_to_mask
from engine.types import Instance, Status
from exports.label_studio import RECTANGLE
from exports.label_studio_rle import encode_brush
from tests.annotator.labelstudio.conftest import (
    MASK,
    OTHER,
    proposed,
    replace_instance,
    store,
)
from tests.annotator.labelstudio.fake_server import FakeLabelStudio
from tests.annotator.labelstudio.test_push import send, writes
from tests.builders import make_instance


def take(project: Project, remote: Remote, **more: Any) -> PullReport:
    return pull(project, remote, PullChoices(title="birds", actor="tester", **more))


def on(project: Project, image_id: int) -> list[Instance]:
    with project.read() as view:
        return view.instances(image_id)


def submitted(fake: FakeLabelStudio, name: str, **more: Any) -> list[dict[str, Any]]:
    """The first prediction of a photo, as the editor submits it; a copy to change."""
    task = fake.task_of(name)
    prediction = task["predictions"][0]
    result = copy.deepcopy(prediction["result"])
    for region in result:
        region["origin"] = "prediction"
    fake.submit(task, result, parent_prediction=prediction["id"], **more)
    return task["annotations"][-1]["result"]  # type: ignore[no-any-return]


def drawn(key: str = "xYz9", **value: Any) -> dict[str, Any]:
    given = {"x": 25.0, "y": 50.0, "width": 50.0, "height": 20.0, "rotation": 0}
    size = {"original_width": 120, "original_height": 90, "image_rotation": 0}
    region = {"id": key, "type": RECTANGLE, "from_name": "box", "to_name": "image", **size}
    return {**region, "value": {**given, RECTANGLE: ["cat"], **value}}


def test_a_proposal_that_was_submitted_is_accepted(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    before = on(filled, 2)
    submitted(fake, "b.png")
    report = take(filled, remote)
    assert (report.accepted, report.photos, report.conflicts) == (1, 1, [])
    assert on(filled, 2) == [replace(before[0], status=Status.ACCEPTED)]


def test_nothing_is_taken_twice_and_nothing_sent_back(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    submitted(fake, "b.png")
    take(filled, remote)
    report = take(filled, remote)
    assert (report.read, report.photos) == (0, 0)
    before = len(writes(fake))
    again = send(filled, remote)
    assert again.waiting == ()
    assert len(fake.task_of("b.png")["annotations"]) == 1  # theirs, and no copy of it
    assert len(writes(fake)) == before + 1  # the prediction that is none any more


def test_undo_takes_back_the_pull_of_a_photo_as_one(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    before = on(filled, 2)
    submitted(fake, "b.png").append(drawn())
    take(filled, remote)
    assert len(on(filled, 2)) == 2
    with filled.write() as transaction:
        transaction.move("undo", 2, actor="tester")
    assert on(filled, 2) == before
    filled.check_journal()


def test_a_changed_class_a_moved_box_and_a_repainted_mask_are_edits(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    store(filled, 2, proposed(OTHER, category="cat"), proposed(MASK, category="cat"))
    send(filled, remote)
    first, second, third = (one.id for one in on(filled, 2))
    by_id = {region["id"]: region for region in submitted(fake, "b.png")}
    by_id[f"{first}"]["value"]["brushlabels"] = ["cat"]
    by_id[f"{second}-box"]["value"].update(x=50.0, width=25.0)
    by_id[f"{third}"]["value"]["rle"] = encode_brush(OTHER)
    report = take(filled, remote)
    assert (report.changed, report.conflicts, report.problems) == (3, [], [])
    classed, moved, painted = on(filled, 2)
    assert (classed.category, classed.status, classed.edited) == ("cat", Status.EDITED, True)
    assert moved.box == pytest.approx((60, 20, 90, 80))
    assert moved.rle == mask_to_rle(OTHER)
    assert painted.rle == mask_to_rle(OTHER)
    assert painted.box == (70, 20, 110, 80)  # the mask took its box along


def test_what_was_taken_away_there_is_rejected_here(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    fake.edit(task, task["annotations"][0], [])  # our own annotation, emptied in place
    submitted(fake, "b.png").clear()
    report = take(filled, remote)
    assert report.rejected == 2
    assert [one.status for one in on(filled, 1)] == [Status.REJECTED, Status.PROPOSED]
    assert [one.status for one in on(filled, 2)] == [Status.REJECTED]


def test_an_annotation_from_an_empty_start_takes_nothing_away(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    fake.submit(fake.task_of("a.png"), [drawn()])
    fake.submit(fake.task_of("b.png"), [])
    report = take(filled, remote)
    assert (report.rejected, report.added) == (0, 1)
    assert [one.status for one in on(filled, 2)] == [Status.PROPOSED]


def test_a_new_region_is_drawn_here_and_followed_when_it_changes(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("été/写真.png")
    annotation = fake.submit(task, [drawn()])
    take(filled, remote)
    (one,) = on(filled, 4)
    assert (one.status, one.category, one.source.pipeline) == (Status.DRAWN, "cat", "person")
    assert one.box == pytest.approx((30, 45, 90, 63))
    fake.edit(task, annotation, [drawn(rectanglelabels=["dog"])])
    report = take(filled, remote)
    assert (report.added, report.changed) == (0, 1)
    assert [(each.id, each.category) for each in on(filled, 4)] == [(one.id, "dog")]


def test_a_crash_behind_the_store_makes_nothing_twice(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    fake.submit(fake.task_of("été/写真.png"), [drawn()])
    submitted(fake, "b.png")
    files = list((filled.folder / "labelstudio").iterdir())
    before = files[0].read_bytes()
    take(filled, remote)
    files[0].write_bytes(before + b'{"image_id": 4, "ta')  # as if the journal had been cut off
    state = [on(filled, number) for number in (1, 2, 3, 4)]
    report = take(filled, remote)
    assert (report.photos, report.conflicts) == (0, [])
    assert [on(filled, number) for number in (1, 2, 3, 4)] == state


@pytest.mark.parametrize("prefer", ["here", "there"])
def test_a_conflict_is_named_and_decided_by_the_rule(
    filled: Project, remote: Remote, fake: FakeLabelStudio, prefer: Any
) -> None:
    send(filled, remote)
    (ours,) = on(filled, 2)
    replace_instance(filled, 2, replace(ours, category="cat", status=Status.EDITED, edited=True))
    by_id = {region["id"]: region for region in submitted(fake, "b.png")}
    by_id[f"{ours.id}"]["value"]["rle"] = encode_brush(OTHER)
    report = take(filled, remote, prefer=prefer)
    assert len(report.conflicts) == 1
    assert "b.png: object" in report.conflicts[0]
    (one,) = on(filled, 2)
    if prefer == "here":
        assert (one.category, one.rle) == ("cat", mask_to_rle(MASK))
    else:
        assert (one.category, one.rle) == ("dog", mask_to_rle(OTHER))
    # One that was decided for here stays open, and is named until it is decided otherwise.
    assert len(take(filled, remote).conflicts) == (1 if prefer == "here" else 0)
    assert send(filled, remote).waiting == ()  # what is here goes there beside theirs
    count = len(fake.task_of("b.png")["annotations"])
    assert count == (2 if prefer == "here" else 1)
    assert take(filled, remote).photos == 0


@pytest.mark.parametrize(("prefer", "left"), [("here", 0), ("there", 1)])
def test_deleted_here_and_changed_there_is_a_conflict(
    filled: Project, remote: Remote, fake: FakeLabelStudio, prefer: Any, left: int
) -> None:
    send(filled, remote)
    (one,) = on(filled, 3)
    with filled.write() as transaction:
        from annotator.journal import Change

        row = transaction.row("instance", one.id)
        change = Change("instance", one.id, row, None)
        transaction.record("delete", [change], actor="tester", image_id=3)
    task = fake.task_of("c.png")
    result = copy.deepcopy(task["annotations"][0]["result"])
    result[0]["value"]["x"] = 50.0
    fake.edit(task, task["annotations"][0], result)
    report = take(filled, remote, prefer=prefer)
    assert len(report.conflicts) == 1
    assert len(on(filled, 3)) == left


def test_the_same_change_on_both_sides_is_no_conflict(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    (ours,) = on(filled, 2)
    replace_instance(filled, 2, replace(ours, status=Status.ACCEPTED))
    submitted(fake, "b.png")
    report = take(filled, remote)
    assert (report.conflicts, report.photos) == ([], 0)
    assert send(filled, remote).waiting == ()


def test_after_a_pull_the_photo_waits_no_longer(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    fake.submit(task, [drawn()])
    store(filled, 1, make_instance(OTHER, category="cat"))
    assert send(filled, remote).waiting == ("a.png",)
    take(filled, remote)
    assert send(filled, remote).waiting == ()
    assert any(one["result"] == [drawn()] for one in task["annotations"])


def test_an_unknown_label_waits_for_its_class(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    fake.submit(fake.task_of("été/写真.png"), [drawn(), drawn("other", rectanglelabels=["owl"])])
    report = take(filled, remote)
    assert (report.added, len(report.problems)) == (1, 1)
    assert "'owl'" in report.problems[0]
    again = take(filled, remote, add_classes=True)
    assert (again.added, again.problems) == (1, [])
    assert [one.category for one in on(filled, 4)] == ["cat", "owl"]


def test_a_broken_region_is_a_problem_and_the_others_come(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    broken = {**drawn("bad"), "type": "brushlabels", "value": {"brushlabels": ["cat"], "rle": [1]}}
    fake.submit(fake.task_of("été/写真.png"), [broken, drawn()])
    report = take(filled, remote)
    assert report.added == 1
    assert "cut off" in report.problems[0]
    assert not report.is_complete


def test_skipped_tasks_drafts_and_strangers_are_counted(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    fake.submit(fake.task_of("b.png"), [], was_cancelled=True)
    fake.task_of("c.png")["drafts"].append({"result": []})
    fake.state.tasks[999] = {**fake.task_of("c.png"), "id": 999, "data": {"image": "x"}}
    report = take(filled, remote)
    assert (report.tasks, report.skipped, report.drafts, report.foreign) == (4, 1, 1, 1)
    assert report.photos == 0


def test_of_several_annotations_each_brings_what_it_holds_alone(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("été/写真.png")
    fake.submit(task, [drawn("one"), drawn("both")])
    fake.submit(task, [drawn("both", x=10.0), drawn("two", rectanglelabels=["dog"])])
    report = take(filled, remote)
    assert [one.category for one in on(filled, 4)] == ["cat", "cat", "dog"]
    assert on(filled, 4)[1].box == pytest.approx((12, 45, 72, 63))  # the newer one's
    assert report.set_aside == ["été/写真.png: 1 older annotations"]


def test_a_project_that_was_never_pushed_cannot_be_pulled(filled: Project, remote: Remote) -> None:
    with pytest.raises(OptionError, match="send it there first"):
        take(filled, remote)


def test_a_mask_that_was_not_sent_stays_with_its_object(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    from exports.label_studio import LabelStudioOptions

    send(filled, remote, options=LabelStudioOptions("none"))
    submitted(fake, "b.png")[0]["value"]["width"] = 10.0  # of 120 pixels, from 10 on
    report = take(filled, remote)
    assert (report.changed, report.problems) == (1, []), report
    (one,) = on(filled, 2)
    assert one.box == pytest.approx((10, 12, 22, 51))
    assert one.rle is not None
    expected = MASK.copy()
    expected[:, 22:] = False
    assert (rle_to_mask(one.rle) == expected).all()

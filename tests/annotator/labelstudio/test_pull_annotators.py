"""Several people, several models, several annotations: each says only what it was there to see."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from annotator.labelstudio.addresses import photo_source
from annotator.labelstudio.push import PushChoices, PushReport, push
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.types import CURATED, Source, Status
from exports.choices import Choices, select
from tests.annotator.labelstudio.conftest import (
    OTHER,
    proposed,
    replace_instance,
    store,
)
from tests.annotator.labelstudio.fake_server import FakeLabelStudio
from tests.annotator.labelstudio.test_pull import drawn, on, submitted, take
from tests.annotator.labelstudio.test_push import send, writes
from tests.builders import make_instance

ACCEPTED, PROPOSED, REJECTED = Status.ACCEPTED, Status.PROPOSED, Status.REJECTED


def statuses(project: Project, image_id: int) -> list[Status]:
    return [one.status for one in on(project, image_id)]


def send_chosen(project: Project, remote: Remote, **chosen: Any) -> PushReport:
    choices = Choices(statuses=CURATED | {PROPOSED}, **chosen)
    with project.read() as view:
        categories = list(view.category_names().items())
        selection = select(view.labeled(choices.statuses), categories, choices)
    wanted = PushChoices(title="birds", settle_seconds=0.01)
    return push(
        project, remote, selection, wanted, photo_source(project, "upload", document_root=None)
    )


def labelled(result: list[Any], label: str) -> list[Any]:
    """The same regions of another class."""
    other = copy.deepcopy(result)
    for region in other:
        region["value"][region["type"]] = [label]
    return other


# -- people --------------------------------------------------------------------------------------


def test_an_annotation_says_nothing_of_what_another_person_drew(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    ours = task["annotations"][0]
    fake.submit(task, [drawn("theirs")])
    take(filled, remote)
    before = on(filled, 1)
    assert [one.status for one in before] == [ACCEPTED, PROPOSED, Status.DRAWN]
    fake.edit(task, ours, [{**one, "origin": "manual"} for one in ours["result"]])
    report = take(filled, remote)
    assert (report.read, report.rejected, report.conflicts) == (1, 0, [])
    assert on(filled, 1) == before


def test_an_older_annotation_never_overrules_a_newer_one(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("b.png")
    prediction = task["predictions"][0]
    for label in ("cat", "dog"):
        fake.submit(task, labelled(prediction["result"], label), parent_prediction=prediction["id"])
    report = take(filled, remote)
    assert (report.accepted, report.set_aside) == (1, ["b.png: 1 older annotations"])
    assert [one.category for one in on(filled, 2)] == ["dog"]
    task["updated_at"] = fake.now()  # somebody comments on it, say
    assert take(filled, remote).photos == 0
    assert [one.category for one in on(filled, 2)] == ["dog"]
    older = task["annotations"][0]
    fake.edit(task, older, older["result"])  # Update, and nothing changed: still the older word
    assert take(filled, remote).photos == 0
    fake.edit(task, older, [*labelled(prediction["result"], "cat"), drawn()])
    assert take(filled, remote).added == 1
    assert [one.category for one in on(filled, 2)] == ["dog", "cat"]


def test_what_changed_here_is_not_undone_by_an_annotation_that_holds_the_old_state(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    result = submitted(fake, "b.png")
    take(filled, remote)
    (one,) = on(filled, 2)
    replace_instance(filled, 2, replace(one, category="cat", status=Status.EDITED, edited=True))
    send(filled, remote)  # beside theirs
    task = fake.task_of("b.png")
    assert len(task["annotations"]) == 2
    fake.edit(task, task["annotations"][0], [*result, drawn()])
    report = take(filled, remote)
    assert (report.added, report.changed, report.conflicts) == (1, 0, [])
    assert [each.category for each in on(filled, 2)] == ["cat", "cat"]


def test_taken_away_in_an_older_annotation_and_standing_in_a_newer_is_named(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    ours = task["annotations"][0]
    kept = copy.deepcopy(ours["result"])
    fake.edit(task, ours, [])
    fake.submit(task, kept, parent_annotation=ours["id"])
    report = take(filled, remote)
    assert (report.rejected, len(report.conflicts)) == (0, 1)
    assert "object 1 was taken away in annotation" in report.conflicts[0]
    assert statuses(filled, 1) == [ACCEPTED, PROPOSED]
    fake.edit(task, task["annotations"][1], [])  # the newest of those that held it
    assert take(filled, remote).rejected == 1


def test_a_copy_of_our_annotation_takes_away_what_is_missing_in_it(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    fake.submit(task, [drawn()], parent_annotation=task["annotations"][0]["id"])
    report = take(filled, remote)
    assert (report.added, report.rejected) == (1, 1)
    # The proposal was in no annotation, and in no prediction that this one was made from.
    assert statuses(filled, 1) == [REJECTED, PROPOSED, Status.DRAWN]


def test_an_object_drawn_on_an_empty_photo_can_be_taken_away_again(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("été/写真.png")
    annotation = fake.submit(task, [drawn("aaaa"), drawn("bbbb", x=0.0)])
    assert take(filled, remote).added == 2
    fake.edit(task, annotation, [drawn("aaaa")])
    assert take(filled, remote).rejected == 1
    assert statuses(filled, 4) == [Status.DRAWN, REJECTED]
    before = len(writes(fake))
    assert send(filled, remote).updated == 0
    assert len(writes(fake)) == before


def test_an_annotation_emptied_after_a_pull_takes_away_what_it_held(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    submitted(fake, "b.png")
    take(filled, remote)
    task = fake.task_of("b.png")
    fake.edit(task, task["annotations"][0], [])
    assert take(filled, remote).rejected == 1
    assert statuses(filled, 2) == [REJECTED]


def test_what_an_annotation_does_not_mention_stays_known(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    ours = task["annotations"][0]
    fake.submit(task, [drawn("xx")])
    assert take(filled, remote).added == 1
    fake.edit(task, ours, labelled(ours["result"], "dog"))
    report = take(filled, remote)
    assert (report.changed, report.conflicts) == (1, [])
    assert on(filled, 1)[0].category == "dog"


def test_an_annotation_deleted_as_a_whole_is_named_and_takes_nothing_away(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    submitted(fake, "b.png")
    take(filled, remote)
    for name in ("a.png", "b.png"):
        task = fake.task_of(name)
        task["annotations"].clear()  # and the time of the task stays as it was
    before = [on(filled, number) for number in (1, 2)]
    report = take(filled, remote)
    assert len(report.deleted) == 2
    assert report.deleted[0].startswith("a.png: annotation ")
    assert (report.rejected, report.photos, report.is_complete) == (0, 0, True)
    assert [on(filled, number) for number in (1, 2)] == before
    assert take(filled, remote).deleted == []


def test_our_annotation_deleted_before_the_first_pull_is_named(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    fake.task_of("a.png")["annotations"].clear()
    report = take(filled, remote)
    assert report.deleted == ["a.png: the annotation that was sent from here"]
    assert statuses(filled, 1) == [ACCEPTED, PROPOSED]


def test_a_second_task_of_a_photo_is_told(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    twin = {**copy.deepcopy(fake.task_of("c.png")), "id": 999}
    fake.state.tasks[999] = twin
    fake.submit(twin, [drawn()])
    report = take(filled, remote)
    assert (report.twice, report.added, report.tasks) == (["c.png"], 0, 4)


# -- models --------------------------------------------------------------------------------------


def test_the_prediction_of_somebody_else_is_no_answer_to_ours(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("b.png")
    task["predictions"].append({"id": 900, "model_version": "somebody", "result": [drawn("zzz")]})
    fake.submit(task, [drawn("zzz")], parent_prediction=900)
    report = take(filled, remote)
    assert (report.added, report.rejected) == (1, 0)
    assert statuses(filled, 2) == [PROPOSED, Status.DRAWN]


def test_of_two_models_only_the_one_that_was_submitted_is_answered(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    store(filled, 2, proposed(OTHER, category="cat", source=Source("detector", "m1", 2)))
    send(filled, remote)
    submitted(fake, "b.png")
    report = take(filled, remote)
    assert (report.accepted, report.rejected) == (1, 0)
    assert statuses(filled, 2) == [ACCEPTED, PROPOSED]


@pytest.mark.parametrize("is_prediction_there", [True, False])
def test_of_two_proposals_of_a_model_the_missing_one_is_taken_away(
    filled: Project, remote: Remote, fake: FakeLabelStudio, is_prediction_there: bool
) -> None:
    (other,) = store(filled, 2, proposed(OTHER, category="cat"))
    send(filled, remote)
    result = submitted(fake, "b.png")
    result[:] = [one for one in result if one["meta"]["tag2mask"]["id"] != other]
    task = fake.task_of("b.png")
    if not is_prediction_there:  # a region says which model it came from
        task["predictions"].clear()
        task["annotations"][0]["parent_prediction"] = None
    report = take(filled, remote)
    assert (report.accepted, report.rejected) == (1, 1)
    assert statuses(filled, 2) == [ACCEPTED, REJECTED]


def test_a_proposal_sent_after_the_annotation_was_made_is_not_answered_by_it(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    result = submitted(fake, "b.png")
    take(filled, remote)
    store(filled, 2, proposed(OTHER, category="cat"))  # of the same model
    send(filled, remote)
    task = fake.task_of("b.png")
    assert len(task["predictions"]) == 1
    fake.edit(task, task["annotations"][0], [*result, drawn()])
    report = take(filled, remote)
    assert (report.added, report.rejected) == (1, 0)
    assert statuses(filled, 2) == [ACCEPTED, PROPOSED, Status.DRAWN]


def test_what_a_narrower_push_took_out_was_not_there_to_be_taken_away(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    store(filled, 2, proposed(OTHER, category="cat", score=0.3))
    send_chosen(filled, remote)
    assert send_chosen(filled, remote, min_score=0.5).updated == 1
    submitted(fake, "b.png")
    report = take(filled, remote)
    assert (report.accepted, report.rejected) == (1, 0)
    assert statuses(filled, 2) == [ACCEPTED, PROPOSED]


def test_a_narrower_push_after_a_pull_sends_nothing_where_nothing_changed(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    store(filled, 3, make_instance(OTHER, category="cat"))
    send_chosen(filled, remote, classes=("dog",))
    task = fake.task_of("c.png")
    result = copy.deepcopy(task["annotations"][0]["result"])
    result[0]["value"]["x"] = 50.0
    fake.edit(task, task["annotations"][0], result)
    assert take(filled, remote).changed == 1
    assert send_chosen(filled, remote, classes=("dog",)).updated == 0
    assert len(task["annotations"]) == 1
    # All of them: what a person's annotation does not hold goes there beside it.
    assert send_chosen(filled, remote).updated == 2  # there is another cat on the first photo
    assert len(task["annotations"]) == 2
    assert send_chosen(filled, remote).unchanged == 4


# -- regions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["turned picture", "no label", "half of it"])
def test_a_region_that_makes_no_sense_was_not_taken_away(
    filled: Project, remote: Remote, fake: FakeLabelStudio, way: str
) -> None:
    send(filled, remote)
    result = submitted(fake, "b.png")
    for region in result:
        if way == "no label":
            del region["value"][region["type"]]
        elif way == "turned picture":
            region["image_rotation"] = 90
        elif "rle" in region["value"]:
            region["value"]["rle"] = [1, 2]
    before = on(filled, 2)
    report = take(filled, remote)
    assert (report.rejected, report.photos) == (0, 0)
    assert report.problems
    assert on(filled, 2) == before


def test_a_region_of_others_that_is_called_like_ours_is_another_object(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    before = on(filled, 1)
    annotation = fake.submit(task, [drawn("1", rectanglelabels=["dog"])])
    report = take(filled, remote)
    assert (report.added, report.changed, report.rejected) == (1, 0, 0)
    assert on(filled, 1)[:2] == before
    fake.edit(task, annotation, [drawn("1")])  # and it is followed all the same
    assert take(filled, remote).changed == 1
    assert on(filled, 1)[:2] == before
    assert on(filled, 1)[2].category == "cat"


def test_a_region_of_ours_that_lost_its_meta_is_known_where_it_stood(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    ours = task["annotations"][0]
    result = labelled(ours["result"], "dog")
    for region in result:
        del region["meta"]
    fake.edit(task, ours, result)
    report = take(filled, remote)
    assert (report.changed, report.added, report.rejected) == (1, 0, 0)
    assert on(filled, 1)[0].category == "dog"

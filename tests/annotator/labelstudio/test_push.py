"""Sending to a server: everything once, nothing of theirs touched, whatever breaks on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotator.labelstudio import packing
from annotator.labelstudio.addresses import photo_source
from annotator.labelstudio.client import LabelStudioError, NoAnswer
from annotator.labelstudio.push import PushChoices, PushReport, push
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.errors import FormatError, OptionError
from engine.types import CURATED, Status
from exports.choices import Choices, select
from exports.label_studio import LabelStudioOptions
from exports.label_studio_config import labels_of
from exports.label_studio_read import objects_of
from tests.annotator.labelstudio.conftest import (
    MASK,
    OTHER,
    proposed,
    replace_instance,
    store,
)
from tests.annotator.labelstudio.fake_server import FakeLabelStudio
from tests.builders import make_instance

STATUSES = CURATED | {Status.PROPOSED}


def send(project: Project, remote: Remote, **more: Any) -> PushReport:
    mode, root = more.pop("photos", "upload"), more.pop("document_root", None)
    choices = PushChoices(**{"title": "birds", "settle_seconds": 0.01, **more})
    with project.read() as view:
        selection = select(
            view.labeled(STATUSES),
            list(view.category_names().items()),
            Choices(statuses=STATUSES),
        )
    source = photo_source(project, mode, document_root=root)
    return push(project, remote, selection, choices, source)


def writes(fake: FakeLabelStudio) -> list[str]:
    return [one for one in fake.requests if not one.startswith("GET")]


def test_photos_proposals_and_decisions_arrive(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    report = send(filled, remote)
    assert (report.made, report.sent, report.is_complete) == (True, 4, True)
    (there,) = fake.state.projects.values()
    assert labels_of(there["label_config"]) == ("cat", "dog")
    assert there["show_collab_predictions"] is True
    assert len(fake.state.views) == 1
    task = fake.task_of("a.png")
    ((one,), _) = objects_of(task["annotations"][0]["result"])
    assert (one.number, one.categories) == (1, ("cat",))
    assert one.extent == pytest.approx((10, 12, 61, 51))
    assert task["predictions"][0]["model_version"] == "tag2mask/pro2sam sam_vit_b"
    assert task["predictions"][0]["score"] == 0.75
    assert task["data"]["tags"] == "cat"
    assert fake.task_of("été/写真.png")["annotations"] == []


def test_the_picture_that_is_sent_is_the_photo(
    filled: Project, remote: Remote, fake: FakeLabelStudio, photo_folder: Path
) -> None:
    send(filled, remote)
    for task in fake.tasks:
        name = task["data"]["file_name"]
        number = next(
            key
            for key, one in fake.state.uploads.items()
            if f"/data/{one['file']}" == task["data"]["image"]
        )
        assert fake.state.contents[number] == (photo_folder / name).read_bytes(), name


def test_sending_again_sends_nothing(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    before = len(writes(fake))
    report = send(filled, remote)
    assert (report.made, report.sent, report.updated, report.unchanged) == (False, 0, 0, 4)
    assert len(writes(fake)) == before


def test_without_its_journal_it_still_sends_nothing_twice(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    for file in (filled.folder / "labelstudio").iterdir():
        file.unlink()
    before = len(writes(fake))
    report = send(filled, remote)
    assert (report.sent, report.updated, len(fake.tasks)) == (0, 0, 4)
    assert len(writes(fake)) == before


def test_what_changed_here_changes_there_and_nothing_else(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    with filled.read() as view:
        decided, proposal = view.instances(1)
    replace_instance(filled, 1, replace(decided, category="dog", status=Status.EDITED))
    replace_instance(filled, 1, replace(proposal, category="cat"))
    before = len(writes(fake))
    report = send(filled, remote)
    assert (report.sent, report.updated, report.unchanged) == (0, 1, 3)
    task = fake.task_of("a.png")
    ((one,), _) = objects_of(task["annotations"][0]["result"])
    ((other,), _) = objects_of(task["predictions"][0]["result"])
    assert (one.categories, other.categories) == (("dog",), ("cat",))
    assert (len(task["annotations"]), len(task["predictions"])) == (1, 1)
    assert len(writes(fake)) == before + 3  # one changed, one made, one taken away
    assert send(filled, remote).unchanged == 4


def test_a_proposal_that_was_accepted_moves_from_prediction_to_annotation(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    with filled.read() as view:
        (proposal,) = view.instances(2)
    replace_instance(filled, 2, replace(proposal, status=Status.ACCEPTED))
    assert send(filled, remote).updated == 1
    task = fake.task_of("b.png")
    assert task["predictions"] == []
    assert len(task["annotations"]) == 1


def test_new_tags_reach_the_data_of_the_task(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    task["data"] = {**task["data"], "tags": "old", "theirs": "kept"}
    send(filled, remote)
    assert task["data"]["tags"] == "cat"
    assert task["data"]["theirs"] == "kept"


def test_predictions_of_others_stay(filled: Project, remote: Remote, fake: FakeLabelStudio) -> None:
    send(filled, remote)
    task = fake.task_of("b.png")
    task["predictions"].append({"id": 900, "model_version": "somebody", "result": []})
    store(filled, 2, proposed(OTHER, category="cat"))
    send(filled, remote)
    versions = [one["model_version"] for one in task["predictions"]]
    assert sorted(versions) == ["somebody", "tag2mask/pro2sam sam_vit_b"]


@pytest.mark.parametrize("way", ["edited in place", "drawn beside it"])
def test_what_a_person_did_there_is_not_touched(
    filled: Project, remote: Remote, fake: FakeLabelStudio, way: str
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    if way == "edited in place":
        fake.edit(task, task["annotations"][0], [])
    else:
        fake.submit(task, [])
    store(filled, 1, make_instance(OTHER, category="cat"))
    before = [dict(one) for one in task["annotations"]]
    report = send(filled, remote)
    assert report.waiting == ("a.png",)
    assert not report.is_complete
    assert task["annotations"] == before
    assert report.unchanged == 3


def test_a_skipped_task_is_no_work_to_wait_for(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("b.png")
    fake.submit(task, [], was_cancelled=True)
    store(filled, 2, make_instance(OTHER, category="cat"))
    assert send(filled, remote).waiting == ()
    assert len(task["annotations"]) == 2


# -- the project there ---------------------------------------------------------------------------


def test_a_project_of_that_name_is_used_and_gets_what_it_lacks(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    xml = "<View><Image name='i' value='$photo'/><BrushLabels name='m' toName='i'>"
    xml += "<Label value='other'/></BrushLabels></View>"
    there = remote.create_project("birds", xml)
    report = send(filled, remote)
    assert (report.made, report.remote_project) == (False, there.id)
    assert "label 'cat' of BrushLabels" in report.config_added
    config = fake.state.projects[there.id]["label_config"]
    assert set(labels_of(config)) == {"other", "cat", "dog"}
    task = fake.task_of("c.png")
    assert task["data"]["photo"].startswith("/data/upload/")


def test_two_projects_of_that_name_are_told_apart_by_the_person(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    numbers = [remote.create_project("birds", "<View/>").id for _ in range(2)]
    with pytest.raises(OptionError, match=f"numbers {numbers[0]}, {numbers[1]}"):
        send(filled, remote)
    assert fake.tasks == []


def test_a_project_that_was_renamed_there_is_found_again(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    first = send(filled, remote)
    fake.state.projects[first.remote_project]["title"] = "something else"
    again = send(filled, remote)
    assert (again.remote_project, again.unchanged) == (first.remote_project, 4)


def test_a_project_that_was_deleted_there_is_made_again(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    first = send(filled, remote)
    del fake.state.projects[first.remote_project]
    fake.state.tasks.clear()
    again = send(filled, remote)
    assert (again.made, again.sent) == (True, 4)


@pytest.mark.parametrize("title", ["ab", "x" * 51])
def test_a_title_that_the_server_refuses_is_told_before(
    filled: Project, remote: Remote, fake: FakeLabelStudio, title: str
) -> None:
    with filled.read() as view:
        selection = select(view.labeled(), list(view.category_names().items()), Choices())
    source = photo_source(filled, "upload", document_root=None)
    with pytest.raises(OptionError, match="3 to 50"):
        push(filled, remote, selection, PushChoices(title=title), source)
    assert writes(fake) == []


def test_duplicates_there_are_named_and_the_oldest_counts(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    twin = {**task, "id": 999, "annotations": [], "predictions": []}
    fake.state.tasks[999] = twin
    report = send(filled, remote)
    assert report.twice == ("a.png",)
    assert (report.sent, report.updated) == (0, 0)
    assert 999 in fake.state.tasks


# -- photos --------------------------------------------------------------------------------------


def test_a_photo_that_is_gone_stays_here_and_is_told(
    filled: Project, remote: Remote, fake: FakeLabelStudio, photo_folder: Path
) -> None:
    (photo_folder / "b.png").unlink()
    report = send(filled, remote)
    assert report.sent == 3
    assert len(report.left_out) == 1
    assert "b.png" in report.left_out[0]
    assert not report.is_complete


def test_local_photos_are_named_by_their_place(
    filled: Project, remote: Remote, fake: FakeLabelStudio, photo_folder: Path
) -> None:
    report = send(filled, remote, photos="local", document_root=photo_folder.parent)
    assert report.is_complete
    address = fake.task_of("été/写真.png")["data"]["image"]
    assert address == "/data/local-files/?d=photos/%C3%A9t%C3%A9/%E5%86%99%E7%9C%9F.png"
    assert [one["path"] for one in fake.state.storages] == [str(photo_folder)]
    assert fake.state.uploads == {}


def test_local_photos_outside_the_root_are_left_out(
    filled: Project, remote: Remote, photo_folder: Path
) -> None:
    report = send(filled, remote, photos="local", document_root=photo_folder)
    assert report.sent == 1  # the one in a folder of its own
    assert "lies in no folder inside" in report.left_out[0]


def test_photos_may_stand_on_a_web_server(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote, photos="https://example.org/p")
    assert fake.task_of("a.png")["data"]["image"] == "https://example.org/p/a.png"


def test_an_unknown_way_to_the_photos_is_refused(filled: Project) -> None:
    with pytest.raises(OptionError, match="photos get there by upload"):
        photo_source(filled, "somehow", document_root=None)
    with pytest.raises(OptionError, match="document root"):
        photo_source(filled, "local", document_root=None)


# -- breaks --------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LARGEST_BATCH", 1)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("how", ["drop", 502, "stall"])
@pytest.mark.parametrize("is_done", [True, False])
def test_a_break_half_way_is_gone_on_from(
    filled: Project, remote: Remote, fake: FakeLabelStudio, how: int | str, is_done: bool
) -> None:
    # Every photo is a batch: an upload and an import each. The third import breaks.
    fake.fail("POST", "import", how, skip=5, is_done=is_done)
    if is_done:  # the answer was lost, and what was asked for has happened
        assert send(filled, remote).sent == 4
    else:
        with pytest.raises(LabelStudioError, match="the same command goes on"):
            send(filled, remote)
        assert len(fake.tasks) == 2
        assert send(filled, remote).sent == 2
    assert len(fake.tasks) == 4
    assert len(fake.state.uploads) == 4
    assert send(filled, remote).unchanged == 4


@pytest.mark.parametrize("path", ["projects/$", "views", "import"])
def test_a_break_at_any_step_of_the_beginning_is_gone_on_from(
    filled: Project, remote: Remote, fake: FakeLabelStudio, path: str
) -> None:
    fake.fail("POST", path, "drop", is_done=True)
    with pytest.raises(NoAnswer):
        send(filled, remote)
    assert send(filled, remote).sent == 4
    assert len(fake.state.projects) == len(fake.state.views) == 1


def test_a_break_while_updating_is_gone_on_from(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    for number in (1, 2, 3):
        store(filled, number, make_instance(OTHER, category="cat"), proposed(MASK, category="dog"))
    fake.fail("POST", "predictions", "drop", skip=1, is_done=True)
    with pytest.raises(NoAnswer):
        send(filled, remote)
    send(filled, remote)
    assert [len(task["annotations"]) for task in fake.tasks] == [1, 1, 1, 0]
    assert [len(task["predictions"]) for task in fake.tasks] == [1, 1, 1, 0]
    assert send(filled, remote).unchanged == 4


def test_wrong_data_stops_it_before_anything_is_sent(
    filled: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    xml = "<View><Image name='i' value='$image.x'/></View>"
    remote.create_project("birds", xml)
    before = len(writes(fake))
    with pytest.raises(FormatError, match="plain key"):
        send(filled, remote)
    assert len(writes(fake)) == before


def test_bitmasks_and_boxes_are_chosen(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote, options=LabelStudioOptions("bitmask", boxes=False))
    (region,) = fake.task_of("b.png")["predictions"][0]["result"]
    assert region["type"] == "bitmasklabels"
    # Another choice makes other regions of the same objects, in place of the old ones.
    assert send(filled, remote).updated == 2  # the third is a box alone, and stays one
    regions = fake.task_of("b.png")["predictions"][0]["result"]
    assert [one["type"] for one in regions] == ["rectanglelabels", "brushlabels"]

"""The JSON door of the review screen: what it answers, and what it refuses."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator import runs
from annotator.assist import Assistant
from annotator.session import ReviewSession
from annotator.store import Project
from annotator.ui.operations import OPERATIONS, Operations
from annotator.views import Photo
from annotator.workspace import Workspace
from engine.geometry import mask_to_rle
from engine.types import Candidate, Evidence, Prompts, RankedMask, Rle, Source
from tests.annotator.door import Page
from tests.fakes import SquareSegmenter, proposal, square_mask


@pytest.fixture
def operations(project: Project) -> Iterator[Operations]:
    workspace = Workspace()
    workspace.remember(project.folder)
    assistant = Assistant(SquareSegmenter)
    yield Operations(workspace, lambda one: ReviewSession(one, assistant), actor="tester")
    assistant.close()
    workspace.close()


@pytest.fixture
def page(operations: Operations, project: Project) -> Page:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[1, 2])
    found = [proposal((10, 10, 50, 50)), proposal((60, 10, 90, 50), category=None)]
    runs.record_photo(project, run_id, 1, instances=found, seconds=0.1)
    return Page(operations, Workspace().remember(project.folder))


def test_opening_shows_the_photo_with_everything_on_it(page: Page) -> None:
    full = page.send("open")["full"]
    assert (full["photo"], full["name"]) == (1, "a.png")
    assert (full["image"]["w"], full["image"]["h"]) == (120, 90)
    assert [one["status"] for one in full["instances"]] == ["proposed", "proposed"]
    assert [one["cls"] for one in full["instances"]] == [1, None]
    assert full["tags"] == [1]
    assert [one["name"] for one in full["classes"]] == ["cat", "dog"]
    assert full["nav"] == {
        "index": 0,
        "total": 4,
        "prev": None,
        "next": 2,
        "next_url": full["nav"]["next_url"],
    }
    assert (full["can_undo"], full["can_redo"]) == (False, False)


def test_the_photo_that_opens_is_prepared_first_then_those_that_follow_in_review_order(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def note(_: Assistant, project: Project, wanted: list[Photo]) -> None:
        asked.append([photo.file_name for photo in wanted])

    monkeypatch.setattr(Assistant, "prefetch", note)
    page.send("open")
    page.send("open", photo=3)
    page.send("open", photo=4)
    assert asked == [
        ["a.png", "b.png", "c.png", "été/写真.png"],
        ["c.png", "été/写真.png"],
        ["été/写真.png"],
    ]


def test_an_edit_answers_with_what_changed_only(page: Page) -> None:
    page.send("open")
    answer = page.send("set_status", id=1, status="accepted")
    assert [one["id"] for one in answer["upsert"]] == [1]
    assert answer["upsert"][0]["status"] == "accepted"
    assert answer["remove"] == []
    assert answer["can_undo"]
    assert answer["undo_label"] == "accept"


def test_deleting_names_what_is_gone_and_undo_brings_it_back(page: Page) -> None:
    page.send("open")
    assert page.send("delete", id=1)["remove"] == [1]
    answer = page.send("undo")
    assert [one["id"] for one in answer["upsert"]] == [1]
    assert answer["select"] == 1


def test_new_objects_are_selected(page: Page) -> None:
    page.send("open")
    answer = page.send("add_box", cls=2, box=[5, 60, 30, 80])
    (made,) = answer["upsert"]
    assert (made["id"], made["status"], made["cls"]) == (answer["select"], "drawn", 2)
    answer = page.send("click", id=made["id"], cls=2, point=[40, 70, 1])
    assert answer["upsert"][0]["points"] == [[40, 70, 1]]
    answer = page.send("brush", id=None, cls=1, mode="add", radius=3, pts=[[100, 70], [110, 70]])
    assert answer["select"] not in (None, made["id"])


def test_a_second_tab_is_told_and_shown_the_photo_as_it_is(
    page: Page, operations: Operations
) -> None:
    other = Page(operations, page._key)
    page.send("open")
    other.send("open")
    page.send("set_status", id=1, status="accepted")
    answer = other.send("set_status", id=1, status="rejected")
    assert answer["error"]["code"] == "conflict"
    assert "changed elsewhere" in answer["error"]["message"]
    assert answer["full"]["instances"][0]["status"] == "accepted"
    again = other.send("set_status", id=1, status="rejected")
    assert again["upsert"][0]["status"] == "rejected"


def test_who_acts_on_what_a_run_has_replaced_is_shown_the_new_proposals(
    page: Page, project: Project
) -> None:
    page.send("open")
    stale = page.revision
    rerun(project)
    for op, fields in (("set_status", {"status": "accepted"}), ("set_class", {"cls": 2})):
        answer = page.send(op, id=1, base_rev=stale, **fields)
        assert answer["error"]["code"] == "conflict"
        assert [one["box"] for one in answer["full"]["instances"]] == [[20, 20, 60, 60]]
    assert page.send("delete", id=1, base_rev=stale)["error"]["code"] == "conflict"


def test_undo_says_what_it_passes_over(page: Page, project: Project) -> None:
    page.send("open")
    page.send("add_box", cls=2, box=[5, 60, 30, 80])
    page.send("set_class", id=2, cls=1)
    page.send("set_status", id=2, status="rejected")
    page.send("set_status", id=2, status="proposed")
    page.send("undo")
    page.send("set_status", id=1, status="rejected")
    page.send("set_status", id=1, status="proposed")
    rerun(project)
    full = page.send("open", photo=1)["full"]
    assert (full["can_undo"], full["undo_label"]) == (True, "reject")
    answer = page.send("undo")
    assert "undid 'reject', passing over 2 steps" in answer["notice"]
    assert "notice" not in page.send("undo")


def rerun(project: Project) -> None:
    """Another run replaces the proposals of the first photo."""
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[1])
    found = [proposal((20, 20, 60, 60))]
    runs.record_photo(project, run_id, 1, instances=found, seconds=0.1)


def test_a_retry_of_the_same_operation_acts_once(page: Page, project: Project) -> None:
    page.send("open")
    base = page.revision
    first = page.send("add_box", op_id="same", cls=1, box=[1, 1, 20, 20], base_rev=base)
    again = page.send("add_box", op_id="same", cls=1, box=[1, 1, 20, 20], base_rev=base)
    assert first["select"] is not None
    assert len(again["full"]["instances"]) == 3
    assert again["made"] == first["select"]
    project.check_journal()


def test_a_retry_that_overtakes_the_first_attempt_is_no_conflict(
    page: Page, project: Project, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.send("open")
    message = {
        "op": "add_box",
        "op_id": "same",
        "project": page._key,
        "photo": 1,
        "base_rev": page.revision,
        "cls": 1,
        "box": [1, 1, 20, 20],
    }
    working, go_on = threading.Event(), threading.Event()
    masks_for = SquareSegmenter.masks_for

    def slowly(segmenter: SquareSegmenter, prompts: Prompts) -> list[Candidate]:
        working.set()
        assert go_on.wait(20)
        return masks_for(segmenter, prompts)

    monkeypatch.setattr(SquareSegmenter, "masks_for", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(operations.handle, message)
        assert working.wait(20)
        again = pool.submit(operations.handle, message)
        time.sleep(0.2)  # until it waits for the segmenter
        go_on.set()
        answers = [first.result(), again.result()]
    assert [one for one in answers if "error" in one] == []
    with project.read() as view:
        assert len(view.instances(1)) == 3


def test_step_walks_through_the_list_and_says_where_it_ends(page: Page) -> None:
    page.send("open")
    assert page.send("step", dir=1)["full"]["name"] == "b.png"
    page.send("step", dir=-1)
    assert page.send("step", dir=-1)["error"]["message"] == "this is the first photo"


def test_a_filter_without_photos_is_an_empty_answer(page: Page) -> None:
    full = page.send("open", filter={"status": "rejected", "cls": None})["full"]
    assert full["photo"] is None
    assert full["counts"]["all"] == 4


def test_the_filmstrip_comes_in_pages(page: Page, project: Project) -> None:
    answer = page.send("list", offset=1, limit=2, filter={"status": "all", "cls": None})
    assert (answer["total"], [one["id"] for one in answer["items"]]) == (4, [2, 3])
    with project.read() as view:
        version = view.photo(2).sha256[:12]
    assert answer["items"][0]["thumb"] == f"/thumbnail/{page._key}/2?v={version}"
    shown = page.send("open", photo=2)["full"]["image"]
    assert shown["thumb"] == answer["items"][0]["thumb"]
    assert shown["url"].endswith(f"?v={version}")


def test_the_position_is_kept_on_the_server(page: Page, operations: Operations) -> None:
    page.send("open", photo=3)
    assert Page(operations, page._key).send("open")["full"]["photo"] == 3


def test_a_class_can_be_added_on_the_way(page: Page) -> None:
    page.send("open")
    full = page.send("add_class", name="owl")["full"]
    assert [one["name"] for one in full["classes"]] == ["cat", "dog", "owl"]
    assert page.send("set_class", id=2, cls=3)["upsert"][0]["status"] == "edited"


def test_a_photo_that_is_gone_is_said_and_its_objects_still_show(
    page: Page, project: Project
) -> None:
    with project.read() as view:
        project.photo_path(view.photo(1)).unlink()
    full = page.send("open", photo=1)["full"]
    assert "was it moved?" in full["notes"][0]
    assert len(full["instances"]) == 2


@pytest.mark.parametrize(
    ("op", "fields", "says"),
    [
        ("fly", {}, "operation 'fly' is unknown"),
        ("set_status", {"id": 1, "status": "great"}, "status 'great' is unknown"),
        ("set_status", {"id": "1", "status": "accepted"}, "field 'id'"),
        ("set_status", {"id": True, "status": "accepted"}, "field 'id'"),
        ("set_status", {"id": 777, "status": "accepted"}, "object 777 is not on this photo"),
        ("set_box", {"id": 1, "box": [1, 2, 3]}, "field 'box'"),
        ("set_box", {"id": 1, "box": [1, 2, "3", 4]}, "field 'box'"),
        ("set_box", {"id": 1, "box": [9, 9, 3, 4]}, "no area"),
        ("set_box", {"id": 1, "box": [1, 2, 1e300, 4]}, "field 'box'"),
        ("click", {"id": 1, "point": [1, 1, 5]}, "a click is 1"),
        ("brush", {"id": 1, "mode": "add", "radius": 0, "pts": [[1, 1]]}, "field 'radius'"),
        ("brush", {"id": 1, "mode": "add", "radius": 3, "pts": []}, "field 'pts'"),
        ("brush", {"id": 1, "mode": "spray", "radius": 3, "pts": [[1, 1]]}, "brush mode 'spray'"),
        ("set_class", {"id": 1, "cls": 99}, "no class number 99"),
        ("open", {"photo": 99}, "no photo number 99"),
        ("open", {"filter": {"status": "nice"}}, "filter 'nice' is unknown"),
        ("open", {"filter": 7}, "expected an object"),
        ("open", {"project": "elsewhere"}, "not on the list"),
        ("list", {"offset": 0, "limit": 100000}, "field 'limit'"),
        ("accept_all", {"min_score": 7}, "field 'min_score'"),
        ("add_class", {"name": ""}, "field 'name'"),
        ("redo", {}, "nothing to redo"),
        ("alternatives", {"id": 777}, "object 777 is not on this photo"),
        ("alternatives", {}, "field 'id'"),
        ("alternatives", {"id": 1}, "would take this segmenter a minute"),
        ("choose", {"id": 1, "rle": 7}, "field 'rle'"),
        ("choose", {"id": 1, "rle": {"size": [90, 120]}}, "field 'rle'"),
        ("choose", {"id": 1, "rle": {"size": [90, 120], "counts": ""}}, "field 'rle'"),
        ("choose", {"id": 1, "rle": {"size": [90, 120], "counts": "d3"}}, "no mask of this photo"),
        ("choose", {"id": 1, "rle": {"size": "large", "counts": "d3"}}, "no mask of this photo"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    page: Page, project: Project, op: str, fields: dict[str, Any], says: str
) -> None:
    page.send("open")
    with project.read() as view:
        before = list(view.events())
    assert says in page.send(op, **fields)["error"]["message"]
    with project.read() as view:
        assert list(view.events()) == before


def see_on_b(project: Project) -> None:
    """A run that saw something on the second photo."""
    found = replace(proposal((10, 10, 50, 50)), rle=square_rle((10, 10, 50, 50)))
    source = Source("pro2sam", "gtformer + sam_vit_b", options={"mode": "fast", "tau_b": 0.2})
    seen = Evidence(
        coarse=np.array([[0.0, 1.0, 0.2], [0.4, 0.6, 0.8]], np.float32),
        prompts=((3.5, 4.0), (100.0, 80.0)),
        candidates=(RankedMask(square_rle((10, 10, 40, 50)), 0.75),),
    )
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="pro2sam", options={}, photos=[2])
    found = replace(found, source=source)
    runs.record_photo(project, run_id, 2, instances=[found], seconds=0.1, seen=seen)


def square_rle(box: tuple[int, int, int, int]) -> Rle:
    return mask_to_rle(square_mask((90, 120), box))


def test_the_photo_comes_with_what_its_run_saw(page: Page, project: Project) -> None:
    see_on_b(project)
    full = page.send("open", photo=2)["full"]
    seen = full["evidence"]
    assert (seen["map"]["w"], seen["map"]["h"]) == (3, 2)
    assert list(base64.b64decode(seen["map"]["levels"])) == [0, 255, 51, 102, 153, 204]
    assert seen["prompts"] == [[3.5, 4.0], [100.0, 80.0]]
    assert full["instances"][0]["source"] == "pro2sam · gtformer + sam_vit_b · fast"
    assert page.send("open", photo=1)["full"]["evidence"] == {"map": None, "prompts": []}


def test_other_masks_are_offered_and_one_is_chosen(page: Page, project: Project) -> None:
    see_on_b(project)
    (one,) = page.send("open", photo=2)["full"]["instances"]
    with project.read() as view:
        before = list(view.events())
    answer = page.send("alternatives", id=one["id"])
    with project.read() as view:
        assert list(view.events()) == before
    (other,) = answer["masks"]
    assert (answer["id"], other["box"], other["score"]) == (one["id"], [10, 10, 40, 50], 0.75)
    answer = page.send("choose", id=one["id"], rle=other["rle"])
    (changed,) = answer["upsert"]
    assert (changed["rle"], changed["box"]) == (other["rle"], other["box"])
    assert (changed["status"], answer["undo_label"]) == ("edited", "choose mask")
    answer = page.send("choose", id=one["id"], rle=one["rle"])
    assert answer["upsert"] == [one]


def test_choosing_what_a_second_tab_has_changed_is_a_conflict(
    page: Page, operations: Operations
) -> None:
    other = Page(operations, page._key)
    page.send("open")
    other.send("open")
    page.send("set_status", id=1, status="accepted")
    answer = other.send("choose", id=1, rle=square_rle((10, 10, 40, 50)).as_dict())
    assert answer["error"]["code"] == "conflict"
    assert answer["full"]["instances"][0]["rle"] is None


@pytest.mark.parametrize("message", [None, 7, "open", [], {}, {"op": None}, {"op": "open"}])
def test_a_message_that_is_no_operation_is_refused(operations: Operations, message: Any) -> None:
    assert "error" in operations.handle(message)


def test_every_operation_has_been_named_in_the_door() -> None:
    assert set(OPERATIONS) == {
        *("open", "step", "list", "get", "add_class", "set_status", "accept_all", "set_class"),
        *("set_box", "add_box", "click", "brush", "delete", "clear_points", "undo", "redo"),
        *("alternatives", "choose", "confirm", "set_tag", "find"),
        *("thresholds", "preview_above", "accept_above", "take_back"),
    }

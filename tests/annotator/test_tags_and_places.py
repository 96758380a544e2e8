"""The door of the review screen: tags of a photo, and ways to another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator import runs
from annotator.assist import Assistant
from annotator.intake import add_photos
from annotator.session import ReviewSession
from annotator.store import Project
from annotator.ui.operations import Operations
from annotator.workspace import Workspace
from tests.annotator.door import Page
from tests.fakes import SquareSegmenter, proposal


@pytest.fixture
def page(project: Project) -> Iterator[Page]:
    """Photo 1, tagged cat, holds two proposals, one of them without a class."""
    workspace = Workspace()
    assistant = Assistant(SquareSegmenter)
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[1, 2])
    found = [proposal((10, 10, 50, 50)), proposal((60, 10, 90, 50), category=None)]
    runs.record_photo(project, run_id, 1, instances=found, seconds=0.1)
    operations = Operations(workspace, lambda one: ReviewSession(one, assistant), actor="tester")
    yield Page(operations, workspace.remember(project.folder))
    assistant.close()
    workspace.close()


def test_a_tag_is_given_and_taken_away_and_both_can_be_undone(page: Page, project: Project) -> None:
    page.send("open")
    page.send("set_class", id=1, cls=2)
    page.send("set_status", id=2, status="rejected")
    answer = page.send("set_class", id=1, cls=2)
    # Tagged cat, but there is none; a dog, but not tagged so.
    assert [one["kind"] for one in answer["findings"]] == ["tags", "tags"]
    answer = page.send("set_tag", cls=2, on=True)
    assert (answer["tags"], answer["undo_label"]) == ([1, 2], "tag")
    assert len(answer["findings"]) == 1
    answer = page.send("set_tag", cls=1, on=False)
    assert (answer["tags"], answer["findings"]) == ([2], [])
    before = page.revision
    assert page.send("set_tag", cls=1, on=False)["rev"] == before
    answer = page.send("undo")
    assert (answer["tags"], answer["select"]) == ([1, 2], None)
    assert page.send("undo")["tags"] == [1]
    assert page.send("redo")["tags"] == [1, 2]
    assert page.send("open", photo=1)["full"]["tags"] == [1, 2]
    project.check_journal()
    assert "class number 77" in page.send("set_tag", cls=77, on=True)["error"]["message"]


def test_a_tag_that_was_given_anew_meanwhile_is_not_brought_back_twice(
    page: Page, project: Project, photo_folder: Path
) -> None:
    page.send("open")
    page.send("set_tag", cls=1, on=False)
    tags = photo_folder.parent / "again.csv"
    tags.write_text("file,labels\na.png,cat\n")
    add_photos(project, photo_folder, actor="tester", tags_file=tags)
    answer = page.send("undo", base_rev=page.send("open", photo=1)["full"]["rev"])
    assert "nothing is left to undo" in answer["error"]["message"]
    project.check_journal()


def test_the_next_photo_with_something_left_to_decide(page: Page, project: Project) -> None:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[3])
    runs.record_photo(project, run_id, 3, instances=[proposal((1, 1, 9, 9))], seconds=0.1)
    page.send("open", photo=1)
    assert page.send("step", dir=1, undecided=True)["full"]["photo"] == 3
    assert page.send("step", dir=1, undecided=True)["full"]["photo"] == 1  # from the beginning
    number = page.send("open", photo=3)["full"]["instances"][0]["id"]
    page.send("set_status", id=number, status="accepted")
    page.send("open", photo=1)
    answer = page.send("step", dir=1, undecided=True)
    assert "anything left to decide" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("b.png", 2),
        ("B.PNG", 2),
        ("写真.png", 4),
        ("été/写真.png", 4),
        ("3", 3),
        ("png", 2),
        ("été", 4),
    ],
)
def test_a_photo_is_found_by_its_name_or_its_place(page: Page, text: str, found: int) -> None:
    page.send("open", photo=1)
    assert page.send("find", text=text)["full"]["photo"] == found


@pytest.mark.parametrize("text", ["0", "5", "zebra", " "])
def test_what_no_photo_has_is_told(page: Page, text: str) -> None:
    page.send("open", photo=1)
    assert "error" in page.send("find", text=text)

"""The review screen's questions about findings, orders and scores, as it asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from annotator import runs
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.ui.operations import ORDER, Operations
from annotator.workspace import Workspace
from engine.types import Status
from tests.fakes import SquareSegmenter, proposal

WORST_FIRST = {"status": "all", "cls": None, "order": "suspicious"}


class Page:
    """Sends what the browser sends, and reads what it gets as JSON."""

    def __init__(self, operations: Operations, key: str) -> None:
        self._operations = operations
        self._key = key

    def send(self, op: str, **fields: Any) -> dict[str, Any]:
        message = {"op": op, "op_id": str(uuid4()), "project": self._key, "tab": "t", **fields}
        answer: dict[str, Any] = json.loads(json.dumps(self._operations.handle(message)))
        return answer


@pytest.fixture
def page(project: Project) -> Iterator[Page]:
    """Photos 2 (tagged cat and dog) and 4 (dog) hold an accepted cat, photo 1 an undecided one."""
    workspace = Workspace()
    assistant = Assistant(SquareSegmenter)
    session = ReviewSession(project, assistant)
    for number, image_id in enumerate((2, 4, 1), start=1):
        with project.write() as transaction:
            run_id = runs.start(transaction, pipeline="any", options={}, photos=[image_id])
        found = [proposal((10, 10, 40, 40), score=0.8)]
        runs.record_photo(project, run_id, image_id, instances=found, seconds=0.1)
        if image_id != 1:
            session.set_status(Context(image_id, "tester"), number, Status.ACCEPTED)
    operations = Operations(workspace, lambda one: session, actor="tester")
    yield Page(operations, workspace.remember(project.folder))
    assistant.close()
    workspace.close()


def test_an_order_begins_with_its_first_photo_and_says_why(page: Page, project: Project) -> None:
    full = page.send("open", photo=None, filter=WORST_FIRST, renew=True)["full"]
    # Both lack a dog; the cat of photo 4 is not among its tags either.
    assert (full["photo"], full["nav"]["index"], full["nav"]["next"]) == (2, 0, 4)
    assert full["why"].startswith("tagged dog")
    assert [(one["kind"], one["subject"], one["id"]) for one in full["findings"]] == [
        ("tags", "tag 2", None)
    ]
    following = page.send("step", photo=2, dir=1, filter=WORST_FIRST)["full"]
    assert [one["subject"] for one in following["findings"]] == ["tag 2", "object 2"]
    strip = page.send("list", filter=WORST_FIRST, offset=0, limit=10)
    assert [item["id"] for item in strip["items"]] == [2, 4, 1, 3]
    with project.read() as view:
        assert view.setting(ORDER) == "suspicious"


def test_a_confirmed_finding_is_gone_and_undo_brings_it_back(page: Page) -> None:
    full = page.send("open", photo=4)["full"]
    finding = next(one for one in full["findings"] if one["subject"] == "object 2")
    about = {"photo": 4, "subject": "object 2", "state": finding["state"]}
    answer = page.send("confirm", base_rev=full["rev"], **about)
    assert [one["subject"] for one in answer["findings"]] == ["tag 2"]
    assert (answer["upsert"], answer["undo_label"]) == ([], "confirm")
    again = page.send("confirm", base_rev=answer["rev"], **about)
    assert again["error"]["code"] == "review"
    undone = page.send("undo", photo=4, base_rev=answer["rev"])
    assert [one["subject"] for one in undone["findings"]] == ["tag 2", "object 2"]


def test_the_next_finding_is_on_the_next_photo_that_has_one_and_comes_round(page: Page) -> None:
    step = {"dir": 1, "flagged": True, "filter": {}}
    assert page.send("step", photo=1, **step)["full"]["photo"] == 2
    assert page.send("step", photo=2, **step)["full"]["photo"] == 4
    assert page.send("step", photo=4, **step)["full"]["photo"] == 2
    narrow = {**step, "filter": {"status": "todo"}}
    assert "has a finding" in page.send("step", photo=1, **narrow)["error"]["message"]


def test_thresholds_tell_how_few_decisions_there_are(page: Page) -> None:
    answer = page.send("thresholds")
    assert answer["curves"] == [
        {"cls": 1, "source": "classical", "decided": 2, "knots": None},
        {"cls": None, "source": "classical", "decided": 2, "knots": None},
    ]


def test_accepting_above_looks_first_and_one_answer_takes_it_back(page: Page) -> None:
    shown = page.send("preview_above", min_score=0.5, filter={})
    assert (shown["objects"], shown["photos"], shown["expected"]) == (1, 1, None)
    assert [(one["photo"], one["name"]) for one in shown["examples"]] == [(1, "cat")]
    assert page.send("preview_above", min_score=0.5, filter={"status": "done"})["objects"] == 0
    stale = page.send("accept_above", min_score=0.5, filter={}, fingerprint="of others")
    assert "look again" in stale["error"]["message"]
    assert shown["last"] is None
    seen = shown["fingerprint"]
    done = page.send("accept_above", min_score=0.5, filter={}, fingerprint=seen)
    assert (done["objects"], done["photos"]) == (1, 1)
    assert page.send("open", photo=1)["full"]["instances"][0]["status"] == "accepted"
    # The answer may be lost on the way: what was accepted last can be learnt afterwards.
    assert page.send("preview_above", min_score=0.5, filter={})["last"] == done
    assert page.send("thresholds")["last"] == done
    page.send("take_back", batch=done["number"])
    assert page.send("thresholds")["last"] is None
    assert page.send("open", photo=1)["full"]["instances"][0]["status"] == "proposed"
    assert "nothing is left" in page.send("take_back", batch=done["number"])["error"]["message"]


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("open", {"renew": "yes"}),
        ("open", {"filter": {"order": "worst"}}),
        ("confirm", {"photo": 4, "base_rev": 0, "subject": "object 2"}),
        ("preview_above", {"min_score": 2}),
        ("accept_above", {"min_score": 0.5}),
        ("take_back", {}),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    page: Page, op: str, fields: dict[str, Any]
) -> None:
    error = page.send(op, **fields)["error"]
    assert error["code"] == "option"
    assert error["message"]

"""Reading what people did there: many tasks in one request, and what happens between two."""

from __future__ import annotations

import copy
import json

import pytest

from annotator.labelstudio import remote as calls
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.types import Status
from tests.annotator.labelstudio.fake_server import FakeLabelStudio
from tests.annotator.labelstudio.test_pull import on, submitted, take
from tests.annotator.labelstudio.test_push import send


def import_many(remote: Remote, count: int) -> tuple[int, list[int]]:
    """A project with so many annotated tasks: its number, and theirs."""
    project = remote.create_project("many", "<View/>").id
    result = [{"id": "1", "value": {"rle": [1, 2, 3]}}]
    tasks = [
        {"data": {"ext_id": str(number)}, "annotations": [{"result": result, "id": number}]}
        for number in range(count)
    ]
    for task in tasks:
        task["annotations"][0]["was_cancelled"] = False  # type: ignore[index]
    body = json.dumps(tasks).encode()
    return project, remote.import_tasks(project, body, count=count)


def test_a_thousand_tasks_are_read_in_a_dozen_requests(
    remote: Remote, fake: FakeLabelStudio
) -> None:
    project, numbers = import_many(remote, 1000)
    fake.requests.clear()
    found = list(remote.whole_tasks(project, numbers[::-1]))
    assert [one["id"] for one in found] == numbers[::-1]
    assert all(one["annotations"][0]["result"][0]["value"] == {"rle": [1, 2, 3]} for one in found)
    # 20, 40, 80 and then 100 at once; a busy machine may take a few more.
    assert 12 <= len(fake.requests) <= 50, len(fake.requests)


def test_a_slow_server_is_asked_for_less_at_once(
    remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, numbers = import_many(remote, 40)
    monkeypatch.setattr(calls, "QUICK", -1.0)
    monkeypatch.setattr(calls, "SLOW", 0.0)
    fake.requests.clear()
    assert [one["id"] for one in remote.whole_tasks(project, numbers)] == numbers
    assert len(fake.requests) == 7  # 20, 10, 5, 2, 1, 1, 1


def test_only_what_changed_is_read_whole(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    take(filled, remote)
    submitted(fake, "b.png")
    fake.requests.clear()
    report = take(filled, remote)
    assert (report.read, report.accepted) == (1, 1)
    assert fake.requests.count("GET /api/tasks/") == 2  # the list, and the one
    assert not any(one.startswith("GET /api/tasks/") and one[-2].isdigit() for one in fake.requests)


def test_an_edit_between_push_and_first_pull_is_seen(
    filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    task = fake.task_of("a.png")
    fake.edit(task, task["annotations"][0], [])
    report = take(filled, remote)
    assert (report.read, report.rejected) == (2, 1)
    statuses = [one.status for one in on(filled, 1)]
    assert statuses == [Status.REJECTED, Status.PROPOSED]


def test_an_edit_while_the_pull_runs_is_seen_by_the_next(
    filled: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(filled, remote)
    submitted(fake, "b.png")
    original = Remote.whole_tasks

    def edited_at_once(self: Remote, project: int, numbers: list[int]) -> list[dict[str, object]]:
        found = list(original(self, project, numbers))
        task = fake.task_of("b.png")
        regions = copy.deepcopy(task["annotations"][0]["result"])
        for region in regions:
            region["value"][region["type"]] = ["cat"]
        fake.edit(task, task["annotations"][0], regions)
        return found

    monkeypatch.setattr(Remote, "whole_tasks", edited_at_once)
    assert take(filled, remote).accepted == 1
    monkeypatch.undo()
    assert on(filled, 2)[0].category == "dog"
    report = take(filled, remote)
    assert (report.read, report.changed, report.conflicts) == (1, 1, [])
    assert on(filled, 2)[0].category == "cat"


def test_a_task_deleted_while_the_pull_runs_is_left_out(
    filled: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(filled, remote)
    submitted(fake, "b.png")
    original = Remote.whole_tasks

    def deleted_before(self: Remote, project: int, numbers: list[int]) -> object:
        del fake.state.tasks[fake.task_of("a.png")["id"]]
        return original(self, project, numbers)

    monkeypatch.setattr(Remote, "whole_tasks", deleted_before)
    report = take(filled, remote)
    assert (report.accepted, report.problems) == (1, [])


def test_a_server_that_does_not_know_the_question_is_asked_task_by_task(
    filled: Project, remote: Remote, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(filled, remote)
    submitted(fake, "b.png")
    fake.knows_queries = False  # and so gives the first of all tasks
    monkeypatch.setattr(calls, "FIRST_PAGE", 1)
    report = take(filled, remote)
    assert (report.read, report.accepted, report.problems) == (3, 1, [])

"""Runs: what they take on, what they leave alone, and that nothing is done twice."""

from __future__ import annotations

import os
import time

import pytest
from sqlalchemy import update

from annotator import runs, schema
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.errors import JobError, OptionError
from engine.types import Status
from tests.fakes import SquareSegmenter, proposal

PHOTOS = [1, 2, 3, 4]


def begin(project: Project, photos: list[int] = PHOTOS, **options: object) -> int:
    with project.write() as transaction:
        return runs.start(transaction, pipeline="classical", options=options, photos=photos)


def statuses(project: Project, image_id: int) -> list[str]:
    with project.read() as view:
        return [one.status.value for one in view.instances(image_id)]


def look(project: Project, run_id: int) -> runs.Run:
    with project.read() as view:
        return runs.get(view, run_id)


def test_a_photo_is_recorded_once_however_often_it_is_handed_in(project: Project) -> None:
    run_id = begin(project)
    for _ in range(3):
        runs.record_photo(project, run_id, 1, instances=[proposal((1, 1, 9, 9))], seconds=0.5)
    assert statuses(project, 1) == ["proposed"]
    assert look(project, run_id).done == 1
    with project.read() as view:
        assert runs.left(view, run_id) == [2, 3, 4]


def test_a_new_run_replaces_what_is_proposed_and_nothing_else(project: Project) -> None:
    first = begin(project)
    found = [proposal((1, 1, 20, 20)), proposal((40, 40, 60, 60)), proposal((70, 10, 90, 30))]
    runs.record_photo(project, first, 1, instances=found, seconds=0.5)
    assistant = Assistant(SquareSegmenter)
    session = ReviewSession(project, assistant)
    session.set_status(Context(1, "tester"), 1, Status.ACCEPTED)
    session.set_status(Context(1, "tester"), 2, Status.REJECTED)
    second = begin(project, seed=2)
    runs.record_photo(project, second, 1, instances=[proposal((5, 60, 30, 85))], seconds=0.5)
    with project.read() as view:
        kept = {one.id: (one.status.value, one.box) for one in view.instances(1)}
    assert kept == {
        1: ("accepted", (1, 1, 20, 20)),
        2: ("rejected", (40, 40, 60, 60)),
        4: ("proposed", (5, 60, 30, 85)),
    }
    assistant.close()
    project.check_journal()


def test_what_a_person_decided_is_not_asked_again(project: Project) -> None:
    first = begin(project)
    runs.record_photo(project, first, 1, instances=[proposal((10, 10, 50, 50))], seconds=0.5)
    assistant = Assistant(SquareSegmenter)
    ReviewSession(project, assistant).set_status(Context(1, "tester"), 1, Status.REJECTED)
    assistant.close()
    second = begin(project, seed=2)
    # IoU with the rejected box: 40 * 38 / 1600 = 0.95; the other class is another question.
    again = [proposal((10, 12, 50, 50)), proposal((10, 12, 50, 50), category="dog")]
    runs.record_photo(project, second, 1, instances=again, seconds=0.5)
    with project.read() as view:
        assert [(one.status.value, one.category) for one in view.instances(1)] == [
            ("rejected", "cat"),
            ("proposed", "dog"),
        ]
    assert look(project, second).instances == 1


def test_the_source_of_a_proposal_names_its_run(project: Project) -> None:
    run_id = begin(project)
    runs.record_photo(project, run_id, 1, instances=[proposal((1, 1, 9, 9))], seconds=0.5)
    with project.read() as view:
        (one,) = view.instances(1)
    assert (one.source.run, one.source.pipeline) == (run_id, "classical")


def test_a_photo_with_a_problem_is_done_and_told(project: Project) -> None:
    run_id = begin(project)
    runs.record_photo(project, run_id, 2, instances=[], seconds=0.1, problem="it is gone")
    assert look(project, run_id).problems == 1
    with project.read() as view:
        assert runs.problems(view, run_id) == [("b.png", "it is gone")]


def test_new_runs_leave_out_what_the_same_pipeline_has_seen_and_what_is_decided(
    project: Project,
) -> None:
    run_id = begin(project, [1, 2])
    runs.record_photo(project, run_id, 1, instances=[], seconds=0.1)
    runs.record_photo(project, run_id, 2, instances=[proposal((1, 1, 9, 9))], seconds=0.1)

    def chosen(*, options: dict[str, object], again: bool = False) -> list[int]:
        with project.read() as view:
            return runs.select_photos(view, pipeline="classical", options=options, again=again)

    assert chosen(options={}) == [3, 4]
    assert chosen(options={"seed": 2}) == [1, 2, 3, 4]
    assert chosen(options={}, again=True) == [1, 2, 3, 4]
    assistant = Assistant(SquareSegmenter)
    ReviewSession(project, assistant).set_status(Context(2, "tester"), 1, Status.ACCEPTED)
    assistant.close()
    assert chosen(options={}, again=True) == [1, 3, 4]


def test_a_run_without_photos_says_so(project: Project) -> None:
    with pytest.raises(OptionError, match="--again"):
        begin(project, [])


def test_two_workers_cannot_claim_one_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begin(project)
    runs.claim(project, run_id)
    parent = os.getppid()  # alive, and somebody else
    monkeypatch.setattr(os, "getpid", lambda: parent)
    with pytest.raises(JobError, match="already being worked on"):
        runs.claim(project, run_id)


def test_a_run_whose_process_is_gone_is_interrupted_and_can_be_resumed(project: Project) -> None:
    run_id = begin(project)
    runs.claim(project, run_id)
    assert look(project, run_id).status == runs.RUNNING
    pretend(project, run_id, process=2**22 + 1)
    assert look(project, run_id).status == runs.INTERRUPTED
    with project.read() as view:
        found = runs.resumable(view, pipeline="classical", options={})
    assert found is not None
    assert found.id == run_id
    runs.claim(project, run_id)
    assert look(project, run_id).status == runs.RUNNING


def test_a_run_that_has_not_moved_for_long_is_interrupted(project: Project) -> None:
    run_id = begin(project)
    runs.claim(project, run_id)
    pretend(project, run_id, heartbeat_at=time.time() - 10 * runs.STALE_SECONDS)
    assert look(project, run_id).status == runs.INTERRUPTED


def pretend(project: Project, run_id: int, **values: object) -> None:
    with project.write() as transaction:
        transaction.connection.execute(
            update(schema.run).where(schema.run.c.id == run_id).values(**values)
        )


def test_cancelling_asks_a_worker_and_ends_a_run_that_waits(project: Project) -> None:
    waiting = begin(project)
    runs.cancel(project, waiting)
    assert look(project, waiting).status == runs.CANCELLED
    working = begin(project)
    runs.claim(project, working)
    runs.cancel(project, working)
    with project.read() as view:
        assert runs.is_cancelled(view, working)
    assert look(project, working).status == runs.RUNNING  # until the photo at hand is done


def test_a_proposal_of_a_class_that_the_project_has_not_waits_for_a_person_to_name_it(
    project: Project,
) -> None:
    run_id = begin(project)
    found = [proposal((1, 1, 9, 9), category="unicorn"), proposal((20, 20, 40, 40))]
    runs.record_photo(project, run_id, 1, instances=found, seconds=0.5)
    with project.read() as view:
        assert [one.category for one in view.instances(1)] == [None, "cat"]
        assert "unicorn" not in view.category_ids()


def test_an_unknown_run_is_an_error(project: Project) -> None:
    with pytest.raises(JobError, match="no run number 99"):
        look(project, 99)


def test_what_a_person_mended_without_a_class_survives_a_new_run(project: Project) -> None:
    first = begin(project, [3])
    found = [proposal((10, 10, 50, 50), category=None)]
    runs.record_photo(project, first, 3, instances=found, seconds=0.1)
    assistant = Assistant(SquareSegmenter)
    session = ReviewSession(project, assistant)
    session.brush(Context(3, "tester"), 1, mode="add", radius=5, path=[(60, 60)])
    assistant.close()
    second = begin(project, [3], seed=2)
    runs.record_photo(
        project, second, 3, instances=[proposal((90, 60, 110, 80), category=None)], seconds=0.1
    )
    with project.read() as view:
        assert [(one.id, one.status.value, one.edited) for one in view.instances(3)] == [
            (1, "proposed", True),
            (2, "proposed", False),
        ]

"""Findings: what looks wrong, when it is said, and when it is not said again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen

from annotator import qa, runs
from annotator import training_files as files
from annotator.assist import Assistant
from annotator.findings import DISAGREEMENT, DROPPED, TAGS, Finding, object_state
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.errors import FormatError, ReviewError
from engine.types import Box, Instance, Source, Status
from exports.detection_data import DetectionPhoto, write_detection_data
from tests.annotator.command_line import answer
from tests.annotator.labels import label_record
from tests.fakes import SquareSegmenter, proposal

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def session(project: Project) -> Iterator[ReviewSession]:
    assistant = Assistant(SquareSegmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def here(image_id: int) -> Context:
    return Context(image_id, "tester")


def found_by(pipeline: str, box: Box, *, category: str = "cat", score: float = 0.8) -> Instance:
    return replace(proposal(box, category=category, score=score), source=Source(pipeline))


def run_over(
    project: Project, image_id: int, found: Sequence[Instance], *, kind: str = runs.PROPOSE
) -> None:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="any", options={}, photos=[image_id], kind=kind)
    runs.record_photo(project, run_id, image_id, instances=found, seconds=0.1)


def findings(project: Project, kind: str, image_id: int | None = None) -> list[Finding]:
    with project.read() as view:
        return qa.open_findings(view, kinds=[kind], image_id=image_id)


def confirm(project: Project, finding: Finding) -> None:
    with project.write() as transaction:
        qa.confirm(
            transaction,
            finding.image_id,
            subject=finding.subject,
            state=finding.state,
            actor="tester",
        )


# -- taking in a training ------------------------------------------------------------------------


@pytest.fixture
def trained(project: Project, session: ReviewSession) -> Project:
    """A cat on each of the photos 1 to 4; the training dropped that of photo 3, number 3."""
    for image_id in (1, 2, 3, 4):
        run_over(project, image_id, [proposal((10, 10, 40, 40), score=0.9)])
        session.set_status(here(image_id), image_id, Status.ACCEPTED)
    write_training(project, 1, {1: 0.05, 2: 0.0, 3: 0.83, 4: 0.1})
    return project


def write_training(
    project: Project, number: int, dropped: dict[int, float], *, steps: int | None = None
) -> Path:
    """One that has ended, or is at its validation after so many of 100 steps."""
    folder = project.subfolder(files.TRAINING) / f"{number}-fasterrcnn"
    folder.mkdir()
    files.write_note(folder, files.REQUEST, {"what": "detector"})
    with project.read() as view:
        photos = [DetectionPhoto(image, "train", complete=False) for image in view.labeled()]
        categories = list(view.category_names().items())
    write_detection_data(folder / qa.DATA, photos, categories=categories, date_created="2024")
    labels = {str(one): label_record(share, [0.2, 0.2]) for one, share in dropped.items()}
    (folder / qa.RECORDS).write_text(json.dumps({"instances": labels}))
    events: list[dict[str, Any]] = [{"event": "start", "steps": 100}]
    events += [{"event": "validation", "step": steps or 100}]
    events += [{"event": "done", "step": 100}] if steps is None else []
    (folder / files.LOG).write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_what_the_newest_training_dropped_becomes_a_finding(trained: Project) -> None:
    assert qa.take_in_training(trained) == 1
    (one,) = findings(trained, DROPPED)
    assert (one.image_id, one.instance_id, one.made_by) == (3, 3, "training 1-fasterrcnn")
    assert one.reason == "the detector dropped 83 % of the RoIs of this cat"
    write_training(trained, 2, {1: 0.9, 2: 0.0, 3: 0.0, 4: 0.0})
    assert qa.take_in_training(trained) == 2
    assert [one.instance_id for one in findings(trained, DROPPED)] == [1]


def test_a_training_that_has_not_ended_does_not_replace_what_one_that_has_found(
    trained: Project,
) -> None:
    qa.take_in_training(trained)
    write_training(trained, 2, {1: 0.9, 2: 0.0, 3: 0.0, 4: 0.0}, steps=80)
    assert qa.take_in_training(trained) == 1
    assert [one.instance_id for one in findings(trained, DROPPED)] == [3]


def test_while_none_has_ended_the_newest_past_its_warm_up_tells_and_says_so(
    trained: Project,
) -> None:
    log = files.numbered_folders(trained)[1] / files.LOG
    ended = log.read_text()
    log.write_text(ended.replace("done", "stopped"))
    write_training(trained, 2, {1: 0.9, 2: 0.0, 3: 0.0, 4: 0.0}, steps=20)  # drops from step 22 on
    assert qa.take_in_training(trained) == 1
    (one,) = findings(trained, DROPPED)
    assert one.reason == (
        "the detector dropped 83 % of the RoIs of this cat, so far: the training 1-fasterrcnn has "
        "not ended"
    )
    files.write_note(
        files.numbered_folders(trained)[2], files.SETTINGS, {"recipe": {"drop_start": 0.1}}
    )
    assert qa.take_in_training(trained) == 2
    log.write_text(ended)
    assert qa.take_in_training(trained) == 1
    (one,) = findings(trained, DROPPED)
    assert one.reason.endswith("of this cat")


def test_a_training_whose_data_is_tidied_away_leaves_it_to_the_one_before(
    trained: Project,
) -> None:
    folder = write_training(trained, 2, {1: 0.9, 2: 0.0, 3: 0.0, 4: 0.0})
    (folder / qa.DATA).unlink()
    assert qa.take_in_training(trained) == 1
    assert [one.instance_id for one in findings(trained, DROPPED)] == [3]


def test_taking_in_a_training_reads_only_what_it_dropped(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[int] = []

    def counted(row: Mapping[Any, Any]) -> str:
        states.append(row["id"])
        return object_state(row)

    asked: list[str] = []
    monkeypatch.setattr(qa, "object_state", counted)
    with trained.read() as view:
        listen(view.connection.engine, "before_cursor_execute", lambda *one: asked.append(one[2]))
    qa.take_in_training(trained)
    assert states == [3]
    with_masks = [one for one in asked if "instance.counts" in one]
    assert len(with_masks) == 1
    assert "instance.id IN" in with_masks[0]
    assert asked.index(with_masks[0]) < asked.index("BEGIN IMMEDIATE")  # nobody waits meanwhile


def test_what_is_mended_while_a_training_is_taken_in_is_no_finding(
    trained: Project, session: ReviewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mended(*words: Any) -> list[Finding]:
        monkeypatch.undo()
        found = qa._dropped_findings(*words)
        session.set_class(here(3), 3, "dog")
        return found

    monkeypatch.setattr(qa, "_dropped_findings", mended)
    qa.take_in_training(trained)
    assert findings(trained, DROPPED) == []


def test_a_project_without_a_detector_has_nothing_dropped(project: Project) -> None:
    assert qa.take_in_training(project) is None


def test_damaged_files_of_a_training_are_said(trained: Project) -> None:
    folder = files.numbered_folders(trained)[1]
    (folder / qa.RECORDS).write_text("{")
    with pytest.raises(FormatError, match="cannot be read"):
        qa.take_in_training(trained)


def test_a_label_that_was_mended_since_is_no_finding(
    trained: Project, session: ReviewSession
) -> None:
    session.set_box(here(3), 3, (10, 10, 50, 50))
    qa.take_in_training(trained)
    assert findings(trained, DROPPED) == []


def test_mending_closes_a_finding_and_undo_opens_it_again(
    trained: Project, session: ReviewSession
) -> None:
    qa.take_in_training(trained)
    for mend in (
        lambda: session.set_class(here(3), 3, "dog"),
        lambda: session.set_box(here(3), 3, (10, 10, 50, 50)),
        lambda: session.set_status(here(3), 3, Status.REJECTED),
        lambda: session.delete(here(3), 3),
    ):
        mend()
        assert findings(trained, DROPPED) == []
        session.undo(here(3))
        assert len(findings(trained, DROPPED)) == 1


def test_what_was_confirmed_does_not_come_back_for_the_same_state(
    trained: Project, session: ReviewSession
) -> None:
    qa.take_in_training(trained)
    (one,) = findings(trained, DROPPED)
    confirm(trained, one)
    assert findings(trained, DROPPED) == []
    with pytest.raises(ReviewError, match="nothing to confirm"):
        confirm(trained, one)
    write_training(trained, 2, {1: 0.0, 2: 0.0, 3: 0.9, 4: 0.0})
    qa.take_in_training(trained)
    assert findings(trained, DROPPED) == []
    # Another state is another question; undo takes the confirmation back.
    session.set_box(here(3), 3, (10, 10, 50, 50))
    write_training(trained, 3, {1: 0.0, 2: 0.0, 3: 0.9, 4: 0.0})
    qa.take_in_training(trained)
    assert len(findings(trained, DROPPED)) == 1
    session.undo(here(3))
    session.undo(here(3))
    write_training(trained, 4, {1: 0.0, 2: 0.0, 3: 0.9, 4: 0.0})
    qa.take_in_training(trained)
    assert len(findings(trained, DROPPED)) == 1
    session.redo(here(3))
    assert findings(trained, DROPPED) == []
    trained.check_journal()


# -- tags ----------------------------------------------------------------------------------------


def test_a_tag_without_an_object_on_a_reviewed_photo_is_a_finding(
    project: Project, session: ReviewSession
) -> None:
    # Photo 2 is tagged cat and dog; photo 3 has no tags.
    run_over(project, 2, [proposal((10, 10, 40, 40)), proposal((50, 10, 80, 40))])
    session.set_status(here(2), 1, Status.ACCEPTED)
    assert findings(project, TAGS) == []  # something is undecided
    session.set_status(here(2), 2, Status.REJECTED)
    (one,) = findings(project, TAGS)
    assert (one.image_id, one.instance_id) == (2, None)
    assert one.reason.startswith("tagged dog, but")
    assert findings(project, TAGS, image_id=2) == [one]
    assert findings(project, TAGS, image_id=1) == []
    confirm(project, one)
    assert findings(project, TAGS) == []
    session.undo(here(2))
    session.set_class(here(2), 2, "dog")
    assert findings(project, TAGS) == []


def test_an_object_without_its_tag_is_a_finding_until_it_is_confirmed(
    project: Project, session: ReviewSession
) -> None:
    number = session.add_box(here(1), category="cat", box=(10, 10, 40, 40))
    session.add_box(here(3), category="dog", box=(10, 10, 40, 40))  # a photo without any tag
    assert findings(project, TAGS) == []
    session.set_class(here(1), number, "dog")
    reasons = [one.reason for one in findings(project, TAGS)]
    assert len(reasons) == 2
    assert reasons[0].startswith("tagged cat")
    assert reasons[1] == "a dog, but the photo is not tagged so"
    confirm(project, findings(project, TAGS)[1])
    assert [one.reason[:10] for one in findings(project, TAGS)] == ["tagged cat"]
    session.set_box(here(1), number, (10, 10, 60, 40))
    assert len(findings(project, TAGS)) == 2


# -- disagreement --------------------------------------------------------------------------------


def test_a_run_that_replaces_other_proposals_keeps_how_far_they_disagree(
    project: Project, session: ReviewSession
) -> None:
    run_over(project, 1, [found_by("classical", (0, 0, 20, 20))])
    run_over(project, 1, [found_by("pro2sam", (0, 0, 20, 10))])  # IoU 1/2
    (one,) = findings(project, DISAGREEMENT)
    assert one.badness == pytest.approx(0.5)
    assert one.reason == "classical and pro2sam disagree: 1 of 1 boxes meet, IoU 0.50"
    with project.read() as view:
        number = view.instances(1)[0].id
    assert number is not None
    session.set_status(here(1), number, Status.ACCEPTED)
    assert findings(project, DISAGREEMENT) == []  # nothing is left to decide


def test_the_same_pipeline_does_not_disagree_with_itself(project: Project) -> None:
    run_over(project, 1, [found_by("classical", (0, 0, 20, 20))])
    run_over(project, 1, [found_by("classical", (50, 0, 70, 10))])
    assert findings(project, DISAGREEMENT) == []


def test_a_disagreement_ends_with_the_proposals_that_it_is_about(project: Project) -> None:
    run_over(project, 1, [found_by("classical", (0, 0, 20, 20))])
    run_over(project, 1, [found_by("pro2sam", (50, 0, 70, 10))])
    said = findings(project, DISAGREEMENT)
    assert len(said) == 1
    run_over(project, 1, [found_by("pro2sam", (50, 0, 70, 10))])  # nothing new
    assert findings(project, DISAGREEMENT) == said
    run_over(project, 1, [found_by("pro2sam", (0, 0, 20, 20))])  # as the other one said
    assert findings(project, DISAGREEMENT) == []


# -- the command ---------------------------------------------------------------------------------


def test_the_command_line_lists_findings_worst_first(trained: Project, capsys: Captured) -> None:
    code, value = answer(capsys, "check", trained.folder)
    assert (code, value["training"]) == (0, 1)
    kinds = [(one["kind"], one["file_name"]) for one in value["findings"]]
    assert kinds[0] == ("dropped", "c.png")
    assert ("tags", "b.png") in kinds
    _, value = answer(capsys, "check", trained.folder, "--kind", "dropped")
    assert [one["kind"] for one in value["findings"]] == ["dropped"]

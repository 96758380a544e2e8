"""A run over decided photos: what it finds there, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from annotator import runs, suggest
from annotator.assist import Assistant
from annotator.findings import DETECTOR
from annotator.session import ReviewSession
from annotator.store import Project
from annotator.ui import render
from engine.detector_pipeline import DetectorPipeline, DetectorPipelineOptions
from engine.errors import OptionError
from engine.options import from_dict
from engine.types import Box, Image, Status
from tests.annotator.command_line import answer, complaint
from tests.annotator.fake_detectors import add_model
from tests.annotator.test_qa import confirm, findings, found_by, here, run_over
from tests.fakes import SquareSegmenter, proposal

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def session(project: Project) -> Iterator[ReviewSession]:
    assistant = Assistant(SquareSegmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def test_a_check_goes_over_decided_photos_and_leaves_only_findings(
    project: Project, session: ReviewSession
) -> None:
    run_over(project, 1, [proposal((10, 10, 40, 40))])
    run_over(project, 2, [proposal((10, 10, 40, 40))])
    session.set_status(here(1), 1, Status.ACCEPTED)
    with project.read() as view:
        chosen = runs.select_photos(view, pipeline="any", options={}, again=False, kind=runs.CHECK)
        before = view.instances(1)
    assert chosen == [1]
    missing = found_by("detector", (60, 10, 100, 50), score=0.9)
    run_over(project, 1, [found_by("detector", (10, 10, 40, 40)), missing], kind=runs.CHECK)
    with project.read() as view:
        assert view.instances(1) == before
        newest = runs.all_runs(view)[0]
        assert newest.instances == 1
        assert "1 finding " in render.run_progress(newest, photos_left=0)
        chosen = runs.select_photos(view, pipeline="any", options={}, again=False, kind=runs.CHECK)
    assert chosen == []
    with project.write() as transaction, pytest.raises(OptionError, match="nothing to check"):
        runs.start(transaction, pipeline="any", options={}, photos=[], kind=runs.CHECK)
    assert len(findings(project, DETECTOR)) == 1
    # Drawing what was missing closes it; undo opens it; a second look a little beside is confirmed.
    session.add_box(here(1), category="cat", box=(62, 10, 100, 50))
    assert findings(project, DETECTOR) == []
    session.undo(here(1))
    confirm(project, findings(project, DETECTOR)[0])
    moved = found_by("detector", (61, 12, 99, 50), score=0.9)
    run_over(project, 1, [found_by("detector", (10, 10, 40, 40)), moved], kind=runs.CHECK)
    assert findings(project, DETECTOR) == []


class DogDetector:
    """Sees a dog at one place, whatever the photo."""

    name = "dogs"
    card = SimpleNamespace(has_masks=False)

    def detect(self, image: Image) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(box=(10.0, 10.0, 40.0, 40.0), category="dog", score=0.95, mask=None)
        ]


def test_a_check_sees_classes_that_the_photo_is_not_tagged_with(
    project: Project, session: ReviewSession, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def build(name: str, options: Mapping[str, Any]) -> DetectorPipeline:
        chosen = from_dict(DetectorPipelineOptions, options)
        return DetectorPipeline(chosen, detector=DogDetector())  # type: ignore[arg-type]

    monkeypatch.setattr(suggest.pipelines, "build", build)
    add_model(project, "dogs")
    run_over(project, 1, [proposal((10, 10, 40, 40))])  # tagged cat alone
    session.set_status(here(1), 1, Status.ACCEPTED)
    words = ("suggest", project.folder, "--pipeline", "detector:dogs", "--masks", "none", "--check")
    assert "--only-tags would hide from --check" in complaint(capsys, *words, "--only-tags")
    code, value = answer(capsys, *words)
    assert (code, value["done"], value["options"]["only_tags"]) == (0, 1, False)
    (one,) = findings(project, DETECTOR)
    assert one.reason == "detector · dogs takes this cat for a dog (0.95)"


def test_one_of_three_missing_boxes_is_confirmed_for_itself(
    project: Project, session: ReviewSession
) -> None:
    run_over(project, 1, [proposal((10, 10, 40, 40))])
    session.set_status(here(1), 1, Status.ACCEPTED)
    boxes: list[Box] = [
        (60.0, 10.0, 70.0, 20.0),
        (60.0, 40.0, 70.0, 50.0),
        (60.0, 70.0, 70.0, 80.0),
    ]
    seen = [found_by("detector", box, score=0.9) for box in boxes]
    run_over(project, 1, [found_by("detector", (10, 10, 40, 40)), *seen], kind=runs.CHECK)
    first, second, third = findings(project, DETECTOR)
    confirm(project, second)
    assert findings(project, DETECTOR) == [first, third]


def test_undo_takes_back_what_a_second_look_found_confirmed(
    project: Project, session: ReviewSession
) -> None:
    run_over(project, 1, [proposal((10, 10, 40, 40))])
    session.set_status(here(1), 1, Status.ACCEPTED)
    label = found_by("detector", (10, 10, 40, 40))
    run_over(
        project, 1, [label, found_by("detector", (60, 10, 100, 50), score=0.9)], kind=runs.CHECK
    )
    confirm(project, findings(project, DETECTOR)[0])
    beside = found_by("detector", (61, 12, 99, 50), score=0.9)
    run_over(project, 1, [label, beside], kind=runs.CHECK)
    assert findings(project, DETECTOR) == []
    session.undo(here(1))
    assert [one.box for one in findings(project, DETECTOR)] == [(61, 12, 99, 50)]
    session.redo(here(1))
    assert findings(project, DETECTOR) == []
    project.check_journal()

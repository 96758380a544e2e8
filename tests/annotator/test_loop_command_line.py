"""The whole loop on the command line, with a real trainer and a small real detector."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from annotator.assist import Assistant, build_segmenter
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.types import Status
from tests.loops import DRAFTED, REST, WRONG, make_loop_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def annotator(*words: str) -> dict[str, Any]:
    """The answer of a command that must do all it was asked."""
    command = [sys.executable, "-m", "annotator", *words, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    value: dict[str, Any] = json.loads(ran.stdout)
    return value


def review(folder: Path) -> None:
    """As a person does it: the first proposal of each drafted photo is right, a second is not."""
    project = Project.open(folder)
    assistant = Assistant(build_segmenter)
    session = ReviewSession(project, assistant)
    with project.read() as view:
        drafted = [(photo.id, view.instances(photo.id)) for photo in view.photos()[:DRAFTED]]
    for image_id, (right, *wrong) in drafted:
        context = Context(image_id, "tester")
        assert right.id is not None
        session.set_status(context, right.id, Status.ACCEPTED)
        for one in wrong:
            assert one.id is not None
            session.set_status(context, one.id, Status.REJECTED)
    assistant.close()
    project.close()


def test_accepted_objects_train_a_detector_that_proposes_on_the_rest(tmp_path: Path) -> None:
    folder = make_loop_project(tmp_path)
    review(folder)
    place, of_project = str(folder), ["--project", str(folder)]
    timed = annotator("train", "detector", place, "--preset", "tiny", "--estimate")
    assert timed["steps"] > 0
    assert timed["seconds"] > 0
    trained = annotator("train", "detector", place, "--preset", "tiny", "--threads", "1")
    assert trained["status"] == "done"
    name = trained["name"]
    assert trained["judgement"]["candidate"] == name
    assert annotator("models", "judge", name, *of_project)["candidate"] == name
    annotator("models", "promote", name, *of_project)
    ran = annotator("suggest", place, "--pipeline", "detector", "--quiet")
    assert ran["status"] == "done"
    counts = annotator("status", place)["instances"]
    assert (counts["accepted"], counts["rejected"]) == (DRAFTED, len(WRONG))
    assert counts["proposed"] >= REST // 2
    annotator("suggest", place, "--pipeline", "detector", "--check", "--quiet")
    assert isinstance(annotator("check", place)["findings"], list)
    project = Project.open(folder)
    with project.read() as view:
        proposed = [
            one
            for photo in view.photos()
            for one in view.instances(photo.id)
            if one.status is Status.PROPOSED
        ]
    assert {one.source.checkpoint for one in proposed} == {name}
    project.check_journal()
    project.close()

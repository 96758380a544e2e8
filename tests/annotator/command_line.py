"""Typing commands in tests: words in, exit code and answer out; and a decision to have on hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from annotator import runs
from annotator.__main__ import ERROR, main
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.types import Status
from tests.fakes import SquareSegmenter, proposal

Captured = pytest.CaptureFixture[str]


def answer(capsys: Captured, *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and the JSON that the command answers with."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    out = capsys.readouterr().out
    value: dict[str, Any] = json.loads(out, parse_constant=_no_constant) if out else {}
    return code, value


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def complaint(capsys: Captured, *words: object) -> str:
    """What a command that fails says: exactly one line on stderr, nothing on stdout."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("annotator: ")
    return line


def decide(project: Project, image_id: int, *, status: Status | None = Status.ACCEPTED) -> int:
    """One proposal on a photo, as a run makes it, and a decision about it; its id."""
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="other", options={}, photos=[image_id])
    runs.record_photo(project, run_id, image_id, instances=[proposal((1, 1, 40, 30))], seconds=0.1)
    runs.finish(project, run_id, status=runs.DONE)
    with project.read() as view:
        number = view.instances(image_id)[-1].id
    assert number is not None
    if status is not None:
        assistant = Assistant(SquareSegmenter)
        ReviewSession(project, assistant).set_status(Context(image_id, "tester"), number, status)
        assistant.close()
    return number

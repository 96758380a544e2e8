"""Processes that step back for programs that somebody sits in front of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator import processes
from engine.errors import OptionError

pytestmark = pytest.mark.usefixtures("_usual_niceness")
WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture(params=[True, False], ids=["own session", "our session"])
def started(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """A process that does nothing, and whether it leads a session."""
    process = subprocess.Popen(WAITS, stdin=subprocess.PIPE, start_new_session=request.param)
    yield process.pid, request.param
    process.communicate()


@pytest.fixture
def _usual_niceness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(processes.VARIABLE)


def group_of(process: int | str) -> str:
    """What the kernel says of the group that a process shares the machine in."""
    path = Path(f"/proc/{process}/autogroup")
    if not path.exists() or not path.read_text().strip():
        pytest.skip("this kernel does not group processes by session")
    return path.read_text()


def test_who_steps_back_is_nicer(started: tuple[int, bool]) -> None:
    process, _ = started
    processes.step_back(process)
    assert os.getpriority(os.PRIO_PROCESS, process) == processes.NICENESS


def test_only_who_leads_a_session_takes_the_session_along(started: tuple[int, bool]) -> None:
    process, leads = started
    before = group_of("self")
    processes.step_back(process)
    assert group_of("self") == before
    assert group_of(process).endswith(f"nice {processes.NICENESS}\n") is leads


def test_nobody_steps_back_where_the_environment_says_so(
    started: tuple[int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(processes.VARIABLE, "0")
    processes.step_back(started[0])
    assert os.getpriority(os.PRIO_PROCESS, started[0]) == 0


@pytest.mark.parametrize("text", ["-1", "20", "much", ""])
def test_a_niceness_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processes.VARIABLE, text)
    with pytest.raises(OptionError, match=processes.VARIABLE):
        processes.chosen_niceness()


def test_a_process_that_has_ended_has_nothing_to_step_back_from() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    processes.step_back(ended.pid)

"""A push or a pull beside the app: how far it is, its end, its stop, and never a dead bar."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from annotator.labelstudio.exchange import There, fetch, send
from annotator.labelstudio.transfers import BROKE_OFF, Report, Transfer
from annotator.store import Project
from engine.errors import OptionError
from engine.types import CURATED, Status
from exports.choices import Choices
from exports.label_studio import LabelStudioOptions
from tests.annotator.labelstudio.fake_server import LEGACY, FakeLabelStudio

SECONDS = 20.0
ALL = Choices(statuses=CURATED | {Status.PROPOSED})


def sending(project: Project, there: There) -> Callable[..., Report]:
    return lambda on_progress, on_note: send(
        project, there, ALL, LabelStudioOptions(), on_progress=on_progress, on_note=on_note
    )


def test_a_push_and_a_pull_end_with_their_reports(filled: Project, fake: FakeLabelStudio) -> None:
    fake.release = "2.0.0"
    there = There(url=fake.url, token=LEGACY)
    assert LEGACY not in repr(there)
    end = Transfer(sending(filled, there)).wait(SECONDS)
    assert (end.is_running, end.error, end.done, end.total) == (False, "", 4, 4)
    assert end.notes == ("this is Label Studio 2.0.0; tried was 1.23.x only",)
    assert end.report is not None
    assert end.report.is_complete

    def work(on_progress: Any, on_note: Any) -> Report:
        return fetch(filled, there, actor="x", on_progress=on_progress, on_note=on_note)

    assert Transfer(work).wait(SECONDS).report is not None


def test_what_goes_wrong_is_its_end(filled: Project, fake: FakeLabelStudio) -> None:
    refused = Transfer(sending(filled, There(url=fake.url, token="wrong"))).wait(SECONDS)
    assert (refused.is_running, refused.report) == (False, None)
    assert "refused the token" in refused.error
    assert "\n" not in refused.error

    def unready(on_progress: Any, on_note: Any) -> Report:
        raise OptionError("no photos yet")

    assert Transfer(unready).wait(SECONDS).error == "no photos yet"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_the_program_ends_it_as_well() -> None:
    def broken(on_progress: Any, on_note: Any) -> Report:
        raise ZeroDivisionError

    end = Transfer(broken).wait(SECONDS)
    assert (end.is_running, end.error) == (False, BROKE_OFF)


def test_a_stopped_push_goes_on_where_it_stopped(filled: Project, fake: FakeLabelStudio) -> None:
    there = There(url=fake.url, token=LEGACY)
    at_work, go_on = threading.Event(), threading.Event()

    def held_up(on_progress: Any, on_note: Any) -> Report:
        def shown(what: str, done: int, total: int) -> None:
            if what == "sending":
                at_work.set()
                assert go_on.wait(SECONDS)
            on_progress(what, done, total)

        return sending(filled, there)(shown, on_note)

    transfer = Transfer(held_up)
    assert at_work.wait(SECONDS)
    transfer.stop()
    assert (transfer.standing.is_running, transfer.standing.is_stopping) == (True, True)
    go_on.set()
    end = transfer.wait(SECONDS)
    assert (end.is_running, end.report) == (False, None)
    assert end.error.startswith("stopped")
    assert fake.tasks == []
    assert Transfer(sending(filled, there)).wait(SECONDS).error == ""
    assert len(fake.tasks) == 4
    assert len(fake.state.projects) == 1

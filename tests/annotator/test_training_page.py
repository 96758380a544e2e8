"""What the Train page does when its buttons are pressed, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from annotator import holdback, judgements, promotion
from annotator.store import Project
from annotator.training import Trainings
from annotator.ui.training_tab import TrainingTab
from annotator.workspace import Workspace
from tests.annotator.reviewed import reviewed_project
from tests.annotator.trainers import begin_detector, wait_for_end


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace(tmp_path / "state")
    yield found
    found.close()


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Four reviewed photos, and nobody judges."""
    project = reviewed_project(tmp_path, photos=4)
    with project.write() as transaction:
        holdback.set_share(transaction, 0.0)
    yield project
    project.close()


def tab_of(workspace: Workspace) -> TrainingTab:
    async def build() -> TrainingTab:
        # In a running loop, because Gradio would make one and leave it open.
        with gr.Blocks():
            return TrainingTab(workspace, gr.State(None))

    return asyncio.run(build())


def test_a_setting_that_a_stale_page_shows_overwrites_no_other(
    hens: Project, workspace: Workspace
) -> None:
    key, tab = workspace.remember(hens.folder), tab_of(workspace)
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.7)  # in another window; the page shows none
    keep_share, keep_rule = (
        tab._keeping(keep) for keep in (tab.detector.keep_share, tab.detector.keep_rule)
    )
    shown = keep_rule(key, False, 0.8, False)
    assert len(shown) == len(tab.detector.outputs)
    with hens.read() as view:
        assert (holdback.share_of(view), promotion.is_by_hand(view)) == (0.7, True)
    keep_share(key, False, 0.8, 0.3)
    with hens.read() as view:
        assert (holdback.share_of(view), promotion.is_by_hand(view)) == (0.3, True)
    assert tab.detector.share.maximum == holdback.LARGEST_SHARE


@pytest.mark.usefixtures("fake_trainer")
def test_a_button_is_about_the_training_that_its_page_shows_and_not_a_newer_one(
    hens: Project, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgements, "see_to", lambda project, trainings: None)
    key, tab, trainings = workspace.remember(hens.folder), tab_of(workspace), Trainings(hens)
    done: list[tuple[int, str]] = []
    press = tab._acting(lambda project, number, in_use: done.append((number, in_use)))
    press(key, None, {}, tab._tick(key, None, {})[-1])
    assert done == []  # there is no training yet
    wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    on_screen = tab._tick(key, None, {})[-1]
    wait_for_end(trainings, begin_detector(trainings, epochs=1, name="second"))
    promotion.promote(hens, "second", by=promotion.HAND)  # in another window
    after = press(key, None, {}, on_screen)
    assert done == [(1, "")]
    assert after[-1] == (2, "second")  # what the page shows from now on
    press(key, None, {}, after[-1])
    assert done[-1] == (2, "second")
    with pytest.warns(UserWarning, match="not on the list"):
        told = tab._tick("no such project", None, {})
    assert len(told) == len(tab._tick(None, None, {})) == len(after)

"""The Train page in a real browser, about detectors: from what was accepted to the one in use."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from annotator import judgements, judging, models, processes, promotion, trainer, training
from annotator.judging import Figure, Judgement
from annotator.store import Project
from annotator.training import Trainings
from annotator.workspace import Workspace
from tests.annotator.reviewed import reviewed_project
from tests.annotator.trainers import (
    FAKE_DETECTOR_TRAINER,
    hold_at,
    let_go,
    process_of,
    wait_for_end,
)
from tests.browser.conftest import PATIENCE, Server
from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Sixteen reviewed photos of two classes; what still runs after the test is killed."""
    project = reviewed_project(tmp_path, photos=16, classes=("egg", "<b>hen"))
    yield project
    trainings = Trainings(project)
    for one in trainings.all():
        if one.is_active:
            processes.kill_session(*process_of(one.folder))
    project.close()


@pytest.fixture
def served(hens: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = tmp_path / "server-state"
    monkeypatch.setenv(
        trainer.DETECTOR_TRAINER, f"{FAKE_DETECTOR_TRAINER} {shlex.join(hold_at(15))}"
    )
    Workspace(state / "tag2mask").remember(hens.folder)
    running = Server(hens.folder, state)
    running.start()
    yield running
    if running.process is not None:
        running.stop()


def judge_well(project: Project, name: str) -> None:
    """What a judging process would leave, so that no network needs to be loaded for it."""
    good = Figure(0.8, 0.7, 0.9)
    judgements.keep(
        project,
        Judgement(
            candidate=name,
            present="",
            fingerprint=models.fingerprint(models.path_of(project, name)),
            photos=6,
            objects=6,
            left_out=0,
            figures=dict.fromkeys(judging.MEASURES, good),
            present_figures={},
            differences={},
            per_class={},
            present_per_class={},
            is_better=True,
            reason="it finds something",
            seconds=1.0,
        ),
    )


def test_a_detector_is_trained_watched_over_a_killed_server_used_and_taken_back(
    served: Server, context: BrowserContext, hens: Project
) -> None:
    address = f"{served.url}?project={served.key}&tab=train"
    visit = Visit(context, served)
    page = visit.page
    page.goto(address)
    readiness = page.locator("#detector-readiness")
    expect(readiness).to_contain_text("photos to learn from", timeout=PATIENCE)
    expect(readiness).to_contain_text("20% of all photos are held back")
    expect(readiness).to_contain_text("it takes about 10 for a judgement that holds")
    expect(page.locator("#detector-facts")).to_contain_text("from nothing", timeout=PATIENCE)
    page.locator("#detector-epochs").get_by_role("textbox").fill("4")
    page.locator("#detector-epochs").get_by_role("textbox").blur()
    estimate = page.locator("#detector-estimate")
    expect(estimate).to_contain_text("about 12 min: 40 steps", timeout=PATIENCE)
    page.locator("#detector-start").click()
    table = page.locator("#class-table")
    expect(table).to_contain_text("<b>hen", timeout=PATIENCE)  # after the first epoch
    expect(page.locator("#training-curves svg")).to_have_count(3)
    picture = page.locator("#training-detail img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 120
    page.close()
    served.kill()
    trainings = Trainings(hens)
    assert trainings.get(1).status == training.RUNNING  # it outlives page and server
    let_go(trainings, 1)
    assert wait_for_end(trainings, 1).step == 40
    judge_well(hens, "maskrcnn-1")
    served.start()
    again = Visit(context, served)
    page = again.page
    page.goto(address)
    progress = page.locator("#training-progress .t2-run")
    expect(progress).to_have_attribute("data-status", "done", timeout=PATIENCE)
    expect(page.locator("#judgement")).to_contain_text("On 6 photos held back")
    model = page.locator('#models [data-model="maskrcnn-1"]')
    expect(model).not_to_contain_text("In use")
    page.locator("#detector-promote").click()
    expect(model).to_contain_text("In use", timeout=PATIENCE)
    with hens.read() as view:
        assert promotion.current(view) == "maskrcnn-1"
    page.locator("#detector-back").click()
    expect(model).not_to_contain_text("In use", timeout=PATIENCE)
    expect(page.locator("#detector-promote")).to_be_visible()
    page.get_by_text(re.compile("Localizer from tags")).click()
    expect(page.locator("#training-readiness")).to_be_visible()
    expect(page.locator("#detector-readiness")).to_be_hidden()
    again.assert_clean()

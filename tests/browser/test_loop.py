"""The whole loop as a person goes through it, with a real trainer and a small real detector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from annotator.store import Project
from annotator.workspace import Workspace
from engine.types import Status
from tests.browser.conftest import PATIENCE, Server
from tests.browser.screen import Screen
from tests.loops import DRAFTED, REST, WRONG, make_loop_project

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(3600)]

TRAINING = 1_800_000  # milliseconds for some hundred steps on a busy machine


@pytest.fixture
def shapes(tmp_path: Path) -> Iterator[Server]:
    folder = make_loop_project(tmp_path)
    state = tmp_path / "server-state"
    Workspace(state / "tag2mask").remember(folder)
    running = Server(folder, state)
    running.start()
    yield running
    if running.process is not None:
        running.stop()


def statuses(folder: Path) -> dict[str, int]:
    project = Project.open(folder)
    with project.read() as view:
        counts = view.status_counts()
    project.close()
    return {name: count for name, count in counts.items() if count}


def choose(page: Page, part: str, option: str) -> None:
    page.locator(f"{part} input").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def test_what_a_person_accepts_comes_back_as_proposals_on_the_rest(
    shapes: Server, context: BrowserContext
) -> None:
    # Review: every draft is right but one, and each decision is one key.
    screen = Screen(context, f"{shapes.url}?project={shapes.key}&photo=1")
    page = screen.page
    for number in range(1, DRAFTED + 1):
        assert screen.state["photo"] == number
        screen.press("a")
        decided = ["accepted"]
        if number in WRONG:
            screen.press("d")
            decided.append("rejected")
        assert sorted(one["status"] for one in screen.instances) == decided, number
        screen.press("ArrowRight")
    assert statuses(shapes.folder) == {"accepted": DRAFTED, "rejected": len(WRONG)}

    # Train: what there is to learn from, how long it takes, curves while it learns.
    page.goto(f"{shapes.url}?project={shapes.key}&tab=train")
    page.locator("#training-what").get_by_text("Detector from what was accepted").click()
    expect(page.locator("#detector-readiness")).to_contain_text(
        re.compile(r"\d+ objects on \d+ photos to learn from · \d+ photos to judge by"),
        timeout=PATIENCE,
    )
    expect(page.locator("#detector-readiness")).to_contain_text(
        re.compile(r"[1-9] rejected object")  # unless it is held back
    )
    expect(page.locator("#detector-facts")).to_contain_text("epochs", timeout=PATIENCE)
    choose(page, "#detector-preset", "tiny")
    expect(page.locator("#detector-facts")).to_contain_text("photos at 96 px", timeout=PATIENCE)
    expect(page.locator("#detector-estimate")).to_contain_text("Takes about", timeout=PATIENCE)
    page.locator("#detector-start").click()
    state = page.locator("#training-progress .t2-run")
    expect(state).to_have_attribute("data-status", "running", timeout=PATIENCE)
    curves = page.locator("#training-curves")
    expect(curves.locator("svg").first).to_be_visible(timeout=PATIENCE)
    expect(curves).to_contain_text("classifier")
    expect(state).to_have_attribute("data-status", "done", timeout=TRAINING)

    # Judge and promote: by hand, as the project wants it.
    judgement = page.locator("#judgement")
    expect(judgement).to_contain_text("AP50", timeout=PATIENCE)
    expect(page.locator("#models")).to_contain_text("maskrcnn-1")
    page.locator("#detector-promote").click()
    expect(judgement).to_contain_text("now in use")
    expect(page.locator("#detector-back")).to_be_visible()

    # Propose with it on the rest, and review again.
    page.goto(f"{shapes.url}?project={shapes.key}&tab=projects")
    choose(page, "#pipeline", "detector")
    page.locator("#start-run").click()
    run = page.locator("#run-progress .t2-run")
    expect(run).to_have_attribute("data-status", "done", timeout=PATIENCE)
    before = statuses(shapes.folder)
    assert (before["accepted"], before["rejected"]) == (DRAFTED, len(WRONG))
    assert before["proposed"] >= REST // 2  # it has learned where squares and discs are
    with_one = photo_with_a_proposal(shapes.folder)
    again = Screen(context, f"{shapes.url}?project={shapes.key}&photo={with_one}")
    assert "detector" in again.instances[0]["source"]
    again.press("a")
    assert statuses(shapes.folder)["accepted"] == DRAFTED + 1
    assert screen.errors == again.errors == []


def photo_with_a_proposal(folder: Path) -> int:
    project = Project.open(folder)
    with project.read() as view:
        found = [
            photo.id
            for photo in view.photos()
            if any(one.status is Status.PROPOSED for one in view.instances(photo.id))
        ]
    project.close()
    return found[0]

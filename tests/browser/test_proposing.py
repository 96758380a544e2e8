"""The projects page in a real browser: proposals that come in, pipelines and their options."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import func, select

from annotator import runs, schema
from annotator.store import Project
from annotator.workspace import key_of
from tests import photo_gates
from tests.browser.conftest import BIRDS, PATIENCE, Server
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

# -- proposals -----------------------------------------------------------------------------------


def bird(tmp_path: Path, place: int) -> Path:
    """The photo that is worked on as the so-manyth one, counted from 0."""
    return tmp_path / "b" / f"{place:02}.png"


def wait_until_stopping(folder: Path) -> None:
    """Until the worker will find, after the photo at hand, that it was stopped."""
    project = Project.open(folder)
    deadline = time.monotonic() + PATIENCE / 1000
    try:
        while True:
            with project.read() as view:
                row = view.connection.execute(select(schema.run)).one()
            if row.cancel or row.status == runs.CANCELLED:
                return
            assert time.monotonic() < deadline, "nobody wrote down that it was stopped"
            time.sleep(0.05)
    finally:
        project.close()


def test_proposing_shows_its_progress_stops_goes_on_and_survives_a_reload(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    first, second, third = (bird(tmp_path, place) for place in (4, 9, 14))
    photo_gates.shut([first, second, third])
    visit = Visit(context, pages)
    page = visit.go(f"?project={pages.key}&tab=projects")
    run, start = page.locator("#run-progress .t2-run"), page.locator("#start-run")
    stop = page.locator("#stop-run")
    expect(stop).to_be_disabled()
    start.click()
    expect(run).to_have_attribute("data-status", re.compile("waiting|running"))
    expect(start).to_be_disabled()
    expect(run).to_contain_text(f"4 of {BIRDS} photos", timeout=PATIENCE)
    page.reload()
    expect(run).to_have_attribute("data-status", "running")
    assert done(page) == 4
    photo_gates.let_in([first])
    expect(run).to_contain_text(f"9 of {BIRDS} photos", timeout=PATIENCE)
    stop.click()
    wait_until_stopping(pages.folder)
    photo_gates.let_in([second])
    expect(run).to_have_attribute("data-status", "cancelled", timeout=PATIENCE)
    expect(run).to_contain_text("Stopped")
    assert done(page) == 10
    expect(start).to_have_text("Resume")
    start.click()
    # Not "Stopped" any more, although the worker takes a while to come.
    expect(run).to_have_attribute("data-status", re.compile("waiting|running"))
    photo_gates.let_in([third])
    expect(run).to_have_attribute("data-status", "done", timeout=PATIENCE)
    assert done(page) == BIRDS
    expect(start).to_have_text(re.compile("Propose"))
    assert_each_photo_was_done_once(pages.folder)
    visit.assert_clean()


DONE = "Number(document.querySelector('#run-progress p').textContent.split(' ')[0])"


def done(page: Page) -> int:
    """How many photos are done, as the page says."""
    return int(page.evaluate(DONE))


def assert_each_photo_was_done_once(folder: Path) -> None:
    project = Project.open(folder)
    table = schema.run_photo
    with project.read() as view:
        query = select(func.count(), func.count(table.c.image_id.distinct()))
        assert tuple(view.connection.execute(query).one()) == (BIRDS, BIRDS)
        assert len(list(view.connection.execute(select(schema.run)))) == 1
        assert all(view.instances(photo.id) for photo in view.photos())
    project.check_journal()
    project.close()


def test_stopping_before_the_worker_has_come_holds(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    photo_gates.shut([bird(tmp_path, 0)])  # where the worker is quicker than the second click
    visit = Visit(context, pages)
    page = visit.go(f"?project={pages.key}&tab=projects")
    run = page.locator("#run-progress .t2-run")
    page.locator("#start-run").click()
    page.locator("#stop-run").click()
    wait_until_stopping(pages.folder)
    photo_gates.let_in([bird(tmp_path, 0)])
    expect(run).to_have_attribute("data-status", "cancelled", timeout=PATIENCE)
    log = pages.folder / ".cache" / "run-1.log"
    deadline = time.monotonic() + PATIENCE / 1000
    while not log.read_text():  # the worker says that it was not wanted, or what it did
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    assert done(page) < BIRDS
    visit.go(f"?project={pages.key}&tab=projects")
    expect(run).to_have_attribute("data-status", "cancelled")
    visit.assert_clean()


# -- pipelines and their options -----------------------------------------------------------------


def choose_pro2sam(page: Page) -> None:
    page.locator("#pipeline input").click()
    page.get_by_role("option", name="pro2sam").click()
    page.locator("#pipeline-options > button").click()
    expect(page.locator("#option-pro2sam-mode")).to_be_visible()
    expect(page.locator("#option-classical-working-side")).not_to_be_visible()


def pick(page: Page, option: str, value: str) -> None:
    page.locator(f"#option-pro2sam-{option} input").click()
    page.get_by_role("option", name=value, exact=True).click()


@pytest.mark.slow
def test_a_pipeline_is_chosen_with_its_options_and_a_reload_shows_them(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    key = key_of(tmp_path / "cats")
    visit = Visit(context, pages)
    page = visit.go(f"?project={key}&tab=projects")
    choose_pro2sam(page)
    pick(page, "localizer", "saliency")
    pick(page, "segmenter", "classical")
    pick(page, "rule", "iou")
    page.locator("#option-pro2sam-tau-b input").fill("0.25")
    page.locator("#start-run").click()
    run = page.locator("#run-progress .t2-run")
    expect(run).to_have_attribute("data-status", "done", timeout=PATIENCE)
    expect(run).to_contain_text("pipeline pro2sam")
    project = Project.open(tmp_path / "cats")
    with project.read() as view:
        (row,) = view.connection.execute(select(schema.run)).all()
        source = view.instances(1)[0].source
    project.close()
    used = {name: row.options[name] for name in ("localizer", "segmenter", "rule", "tau_b")}
    assert (row.pipeline, source.pipeline) == ("pro2sam", "pro2sam")
    assert used == {"localizer": "saliency", "segmenter": "classical", "rule": "iou", "tau_b": 0.25}
    page.reload()
    expect(page.locator("#pipeline input")).to_have_value("pro2sam")
    page.locator("#pipeline-options > button").click()
    expect(page.locator("#option-pro2sam-rule input")).to_have_value("iou")
    expect(page.locator("#option-pro2sam-tau-b input")).to_have_value("0.25")
    visit.assert_clean()


def test_an_option_out_of_its_range_is_told_and_starts_nothing(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    visit = Visit(context, pages)
    page = visit.go(f"?project={key_of(tmp_path / 'cats')}&tab=projects")
    choose_pro2sam(page)
    page.locator("#option-pro2sam-tau-b input").fill("7")
    page.locator("#start-run").click()
    expect(page.get_by_text("tau_b must lie in [0, 1), got 7")).to_be_visible()
    expect(page.locator("#run-progress")).to_contain_text("Nothing proposed yet")
    visit.assert_clean()

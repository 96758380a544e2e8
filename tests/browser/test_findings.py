"""Findings, orders and accepting above a score, in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, expect

from annotator import qa, runs
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.types import Source, Status
from tests.browser.conftest import Server
from tests.browser.screen import Screen
from tests.fakes import SquareSegmenter, proposal

pytestmark = pytest.mark.browser


def plant(project: Project) -> tuple[int, int]:
    """Two wrong labels on a reviewed photo: one takes a camera for a person, one is missing."""
    with project.read() as view:
        photo = next(one for one in view.photos() if one.file_name == "camera.png")
        proposed = view.instances(photo.id)
    assistant = Assistant(SquareSegmenter)
    session = ReviewSession(project, assistant)
    for one in proposed:
        assert one.id is not None
        session.set_status(Context(photo.id, "tester"), one.id, Status.ACCEPTED)
    assistant.close()
    found = [replace(one, source=Source("detector"), score=0.9) for one in proposed]
    wrong = replace(found[0], category="coin")
    missing = replace(
        proposal((300, 20, 400, 120), category="camera", score=0.8), source=wrong.source
    )
    with project.write() as transaction:
        run_id = runs.start(
            transaction, pipeline="detector", options={}, photos=[photo.id], kind=runs.CHECK
        )
    found = [wrong, *found[1:], missing]
    runs.record_photo(project, run_id, photo.id, instances=found, seconds=0.1)
    assert proposed[0].id is not None
    return photo.id, proposed[0].id


def test_suspicious_labels_are_confirmed_or_mended_by_key_and_the_rest_accepted_at_once(
    server: Server, context: BrowserContext
) -> None:
    project = Project.open(server.folder)
    photo, wrong = plant(project)
    screen = Screen(context, f"{server.url}?project={server.key}")
    page = screen.page

    # The order is chosen from the list: the photo with the worst finding comes first.
    assert screen.state["photo"] != photo
    page.get_by_label("Order of photos").select_option("suspicious")
    screen.wait()
    assert (screen.state["photo"], screen.state["selected"]) == (photo, wrong)
    assert "order=suspicious" in page.url
    reasons = page.locator(".t2m-finding-reason")
    expect(reasons.first).to_contain_text("for a coin (0.90)")
    expect(page.locator(f'.t2m-instance[data-id="{wrong}"]')).to_have_attribute(
        "data-flagged", "true"
    )

    # K confirms what is marked, undo takes that back, a reload keeps it.
    screen.press("k")
    expect(reasons).to_have_count(1)
    screen.press("Control+z")
    expect(reasons).to_have_count(2)
    screen.press("k")
    screen.reload()
    assert [one["cls"] is not None for one in screen.state["findings"]] == [True]

    # What may be missing is added with the box that was seen; then nothing is left here.
    page.get_by_label("Add it with this box").click()
    screen.wait()
    assert [one["status"] for one in screen.instances].count("drawn") == 1
    expect(page.locator('[data-part="findings-block"]')).to_be_hidden()
    screen.press("s")
    expect(page.locator('[data-part="notice"]')).to_contain_text("has a finding")

    # Doubtful proposals say why they come; all above a score are accepted with one undo.
    screen.press("o")
    page.get_by_label("Order of photos").select_option("uncertainty")
    screen.wait()
    expect(page.locator('[data-part="why"]')).to_contain_text("most doubtful")
    with project.read() as view:
        before = view.status_counts()
        undecided = [one for photo in view.photos() for one in view.instances(photo.id)]
    ready = [one for one in undecided if one.status is Status.PROPOSED and one.category]
    page.get_by_role("button", name="Accept all above").click()
    page.locator('[data-part="above-score"]').fill("0")
    expect(page.locator('[data-part="above-text"]')).to_contain_text("objects on")
    button = page.locator('[data-part="above-accept"]')
    expect(button).to_contain_text(f"Accept {len(ready)} objects")
    button.click()
    notice = page.locator('[data-part="notice"]')
    expect(notice).to_contain_text(f"Accepted {len(ready)} objects")
    screen.wait()
    with project.read() as view:
        # What has no class is not accepted.
        assert view.status_counts()["proposed"] == before["proposed"] - len(ready)
    notice.get_by_role("button", name="Undo all of it").click()
    expect(notice).to_contain_text("undecided again")
    screen.wait()
    with project.read() as view:
        assert view.status_counts() == before
        assert qa.open_findings(view, image_id=photo) == []
    project.check_journal()
    project.close()
    assert screen.errors == []


def test_a_wrong_tag_is_taken_away_beside_its_class(
    server: Server, context: BrowserContext
) -> None:
    project = Project.open(server.folder)
    with project.read() as view:
        photo = next(one for one in view.photos() if one.file_name == "camera.png")
        (tag, *_) = [view.category_ids()[name] for name in view.tags(photo.id)]
    screen = Screen(context, f"{server.url}?project={server.key}&photo={photo.id}")
    page = screen.page
    for _ in screen.instances:
        screen.press("d")
    reasons = page.locator(".t2m-finding-reason")
    expect(reasons.first).to_contain_text("but everything is decided and there is none")
    count = reasons.count()
    toggle = page.locator(f'[data-action="toggle-tag"][data-id="{tag}"]')
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    screen.wait()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    expect(reasons).to_have_count(count - 1)
    with project.read() as view:
        assert tag not in [view.category_ids()[name] for name in view.tags(photo.id)]
    screen.press("Control+z")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(reasons).to_have_count(count)
    project.check_journal()
    project.close()
    assert screen.errors == []


def test_the_class_of_the_selected_object_is_in_sight(
    server: Server, context: BrowserContext
) -> None:
    project = Project.open(server.folder)
    with project.read() as view:
        last = next(one.id for one in view.photos() if one.file_name == "rocket.jpg")
    project.close()
    screen = Screen(context, f"{server.url}?project={server.key}&photo={last}")
    below = screen.page.evaluate(
        """() => {
          const list = document.querySelector('.t2m-root [data-part="classes"]');
          const row = list.querySelector('[aria-pressed="true"][data-action="class"]');
          const [shown, place] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
          return [row.textContent, list.scrollHeight > list.clientHeight,
            place.top >= shown.top && place.bottom <= shown.bottom + 1];
        }"""
    )
    assert below == ["8rocket1", True, True]

"""The form for a Label Studio server in a real browser, against a fake: there, stopped, back."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from annotator.intake import add_photos
from annotator.store import Project
from engine.types import Status
from exports.label_studio_rle import encode_brush
from tests.annotator.labelstudio.conftest import (
    MASK,
    OTHER,
    proposed,
    replace_instance,
    store,
)
from tests.annotator.labelstudio.fake_server import LEGACY, FakeLabelStudio
from tests.browser.conftest import Server
from tests.conftest import save_scene

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.own_server]

PHOTOS = 3


@pytest.fixture
def server(app: Server, tmp_path: Path) -> Server:
    """Three photos with a proposal each, and the app on them."""
    for number in range(PHOTOS):
        save_scene(tmp_path / "photos" / f"{number}.png", seed=number)
    project = Project.create(tmp_path / "birds")
    add_photos(project, tmp_path / "photos", actor="tester")
    with project.write() as transaction:
        for name in ("cat", "dog"):
            transaction.add_category(name, actor="tester")
    for photo in range(1, PHOTOS + 1):
        store(project, photo, proposed(MASK, category="dog"))
    project.close()
    return app.showing(tmp_path / "birds")


def test_a_project_goes_there_and_comes_back(
    server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}?project={server.key}&tab=export")
    notice, result = page.locator("#ls-result .t2-notice"), page.locator("#ls-result .t2-export")
    send, stop = page.locator("#ls-send"), page.locator("#ls-stop")
    token = page.locator("#ls-token input")
    with FakeLabelStudio() as fake:
        send.click()
        expect(notice).to_contain_text("Give the address")
        page.locator("#ls-url").get_by_role("textbox").fill(fake.url)
        expect(token).to_have_attribute("type", "password")
        token.fill("wrong")
        send.click()
        expect(notice).to_contain_text("refused the token")

        # A server that hesitates: stopped before anything is there, and begun anew.
        token.fill(LEGACY)
        fake.fail("GET", "/api/version", "hold")
        send.click()
        expect(page.locator("#ls-result [role=progressbar]")).to_be_visible()
        stop.click()
        expect(stop).to_be_disabled()
        fake.released.set()
        expect(notice).to_contain_text("stopped")
        expect(stop).to_be_hidden()
        assert fake.tasks == []
        send.click()
        expect(result).to_contain_text("3 photos sent")
        assert len(fake.tasks) == PHOTOS

        # Changed here and changed there; the rule says whose counts.
        project = Project.open(server.folder)
        with project.read() as view:
            (ours,) = view.instances(1)
        replace_instance(project, 1, replace(ours, category="cat", status=Status.EDITED))
        task = fake.task_of("0.png")
        prediction = task["predictions"][0]
        painted = copy.deepcopy(prediction["result"])
        for region in painted:
            if "rle" in region["value"]:
                region["value"]["rle"] = encode_brush(OTHER)
        fake.submit(task, painted, parent_prediction=prediction["id"])
        page.locator("#ls-fetch").click()
        expect(result).to_contain_text("conflict: 0.png: object")
        with project.read() as view:
            assert view.instances(1)[0].category == "cat"
        project.close()

        # A reload shows what was done last; the token is gone.
        page.reload()
        expect(result).to_contain_text("conflict: 0.png: object")
        expect(token).to_have_value("")
    for folder in (server.folder, server.state):
        for file in folder.rglob("*"):
            assert not file.is_file() or LEGACY.encode() not in file.read_bytes(), file
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280
    assert errors == []

"""A person reviews the sample in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect
from pycocotools.coco import COCO

from annotator import runs
from annotator.store import Project
from engine.geometry import rle_to_mask
from engine.types import Mask, Rle
from tests.browser.conftest import Server
from tests.browser.screen import ROOT, Screen
from tests.fakes import proposal

pytestmark = pytest.mark.browser


@pytest.fixture
def screen(server: Server, context: BrowserContext) -> Screen:
    """The sample's photo of the cat, with one proposal at least."""
    project = Project.open(server.folder)
    with project.read() as view:
        cat = next(photo.id for photo in view.photos() if photo.file_name == "chelsea.png")
    project.close()
    return Screen(context, f"{server.url}?project={server.key}&photo={cat}")


def comparable(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(instances, key=lambda one: one["id"])


def test_the_whole_of_a_review(screen: Screen, server: Server, tmp_path: Path) -> None:
    first = screen.instances[0]
    x1, y1 = first["box"][2:]
    screen.page.keyboard.press("v")

    # Drag the lower right corner outwards or inwards, whatever the photo has room for.
    screen.choose(first["id"])
    screen.drag((x1, y1), (x1 - 20, y1 - 12))
    moved = screen.instance(first["id"])
    assert moved["box"][2:] == pytest.approx([x1 - 20, y1 - 12], abs=1.0)
    assert moved["status"] == "edited"

    # Two clicks refine: left on what the mask lacks, right on what it has too much.
    screen.press("p")
    mask = rle_to_mask(Rle.from_dict(moved["rle"]))
    lacking, surplus = pixel_beside(mask), pixel_inside(mask)
    screen.click(*lacking)
    screen.click(*surplus, button="right")
    refined = screen.instance(first["id"])
    assert [label for _, _, label in refined["points"]] == [1, 0]
    now = rle_to_mask(Rle.from_dict(refined["rle"]))
    assert now[int(lacking[1]), int(lacking[0])]
    assert not now[int(surplus[1]), int(surplus[0])]

    # A new box gets a mask.
    screen.press("Escape")
    screen.press("b")
    screen.drag((40, 40), (140, 130))
    (drawn,) = [one for one in screen.instances if one["status"] == "drawn"]
    assert drawn["box"] == pytest.approx([40, 40, 140, 130], abs=1.0)
    assert drawn["rle"] is not None

    # The brush paints onto it, the eraser takes away, then it is rejected.
    screen.press("r")
    screen.drag((90, 80), (160, 120))
    brushed = screen.instance(drawn["id"])
    assert brushed["rle"] != drawn["rle"]
    screen.press("e")
    screen.drag((95, 85), (120, 100))
    assert screen.instance(drawn["id"])["rle"] != brushed["rle"]
    screen.press("v")
    screen.choose(drawn["id"])
    screen.press("d")
    project = Project.open(server.folder)
    cat = screen.state["photo"]
    with project.read() as view:
        assert {one.id: one.status.value for one in view.instances(cat)} == {
            **{one["id"]: one["status"] for one in screen.instances},
            drawn["id"]: "rejected",
        }
        end = view.instances(cat)

    # Undo everything, redo everything, reload: the same state each way.
    while screen.state["canUndo"]:
        screen.press("Control+z")
    with project.read() as view:
        assert [one.status.value for one in view.instances(cat)] == ["proposed"] * len(
            view.instances(cat)
        )
    while screen.state["canRedo"]:
        screen.press("Control+Shift+z")
    with project.read() as view:
        assert view.instances(cat) == end
    before = comparable(screen.instances)
    screen.reload()
    assert screen.state["photo"] == cat
    kept = {one["id"]: one for one in comparable(screen.instances)}
    assert all(kept.get(one["id"], one) == one for one in before)

    # Accept one proposal of another photo by the button, reject one by the key.
    accepted = accept_and_reject_elsewhere(screen)
    screen.page.get_by_role("tab", name="Export").click()
    screen.page.locator("#export-write").click()
    result = screen.page.locator("#export-result .t2-export")
    expect(result).to_have_attribute("data-ok", "true")
    with screen.page.expect_download() as download:
        result.get_by_role("link", name="Download").click()
    written = tmp_path / "out.json"
    shutil.copy(download.value.path(), written)
    coco = COCO(written)
    assert set(coco.anns) == {first["id"], *accepted}
    project.check_journal()
    project.close()
    assert screen.errors == []
    outside = {urlsplit(url).hostname for url in screen.requests if url.startswith("http")}
    assert outside == {"127.0.0.1"}


def pixel_inside(mask: Mask) -> tuple[float, float]:
    """The middle of the pixel of the mask that lies deepest in it."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(column) - 0.5, float(row) - 0.5


def pixel_beside(mask: Mask) -> tuple[float, float]:
    """The middle of a pixel a little outside of the mask."""
    far = cv2.dilate(mask.astype(np.uint8), np.ones((31, 31), np.uint8)).astype(bool)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    rows, columns = np.nonzero(far & ~near)
    middle = len(rows) // 2
    return float(columns[middle]) + 0.5, float(rows[middle]) + 0.5


def accept_and_reject_elsewhere(screen: Screen) -> set[int]:
    """Accept the first proposal of the next photos by button, reject one by key; the accepted."""
    accepted: set[int] = set()
    rejected = 0
    while rejected == 0:
        screen.press("ArrowRight")
        proposed = [one for one in screen.instances if one["status"] == "proposed"]
        if not proposed:
            continue
        screen.choose(proposed[0]["id"])
        if not accepted:
            screen.page.locator('[data-action="accept"]').click()
            screen.wait()
            accepted.add(proposed[0]["id"])
        else:
            screen.press("d")
            rejected += 1
    return accepted


def test_two_tabs_do_not_overwrite_each_other(screen: Screen, context: BrowserContext) -> None:
    other = Screen(context, screen.page.url)
    seen = other.state["rev"]
    number = screen.instances[0]["id"]
    screen.page.bring_to_front()
    screen.choose(number)
    screen.press("a")
    other.page.bring_to_front()
    other.choose(number)
    assert other.state["rev"] == seen
    other.press("d")
    expect(other.page.locator('[data-part="notice"]')).to_contain_text("changed elsewhere")
    assert other.instance(number)["status"] == "accepted"
    other.press("d")
    screen.page.bring_to_front()
    screen.press("Control+z")
    expect(screen.page.locator('[data-part="notice"]')).to_contain_text("changed elsewhere")


def test_keys_typed_into_a_field_do_nothing_to_the_photo(screen: Screen) -> None:
    revision = screen.state["rev"]
    field = screen.page.get_by_placeholder("Find or add a class")
    field.fill("")
    field.press_sequentially("aaddd123")
    screen.wait()
    assert screen.state["rev"] == revision


def test_keys_work_at_once_for_who_came_by_the_tab(screen: Screen) -> None:
    screen.page.get_by_role("tab", name="Export").click()
    screen.page.get_by_role("tab", name="Review").click()
    masks = screen.page.locator('[data-action="masks"]')
    expect(masks).to_have_attribute("aria-pressed", "true")
    screen.page.keyboard.press("m")
    expect(masks).to_have_attribute("aria-pressed", "false")


def test_who_comes_back_by_the_tab_sees_what_was_proposed_meanwhile(
    screen: Screen, server: Server
) -> None:
    photo = screen.state["photo"]
    screen.press("Escape")
    screen.page.get_by_role("tab", name="Export").click()
    expect(screen.page.locator(ROOT)).not_to_be_visible()
    project = Project.open(server.folder)
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[photo])
    found = [proposal((10, 10, 50, 50)), proposal((60, 20, 90, 60))]
    runs.record_photo(project, run_id, photo, instances=found, seconds=0.1)
    project.close()
    screen.page.get_by_role("tab", name="Review").click()
    expect(screen.page.locator(f"{ROOT} .t2m-instance")).to_have_count(2)
    screen.wait()
    assert [one["box"] for one in screen.instances] == [[10, 10, 50, 50], [60, 20, 90, 60]]
    # Nothing was selected, and a look at the photo selects nothing for the next key to act on.
    assert screen.state["selected"] is None


def test_a_page_that_is_loaded_opens_its_photo_once(screen: Screen) -> None:
    asked: list[str] = []
    screen.page.on(
        "request",
        lambda request: (
            asked.append(str(json.loads(request.post_data or "{}")["data"]["op"]))
            if "component_server" in request.url
            else None
        ),
    )
    screen.reload()
    # The page's own events come one after the other; the last ones after this button's.
    screen.page.get_by_role("tab", name="Export").click()
    screen.page.locator("#export-write").click()
    expect(screen.page.locator("#export-result .t2-export")).to_be_visible()
    assert asked.count("open") == 1


def test_a_class_that_is_new_can_be_added_and_used(screen: Screen, server: Server) -> None:
    number = screen.instances[0]["id"]
    before = screen.instance(number)["cls"]
    screen.choose(number)
    # The second lies inside the first, and is another class all the same.
    for name in ("tabby, 虎斑", "tabby"):
        field = screen.page.get_by_placeholder("Find or add a class")
        field.fill(name)
        field.press("Enter")
        screen.wait()
    project = Project.open(server.folder)
    with project.read() as view:
        assert {"tabby, 虎斑", "tabby"} <= set(view.category_ids())
    project.close()
    assert screen.instance(number)["cls"] != before


def test_a_photo_is_gone_to_by_name_by_place_and_where_something_is_left(screen: Screen) -> None:
    position = screen.page.locator('[data-part="position"]')
    field = screen.page.locator('[data-part="place"]')
    cat = screen.state["photo"]
    screen.page.keyboard.press("/")
    expect(field).to_be_focused()
    field.press_sequentially("CAMERA")
    screen.page.keyboard.press("Enter")
    expect(screen.page.locator('[data-part="name"]')).to_have_text("camera.png")
    expect(field).to_be_hidden()
    screen.wait()
    position.click()
    field.press_sequentially("1")
    screen.page.keyboard.press("Enter")
    expect(position).to_contain_text("1 /")
    screen.wait()
    screen.page.keyboard.press("/")
    field.press_sequentially("zebra")
    screen.page.keyboard.press("Enter")
    notice = screen.page.locator('[data-part="notice"]')
    expect(notice).to_contain_text("No photo of this list has the place or the name 'zebra'")
    screen.page.keyboard.press("/")
    screen.page.keyboard.press("Escape")
    expect(position).to_contain_text("1 /")
    seen = set()
    while cat not in seen:
        screen.press("u")
        assert any(one["status"] == "proposed" for one in screen.instances)
        assert screen.state["photo"] not in seen
        seen.add(screen.state["photo"])
    assert screen.errors == []


def test_boxes_are_exact_when_zoomed_in(screen: Screen) -> None:
    number = screen.instances[0]["id"]
    middle = screen.point(200, 150)
    screen.page.mouse.move(*middle)
    for _ in range(4):
        screen.page.mouse.wheel(0, -240)
    screen.wait()
    screen.press("b")
    screen.drag((190, 140), (215, 160))
    (drawn,) = [one for one in screen.instances if one["status"] == "drawn"]
    assert drawn["box"] == pytest.approx([190, 140, 215, 160], abs=0.6)
    assert drawn["id"] != number


def test_the_help_sheet_lists_the_keys(screen: Screen) -> None:
    screen.page.keyboard.press("?")
    sheet = screen.page.get_by_role("dialog")
    expect(sheet).to_be_visible()
    for word in ("Accept", "Reject", "Undo", "Brush", "Next photo"):
        expect(sheet).to_contain_text(re.compile(word, re.IGNORECASE))
    screen.page.keyboard.press("Escape")
    expect(sheet).not_to_be_visible()


@pytest.mark.own_server
def test_a_server_that_went_away_is_said_and_the_edit_is_saved_when_it_is_back(
    screen: Screen, server: Server
) -> None:
    number = screen.instances[0]["id"]
    screen.choose(number)
    server.kill()
    screen.page.keyboard.press("a")
    expect(screen.page.locator(".t2m-root")).to_contain_text(re.compile("not saved", re.IGNORECASE))
    server.start()
    # Not a click: it tries again by itself as well, and the button is gone once that has worked.
    screen.page.locator('[data-action="retry"]').first.dispatch_event("click")
    screen.wait()
    project = Project.open(server.folder)
    with project.read() as view:
        (status,) = [
            one.status.value for one in view.instances(screen.state["photo"]) if one.id == number
        ]
    project.close()
    assert status == "accepted"


@pytest.mark.own_server
def test_a_page_that_is_loaded_again_before_the_server_is_back_saves_what_it_could_not(
    screen: Screen, server: Server
) -> None:
    number, photo = screen.instances[0]["id"], screen.state["photo"]
    screen.choose(number)
    server.kill()
    screen.page.keyboard.press("a")
    screen.page.keyboard.press("2")
    expect(screen.page.locator(".t2m-root")).to_contain_text(re.compile("not saved", re.IGNORECASE))
    assert screen.state["pending"] == 2
    server.start()
    # Gradio does this by itself where something of it was under way.
    screen.page.on("dialog", lambda dialog: dialog.accept())
    screen.reload()
    expect(screen.page.locator('[data-part="notice"]')).to_contain_text("2 changes that were not")
    project = Project.open(server.folder)
    with project.read() as view:
        one = view.instance(photo, number)
    assert (one.status.value, one.category) == ("edited", class_rows(server)[1]["name"])
    project.check_journal()
    project.close()
    screen.reload()
    assert screen.state["pending"] == 0
    assert screen.instance(number)["status"] == "edited"


def test_thirty_keys_in_a_burst_are_all_applied(screen: Screen, server: Server) -> None:
    number = screen.instances[0]["id"]
    screen.choose(number)
    start = events(server)
    for _ in range(15):
        screen.page.keyboard.press("1")
        screen.page.keyboard.press("2")
    screen.wait()
    classes = {one["name"]: one["id"] for one in json.loads(json.dumps(class_rows(server)))}
    assert len(classes) >= 2
    # The first key may repeat the class that the object has already: then it is no event.
    assert events(server) - start in (29, 30)


def class_rows(server: Server) -> list[dict[str, Any]]:
    project = Project.open(server.folder)
    with project.read() as view:
        rows = [{"id": number, "name": name} for number, name in view.category_names().items()]
    project.close()
    return rows


def events(server: Server) -> int:
    project = Project.open(server.folder)
    count = project.check_journal()
    project.close()
    return count

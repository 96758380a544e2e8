"""Other masks with one key, the coarse map and the prompts, in a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect
from sqlalchemy import delete, update

from annotator import runs, schema
from annotator.store import Project
from engine.geometry import mask_to_rle
from tests.browser.conftest import Server
from tests.browser.screen import ROOT, Screen
from tests.fakes import proposal, square_mask

pytestmark = pytest.mark.browser


@pytest.fixture
def screen(server: Server, context: BrowserContext) -> Screen:
    """The sample's photo of the cat: one proposal, many candidates, no prompts."""
    return Screen(
        context, f"{server.url}?project={server.key}&photo={photo(server, 'chelsea.png')}"
    )


def photo(server: Server, name: str) -> int:
    project = Project.open(server.folder)
    with project.read() as view:
        found = next(one.id for one in view.photos() if one.file_name == name)
    project.close()
    return found


def stored(server: Server, number: int, image_id: int) -> Any:
    project = Project.open(server.folder)
    with project.read() as view:
        found = view.instance(image_id, number)
    project.close()
    return found


def pixel(screen: Screen, x: float, y: float) -> list[int]:
    """The colour that is painted at a point of the photo."""
    at = screen.point(x, y)
    found: list[int] = screen.page.evaluate(
        f"""([x, y]) => {{
          const canvas = document.querySelector('{ROOT} canvas');
          const box = canvas.getBoundingClientRect();
          const scale = canvas.width / box.width;
          const [px, py] = [(x - box.left) * scale, (y - box.top) * scale];
          return [...canvas.getContext('2d').getImageData(px, py, 1, 1).data];
        }}""",
        list(at),
    )
    return found


def test_g_walks_through_other_masks_and_shift_g_back(screen: Screen, server: Server) -> None:
    (first,) = screen.instances
    screen.choose(first["id"])
    chip = screen.page.locator('[data-part="cycle"]')
    expect(chip).not_to_be_visible()
    seen = [first["rle"]["counts"]]
    for step in (2, 3, 4):
        screen.press("g")
        expect(chip).to_contain_text(re.compile(rf"Mask {step} of \d+ · score 0\.\d\d"))
        (now,) = screen.instances
        seen.append(now["rle"]["counts"])
        assert (now["status"], now["cls"]) == ("edited", first["cls"])
        kept = stored(server, first["id"], screen.state["photo"])
        assert (kept.rle.counts, list(kept.box)) == (now["rle"]["counts"], now["box"])
    assert len(set(seen)) == 4
    # The same list on the way back, and at its end everything is as it was.
    for expected in reversed(seen[:-1]):
        screen.press("Shift+G")
        assert screen.instances[0]["rle"]["counts"] == expected
    assert screen.instances == [first]
    screen.press("Shift+G")
    expect(screen.page.locator('[data-part="notice"]')).to_contain_text("began with")
    # Each choice is one step of the history, and undo moves along the same list.
    screen.press("g")
    screen.press("g")
    screen.press("Control+z")
    expect(chip).to_contain_text("Mask 2 of")
    assert screen.instances[0]["rle"]["counts"] == seen[1]
    assert screen.errors == []


def test_the_buttons_walk_too_and_after_the_last_mask_comes_the_first(screen: Screen) -> None:
    (first,) = screen.instances
    toolbar = screen.page.locator(".t2m-toolbar")
    toolbar.locator('[data-action="next-mask"]').click()
    screen.wait()
    chip = screen.page.locator('[data-part="cycle"]')
    expect(chip).to_contain_text("Mask 2 of")
    count = screen.state["place"]["count"]
    for _ in range(count - 1):
        chip.locator('[data-action="next-mask"]').click()
    screen.wait()
    expect(screen.page.locator('[data-part="notice"]')).to_contain_text(f"all {count} masks")
    assert screen.instances == [first]
    chip.locator('[data-action="next-mask"]').click()
    chip.locator('[data-action="previous-mask"]').click()
    screen.wait()
    assert screen.instances == [first]


@pytest.mark.own_server
def test_a_mask_is_on_screen_before_the_server_has_answered(screen: Screen, server: Server) -> None:
    screen.press("g")
    (before,) = screen.instances
    server.kill()
    # Looked at in the page, within the event: nothing else can have come in between.
    took = screen.page.evaluate(
        f"""() => {{
          const review = document.querySelector('{ROOT}').__review;
          const counts = () => review.state().instances[0].rle.counts;
          const [start, was] = [performance.now(), counts()];
          document.querySelector('.t2m-stage').dispatchEvent(
            new KeyboardEvent('keydown', {{ key: 'g', bubbles: true }}));
          return counts() === was ? null : performance.now() - start;
        }}"""
    )
    assert took is not None  # and the server is dead
    server.start()
    # Not a click: it tries again by itself as well, and the button is gone once that has worked.
    screen.page.locator('[data-action="retry"]').first.dispatch_event("click")
    screen.wait()
    kept = stored(server, before["id"], screen.state["photo"])
    assert kept.rle.counts == screen.instances[0]["rle"]["counts"] != before["rle"]["counts"]


def test_what_was_clicked_has_other_masks_as_well(screen: Screen) -> None:
    screen.press("Escape")
    screen.press("p")
    screen.click(230, 95)
    (drawn,) = [one for one in screen.instances if one["status"] == "drawn"]
    screen.press("g")
    now = screen.instance(drawn["id"])
    assert now["rle"] != drawn["rle"]
    assert (now["status"], now["cls"]) == ("drawn", drawn["cls"])


def test_without_evidence_there_is_no_map_but_the_gallery_has_masks(
    screen: Screen, server: Server
) -> None:
    project = Project.open(server.folder)
    with project.write() as transaction:
        transaction.connection.execute(delete(schema.evidence))
    project.close()
    screen.reload()
    (first,) = screen.instances
    legend = screen.page.locator('[data-part="legend"]')
    screen.press("h")
    expect(legend).to_contain_text("No map for this photo")
    expect(legend.locator('[data-part="ramp"]')).not_to_be_visible()
    screen.page.keyboard.press("g")
    expect(screen.page.locator('[data-part="cycle"]')).to_contain_text("Mask 2 of", timeout=60_000)
    assert screen.instances[0]["rle"] != first["rle"]


def test_the_map_lies_over_the_photo_at_every_zoom_and_goes_again(screen: Screen) -> None:
    legend = screen.page.locator('[data-part="legend"]')
    expect(legend).not_to_be_visible()
    plain = pixel(screen, 20, 20)
    screen.press("h")
    expect(legend).to_contain_text("Coarse map")
    button = screen.page.locator('[data-action="heat"]')
    expect(button).to_have_attribute("aria-pressed", "true")
    covered = pixel(screen, 20, 20)
    assert covered != plain
    screen.press("m")
    middle = pixel(screen, 225, 150)
    for _ in range(3):
        screen.press("+")
    # The same spot has the same colour, but for how the browser smooths a photo.
    assert np.abs(np.subtract(pixel(screen, 225, 150), middle)).max() < 24
    screen.press("f")
    slider = legend.locator('[data-part="heat-opacity"]')
    slider.fill("10")
    screen.wait()
    fainter = pixel(screen, 20, 20)
    assert fainter != covered
    assert sum(fainter[:3]) > sum(covered[:3])  # the map's zero is dark
    button.click()
    screen.wait()
    assert pixel(screen, 20, 20) == plain
    screen.press("h")
    screen.press("ArrowRight")
    expect(legend).to_be_visible()  # it stays from photo to photo
    assert screen.errors == []


def test_prompts_are_dots_and_none_is_said(screen: Screen, server: Server) -> None:
    legend = screen.page.locator('[data-part="legend"]')
    screen.press("j")
    expect(legend).to_contain_text("No prompts for this photo")
    project = Project.open(server.folder)
    with project.write() as transaction:
        table = schema.evidence
        row = update(table).where(table.c.image_id == screen.state["photo"])
        transaction.connection.execute(row.values(prompts=[[20.0, 20.0], [400.0, 280.0]]))
    project.close()
    screen.reload()
    plain = pixel(screen, 20, 20)
    screen.page.locator('[data-action="prompts"]').click()
    screen.wait()
    expect(legend).to_contain_text("2 prompts")
    assert pixel(screen, 20, 20)[:3] == [255, 255, 255] != plain[:3]
    screen.press("j")
    expect(legend).not_to_be_visible()


def test_a_mask_of_another_size_is_told_and_the_rest_is_painted(
    screen: Screen, server: Server
) -> None:
    screen.press("m")
    plain = pixel(screen, 20, 20)
    screen.press("m")
    here = proposal((10, 10, 60, 60), category=None)
    sizes = ((300, 451), (150, 200))
    masks = [mask_to_rle(square_mask(size, (10, 10, 60, 60))) for size in sizes]
    project = Project.open(server.folder)
    with project.write() as transaction:
        run_id = runs.start(
            transaction, pipeline="classical", options={}, photos=[screen.state["photo"]]
        )
    found = [replace(here, rle=rle) for rle in masks]
    runs.record_photo(project, run_id, screen.state["photo"], instances=found, seconds=0.1)
    project.close()
    screen.reload()
    notice = screen.page.locator('[data-part="notice"]')
    expect(notice).to_contain_text("does not fit this photo and is not shown")
    assert pixel(screen, 20, 20) != plain
    assert screen.errors == []


def test_the_list_says_what_made_an_object(screen: Screen, server: Server) -> None:
    source = {"pipeline": "pro2sam", "checkpoint": "gtformer-1", "options": {"mode": "exact"}}
    project = Project.open(server.folder)
    with project.write() as transaction:
        transaction.connection.execute(update(schema.instance).values(source=source))
    project.close()
    screen.reload()
    row = screen.page.locator(".t2m-instance").first
    expect(row).to_contain_text("pro2sam · gtformer-1 · exact")

"""The projects page in a real browser: a new project, proposals that come in, the list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import func, select

from annotator import schema
from annotator.intake import add_photos
from annotator.store import DATABASE, Project
from annotator.workspace import Workspace, key_of
from tests.browser.conftest import Server
from tests.conftest import save_scene

pytestmark = pytest.mark.browser

BIRDS = 40  # enough to look, reload and stop before the last one
PATIENCE = 120_000  # milliseconds for a worker on a busy machine


def make_project(folder: Path, photos: Path, *, count: int, name: str) -> Path:
    for number in range(count):
        save_scene(photos / f"{number:02}.png", seed=number)
    project = Project.create(folder, name=name)
    add_photos(project, photos, actor="tester")
    project.close()
    return folder


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that knows two projects without proposals; its home is a folder of the test."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    birds = make_project(
        tmp_path / "birds", tmp_path / "b", count=BIRDS, name="Birds & <b>bees</b>"
    )
    cats = make_project(tmp_path / "cats", tmp_path / "c", count=2, name="Cats")
    state = tmp_path / "server-state"
    Workspace(state / "tag2mask").remember(cats)
    running = Server(birds, state)
    running.start()
    yield running
    if running.process is not None:
        running.stop()


class Visit:
    """One tab of the browser, what it asked for and what went wrong in it."""

    def __init__(self, context: BrowserContext, server: Server, *, scheme: str = "light") -> None:
        self.server = server
        self.page: Page = context.new_page()
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, query: str = "?tab=projects") -> Page:
        self.page.goto(self.server.url + query)
        expect(self.page.locator("#projects .t2-card").first).to_be_attached()
        return self.page

    def assert_clean(self) -> None:
        """No error on the page, and nothing asked of anybody but this machine."""
        assert self.errors == []
        hosts = {urlsplit(url).hostname for url in self.requests if url.startswith(("http", "ws"))}
        assert hosts == {"127.0.0.1"}


def type_into(page: Page, name: str, text: str) -> None:
    """Key by key, as a person does."""
    box = page.locator(f"#{name}").get_by_role("textbox")
    box.fill("")
    box.press_sequentially(text)


def new_photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    for seed, name in enumerate(["a.png", "b.png", "owls/c.png"]):
        save_scene(folder / name, seed=seed)
    return folder


# -- a new project -------------------------------------------------------------------------------


def test_what_folder_and_tags_hold_is_told_while_they_are_typed(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    folder, tags = new_photos(tmp_path), tmp_path / "tags.csv"
    tags.write_text("file,labels\na.png,cat\nzebra.png,zebra\nb.png,cat;<i>dog</i>\n")
    visit = Visit(context, pages)
    page = visit.go()
    check = page.locator("#new-check")
    type_into(page, "new-folder", str(folder))
    # Every folder on the way is looked into as it is typed.
    expect(check).to_contain_text("3 photos, 0 tagged", timeout=PATIENCE)
    type_into(page, "new-tags", str(tags)[:-1])
    expect(check).to_contain_text(str(tags)[:-1])  # there is no such file yet
    page.locator("#new-tags").get_by_role("textbox").press_sequentially(str(tags)[-1])
    expect(check).to_contain_text("3 photos, 2 tagged")
    expect(check).to_contain_text("2 classes: <i>dog</i>, cat")
    expect(check.locator("li")).to_have_text(re.compile(r"^line 3: .*zebra\.png"))
    page.get_by_label("Names of the folders").check()
    expect(check).to_contain_text("3 photos, 1 tagged")
    expect(page.locator("#new-tags")).to_be_hidden()
    page.get_by_label("No tags").check()
    expect(check).to_contain_text("3 photos, 0 tagged")
    type_into(page, "new-folder", "~nobody-of-this-name/x")
    expect(check).to_contain_text("there is no folder")
    visit.assert_clean()


def test_creating_a_project_leads_to_its_page(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    folder, home = new_photos(tmp_path), tmp_path / "new home"
    visit = Visit(context, pages)
    page = visit.go()
    type_into(page, "new-folder", str(folder))
    page.get_by_label("Names of the folders").check()
    type_into(page, "new-home", str(home))
    page.locator("#new-create").click()
    page.wait_for_url(re.compile(rf"\?project={key_of(home)}"))
    expect(page.locator("#header")).to_contain_text("new home")
    expect(page.locator("#projects .t2-card")).to_have_count(3)
    expect(page.locator('#projects [aria-current="true"]')).to_contain_text("3 photos")
    expect(page.locator("#run-progress")).to_contain_text("Nothing proposed yet")
    project = Project.open(home)
    with project.read() as view:
        assert [view.tags(photo.id) for photo in view.photos()] == [(), (), ("owls",)]
    project.close()
    visit.assert_clean()


def test_a_project_goes_where_the_form_says_if_nothing_else_was_typed(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    visit = Visit(context, pages)
    page = visit.go()
    type_into(page, "new-folder", str(new_photos(tmp_path)))
    page.get_by_label("No tags").check()
    place = tmp_path / "home" / "tag2mask" / "my-photos"
    box = page.locator("#new-home").get_by_role("textbox")
    expect(box).to_have_attribute("placeholder", str(place))
    page.locator("#new-create").click()
    page.wait_for_url(re.compile(rf"\?project={key_of(place)}"))
    expect(page.locator("#header")).to_contain_text("my-photos")
    visit.assert_clean()


def test_a_project_that_cannot_be_made_is_told_and_leaves_nothing(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    folder, home, tags = new_photos(tmp_path), tmp_path / "new home", tmp_path / "tags.csv"
    tags.write_text("name;label\n")
    visit = Visit(context, pages)
    page = visit.go()
    said = page.locator("#new-refusal")
    page.locator("#new-create").click()
    expect(said).to_contain_text("folder of the photos")
    type_into(page, "new-folder", str(folder))
    page.locator("#new-create").click()
    expect(said).to_contain_text("give the tags file")
    type_into(page, "new-tags", str(tags))
    type_into(page, "new-home", str(home))
    page.locator("#new-create").click()
    expect(said).to_contain_text("file,labels")
    page.get_by_label("No tags").check()
    type_into(page, "new-home", str(pages.folder))
    page.locator("#new-create").click()
    expect(said).to_contain_text("already holds a project")
    assert not home.exists()
    assert not Path(DATABASE).exists()  # the server was started here
    expect(page.locator("#projects .t2-card")).to_have_count(2)
    visit.assert_clean()


# -- proposals -----------------------------------------------------------------------------------


def test_proposing_shows_its_progress_stops_goes_on_and_survives_a_reload(
    pages: Server, context: BrowserContext
) -> None:
    visit = Visit(context, pages)
    page = visit.go(f"?project={pages.key}&tab=projects")
    run, start = page.locator("#run-progress .t2-run"), page.locator("#start-run")
    stop = page.locator("#stop-run")
    expect(stop).to_be_disabled()
    start.click()
    expect(run).to_have_attribute("data-status", re.compile("waiting|running"))
    expect(start).to_be_disabled()
    expect(run).to_contain_text(re.compile(rf"[1-9]\d* of {BIRDS} photos"), timeout=PATIENCE)
    page.reload()
    expect(run).to_have_attribute("data-status", "running")
    at = done(page)
    page.wait_for_function(f"() => ({DONE}) > {at}", timeout=PATIENCE)
    stop.click()
    expect(run).to_have_attribute("data-status", "cancelled", timeout=PATIENCE)
    expect(run).to_contain_text("Stopped")
    assert 0 < done(page) < BIRDS
    expect(start).to_have_text("Resume")
    start.click()
    # Not "Stopped" any more, although the worker takes a while to come.
    expect(run).to_have_attribute("data-status", re.compile("waiting|running"))
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


def test_stopping_before_the_worker_has_come_holds(pages: Server, context: BrowserContext) -> None:
    visit = Visit(context, pages)
    page = visit.go(f"?project={pages.key}&tab=projects")
    run = page.locator("#run-progress .t2-run")
    page.locator("#start-run").click()
    page.locator("#stop-run").click()
    expect(run).to_have_attribute("data-status", "cancelled", timeout=PATIENCE)
    log = pages.folder / ".cache" / "run-1.log"
    page.wait_for_timeout(100)
    deadline = 600
    while not log.read_text() and (deadline := deadline - 1):
        page.wait_for_timeout(100)  # the worker says that it was not wanted, or what it did
    assert done(page) < BIRDS
    visit.go(f"?project={pages.key}&tab=projects")
    expect(run).to_have_attribute("data-status", "cancelled")
    visit.assert_clean()


# -- the list, and how it looks ------------------------------------------------------------------


def test_the_list_shows_both_projects_and_switches_between_them(
    pages: Server, context: BrowserContext
) -> None:
    visit = Visit(context, pages)
    page = visit.go(f"?project={pages.key}&tab=projects")
    cards = page.locator("#projects .t2-card")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("Birds & <b>bees</b>")
    expect(cards.first).to_contain_text(f"{BIRDS} photos · 0 to review · 0 done")
    expect(page.locator("#header")).to_contain_text("Birds & <b>bees</b>")
    mark = page.locator("#header .t2-mark").bounding_box()
    assert mark is not None
    assert mark["width"] == mark["height"]  # a long name does not squeeze it
    cards.filter(has_text="Cats").click()
    page.wait_for_url(re.compile("project="))
    expect(page.locator("#header")).to_contain_text("Cats")
    expect(page.get_by_role("tab", name="Review")).to_have_attribute("aria-selected", "true")
    page.wait_for_function(
        "() => document.querySelector('.t2m-root')?.__review?.state().photo === 1"
    )
    page.get_by_role("tab", name="Projects").click()
    expect(page.locator('#projects [aria-current="true"]')).to_contain_text("Cats")
    visit.assert_clean()


def test_a_project_that_went_away_is_not_shown_and_its_address_says_so(
    pages: Server, context: BrowserContext, tmp_path: Path
) -> None:
    (tmp_path / "cats").rename(tmp_path / "elsewhere")
    visit = Visit(context, pages)
    page = visit.go(f"?project={key_of(tmp_path / 'cats')}")
    expect(page.locator("#projects .t2-card")).to_have_count(1)
    expect(page.get_by_text("not on the list (any more)")).to_be_visible()
    visit.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_without_errors_in_both_schemes(
    pages: Server, context: BrowserContext, scheme: str
) -> None:
    visit = Visit(context, pages, scheme=scheme)
    page = visit.go(f"?project={pages.key}&tab=projects")
    for name in ("Review", "Export", "Projects"):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    brightness = page.evaluate(
        "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (max(brightness[:3]) < 100) == (scheme == "dark")
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

"""The projects page in a real browser: a new project, the list, and how it looks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from annotator.store import DATABASE, Project
from annotator.workspace import key_of
from tests.browser.conftest import BIRDS, Server
from tests.browser.visit import Visit
from tests.conftest import save_scene

pytestmark = pytest.mark.browser


def type_into(page: Page, name: str, text: str) -> None:
    """Key by key, as a person does; each is answered by the server, so a path takes a while."""
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
    expect(check).to_contain_text("3 photos, 0 tagged")
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

"""The export page in a real browser: every format out, what would be lost, and back in."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from annotator import runs
from annotator.intake import add_photos
from annotator.store import Project
from engine.types import Source, Status
from exports.choices import Choices, select
from tests.browser.conftest import Server
from tests.builders import make_instance, make_mask
from tests.conftest import save_scene

pytestmark = pytest.mark.browser


@pytest.fixture
def server(app: Server, tmp_path: Path) -> Server:
    """Three photos with a proposed object each; cheaper than the sample project."""
    for number in range(3):
        save_scene(tmp_path / "photos" / f"{number}.png", seed=number)
    project = Project.create(tmp_path / "birds")
    add_photos(project, tmp_path / "photos", actor="tester")
    with project.write() as transaction:
        for name in ("cat", "dog"):
            transaction.add_category(name, actor="tester")
        run = runs.start(transaction, pipeline="other", options={}, photos=[1, 2, 3])
    for photo in (1, 2, 3):
        mask = make_mask((10, 10, 40, 50 + photo), height=90, width=120)
        one = make_instance(mask, status=Status.PROPOSED, source=Source("other"), score=0.5)
        runs.record_photo(project, run, photo, instances=[one], seconds=0.1)
    project.close()
    return app.showing(tmp_path / "birds")


class ExportPage:
    """The tab, and what went wrong in it."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{server.url}?project={server.key}&tab=export")
        expect(self.page.locator("#export-write")).to_be_visible()

    def choose(self, which: str, title: str) -> None:
        self.page.locator(f"#{which}-format input").click()
        self.page.get_by_role("option", name=title, exact=True).click()

    def export(self) -> Locator:
        self.page.locator("#export-write").click()
        result = self.page.locator("#export-result .t2-export")
        expect(result).to_have_attribute("data-ok", "true")
        return result

    def type(self, name: str, text: str) -> None:
        box = self.page.locator(f"#{name}").get_by_role("textbox")
        box.fill("")
        box.press_sequentially(text)


def test_formats_go_out_and_come_back(
    server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    screen = ExportPage(context, server)
    page = screen.page
    page.get_by_label("Proposed (nobody looked)").check()

    # What would be lost is told before anything is written.
    screen.choose("export", "Pascal VOC XML")
    expect(page.locator("#export-holds")).to_contain_text("no masks")
    expect(page.locator("#export-corners")).to_be_visible()
    page.locator("#export-check").click()
    expect(page.locator("#export-result .t2-export")).to_contain_text("masks are not written")
    assert not (server.folder / "exports").exists()

    # A folder is downloaded as a zip.
    screen.export()
    expect(page.locator("#export-result")).to_contain_text("XML, element by element")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert any(name.startswith("Annotations/") for name in names)

    screen.choose("export", "COCO JSON")
    expect(page.locator("#export-corners")).to_be_hidden()
    screen.export()
    expect(page.locator("#export-result")).to_contain_text("pycocotools")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    written = tmp_path / "theirs.json"
    content = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    for entry in content["annotations"]:
        del entry["attributes"]  # another program does not say what a person thought
        entry["bbox"][0] += 0.25
    written.write_text(json.dumps(content), encoding="utf-8")

    project = Project.open(server.folder)
    with project.read() as view:
        before = view.status_counts()[Status.PROPOSED.value]

    # Back in as what somebody decided: undecided proposals give way.
    screen.type("import-path", str(written))
    page.locator("#import-start").click()
    result = page.locator("#import-result .t2-export")
    expect(result).to_have_attribute("data-added", str(len(content["annotations"])))
    with project.read() as view:
        counts = view.status_counts()
    assert counts[Status.ACCEPTED.value] == len(content["annotations"])
    assert counts[Status.PROPOSED.value] == before - len(content["annotations"])
    project.check_journal()
    project.close()

    # Again: nothing twice. A file that is not there: one sentence.
    page.locator("#import-start").click()
    expect(result).to_have_attribute("data-added", "0")
    screen.type("import-path", str(tmp_path / "gone.json"))
    page.locator("#import-start").click()
    expect(page.locator("#import-result .t2-notice")).to_contain_text("is not there")
    assert screen.errors == []


@pytest.mark.slow
def test_a_choice_that_cannot_be_is_a_sentence_and_the_page_fits(
    server: Server, context: BrowserContext
) -> None:
    screen = ExportPage(context, server)
    page = screen.page
    for label in ("Accepted", "Edited", "Drawn"):
        page.get_by_label(label, exact=True).uncheck()
    page.locator("#export-write").click()
    expect(page.locator("#export-result .t2-notice")).to_contain_text("choose at least one status")
    page.get_by_text("More choices").click()
    page.locator("#export-classes input").click()
    assert page.get_by_role("option").count() > 1
    page.locator("#import-start").click()
    expect(page.locator("#import-result .t2-notice")).to_contain_text("Give the file or folder")
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 1280
    assert screen.errors == []


@pytest.mark.slow
def test_photos_are_dealt_and_chosen_by_split(server: Server, context: BrowserContext) -> None:
    screen = ExportPage(context, server)
    page = screen.page
    page.get_by_label("Proposed (nobody looked)").check()
    page.get_by_text("More choices").click()
    page.locator("#export-splits input").click()
    page.get_by_role("option", name="val", exact=True).click()
    page.keyboard.press("Escape")
    page.locator("#export-write").click()
    expect(page.locator("#export-result .t2-notice")).to_contain_text("no photo is in the split")
    share = page.locator("#export-share").get_by_role("spinbutton")
    share.fill("0.5")
    share.press("Tab")
    seed = page.locator("#export-seed").get_by_role("spinbutton")
    seed.fill("2")
    seed.press("Tab")
    page.locator("#export-check").click()
    result = page.locator("#export-result .t2-export")
    expect(result).to_contain_text("would be written")
    names = [f"{number}.png" for number in range(3)]
    dealt = Choices(val_share=0.5, seed=2)
    project = Project.open(server.folder)
    with project.read() as view:
        chosen = select(view.labeled(frozenset(Status)), list(view.category_names().items()), dealt)
    project.close()
    val = [image.file_name for image in chosen.images if image.split == "val"]
    assert 0 < len(val) < len(names)
    expect(result).to_contain_text(f"on {len(val)} of {len(val)} photo")
    assert screen.errors == []


@pytest.mark.slow
def test_tags_come_in_as_a_format_of_their_own(
    server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("file,labels\n0.png,cat;owl\n1.png,\ngone.png,cat\n", encoding="utf-8")
    screen = ExportPage(context, server)
    page = screen.page
    screen.choose("import", "Tags CSV")
    expect(page.locator("#import-tags")).to_contain_text("file,labels")
    expect(page.locator("#import-as")).to_be_hidden()
    screen.type("import-path", str(path))
    page.locator("#import-start").click()
    result = page.locator("#import-result .t2-export")
    expect(result).to_have_attribute("data-tagged", "1")
    expect(result).to_contain_text("line 4: no photo 'gone.png'")
    project = Project.open(server.folder)
    with project.read() as view:
        assert view.tags(1) == ("cat", "owl")
    project.close()
    screen.choose("import", "COCO JSON")
    expect(page.locator("#import-as")).to_be_visible()
    expect(page.locator("#import-tags")).to_be_hidden()
    assert screen.errors == []


@pytest.mark.slow
def test_label_studio_is_a_format_as_the_others_are(
    server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    screen = ExportPage(context, server)
    page = screen.page
    page.get_by_label("Proposed (nobody looked)").check()
    screen.choose("export", "Label Studio JSON")
    expect(page.locator("#export-holds")).to_contain_text("everything but rejected objects")
    screen.export()
    expect(page.locator("#export-result")).to_contain_text("Read back by label-studio-sdk")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    packed = zipfile.ZipFile(download.value.path())
    assert sorted(packed.namelist()) == ["README.txt", "label_config.xml", "tasks-001.json"]
    packed.extractall(tmp_path / "theirs")

    screen.choose("import", "Label Studio JSON")
    screen.type("import-path", str(tmp_path / "theirs"))
    page.locator("#import-start").click()
    result = page.locator("#import-result .t2-export")
    expect(result).to_have_attribute("data-added", "0")
    expect(result).to_contain_text("3 of 3 photos")
    assert screen.errors == []

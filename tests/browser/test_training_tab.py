"""The Train page in a real browser: a training from its start to its model, whatever happens."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from annotator import processes, trainer, training
from annotator import training_files as files
from annotator.intake import add_photos
from annotator.store import Project
from annotator.training import Trainings
from annotator.workspace import Workspace
from tests.annotator.trainers import (
    FAKE_TRAINER,
    hold_at,
    kill,
    let_go,
    process_of,
    wait_for_end,
)
from tests.browser.conftest import PATIENCE, Server
from tests.browser.visit import Visit
from tests.conftest import save_scene

pytestmark = pytest.mark.browser

TAGS = {"0.png": "cat", "1.png": "cat", "2.png": "<i>dog</i>", "3.png": "cat", "4.png": "cat"}
TAGS |= {"5.png": "cat"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """One server for all tests, and the script that it takes for the trainer."""
    place = tmp_path_factory.mktemp("house")
    Project.create(place / "first").close()
    Workspace(place / "state" / "tag2mask").remember(place / "first")
    running = Server(place / "first", place / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(trainer.TRAINER, f"sh {place / 'trainer.sh'}")
        running.start()
        yield running, place / "trainer.sh"
    if running.process is not None:
        running.stop()


@pytest.fixture
def birds(house: tuple[Server, Path], tmp_path: Path) -> Iterator[Trainings]:
    """A project with five cats and one dog; what still runs after the test is killed."""
    for seed, name in enumerate(TAGS):
        save_scene(tmp_path / "photos" / name, seed=seed)
    lines = [f"{name},{label}" for name, label in TAGS.items()]
    (tmp_path / "tags.csv").write_text("\n".join(["file,labels", *lines]) + "\n")
    project = Project.create(tmp_path / "birds")
    add_photos(project, tmp_path / "photos", actor="tester", tags_file=tmp_path / "tags.csv")
    Workspace(house[0].state / "tag2mask").remember(project.folder)
    found = Trainings(project)
    yield found
    for one in found.all():
        if one.is_active:
            processes.kill_session(*process_of(one.folder))
    project.close()


@pytest.fixture
def served(house: tuple[Server, Path], birds: Trainings, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server with that project on its list; its trainer does all that it is asked for."""
    server, script = house
    let_the_trainer(script)
    server.folder = birds.project.folder
    monkeypatch.setenv(trainer.TRAINER, f"sh {script}")  # for a server that is started again
    return server


def let_the_trainer(script: Path, *flags: str) -> None:
    """How every trainer behaves that the server starts from now on."""
    script.write_text(f'exec {FAKE_TRAINER} {shlex.join(flags)} "$@"\n')


class TrainPage:
    """The Train page of the project, and its parts."""

    def __init__(self, context: BrowserContext, server: Server, *, scheme: str = "light") -> None:
        self.visit = Visit(context, server, scheme=scheme)
        self.page: Page = self.visit.page
        self.address = f"{server.url}?project={server.key}&tab=train"
        self.open()

    def open(self) -> None:
        self.page.goto(self.address)
        expect(self.readiness).to_contain_text("tagged", timeout=PATIENCE)

    def part(self, name: str) -> Locator:
        return self.page.locator(f"#training-{name}")

    @property
    def readiness(self) -> Locator:
        return self.part("readiness")

    @property
    def state(self) -> Locator:
        return self.page.locator("#training-progress .t2-run")

    def fill(self, name: str, text: str) -> None:
        self.part(name).get_by_role("textbox").fill(text)

    def start(self, *, epochs: int) -> None:
        self.fill("epochs", str(epochs))
        self.part("start").click()

    def expect_status(self, status: str) -> None:
        expect(self.state).to_have_attribute("data-status", re.compile(status), timeout=PATIENCE)

    def expect_step(self, step: int) -> None:
        """At least so far."""
        self.page.wait_for_function(
            "step => Number((document.querySelector('#training-progress p')?.textContent"
            ".match(/step (\\d+)/) || [0, 0])[1]) >= step",
            arg=step,
            timeout=PATIENCE,
        )


def test_a_training_from_the_start_over_a_stop_to_its_model(
    served: Server, house: tuple[Server, Path], context: BrowserContext, birds: Trainings
) -> None:
    let_the_trainer(house[1], "--pace", "0.1", *hold_at(12, 25))
    train = TrainPage(context, served)
    expect(train.state).to_contain_text("Nothing trained yet")
    expect(train.part("curves").locator("svg")).to_have_count(0)
    train.start(epochs=6)
    train.expect_status("waiting|running")
    train.expect_step(12)
    charts = train.part("curves").locator("svg")
    expect(charts).to_have_count(3)
    expect(charts.first).to_be_visible()
    expect(train.part("curves")).to_contain_text("classification")
    expect(train.state).to_contain_text(
        re.compile(r"epoch \d+ of 6 · .* s a step · about \d+ \w+ left")
    )
    length = "() => document.querySelector('#training-curves .t2-line path').getTotalLength()"
    before = train.page.evaluate(length)
    let_go(birds, 1)
    train.page.wait_for_function(f"({length})() > {before}", timeout=PATIENCE)
    train.page.reload()  # the page knows nothing, the log everything
    train.expect_status("running")
    train.part("stop").click()
    train.expect_status("stopped")
    expect(train.part("stop")).to_be_hidden()
    assert birds.get(1).step == 25
    let_the_trainer(house[1], *hold_at(40))
    train.part("resume").click()
    train.expect_status("waiting|running")
    let_go(birds, 1)
    train.expect_status("done")
    expect(train.part("resume")).to_be_hidden()
    expect(train.state).to_contain_text("step 60 of 60")
    model = train.page.locator('#models [data-model="gtformer-1"]')
    expect(model).to_contain_text("2 classes: <i>dog</i>, cat")
    expect(model).to_contain_text("top-1 75.0%")
    assert list(birds.log(1).steps) == list(range(1, 61))
    train.visit.assert_clean()


@pytest.mark.slow
def test_a_training_outlives_the_page_and_the_server(
    served: Server, house: tuple[Server, Path], context: BrowserContext, birds: Trainings
) -> None:
    let_the_trainer(house[1], *hold_at(3))
    train = TrainPage(context, served)
    train.start(epochs=4)
    train.expect_step(3)
    train.page.close()
    served.kill()
    assert birds.get(1).status == training.RUNNING
    let_go(birds, 1)
    wait_for_end(birds, 1)
    served.start()
    again = TrainPage(context, served)
    again.expect_status("done")
    expect(again.page.locator("#models [data-model]")).to_have_count(1)
    again.visit.assert_clean()


@pytest.mark.slow
def test_a_killed_trainer_is_shown_as_interrupted_and_goes_on(
    served: Server, house: tuple[Server, Path], context: BrowserContext, birds: Trainings
) -> None:
    let_the_trainer(house[1], *hold_at(11))
    train = TrainPage(context, served)
    train.start(epochs=6)
    train.expect_step(11)
    let_the_trainer(house[1])
    kill(birds, 1)
    train.expect_status("interrupted")
    expect(train.state).to_contain_text(re.compile("killed|gone"))
    train.part("resume").click()
    train.expect_status("done")
    train.visit.assert_clean()


@pytest.mark.slow
def test_two_trainings_are_listed_and_each_has_its_address(
    served: Server, house: tuple[Server, Path], context: BrowserContext
) -> None:
    let_the_trainer(house[1], *hold_at(20))  # the second one
    train = TrainPage(context, served)
    train.start(epochs=1)
    train.expect_status("done")
    train.start(epochs=30)
    train.expect_status("running")
    rows = train.page.locator("#trainings .t2-row")
    expect(rows).to_have_count(2)
    expect(rows.first).to_have_attribute("aria-current", "true")
    rows.nth(1).click()
    train.page.wait_for_url(re.compile("training=1"))
    train.expect_status("done")
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    # The other one goes on, and the list beside says so.
    expect(rows.first).to_contain_text(re.compile(r"step \d+ of 300"))
    train.visit.assert_clean()


def test_mistakes_are_told_where_they_were_made(served: Server, context: BrowserContext) -> None:
    train = TrainPage(context, served)
    expect(train.readiness).to_contain_text("6 of 6 photos tagged, 2 classes")
    expect(train.readiness).to_contain_text("hardly learned: <i>dog</i>")
    train.fill("epochs", "many")
    train.part("start").click()
    expect(train.part("refusal")).to_contain_text("Epochs must be a whole number, got 'many'")
    train.fill("epochs", "0")
    train.part("start").click()
    expect(train.part("refusal")).to_contain_text("epochs must be at least 1, got 0")
    train.page.get_by_text("More").click()
    train.fill("epochs", "")
    train.fill("truth", "/nowhere/truth.json")
    train.part("start").click()
    expect(train.part("refusal")).to_contain_text("no truth file '/nowhere/truth.json'")
    train.fill("truth", "")
    train.fill("name", "a/b")
    train.part("start").click()
    expect(train.part("refusal")).to_contain_text("cannot be called 'a/b'")
    expect(train.state).to_contain_text("Nothing trained yet")
    train.visit.assert_clean()


@pytest.mark.slow
def test_a_failure_is_shown_in_the_trainers_words(
    served: Server, house: tuple[Server, Path], context: BrowserContext
) -> None:
    let_the_trainer(house[1], "--fail-at", "3")
    train = TrainPage(context, served)
    train.start(epochs=1)
    train.expect_status("failed")
    expect(train.state).to_contain_text("the loss of step 3 is not finite")
    expect(train.page.locator("#models")).to_contain_text("A finished training")
    train.visit.assert_clean()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_presets_come_from_the_trainer_and_curves_stand_out_in_both_schemes(
    served: Server, context: BrowserContext, birds: Trainings, scheme: str
) -> None:
    train = TrainPage(context, served, scheme=scheme)
    told = "9 epochs, 64 px, 4 photos a step. Starts from nothing"
    expect(train.part("facts")).to_contain_text(told, timeout=PATIENCE)
    epochs = train.part("epochs").get_by_role("textbox")
    expect(epochs).to_have_attribute("placeholder", "9")
    train.part("preset").locator("input").click()
    train.page.get_by_role("option", name="finetune").click()
    expect(train.part("facts")).to_contain_text("Starts from ImageNet weights")
    train.fill("image_size", "96")
    train.start(epochs=1)
    train.expect_status("done")
    request = files.read_note(birds.get(1).folder, files.REQUEST)
    assert request["options"]["image_size"] == 96
    stroke = train.page.evaluate(
        "() => getComputedStyle(document.querySelector('.t2-line-1 path')).stroke"
        ".match(/[\\d.]+/g).map(Number)"
    )
    paper = train.page.evaluate(
        "() => getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)"
    )
    assert contrast(stroke, paper) > 3
    train.visit.assert_clean()


def contrast(one: list[float], other: list[float]) -> float:
    """As WCAG 2 defines it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: list[float]) -> float:
    linear = [
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in colour[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
def test_a_project_without_two_tags_says_what_is_missing(
    served: Server, context: BrowserContext, tmp_path: Path
) -> None:
    other = Project.create(tmp_path / "untagged")
    add_photos(other, tmp_path / "photos", actor="tester")
    other.close()
    key = Workspace(served.state / "tag2mask").remember(tmp_path / "untagged")
    visit = Visit(context, served)
    visit.page.goto(f"{served.url}?project={key}&tab=train")
    readiness = visit.page.locator("#training-readiness")
    expect(readiness).to_contain_text("0 of 6 photos tagged", timeout=PATIENCE)
    expect(readiness).to_contain_text("at least two different tags")
    expect(visit.page.locator("#training-start")).to_be_disabled()
    visit.assert_clean()

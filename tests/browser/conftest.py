"""A real server as its own process, and a real Chromium that drives it."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.intake import add_photos
from annotator.sample import make_sample
from annotator.store import Project
from annotator.workspace import Workspace, key_of
from tests import photo_gates
from tests.conftest import save_scene
from tests.ports import free_port

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 400  # a machine that is twenty times slower than usual is no defect
PATIENCE = 120_000  # milliseconds for anything in the browser, for the same reason
BIRDS = 20  # photos in a project: enough to look, reload, stop and go on before the last one
TEST_SECONDS = 1800  # of a whole test, the start of its server and browser included


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit of all tests is too short for those that start a server and a browser."""
    for item in items:
        is_ours = Path(__file__).parent in item.path.parents
        if is_ours and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


class Server:
    """`annotator serve` on a port of its own; can be killed and started again on the same one."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._has_answered = False  # pages know the port then

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def key(self) -> str:
        return key_of(self.folder)

    @property
    def log(self) -> Path:
        """What it says; a file, because nobody reads a pipe and a full one would block it."""
        return self.state / "server.log"

    def start(self) -> None:
        """Until it answers."""
        self.state.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + START_SECONDS
        while (said := self._try_to_start(deadline)) is not None:
            if "address already in use" not in said.lower() or time.monotonic() > deadline:
                raise AssertionError(f"the server ended: {said}")
            if not self._has_answered:
                self.port = free_port()
            time.sleep(0.2)
        self._has_answered = True

    def _try_to_start(self, deadline: float) -> str | None:
        """None once it answers; what it said where it ended instead."""
        command = [sys.executable, "-m", "annotator", "serve", str(self.folder)]
        command += ["--port", str(self.port), "--no-browser"]
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.state / "cache"),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            return self._wait(deadline)
        except BaseException:  # a time limit of the test as well: nothing must stay behind
            self.kill()
            raise

    def _wait(self, deadline: float) -> str | None:
        assert self.process is not None
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.process = None
                return self._said()
            try:
                # Where it has not told its address yet, somebody else answers at it.
                if self.url in self._said():
                    with urllib.request.urlopen(self.url + "config", timeout=5):
                        return None
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"no answer within {START_SECONDS} s; it said: {self._said()}")

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def showing(self, folder: Path) -> Server:
        """The same running app, asked for another project."""
        Workspace(self.state / "tag2mask").remember(folder)
        other = copy.copy(self)
        other.folder = folder
        return other

    def kill(self) -> None:
        """As a crash does it: no chance to clean up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._collect()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self._collect()

    def _collect(self) -> None:
        assert self.process is not None
        self.process.wait(timeout=120)
        self.process = None


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app that runs through all tests that do not kill it; ask it for `showing` a project."""
    place = tmp_path_factory.mktemp("app")
    Project.create(place / "first").close()
    running = Server(place / "first", place / "server-state")
    try:
        running.start()
        yield running
    finally:
        if running.process is not None:
            running.stop()


@pytest.fixture(scope="session")
def sample_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project with its proposals; copy it before changing it."""
    return make_sample(tmp_path_factory.mktemp("sample") / "sample", actor="tester")


@pytest.fixture
def sample(sample_made_once: Path, tmp_path: Path) -> Path:
    """A fresh copy of the sample project."""
    return Path(shutil.copytree(sample_made_once, tmp_path / "sample"))


@pytest.fixture
def server(request: pytest.FixtureRequest, sample: Path, tmp_path: Path) -> Iterator[Server]:
    """An app that shows a fresh sample: the one of the whole session, where a start is not needed.

    Tests that kill it are marked `own_server`.
    """
    if request.node.get_closest_marker("own_server") is None:
        yield request.getfixturevalue("app").showing(sample)
        return
    state = tmp_path / "server-state"
    Workspace(state / "tag2mask").remember(sample)
    running = Server(sample, state)
    running.start()
    yield running
    if running.process is not None:
        running.stop()


def make_project(folder: Path, photos: Path, *, count: int, name: str) -> Path:
    for number in range(count):
        save_scene(photos / f"{number:02}.png", seed=number)
    project = Project.create(folder, name=name)
    add_photos(project, photos, actor="tester")
    project.close()
    return folder


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that knows two projects without proposals; its home is a folder of the test.

    Its workers wait before a photo of the birds that is shut.
    """
    (tmp_path / "home").mkdir()
    for variable, value in photo_gates.gated(tmp_path / "gates").items():
        monkeypatch.setenv(variable, value)
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
    photo_gates.let_in((tmp_path / "b").iterdir())  # of a test that failed nothing stays behind
    if running.process is not None:
        running.stop()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[sync_api.BrowserContext]:
    """A browser with nothing in it, 1280 by 800."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            tmp_path / "browser",
            executable_path=chromium,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 800},
            timeout=180_000,
        )
        opened.set_default_timeout(PATIENCE)
        # `expect` has a limit of its own, 5 s: too little for a page on a busy machine.
        sync_api.expect.set_options(timeout=PATIENCE)
        yield opened
        opened.close()

"""A real Label Studio gets at photos in the other two ways, and asks our backend for masks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urljoin

import pytest

from annotator.intake import add_photos
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.geometry import rle_to_mask
from engine.types import Status
from exports.label_studio_read import objects_of
from tests.annotator.labelstudio.conftest import store
from tests.annotator.labelstudio.test_push import send
from tests.browser.conftest import free_port
from tests.builders import make_instance, make_mask
from tests.conftest import save_scene
from tests.labelstudio.server import RealLabelStudio

pytestmark = [pytest.mark.labelstudio, pytest.mark.slow]

HEIGHT, WIDTH = 90, 120
NAMES = ("a.png", "写真/é 1 #%+&.png")
MASK = make_mask((10, 12, 40, 30), (60, 50, 61, 51), height=HEIGHT, width=WIDTH)


@pytest.fixture
def photos(server: RealLabelStudio) -> Path:
    """Two photos in a folder that the server may hand out, if it is told to."""
    folder = server.media / uuid.uuid4().hex[:8]
    for seed, name in enumerate(NAMES):
        save_scene(folder / name, seed=seed, width=WIDTH, height=HEIGHT)
    return folder


@pytest.fixture
def two(tmp_path: Path, photos: Path) -> Iterator[Project]:
    """A project of them; the first has a proposal."""
    tags = "file,labels\n" + "".join(f"{name},cat\n" for name in NAMES)
    (tmp_path / "tags.csv").write_text(tags, encoding="utf-8")
    project = Project.create(tmp_path / "project")
    add_photos(project, photos, actor="tester", tags_file=tmp_path / "tags.csv")
    with project.read() as view:
        first = next(one.id for one in view.photos() if one.file_name == NAMES[0])
    store(project, first, make_instance(MASK, category="cat", status=Status.PROPOSED, score=0.5))
    yield project
    project.close()


@contextmanager
def handing_out(folder: Path) -> Iterator[str]:
    """The address of a web server that has the files of a folder."""
    handler = type("Silent", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{web.server_port}"
    finally:
        web.shutdown()
        web.server_close()


@pytest.mark.parametrize("mode", ["local", "base address"])
def test_the_server_shows_the_files_themselves(
    mode: str, two: Project, photos: Path, server: RealLabelStudio, remote: Remote
) -> None:
    with handing_out(photos) as base:
        how = {"photos": "local", "document_root": server.media}
        if mode != "local":
            how = {"photos": base}
        report = send(two, remote, title=f"shown {uuid.uuid4().hex[:8]}", **how)
        assert (report.sent, report.left_out) == (2, ())
        for task in remote.tasks(report.remote_project):
            # As the server gives it to a browser, which may be another address than the data's.
            shown = str(remote.task(task.id)["data"]["image"])
            request = urllib.request.Request(urljoin(server.url, shown))
            if request.full_url.startswith(server.url):
                request.add_header("Authorization", f"Token {server.token}")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=30) as answer:
                assert answer.read() == (photos / task.data["file_name"]).read_bytes()
    assert send(two, remote, title=report.title, **how).unchanged == 2


@contextmanager
def backend_of(project: Project, folder: Path) -> Iterator[str]:
    """The address of `annotator serve --label-studio-backend`, a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "annotator", "serve", str(project.folder)]
    command += ["--label-studio-backend", "--port", str(port)]
    home = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    process = subprocess.Popen(command, env={**os.environ, **home})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        for _ in range(300):
            try:
                opener.open(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the backend ended"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_our_backend_proposes_and_answers_a_click(
    two: Project, server: RealLabelStudio, remote: Remote, tmp_path: Path
) -> None:
    report = send(two, remote, title=f"asks {uuid.uuid4().hex[:8]}")
    tasks = {one.data["file_name"]: one.id for one in remote.tasks(report.remote_project)}
    with backend_of(two, tmp_path) as address:
        body = {"url": address, "project": report.remote_project, "title": "tag2mask"}
        backend = remote.client.post("/api/ml/", {**body, "is_interactive": True})
        assert backend["state"] == "CO"  # connected

        # For all tasks: what the project has, and what the pipeline finds where it has nothing.
        remote.client.post(
            "/api/dm/actions",
            {"selectedItems": {"all": True, "excluded": []}},
            id="retrieve_tasks_predictions",
            project=report.remote_project,
        )
        theirs = _predictions(remote, tasks[NAMES[0]], "tag2mask/classical")
        found, problems = objects_of(theirs["result"], size_hw=(HEIGHT, WIDTH))
        assert problems == []
        assert [one.categories for one in found] == [("cat",)]
        assert found[0].rle is not None
        assert (rle_to_mask(found[0].rle) == MASK).all()
        assert _predictions(remote, tasks[NAMES[1]], "tag2mask/classical")["result"]

        # A click on the bright ellipse in the middle of the second photo.
        value = {"x": 50.0, "y": 50.0, "width": 0.5, "keypointlabels": ["cat"]}
        click = {"type": "keypointlabels", "value": value, "is_positive": 1}
        click |= {"original_width": WIDTH, "original_height": HEIGHT, "id": "c"}
        answer = remote.client.post(
            f"/api/ml/{backend['id']}/interactive-annotating",
            {"task": tasks[NAMES[1]], "context": {"result": [click]}},
        )
    found, problems = objects_of(answer["data"]["result"], size_hw=(HEIGHT, WIDTH))
    assert problems == []
    assert found[0].rle is not None
    mask = rle_to_mask(found[0].rle)
    assert mask[HEIGHT // 2, WIDTH // 2]
    assert 0.01 < mask.mean() < 0.5


def _predictions(remote: Remote, task: int, version: str) -> dict[str, Any]:
    """The one prediction of this signature."""
    found = remote.client.get("/api/predictions/", task=task)
    (one,) = [each for each in found if each["model_version"] == version]
    return dict(one)

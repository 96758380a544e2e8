"""A real Label Studio: sent, sent again, edited there, pulled, broken off, seen in Chromium."""

from __future__ import annotations

import copy
import io
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.intake import add_photos
from annotator.labelstudio import packing
from annotator.labelstudio.client import Client
from annotator.labelstudio.pull import PullChoices, pull
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.errors import AnnotatorError
from engine.geometry import mask_to_rle
from engine.types import Source, Status
from exports.label_studio import LabelStudioOptions
from exports.label_studio_read import objects_of
from exports.label_studio_rle import encode_brush
from tests.annotator.labelstudio.conftest import store
from tests.annotator.labelstudio.test_push import send
from tests.builders import make_instance
from tests.conftest import save_scene
from tests.labelstudio.server import ACCOUNT, PASSWORD, RealLabelStudio

pytestmark = [pytest.mark.labelstudio, pytest.mark.slow]

PHOTOS = 20
WIDTH, HEIGHT = 320, 240
MACHINE = Source("pro2sam", "sam_vit_b", 1)


@pytest.fixture
def title() -> str:
    """A project there that no other test, and no earlier run, has."""
    return f"birds {uuid.uuid4().hex[:8]}"


def disc(x: float, y: float, radius: float, *, hole: float = 0.0) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    return (distance <= radius) & (distance >= hole)


@pytest.fixture
def twenty(tmp_path: Path) -> Iterator[Project]:
    """Twenty photos; each with a proposal, a decision and a box without a mask."""
    folder = tmp_path / "photos"
    names = [f"写真/é {number:02} #%.png" for number in range(PHOTOS)]
    for seed, name in enumerate(names):
        save_scene(folder / name, seed=seed, width=WIDTH, height=HEIGHT)
    lines = "".join(f"{name},犬 & <cat>;dog\n" for name in names)
    (tmp_path / "tags.csv").write_text("file,labels\n" + lines, encoding="utf-8")
    project = Project.create(tmp_path / "project")
    add_photos(project, folder, actor="tester", tags_file=tmp_path / "tags.csv")
    for number in range(1, PHOTOS + 1):
        ring, solid = disc(100, 100, 60, hole=20), disc(220, 120, 30 + number)
        store(
            project,
            number,
            make_instance(ring | disc(10, 10, 1), category="犬 & <cat>"),
            make_instance(category="dog", box=(1.25, 2.5, 300.125, 200.0)),
            make_instance(
                solid, category="dog", status=Status.PROPOSED, source=MACHINE, score=0.625
            ),
        )
    yield project
    project.close()


def test_there_and_back(twenty: Project, remote: Remote, title: str) -> None:
    with twenty.read() as view:
        meant = {image.file_name: image for image in view.labeled(frozenset(Status))}
    remote.client.post("/api/projects/", {"title": "somebody else's", "label_config": "<View/>"})
    report = send(twenty, remote, title=title)
    assert (report.made, report.sent, report.is_complete) == (True, PHOTOS, True)
    number = report.remote_project

    # Sent again: nothing happens, whether or not the journal is there.
    assert send(twenty, remote, title=title).unchanged == PHOTOS
    shutil.rmtree(twenty.folder / "labelstudio")
    assert (
        send(twenty, remote, title=title).sent,
        send(twenty, remote, title=title).unchanged,
    ) == (0, PHOTOS)

    # What is there is what was meant, bit by bit.
    tasks = {one.data["file_name"]: remote.task(one.id) for one in remote.tasks(number)}
    assert tasks.keys() == meant.keys()
    for name, task in tasks.items():
        result = task["annotations"][0]["result"] + task["predictions"][0]["result"]
        found, problems = objects_of(result, size_hw=(HEIGHT, WIDTH))
        assert problems == []
        for one, ours in zip(found, meant[name].instances, strict=True):
            assert (one.number, one.categories, one.rle) == (ours.id, (ours.category,), ours.rle)
            assert one.extent == pytest.approx(ours.box, abs=1e-9)
        assert task["predictions"][0]["model_version"] == "tag2mask/pro2sam sam_vit_b"
        assert remote.client.get("/api/predictions/", task=task["id"])[0]["score"] == 0.625

    # One edited there, one submitted from its proposal, one skipped.
    edited, submitted, skipped = list(tasks.values())[:3]
    annotation = copy.deepcopy(edited["annotations"][0])
    painted = disc(150, 150, 40)
    for region in annotation["result"]:
        if region["type"] == "brushlabels":
            region["value"]["rle"] = encode_brush(painted)
    remote.set_annotation(annotation["id"], annotation["result"])
    prediction = submitted["predictions"][0]
    body = {"result": prediction["result"], "parent_prediction": prediction["id"]}
    remote.client.post(f"/api/tasks/{submitted['id']}/annotations/", body)
    skip = {"result": [], "was_cancelled": True}
    remote.client.post(f"/api/tasks/{skipped['id']}/annotations/", skip)

    assert send(twenty, remote, title=title).waiting == ()  # nothing changed here
    pulled = pull(twenty, remote, PullChoices(title=title, actor="tester"))
    assert (pulled.changed, pulled.accepted, pulled.rejected) == (1, 1, 0)
    assert (pulled.skipped, pulled.conflicts, pulled.problems) == (1, [], [])
    with twenty.read() as view:
        now = {image.file_name: image for image in view.labeled(frozenset(Status))}
    repainted = now[edited["data"]["file_name"]].instances[0]
    # Drawn by a person before, and so still.
    assert (repainted.status, repainted.rle) == (Status.DRAWN, mask_to_rle(painted))
    accepted = now[submitted["data"]["file_name"]].instances[2]
    assert accepted.status is Status.ACCEPTED
    again = pull(twenty, remote, PullChoices(title=title, actor="tester"))
    assert (again.photos, again.conflicts) == (0, [])
    assert send(twenty, remote, title=title).waiting == ()
    assert len(remote.task(edited["id"])["annotations"]) == 1
    twenty.check_journal()


def test_a_server_that_dies_half_way_and_comes_back(
    twenty: Project,
    server: RealLabelStudio,
    remote: Remote,
    title: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "LARGEST_BATCH", 5)
    original, calls = Remote.import_tasks, []

    def dying(self: Remote, project: int, body: bytes, *, count: int) -> list[int]:
        calls.append(count)
        if len(calls) == 3:
            server.kill()
        return original(self, project, body, count=count)

    monkeypatch.setattr(Remote, "import_tasks", dying)
    with pytest.raises(AnnotatorError, match="no Label Studio answers"):
        send(twenty, remote, title=title)
    server.start()
    assert send(twenty, remote, title=title).sent == PHOTOS - 10
    report = send(twenty, remote, title=title)
    assert report.unchanged == PHOTOS
    ext_ids = [task.ext_id for task in remote.tasks(report.remote_project)]
    assert len(ext_ids) == len(set(ext_ids)) == PHOTOS


def test_a_personal_token_opens_the_door(server: RealLabelStudio, remote: Remote) -> None:
    personal = remote.client.post("/api/token/", {})["token"]
    with Client(server.url, personal) as client:
        assert client.check()[1] == ACCOUNT


def test_chromium_shows_the_mask(
    tmp_path: Path, server: RealLabelStudio, remote: Remote, title: str
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    folder = tmp_path / "photos"
    folder.mkdir()
    # Grey all over: whatever has a colour in the picture of the page was painted by the editor.
    Image.new("RGB", (WIDTH, HEIGHT), (120, 120, 120)).save(folder / "grey.png")
    (tmp_path / "tags.csv").write_text("file,labels\ngrey.png,cat\n", encoding="utf-8")
    project = Project.create(tmp_path / "project")
    add_photos(project, folder, actor="tester", tags_file=tmp_path / "tags.csv")
    mask = disc(160, 120, 80, hole=30)
    store(project, 1, make_instance(mask, category="cat"))
    brush_alone = LabelStudioOptions(boxes=False)
    report = send(project, remote, title=title, options=brush_alone)
    (task,) = list(remote.tasks(report.remote_project))
    project.close()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(60_000)
        picture = _opened(page, server, f"/projects/{report.remote_project}/data?task={task.id}")
        browser.close()
    shot = np.asarray(picture).astype(int)
    height, width = shot.shape[:2]
    assert width / height == pytest.approx(WIDTH / HEIGHT, abs=0.02)
    scale = width / WIDTH
    assert scale > 1
    # Half-way between its two circles the ring has a colour; in its hole and in the corner, none.
    places = [(120, 160 + 55), (120, 160), (10, 10)]
    shades = [int(np.ptp(shot[round(y * scale), round(x * scale)])) for y, x in places]
    assert shades[0] > 20, shades
    assert max(shades[1:]) < 10, shades


def _opened(page: Any, server: RealLabelStudio, path: str) -> Image.Image:
    """What the editor paints of a task, as a picture."""
    page.goto(server.url + "/user/login/")
    page.fill("input[name=email]", ACCOUNT)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/user/login" not in url)
    page.goto(server.url + path)
    page.wait_for_selector("canvas")
    page.wait_for_timeout(4000)  # the brush is unpacked by a worker that tells nobody
    # The first canvas is the frame around those that lie on the photo.
    shot = page.locator("canvas").nth(1).screenshot()
    return Image.open(io.BytesIO(shot)).convert("RGB")

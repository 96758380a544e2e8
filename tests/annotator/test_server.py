"""The server without a port: photos, exports, and everything that it must not hand out."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from annotator import exporting
from annotator.intake import add_photos
from annotator.store import DATABASE, Project
from annotator.ui.projects_tab import ProjectsTab
from annotator.ui.server import build_app
from annotator.workspace import Workspace, key_of
from tests.conftest import save_scene

HERE = "http://127.0.0.1:7860"


@pytest.fixture
def special(tmp_path: Path) -> Iterator[Project]:
    """A plain JPEG, one that is stored lying on its side, a 16-bit TIFF, a PNG with alpha."""
    folder = tmp_path / "photos"
    save_scene(folder / "1-plain.jpg", seed=1)
    turned = Image.new("RGB", (120, 90), (10, 20, 30))
    turned.paste((250, 0, 0), (0, 0, 120, 10))  # its top edge as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: the top edge becomes the right one
    turned.save(folder / "2-turned.jpg", exif=exif, quality=95)
    deep = np.tile(np.linspace(0, 65535, 120).astype(np.uint16), (90, 1))
    Image.fromarray(deep).save(folder / "3-deep.tif")
    Image.new("RGBA", (40, 30), (0, 200, 0, 128)).save(folder / "4-alpha.png")
    project = Project.create(tmp_path / "special")
    add_photos(project, folder, actor="tester")
    yield project
    project.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Workspace]]:
    """One app for all tests; each puts its project on the list."""
    workspace = Workspace(tmp_path_factory.mktemp("state"))

    async def build() -> FastAPI:
        # In a running loop, because Gradio would make one and leave it open.
        return build_app(workspace, actor="tester")

    with TestClient(asyncio.run(build()), base_url=HERE) as running:
        yield running, workspace


@pytest.fixture
def client(served: tuple[TestClient, Workspace], special: Project) -> Iterator[TestClient]:
    running, workspace = served
    workspace.remember(special.folder)
    yield running
    workspace.close()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


# -- photos --------------------------------------------------------------------------------------


def test_a_plain_jpeg_goes_out_as_it_is(
    client: TestClient, special: Project, tmp_path: Path
) -> None:
    answer = client.get(f"/picture/{key_of(special.folder)}/1")
    assert answer.status_code == 200
    assert answer.content == (tmp_path / "photos" / "1-plain.jpg").read_bytes()
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("number", "size"), [(2, (90, 120)), (3, (120, 90)), (4, (40, 30))])
def test_what_a_browser_may_show_wrongly_goes_out_upright_and_8_bit(
    client: TestClient, special: Project, number: int, size: tuple[int, int]
) -> None:
    answer = client.get(f"/picture/{key_of(special.folder)}/{number}")
    shown = opened(answer.content)
    assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", size)
    assert shown.getexif().get(0x0112, 1) == 1
    with special.read() as view:
        photo = view.photo(number)
    assert (photo.width, photo.height) == size


def test_a_turned_photo_is_turned_the_right_way(client: TestClient, special: Project) -> None:
    shown = opened(client.get(f"/picture/{key_of(special.folder)}/2").content)
    right, left = shown.getpixel((85, 60)), shown.getpixel((4, 60))
    assert isinstance(right, tuple)
    assert isinstance(left, tuple)
    assert right[0] > 200
    assert left[0] < 60


def test_a_deep_photo_keeps_its_gradient(client: TestClient, special: Project) -> None:
    shown = np.asarray(opened(client.get(f"/picture/{key_of(special.folder)}/3").content))
    assert shown[45, 2].max() < 20
    assert shown[45, 117].min() > 235


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_thumbnail_is_small_and_has_the_photo_s_shape(
    client: TestClient, special: Project, number: int
) -> None:
    key = key_of(special.folder)
    shown = opened(client.get(f"/thumbnail/{key}/{number}").content)
    again = client.get(f"/thumbnail/{key}/{number}").content
    with special.read() as view:
        photo = view.photo(number)
    assert max(shown.size) <= 192
    assert shown.size[0] / shown.size[1] == pytest.approx(photo.width / photo.height, rel=0.05)
    assert opened(again).size == shown.size


def test_a_photo_that_is_gone_is_a_404_with_the_reason(
    client: TestClient, special: Project, tmp_path: Path
) -> None:
    for name in ("1-plain.jpg", "2-turned.jpg"):
        (tmp_path / "photos" / name).unlink()
    for route in ("picture/{}/1", "picture/{}/2", "thumbnail/{}/2"):
        answer = client.get("/" + route.format(key_of(special.folder)))
        assert answer.status_code == 404
        assert "cannot read photo" in answer.text
        assert answer.headers["cache-control"] == "no-store"  # the file may come back


@pytest.mark.parametrize("route", ["picture", "thumbnail"])
@pytest.mark.parametrize("number", ["99", "0", "-1", str(2**63), str(10**30)])
def test_an_unknown_photo_is_a_404_in_words(
    client: TestClient, special: Project, route: str, number: str
) -> None:
    answer = client.get(f"/{route}/{key_of(special.folder)}/{number}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f"no photo number {number}" in answer.text


@pytest.mark.parametrize("route", ["picture/0123456789ab/1", "thumbnail/x/1", "export/x/coco.json"])
def test_an_unknown_project_is_a_404_in_words(client: TestClient, route: str) -> None:
    answer = client.get(f"/{route}")
    assert answer.status_code == 404
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "not on the list" in answer.text
    assert answer.headers["cache-control"] == "no-store"


# -- what must stay inside -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        DATABASE,
        f"../{DATABASE}",
        f"..%2F{DATABASE}",
        f"%2e%2e%2f{DATABASE}",
        f"..%5C{DATABASE}",
        "..%2F..%2Fphotos%2F1-plain.jpg",
        "%2Fetc%2Fpasswd",
        "coco-1.json%00.sqlite",
    ],
)
@pytest.mark.parametrize("route", ["export", "picture", "thumbnail"])
def test_no_path_leads_out_of_the_exports(
    client: TestClient, special: Project, route: str, name: str
) -> None:
    (special.folder / exporting.EXPORTS).mkdir()
    (special.folder / exporting.EXPORTS / "coco-1.json").write_text("{}")
    answer = client.get(f"/{route}/{key_of(special.folder)}/{name}")
    assert answer.status_code in (400, 404, 422)
    assert b"SQLite" not in answer.content
    assert b"root:" not in answer.content


def test_a_finished_export_can_be_fetched_and_only_that(
    client: TestClient, special: Project
) -> None:
    folder = special.folder / exporting.EXPORTS
    folder.mkdir()
    (folder / "coco-été.json").write_text('{"a": 1}', encoding="utf-8")
    (folder / "notes.txt").write_text("mine")
    key = key_of(special.folder)
    answer = client.get(f"/export/{key}/coco-été.json")
    assert answer.json() == {"a": 1}
    assert answer.headers["content-disposition"].startswith("attachment")
    assert client.get(f"/export/{key}/notes.txt").status_code == 404


def test_gradio_hands_out_neither_the_database_nor_the_photos(
    client: TestClient, special: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also where the server was started inside the project.
    monkeypatch.chdir(special.folder)
    wanted = [
        str(special.folder / DATABASE),
        DATABASE,
        f"./{DATABASE}",
        str(tmp_path / "photos" / "1-plain.jpg"),
        "/etc/passwd",
        f"{os.sep}proc{os.sep}self{os.sep}environ",
    ]
    for path in wanted:
        for route in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/static/"):
            answer = client.get(route + path)
            assert answer.status_code in (403, 404), (route, path)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""]
)
def test_another_host_name_is_refused(client: TestClient, special: Project, host: str) -> None:
    for path in ("/", "/config", f"/picture/{key_of(special.folder)}/1"):
        assert client.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("address", ["/", "/config", "/picture/x/1", "/nothing/here"])
def test_no_other_site_may_show_our_pages_inside_of_its_own(
    client: TestClient, address: str
) -> None:
    for headers in ({}, {"origin": "http://elsewhere.example"}, {"host": "elsewhere.example"}):
        answer = client.get(address, headers=headers)
        assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_the_names_of_this_machine_are_answered(
    client: TestClient, special: Project, host: str
) -> None:
    path = f"/picture/{key_of(special.folder)}/1"
    assert client.get(path, headers={"Host": host}).status_code == 200


# -- the page ------------------------------------------------------------------------------------


@pytest.fixture
def config(client: TestClient) -> dict[str, Any]:
    value: dict[str, Any] = client.get("/config").json()
    return value


def review_id(config: dict[str, Any]) -> int:
    (found,) = [
        one["id"]
        for one in config["components"]
        if one["type"] == "html" and "review_op" in (one["props"].get("server_fns") or [])
    ]
    return int(found)


def test_the_review_screen_is_filled_without_a_veil_and_never_sent_back(
    config: dict[str, Any],
) -> None:
    review = review_id(config)
    filling = [one for one in config["dependencies"] if review in one["outputs"]]
    assert filling
    assert {one["show_progress"] for one in filling} == {"hidden"}
    assert [one for one in config["dependencies"] if review in one["inputs"]] == []


def test_nothing_on_the_page_points_outside(config: dict[str, Any]) -> None:
    text = json.dumps([one["props"] for one in config["components"]])
    text += config.get("css") or ""
    found = set(re.findall(r"https?://[^\s\"'\\)<>]+", text))
    # A name that means a namespace, and this machine as the example of a Label Studio's address.
    harmless = ("http://www.w3.org/", "http://localhost:8080")
    assert {url for url in found if not url.startswith(harmless)} == set()


def test_nothing_is_reported_home(config: dict[str, Any]) -> None:
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert config["analytics_enabled"] is False


def ask(client: TestClient, config: dict[str, Any], **message: Any) -> Any:
    body = {
        "component_id": review_id(config),
        "fn_name": "review_op",
        "session_hash": "s",
        "data": message,
    }
    return client.post("/gradio_api/component_server/", json=body)


def test_the_review_function_answers_over_http(
    client: TestClient, config: dict[str, Any], special: Project
) -> None:
    key = key_of(special.folder)
    full = ask(client, config, op="open", project=key).json()["full"]
    assert (full["photo"], full["name"], full["nav"]["total"]) == (1, "1-plain.jpg", 4)
    assert client.get(full["image"]["url"]).status_code == 200
    assert client.get(full["image"]["thumb"]).status_code == 200
    wrong = ask(client, config, op="open", project="nobody's").json()
    assert wrong["error"]["code"] == "store"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000"])
@pytest.mark.parametrize("how", ["json", "form"])
def test_a_page_of_another_site_cannot_act_through_the_browser(
    client: TestClient, config: dict[str, Any], special: Project, how: str, origin: str
) -> None:
    message = {"op": "add_class", "project": key_of(special.folder), "photo": 1, "name": "owned"}
    fields = {"component_id": review_id(config), "fn_name": "review_op", "session_hash": "s"}
    headers = {"Origin": origin}
    if how == "json":
        body = json.dumps({**fields, "data": message})
        headers["Content-Type"] = "text/plain"  # what a browser sends without asking first
        answer = client.post("/gradio_api/component_server/", content=body, headers=headers)
    else:
        form = {name: (None, json.dumps(value)) for name, value in fields.items()}
        form["data"] = (None, json.dumps(message))
        answer = client.post("/gradio_api/component_server/", files=form, headers=headers)
    assert answer.status_code == 403
    with special.read() as view:
        assert view.category_names() == {}


@pytest.mark.parametrize("origin", [HERE, "http://localhost:7860", "http://[::1]:7860"])
def test_our_own_page_may_act(
    client: TestClient, config: dict[str, Any], special: Project, origin: str
) -> None:
    host = origin.removeprefix("http://")
    body = {
        "component_id": review_id(config),
        "fn_name": "review_op",
        "session_hash": "s",
        "data": {"op": "add_class", "project": key_of(special.folder), "photo": 1, "name": "owl"},
    }
    answer = client.post(
        "/gradio_api/component_server/", json=body, headers={"Origin": origin, "Host": host}
    )
    assert [one["name"] for one in answer.json()["full"]["classes"]] == ["owl"]


def test_the_page_survives_an_address_that_makes_no_sense(client: TestClient) -> None:
    assert client.get("/?project=%00&photo=x&tab=../..").status_code == 200


def test_a_tab_that_opens_before_the_page_has_loaded_hides_nothing(tmp_path: Path) -> None:
    async def build() -> ProjectsTab:
        with gr.Blocks():
            return ProjectsTab(Workspace(tmp_path), gr.State(None), actor="tester")

    tab = asyncio.run(build())
    assert tab.look_again(None) == [gr.skip() for _ in tab.outputs]
    assert tab.show(None, None)[0] != gr.skip()

"""The backend answers as Label Studio 1.23.2 asks, in order and in time, and fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from annotator.assist import Assistant
from annotator.labelstudio import contents
from annotator.labelstudio.backend import Backend, build_backend_app
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine import pipelines
from engine.geometry import mask_to_rle, rle_to_mask
from engine.segmenters.classical import ClassicalSegmenter
from exports.label_studio import BITMASK, BRUSH, RECTANGLE
from exports.label_studio_config import label_config
from exports.label_studio_read import objects_of, our_number
from tests.annotator.labelstudio.conftest import MASK
from tests.annotator.labelstudio.fake_server import FakeLabelStudio
from tests.annotator.labelstudio.test_pull import on, take
from tests.annotator.labelstudio.test_push import send

CONFIG = label_config(("cat", "dog"), (RECTANGLE, BRUSH))


@pytest.fixture
def client(filled: Project) -> Iterator[TestClient]:
    assistant = Assistant(ClassicalSegmenter)
    app = build_backend_app(Backend(filled, assistant))
    with TestClient(app, base_url="http://localhost:9090") as running:
        yield running
    assistant.close()


def task(project: Project, image_id: int) -> dict[str, Any]:
    ext_id = contents.ext_id_of(contents.key_of(project), image_id)
    return {"id": 70 + image_id, "data": {"ext_id": ext_id, "image": "http://nowhere/x.png"}}


def ask(client: TestClient, tasks: list[Any], *, drawn: Any = None, config: str = CONFIG) -> Any:
    context = None if drawn is None else {"annotation_id": 1, "result": drawn}
    body = {
        "tasks": tasks,
        "project": "1.1",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200
    return answer.json()["results"]


def click(x: float, y: float, *, positive: int = 1) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": ["dog"]}
    return {"type": "keypointlabels", "value": value, "is_positive": positive}


def test_health_and_setup_answer_at_once_and_load_nothing(
    filled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> Any:
        raise AssertionError("nobody asked for a proposal or a mask")

    monkeypatch.setattr(pipelines, "build", load)
    assistant = Assistant(load)
    app = build_backend_app(Backend(filled, assistant))
    with TestClient(app, base_url="http://localhost:9090") as client:
        assert_it_is_there(client)
        with pytest.raises(AssertionError, match="nobody asked"):
            ask(client, [task(filled, 4)])  # or the proof would prove nothing
    assistant.close()


def assert_it_is_there(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "UP"
    body = {"project": "1.1", "schema": CONFIG, "hostname": "x", "access_token": "secret"}
    answer = client.post("/setup", json=body)
    assert answer.json() == {"model_version": "tag2mask/classical"}
    assert client.get("/versions").json() == {"versions": ["tag2mask/classical"]}
    assert client.post("/webhook", json={"action": "START_TRAINING"}).status_code == 200


def test_known_proposals_are_answered_in_the_order_of_the_tasks(
    client: TestClient, filled: Project
) -> None:
    first, second = ask(client, [task(filled, 2), task(filled, 1)])
    ((one,), problems) = objects_of(first["result"])
    assert (one.number, one.categories, one.rle, problems) == (3, ("dog",), mask_to_rle(MASK), [])
    assert [each["id"] for each in second["result"]] == ["2-box", "2"]
    assert (first["score"], first["model_version"]) == (0.75, "tag2mask/classical")


def test_a_photo_without_proposals_is_looked_at(client: TestClient, filled: Project) -> None:
    (result,) = ask(client, [task(filled, 4)])
    found, problems = objects_of(result["result"], size_hw=(90, 120))
    assert problems == []
    assert found
    assert {name for one in found for name in one.categories} == {"dog"}
    with filled.read() as view:
        assert view.instances(4) == []  # asking changes nothing here


def test_suggestions_that_are_not_in_the_project_come_back_as_new_objects(
    client: TestClient, filled: Project, remote: Remote, fake: FakeLabelStudio
) -> None:
    send(filled, remote)
    (result,) = ask(client, [task(filled, 4)])
    (again,) = ask(client, [task(filled, 4)])
    ids = [region["id"] for region in result["result"]]
    assert ids == [region["id"] for region in again["result"]]
    assert len(set(ids)) == len(ids)
    assert all(our_number(one) is None for one in ids)
    there = fake.task_of("été/写真.png")
    accepted = [{**region, "origin": "prediction"} for region in result["result"]]
    fake.submit(there, accepted, parent_prediction=4711)
    report = take(filled, remote)
    suggested, _ = objects_of(result["result"], size_hw=(90, 120))
    assert (report.added, report.conflicts) == (len(suggested), [])
    # A rectangle and the mask beside it are one object.
    assert [one.rle for one in on(filled, 4)] == [one.rle for one in suggested]
    assert all(one.rle is not None and one.category == "dog" for one in on(filled, 4))
    fake.edit(there, there["annotations"][0], [])
    assert take(filled, remote).rejected == len(suggested)


def test_one_bad_task_costs_the_others_nothing(client: TestClient, filled: Project) -> None:
    strangers = [{"data": {"ext_id": "other-1"}}, {"data": {}}, 5, task(filled, 999)]
    results = ask(client, [strangers[0], task(filled, 2), *strangers[1:]])
    assert [bool(one["result"]) for one in results] == [False, True, False, False, False]


def test_a_click_is_answered_with_a_mask_that_holds_it(client: TestClient, filled: Project) -> None:
    (result,) = ask(client, [task(filled, 1)], drawn=[click(45.0, 50.0)])
    (region,) = result["result"]
    assert (region["type"], region["value"][BRUSH]) == (BRUSH, ["dog"])
    assert our_number(region["id"]) is None  # and never can be one of ours
    assert not region["id"][0].isdecimal()
    ((one,), _) = objects_of([region], size_hw=(90, 120))
    assert one.rle is not None
    mask = rle_to_mask(one.rle)
    assert mask[45, 54]
    assert 0 < mask.mean() < 0.9
    assert one.number is None


def test_a_box_is_answered_with_a_mask_inside_it(client: TestClient, filled: Project) -> None:
    value = {"x": 25.0, "y": 20.0, "width": 50.0, "height": 60.0, RECTANGLE: ["cat"]}
    (result,) = ask(client, [task(filled, 1)], drawn=[{"type": RECTANGLE, "value": value}])
    ((one,), _) = objects_of(result["result"], size_hw=(90, 120))
    assert one.rle is not None
    rows, columns = np.nonzero(rle_to_mask(one.rle))
    assert columns.min() >= 30
    assert columns.max() < 90
    assert rows.min() >= 18
    assert rows.max() < 72
    assert one.categories == ("cat",)


def test_a_config_with_bitmasks_gets_bitmasks(client: TestClient, filled: Project) -> None:
    config = label_config(("dog",), (RECTANGLE, BITMASK))
    (result,) = ask(client, [task(filled, 1)], drawn=[click(45.0, 50.0)], config=config)
    assert result["result"][0]["type"] == BITMASK


@pytest.mark.parametrize("config", ["", "<View/>", "<View><Image name='i' value='$i'/></View>"])
def test_a_config_without_our_controls_gets_empty_answers(
    client: TestClient, filled: Project, config: str
) -> None:
    results = ask(client, [task(filled, 1), task(filled, 2)], config=config)
    assert [one["result"] for one in results] == [[], []]


@pytest.mark.parametrize("drawn", [[{"type": "keypointlabels", "value": {"x": "a"}}], [5]])
def test_a_click_without_sense_gets_an_empty_answer(
    client: TestClient, filled: Project, drawn: Any
) -> None:
    (result,) = ask(client, [task(filled, 1)], drawn=drawn)
    assert result["result"] == []


def test_other_host_names_are_refused(client: TestClient) -> None:
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_out_of_time_what_is_known_is_answered(filled: Project) -> None:
    assistant = Assistant(ClassicalSegmenter)
    app = build_backend_app(Backend(filled, assistant, budget=-1.0))
    with TestClient(app, base_url="http://localhost") as client:
        known, unknown = ask(client, [task(filled, 2), task(filled, 4)])
    assistant.close()
    assert known["result"]
    assert unknown["result"] == []

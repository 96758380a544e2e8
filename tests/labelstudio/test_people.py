"""A real Label Studio where several people work on a photo: each says only what it was shown."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.intake import add_photos
from annotator.labelstudio.pull import PullChoices, PullReport, pull
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.types import Source, Status
from tests.annotator.labelstudio.conftest import replace_instance, store
from tests.annotator.labelstudio.test_push import send
from tests.builders import make_instance, make_mask
from tests.conftest import save_scene

pytestmark = [pytest.mark.labelstudio, pytest.mark.slow]

WIDTH, HEIGHT = 120, 90
SAM, DETECTOR = Source("pro2sam", "sam_vit_b", 1), Source("detector", "m1", 1)
DECIDED, FIRST, SECOND = 1, 2, 3  # ids of the objects: a decision, and a proposal of each model


def mask(left: int) -> np.ndarray:
    return make_mask((left, 20, left + 20, 60), height=HEIGHT, width=WIDTH)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Project]:
    """A photo with a decision and with proposals of two models."""
    save_scene(tmp_path / "photos" / "a.png", width=WIDTH, height=HEIGHT)
    project = Project.create(tmp_path / "project")
    add_photos(project, tmp_path / "photos", actor="tester")
    with project.write() as transaction:
        for name in ("cat", "dog"):
            transaction.add_category(name, actor="tester")
    given: dict[str, Any] = {"category": "dog", "status": Status.PROPOSED, "score": 0.5}
    store(
        project,
        1,
        make_instance(mask(5), category="cat"),
        make_instance(mask(40), source=SAM, **given),
        make_instance(mask(80), source=DETECTOR, **given),
    )
    yield project
    project.close()


class There:
    """The one task, as people see it."""

    def __init__(self, project: Project, remote: Remote) -> None:
        self.project, self.remote = project, remote
        self.title = f"people {uuid.uuid4().hex[:8]}"
        self.number = self.send().remote_project
        (task,) = remote.tasks(self.number)
        self.id = task.id

    def send(self) -> Any:
        return send(self.project, self.remote, title=self.title)

    def take(self) -> PullReport:
        return pull(self.project, self.remote, PullChoices(title=self.title, actor="tester"))

    @property
    def task(self) -> dict[str, Any]:
        return self.remote.task(self.id)

    def prediction(self, model: str) -> dict[str, Any]:
        (found,) = [one for one in self.task["predictions"] if model in one["model_version"]]
        return dict(found)

    def submit(self, result: list[Any], **more: Any) -> int:
        return self.remote.add_annotation(self.id, {"result": result, **more})

    def statuses(self) -> dict[int, str]:
        with self.project.read() as view:
            return {one.id or 0: one.status.value for one in view.instances(1)}


@pytest.fixture
def there(one: Project, remote: Remote) -> There:
    return There(one, remote)


def drawn(key: str) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    value = {"x": 1.0, "y": 1.0, "width": 9.0, "height": 9.0, "rotation": 0}
    names = {"id": key, "type": "rectanglelabels", "from_name": "box", "to_name": "image"}
    return {**names, **size, "value": {**value, "rectanglelabels": ["cat"]}}


def test_an_annotation_made_from_our_prediction_pulled_and_emptied(there: There) -> None:
    prediction = there.prediction("pro2sam")
    number = there.submit(prediction["result"], parent_prediction=prediction["id"])
    report = there.take()
    assert (report.accepted, report.rejected, report.conflicts) == (1, 0, [])
    # Submitting the proposals of one model says nothing of those of another.
    assert there.statuses() == {DECIDED: "accepted", FIRST: "accepted", SECOND: "proposed"}
    assert there.send().waiting == ()
    there.remote.set_annotation(number, [])
    report = there.take()
    assert (report.rejected, report.conflicts) == (1, [])
    assert there.statuses() == {DECIDED: "accepted", FIRST: "rejected", SECOND: "proposed"}
    assert there.take().read == 0
    assert there.send().waiting == ()


def test_what_was_deleted_from_our_proposals_before_submitting(there: There) -> None:
    prediction = there.prediction("detector")
    there.submit([], parent_prediction=prediction["id"])
    assert there.take().rejected == 1
    assert there.statuses() == {DECIDED: "accepted", FIRST: "proposed", SECOND: "rejected"}


def test_the_prediction_of_somebody_else_answers_none_of_ours(there: There) -> None:
    other = {"model_version": "somebody", "result": [drawn("zzz")], "score": 0.5}
    number = there.remote.add_prediction(there.number, there.id, other)
    there.submit([drawn("zzz")], parent_prediction=number)
    report = there.take()
    assert (report.added, report.rejected) == (1, 0)
    assert list(there.statuses().values()) == ["accepted", "proposed", "proposed", "drawn"]


def test_two_people_and_a_deleted_annotation(there: There) -> None:
    ours = there.task["annotations"][0]
    number = there.submit([drawn("theirs")])
    assert there.take().added == 1
    before = there.statuses()
    # Update on ours without a change: what another person drew was never in it.
    there.remote.set_annotation(ours["id"], copy.deepcopy(ours["result"]))
    assert (there.take().photos, there.statuses()) == (0, before)
    # A copy of ours, without what ours holds.
    there.submit([], parent_annotation=ours["id"])
    assert there.take().rejected == 1
    assert there.statuses()[DECIDED] == "rejected"
    there.remote.client.delete(f"/api/annotations/{number}/")
    report = there.take()
    assert (len(report.deleted), report.photos) == (1, 0)
    assert there.take().deleted == []


def test_what_changes_here_afterwards_goes_beside_theirs(there: There) -> None:
    # By the time that it was made a project is told from another one of the same number.
    assert there.remote.project(there.number).created
    ours = there.task["annotations"][0]
    there.remote.set_annotation(ours["id"], [*ours["result"], drawn("theirs")])
    assert there.take().added == 1
    with there.project.read() as view:
        (decided, *_) = view.instances(1)
    replace_instance(there.project, 1, make_instance(mask(6), category="dog", id=decided.id))
    assert there.send().updated == 1
    annotations = there.task["annotations"]
    assert [one["import_id"] for one in annotations] == [1, 1]
    report = there.take()
    assert (report.photos, report.conflicts, report.deleted) == (0, [], [])
    replace_instance(there.project, 1, make_instance(mask(7), category="dog", id=decided.id))
    assert there.send().updated == 1
    assert len(there.task["annotations"]) == 2  # ours is known by its number, and changed
    assert there.send().unchanged == 1

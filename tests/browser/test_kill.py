"""A server killed in the middle of a review, again and again: what was saved is there, once."""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotator import runs, schema
from annotator.intake import add_photos
from annotator.store import Project
from annotator.workspace import Workspace
from tests.browser.conftest import Server
from tests.conftest import save_scene
from tests.fakes import proposal

pytestmark = pytest.mark.slow

ROUNDS = 20
LONGEST_ROUND = 12  # operations acknowledged before a kill
LONGEST_DELAY = 0.3  # seconds from there to the kill: in the midst of one operation or another
PHOTOS = 4
WIDTH, HEIGHT = 120, 90

Message = dict[str, Any]


class Gone(Exception):
    """The server went away before it answered."""


class Reviewer:
    """A page without a browser: acts at random, remembers what the server has acknowledged."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self._connection: http.client.HTTPConnection | None = None
        self._component = 0
        self.photo = 0
        self.revision = 0
        self.instances: dict[int, Message] = {}
        self.classes: list[int] = []
        self.acknowledged: list[str] = []
        self.pending: Message | None = None  # sent, not answered

    def connect(self) -> Message:
        """Load the page and open the photo where the review stopped; what it shows."""
        self._connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=240)
        self._connection.request("GET", "/config")
        config = json.loads(self._connection.getresponse().read())
        self._component = next(
            one["id"] for one in config["components"] if one["props"].get("server_fns")
        )
        shown = self._post({"op": "open", "project": self._server.key, "photo": None})["full"]
        self._take(shown)
        return dict(shown)

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def act(self) -> None:
        """One gesture; Gone if the server is. A refusal is an answer too."""
        self.send(
            {
                "project": self._server.key,
                "photo": self.photo,
                "op_id": f"{self._chance.getrandbits(64):016x}",
                "base_rev": self.revision,
                **self._gesture(),
            }
        )

    def send(self, message: Message) -> Message:
        """Send a message, perhaps for the second time, and take in the answer."""
        self.pending = message
        answer = self._post(message)
        self.pending = None
        if "error" in answer:
            assert answer["error"]["code"] == "review", answer
            return answer
        if "full" in answer:
            self._take(answer["full"])
        else:
            for one in answer["upsert"]:
                self.instances[one["id"]] = one
            for number in answer["remove"]:
                self.instances.pop(number, None)
            if answer["rev"] > message["base_rev"]:  # else it changed nothing
                self.acknowledged.append(message["op_id"])
            self.revision = answer["rev"]
        return answer

    def _take(self, full: Message) -> None:
        self.photo, self.revision = full["photo"], full["rev"]
        self.instances = {one["id"]: one for one in full["instances"]}
        self.classes = [one["id"] for one in full["classes"]]

    def _post(self, message: Message) -> Message:
        body = {
            "component_id": self._component,
            "fn_name": "review_op",
            "session_hash": "kill",
            "data": message,
        }
        if self._connection is None:
            raise Gone
        try:
            self._connection.request(
                "POST",
                "/gradio_api/component_server/",
                body=json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone from error
        assert answer.status == 200, content
        value: Message = json.loads(content)
        return value

    def _gesture(self) -> Message:
        chance = self._chance
        number = chance.choice([*self.instances]) if self.instances else None
        cls = chance.choice(self.classes)
        x, y = chance.uniform(0, WIDTH - 30), chance.uniform(0, HEIGHT - 25)
        box = [x, y, x + chance.uniform(5, 30), y + chance.uniform(5, 25)]
        new = [
            {"op": "add_box", "cls": cls, "box": box},
            {"op": "click", "id": None, "cls": cls, "point": [x, y, 1]},
            {"op": "step", "dir": chance.choice([-1, 1])},
            {"op": "undo"},
            {"op": "undo"},
            {"op": "redo"},
        ]
        if number is None:
            return chance.choice(new)
        stroke = {"op": "brush", "id": number, "radius": chance.uniform(1, 8)}
        changes: list[Message] = [
            {"op": "set_status", "id": number, "status": "accepted"},
            {"op": "set_status", "id": number, "status": "rejected"},
            {"op": "set_class", "id": number, "cls": cls},
            {"op": "set_box", "id": number, "box": box},
            {"op": "click", "id": number, "cls": cls, "point": [x, y, chance.choice([0, 1])]},
            {**stroke, "mode": "add", "pts": [[x, y], [x + 9, y + 4]]},
            {**stroke, "mode": "erase", "pts": [[x, y], [x + 9, y + 4]]},
            {"op": "delete", "id": number},
        ]
        return chance.choice(new + changes)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    """A server on a small project in which every photo has two proposals."""
    for seed in range(PHOTOS):
        save_scene(tmp_path / "photos" / f"{seed}.png", seed=seed, width=WIDTH, height=HEIGHT)
    names = [f"{seed}.png,{'cat;dog' if seed else 'dog;cat'}" for seed in range(PHOTOS)]
    (tmp_path / "tags.csv").write_text("file,labels\n" + "\n".join(names) + "\n")
    project = Project.create(tmp_path / "project")
    add_photos(project, tmp_path / "photos", actor="tester", tags_file=tmp_path / "tags.csv")
    ids = range(1, PHOTOS + 1)
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=ids)
    found = [proposal((10, 10, 60, 50)), proposal((40, 30, 110, 80), category=None)]
    for image_id in ids:
        runs.record_photo(project, run_id, image_id, instances=found, seconds=0.1)
    runs.finish(project, run_id, status=runs.DONE)
    project.close()
    state = tmp_path / "state"
    Workspace(state / "tag2mask").remember(project.folder)
    server = Server(project.folder, state)
    server.start()
    yield server
    if server.process is not None:
        server.stop()


def stored(project: Project, image_id: int) -> dict[int, Message]:
    """The objects of a photo as the store has them, in the words of the page."""
    with project.read() as view:
        ids = view.category_ids()
        return {
            one.id or 0: {
                "status": one.status.value,
                "cls": None if one.category is None else ids[one.category],
                "box": list(one.box),
                "rle": None if one.rle is None else one.rle.as_dict(),
                "points": [list(point) for point in one.points],
            }
            for one in view.instances(image_id)
        }


def shown(instances: dict[int, Message]) -> dict[int, Message]:
    """The objects of the page, without what the store keeps elsewhere."""
    kept = ("status", "cls", "box", "rle", "points")
    return {number: {name: one[name] for name in kept} for number, one in instances.items()}


def operations(project: Project) -> Counter[str]:
    """How often each operation stands in the journal."""
    with project.read() as view:
        column = schema.journal.c.operation
        query = select(column).where(column.is_not(None))
        return Counter(view.connection.execute(query).scalars())


def work_until_killed(
    server: Server, reviewer: Reviewer, *, operations: int, seconds: float
) -> None:
    """Act as fast as answers come, until a kill from another thread ends it.

    It comes so many seconds after the server has acknowledged so many operations.
    """
    assert server.process is not None
    enough = len(reviewer.acknowledged) + operations
    while len(reviewer.acknowledged) < enough:
        reviewer.act()
    killer = threading.Timer(seconds, server.process.kill)
    killer.start()
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline:
            reviewer.act()
    except Gone:
        return
    finally:
        killer.join()
    raise AssertionError("the server outlived its kill")


@pytest.mark.timeout(3600)  # a server starts once a round
def test_what_was_acknowledged_survives_every_kill_and_nothing_is_done_twice(
    running: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, moments = random.Random(20), random.Random(21)
    reviewer = Reviewer(running, chance)
    reviewer.connect()
    unanswered = 0
    for _ in range(ROUNDS):
        delay, work = moments.uniform(0, LONGEST_DELAY), moments.randint(0, LONGEST_ROUND)
        work_until_killed(running, reviewer, operations=work, seconds=delay)
        reviewer.disconnect()
        running.kill()
        restart = threading.Thread(target=running.start)
        restart.start()
        pending = reviewer.pending
        assert pending is not None
        project = Project.open(running.folder)
        try:
            in_journal = check(project, reviewer, pending)
        finally:
            restart.join()
        unanswered += in_journal
        before = reviewer.photo
        full = reviewer.connect()
        if pending["op"] != "step":
            assert full["photo"] == before
        assert shown(reviewer.instances) == stored(project, reviewer.photo)
        if pending["op"] != "step":  # as the page does it: once more, by the same name
            answer = reviewer.send(pending)
            assert ("full" in answer) == bool(in_journal)
            assert operations(project)[pending["op_id"]] <= 1
            assert shown(reviewer.instances) == stored(project, reviewer.photo)
        project.close()
    reviewer.disconnect()
    assert len(reviewer.acknowledged) > 3 * ROUNDS
    with capsys.disabled():
        sys.stdout.write(
            f"\n{ROUNDS} kills, {len(reviewer.acknowledged)} acknowledged operations all there "
            f"once; {unanswered} were saved whose answer was lost\n"
        )


def check(project: Project, reviewer: Reviewer, pending: Message) -> int:
    """Everything acknowledged is there once and nothing else; whether the pending one is too."""
    project.check_journal()
    found = operations(project)
    in_journal = found[pending["op_id"]]
    assert set(found.values()) <= {1}
    assert set(found) - {pending["op_id"]} == set(reviewer.acknowledged)
    if not in_journal:
        assert stored(project, reviewer.photo) == shown(reviewer.instances)
    else:
        reviewer.acknowledged.append(pending["op_id"])
    return in_journal

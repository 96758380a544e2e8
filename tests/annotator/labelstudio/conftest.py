"""A fake server, and a project with something to send."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from annotator.journal import Change
from annotator.labelstudio.client import Client, Waiting
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from annotator.views import instance_row
from engine.types import Instance, Source, Status
from tests.annotator.labelstudio.fake_server import LEGACY, FakeLabelStudio
from tests.builders import make_instance, make_mask

QUICK = Waiting(timeout=60.0, repeats=3, pause=0.01)  # to repeat; what is slow is no failure


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as running:
        yield running


@pytest.fixture
def remote(fake: FakeLabelStudio) -> Iterator[Remote]:
    with Client(fake.url, LEGACY, QUICK) as client:
        let_it_lose_patience(client, fake)
        yield Remote(client)


def let_it_lose_patience(client: Client, fake: FakeLabelStudio) -> None:
    """Soon, with an answer that the server will withhold, and with no other one."""

    def look(request: httpx.Request) -> None:
        failure = fake.next_failure(request.method, request.url.path)
        if failure is not None and failure.how == "stall":
            # Where the server does first what it was asked for, it needs the time for that.
            request.extensions["timeout"]["read"] = 4.0 if failure.is_done else 1.0

    client._http.event_hooks["request"].append(look)


def store(project: Project, image_id: int, *instances: Instance) -> list[int]:
    """Put instances on a photo, as the journal would; their ids."""
    with project.write() as transaction:
        ids = transaction.category_ids()
        changes = [
            Change("instance", None, None, instance_row(one, image_id=image_id, category_ids=ids))
            for one in instances
        ]
        event = transaction.record("test", changes, actor="tester", image_id=image_id)
    return [change.id for change in event.changes if change.id is not None]


def replace_instance(project: Project, image_id: int, instance: Instance) -> None:
    """Change an instance of a photo."""
    with project.write() as transaction:
        row = instance_row(instance, image_id=image_id, category_ids=transaction.category_ids())
        before = transaction.row("instance", instance.id)
        change = Change("instance", instance.id, before, row)
        transaction.record("test", [change], actor="tester", image_id=image_id)


MASK = make_mask((10, 12, 40, 30), (60, 50, 61, 51), height=90, width=120)
OTHER = make_mask((70, 20, 110, 80), height=90, width=120)
MACHINE = Source("pro2sam", "sam_vit_b", 1, {"tau_b": 0.2})


def proposed(mask: object = None, **fields: object) -> Instance:
    """A proposal of a machine."""
    given = {"status": Status.PROPOSED, "source": MACHINE, "score": 0.75}
    return make_instance(mask, **{**given, **fields})  # type: ignore[arg-type]


@pytest.fixture
def filled(project: Project) -> Project:
    """Photo 1: a decision and a proposal; photo 2: a proposal; photo 3: a box; photo 4: nothing."""
    store(project, 1, make_instance(MASK, category="cat"), proposed(OTHER, category="dog"))
    store(project, 2, proposed(MASK, category="dog"))
    store(project, 3, make_instance(category="dog", box=(5.0, 6.0, 50.5, 60.25)))
    return project

"""A real Label Studio behind a connection that breaks off in the middle of a push."""

from __future__ import annotations

import socket
import socketserver
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.intake import add_photos
from annotator.labelstudio import packing
from annotator.labelstudio.client import Client, LabelStudioError
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.types import Status
from tests.annotator.labelstudio.conftest import store
from tests.annotator.labelstudio.test_push import send
from tests.builders import make_instance
from tests.conftest import save_scene
from tests.labelstudio.server import RealLabelStudio

pytestmark = [pytest.mark.labelstudio, pytest.mark.slow]

PHOTOS, BATCH = 20, 5
IMPORT = b"return_task_ids"


class BreakingLine(socketserver.ThreadingTCPServer):
    """Passes on all bytes, but cuts the line once: at the second batch of tasks."""

    daemon_threads = True

    def __init__(self, port: int, *, lost: str) -> None:
        super().__init__(("127.0.0.1", 0), _Line)
        self.port, self.lost = port, lost
        self.batches = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Line(socketserver.BaseRequestHandler):
    server: BreakingLine

    def handle(self) -> None:
        self.is_lost = False
        with socket.create_connection(("127.0.0.1", self.server.port)) as there:
            back = threading.Thread(target=self._answers, args=(there,), daemon=True)
            back.start()
            while data := self._received(self.request):
                if IMPORT in data:
                    self.server.batches += 1
                    self.is_lost = self.server.batches == 2
                if self.is_lost and self.server.lost == "request":
                    break
                there.sendall(data)
            self._cut(there)
            back.join()

    def _answers(self, there: socket.socket) -> None:
        while data := self._received(there):
            if self.is_lost:
                break
            self.request.sendall(data)
        self._cut(self.request)

    def _received(self, end: socket.socket) -> bytes:
        try:
            return end.recv(65536)
        except OSError:
            return b""

    def _cut(self, end: socket.socket) -> None:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was cut from the other side


@pytest.fixture
def twenty(tmp_path: Path) -> Iterator[Project]:
    """Twenty photos with a proposal each."""
    for seed in range(PHOTOS):
        save_scene(tmp_path / "photos" / f"{seed:02}.png", seed=seed)
    project = Project.create(tmp_path / "project")
    add_photos(project, tmp_path / "photos", actor="tester")
    with project.write() as transaction:
        transaction.add_category("cat", actor="tester")
    for number in range(1, PHOTOS + 1):
        store(project, number, make_instance(category="cat", status=Status.PROPOSED, score=0.5))
    yield project
    project.close()


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_line_that_breaks_makes_nothing_twice(
    lost: str, twenty: Project, server: RealLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LARGEST_BATCH", BATCH)
    title = f"breaks {uuid.uuid4().hex[:8]}"
    with BreakingLine(server.port, lost=lost) as line:
        threading.Thread(target=line.serve_forever, args=(0.05,), daemon=True).start()
        with Client(line.url, server.token) as client:
            remote = Remote(client)
            if lost == "request":
                # Nothing of it arrived: the push says so, and the next one goes on from there.
                with pytest.raises(LabelStudioError, match="0 of the 5 photos on their way"):
                    send(twenty, remote, title=title)
                assert send(twenty, remote, title=title).sent == PHOTOS - BATCH
            else:
                # All of it arrived: the push finds it there and goes on by itself.
                report = send(twenty, remote, title=title, settle_seconds=1.0)
                assert (report.sent, report.is_complete) == (PHOTOS, True)
            report = send(twenty, remote, title=title)
            assert (report.unchanged, report.twice) == (PHOTOS, ())
            ext_ids = [task.ext_id for task in remote.tasks(report.remote_project)]
        assert line.batches >= PHOTOS // BATCH
        line.shutdown()
    assert len(ext_ids) == len(set(ext_ids)) == PHOTOS

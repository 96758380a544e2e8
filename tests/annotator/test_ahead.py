"""The process that prepares photos ahead: order, deaths, and no traces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from annotator import ahead
from engine import photos
from engine.segmenters.cached import photo_key
from tests import photo_gates
from tests.annotator.desk import PATIENT, SLOW_WIDTH, Desk, is_alive, until

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.timeout(900)  # the process has what every other program leaves of it


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.process.close()


def test_photos_come_in_the_order_of_the_newest_wishes_and_a_killed_process_starts_again(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = desk.process
    assert process.pid is None  # nothing wished, nothing started
    wishes = [desk.wish(name) for name in ("a", "b", "c", "d")]
    gate(desk, "b", monkeypatch)
    assert process.wish(wishes)
    until(lambda: desk.has_in_hand("b"))
    assert desk.ready == ["a"]
    (desk.folder / "torn.png").write_bytes(b"no photo")
    newest = ["e", "torn", "f"]
    assert process.wish([desk.wish(name) for name in newest])
    until(desk.has_heard)
    photo_gates.let_in([desk.photo("b")])
    until(lambda: "f" in desk.ready)
    # "b" was in hand already when the newer wishes came, and perhaps "c"; never "d".
    assert [name for name in desk.ready if name != "c"] == ["a", "b", "e", "f"]
    for name in ("a", "e", "f"):
        image = photos.load(desk.folder / f"{name}.png")
        assert desk.keys[name] == photo_key(image)
        assert np.array_equal(desk.kept_mean(name), image.mean(axis=(0, 1)))

    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: process.pid is None)
    until(lambda: "died (-9); it starts again" in caplog.text)
    assert process.result_of("f") == desk.keys["f"]  # what is on the disk stays
    assert process.wish([desk.wish("g")])
    assert process.pid != first
    until(lambda: "g" in desk.ready)
    assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[16] == "19"

    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == "1000"

    second = process.pid
    assert second is not None
    process.close()
    assert not is_alive(second)
    assert not process.wish([desk.wish("h")])


def gate(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process stands still with that photo in hand, once it is started."""
    for variable, value in photo_gates.gated(desk.folder / "gates").items():
        monkeypatch.setenv(variable, value)
    photo_gates.shut([desk.photo(name)])


def test_who_needs_the_photo_in_hand_waits_for_it_but_not_longer_than_usual(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = desk.process
    gate(desk, "next", monkeypatch)
    process.wish([desk.wish("quick"), desk.wish("next"), desk.wish("slow", width=SLOW_WIDTH)])
    assert process.result_of("slow") is None  # not begun
    until(lambda: desk.has_in_hand("next"))
    process._usual_seconds = 600.0
    with ThreadPoolExecutor(1) as others:
        needed = others.submit(process.result_of, "next")
        time.sleep(0.2)
        assert not needed.done()
        photo_gates.let_in([desk.photo("next")])
        assert needed.result(PATIENT) == desk.keys["next"]
    until(lambda: desk.has_in_hand("slow"))
    process._usual_seconds = 0.1
    started = time.monotonic()
    assert process.result_of("slow") is None
    assert time.monotonic() - started < PATIENT  # and not the ten minutes that it takes

    # Who waits while it dies is let go at once.
    process._usual_seconds = 600.0
    waiting = threading.Thread(target=process.result_of, args=("slow",))
    waiting.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    waiting.join(PATIENT)
    assert not waiting.is_alive()


def test_a_process_with_other_weights_is_of_no_use_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path, fingerprint="b" * 32)
    assert desk.process.wish([desk.wish("a")])
    until(lambda: desk.process.pid is None)
    assert "other weights than the app" in caplog.text
    assert not desk.process.wish([desk.wish("a")])
    assert desk.ready == []
    desk.process.close()


def test_where_the_disk_takes_nothing_the_process_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "embeddings").write_text("a file in the place of the folder")
    assert desk.process.wish([desk.wish("a")])
    until(lambda: desk.process.pid is None)
    assert "the cache folder takes nothing" in caplog.text
    assert not desk.process.wish([desk.wish("a")])


def test_a_process_that_cannot_start_or_keeps_dying_is_done_without(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for left in range(ahead.STARTS - 1, -1, -1):
        assert desk.process.wish([desk.wish("slow", width=SLOW_WIDTH)])
        pid = desk.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: desk.process.pid is None)
        assert desk.process._starts_left == left
    assert not desk.process.wish([desk.wish("slow")])
    until(lambda: "the app does it itself now" in caplog.text)


def test_no_room_for_another_process_is_told_and_nothing_worse(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
    assert not desk.process.wish([desk.wish("a")])
    assert "Resource temporarily unavailable" in caplog.text


SCRIPT = """
import sys, time
from pathlib import Path
from tests.annotator.desk import SLOW_WIDTH, Desk

if __name__ == "__main__":
    desk = Desk(Path(sys.argv[1]))
    desk.process.wish([desk.wish("a"), desk.wish("slow", width=SLOW_WIDTH)])
    while desk.process._in_hand is None or desk.process._in_hand[0] != "slow":
        time.sleep(0.02)
    print(desk.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_the_process_ends_with_an_app_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    app = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert app.stdout is not None
    with app.stdout as told:
        pid = int(told.readline())
        assert is_alive(pid)
        app.kill()
        app.wait()
    until(lambda: not is_alive(pid))

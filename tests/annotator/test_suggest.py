"""The worker: stopped, killed, spread over processes; every photo is done once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from annotator import jobs, runs, schema, suggest
from annotator.intake import add_photos
from annotator.journal import SUGGEST
from annotator.store import Project
from engine import photos, pipelines
from engine.errors import JobError, OptionError, StoreError
from engine.types import Image, Suggestion
from tests import photo_gates
from tests.conftest import save_scene
from tests.fakes import proposal

pytestmark = pytest.mark.timeout(900)  # of PATIENCE

MANY, FEW = 16, 5
KILLS = 6
PATIENCE = 400.0  # seconds that anything here may take on a busy machine


class OneBox:
    """Proposes the same box on every photo; breaks on one of them."""

    def __init__(self, *, breaks_on: Image | None = None) -> None:
        self._breaks_on = breaks_on

    def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
        if self._breaks_on is not None and np.array_equal(image, self._breaks_on):
            raise ZeroDivisionError("a photo nobody thought of")
        return Suggestion((proposal((1, 1, 9, 9), category=tags[0] if tags else None),))


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Project]:
    """Sixteen photos so small that a worker is quick with them."""
    for number in range(MANY):
        save_scene(tmp_path / "many" / f"{number:02}.png", seed=number, width=48, height=36)
    project = Project.create(tmp_path / "many-project")
    add_photos(project, tmp_path / "many", actor="tester")
    yield project
    project.close()


def begin(project: Project, **options: object) -> int:
    with project.write() as transaction:
        ids = [photo.id for photo in transaction.photos()]
        return runs.start(transaction, pipeline="classical", options=options, photos=ids)


def look(project: Project, run_id: int) -> runs.Run:
    with project.read() as view:
        return runs.get(view, run_id)


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; AssertionError if it does not come true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.02)


def assert_each_photo_was_done_once(project: Project, run_id: int) -> None:
    table = schema.run_photo
    with project.read() as view:
        query = select(table.c.image_id).where(table.c.run_id == run_id)
        done = list(view.connection.execute(query).scalars())
        events = Counter(one.image_id for one in view.events() if one.kind == SUGGEST)
        ids = [photo.id for photo in view.photos()]
        holding = {one for one in ids if view.instances(one)}
    assert sorted(done) == ids
    assert events == dict.fromkeys(holding, 1)
    project.check_journal()


# -- in one process ------------------------------------------------------------------------------


def test_cancelling_stops_after_the_photo_at_hand_and_resuming_does_the_rest(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "build", lambda *_: OneBox())
    run_id = begin(project)

    def stop_after_two(run: runs.Run) -> None:
        if run.done == 2:
            runs.cancel(project, run_id)

    run = suggest.work_on(project, run_id, on_progress=stop_after_two)
    assert (run.status, run.done) == (runs.CANCELLED, 2)
    run = suggest.work_on(project, run_id)
    assert (run.status, run.done, run.instances) == (runs.DONE, 4, 4)
    assert_each_photo_was_done_once(project, run_id)


def test_photos_that_break_the_pipeline_or_are_gone_are_told_and_the_others_go_on(
    project: Project, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photo_folder / "a.png").unlink()
    save_scene(photo_folder / "b.png", width=77)
    hard = photos.load(photo_folder / "c.png")
    monkeypatch.setattr(pipelines, "build", lambda *_: OneBox(breaks_on=hard))
    run_id = begin(project)
    run = suggest.work_on(project, run_id)
    assert (run.status, run.done, run.instances, run.problems) == (runs.DONE, 4, 1, 3)
    with project.read() as view:
        problems = dict(runs.problems(view, run_id))
    assert set(problems) == {"a.png", "b.png", "c.png"}
    assert "not there" in problems["a.png"]
    assert "is 77 by 90 pixels, and was 120 by 90 when it was added" in problems["b.png"]
    assert "ZeroDivisionError: a photo nobody thought of" in problems["c.png"]
    assert_each_photo_was_done_once(project, run_id)


def test_a_run_whose_pipeline_cannot_be_built_fails_with_the_reason(project: Project) -> None:
    run_id = begin(project, tau_b=7)
    with pytest.raises(OptionError, match="tau_b"):
        suggest.work_on(project, run_id)
    run = look(project, run_id)
    assert (run.status, run.done) == (runs.FAILED, 0)
    assert "tau_b" in run.message


def test_ctrl_c_leaves_a_run_that_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "build", lambda *_: OneBox())
    run_id = begin(project)

    def interrupt(_: runs.Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        suggest.work_on(project, run_id, on_progress=interrupt)
    assert look(project, run_id).status == runs.CANCELLED
    assert suggest.work_on(project, run_id).done == 4
    assert_each_photo_was_done_once(project, run_id)


def test_a_worker_gives_signs_of_life_while_a_photo_takes_long(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def last_sign() -> float:
        with project.read() as view:
            table = schema.run
            query = select(table.c.heartbeat_at).where(table.c.id == run_id)
            return float(view.connection.execute(query).scalar_one())

    class Slow(OneBox):
        def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
            begun = last_sign()
            until(lambda: last_sign() > begun)
            seen.append(look(project, run_id).status)
            return super().suggest(image, tags=tags)

    assert suggest.BEAT_SECONDS < runs.STALE_SECONDS / 2  # one that comes late is no death
    monkeypatch.setattr(suggest, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(pipelines, "build", lambda *_: Slow())
    run_id = begin(project)
    suggest.work_on(project, run_id)
    assert seen == [runs.RUNNING] * 4


def test_a_sign_of_life_that_cannot_be_written_stops_nobody(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()

    def busy(*_: object) -> None:
        refused.set()
        raise StoreError("the project is busy")

    class Slow(OneBox):
        def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
            assert refused.wait(PATIENCE)
            return super().suggest(image, tags=tags)

    monkeypatch.setattr(runs, "beat", busy)
    monkeypatch.setattr(suggest, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(pipelines, "build", lambda *_: Slow())
    assert suggest.work_on(project, begin(project)).status == runs.DONE


# -- in several ----------------------------------------------------------------------------------


def test_two_processes_propose_what_one_does(many: Project) -> None:
    with many.write() as transaction:
        first, second = (
            runs.start(
                transaction,
                pipeline="classical",
                options={"working_side": 32},
                photos=range(1, FEW + 1),
            )
            for _ in range(2)
        )

    def proposed() -> dict[int, list[object]]:
        with many.read() as view:
            return {
                photo.id: [(one.box, one.rle, one.score) for one in view.instances(photo.id)]
                for photo in view.photos()[:FEW]
            }

    suggest.work_on(many, first, processes=1)
    alone = proposed()
    run = suggest.work_on(many, second, processes=2)
    assert (run.status, run.done) == (runs.DONE, FEW)
    assert proposed() == alone
    assert all(alone.values())
    many.check_journal()


@pytest.fixture
def gates(many: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The photos of `many`, which no worker opens before this test lets it: all of them."""
    for variable, value in photo_gates.gated(tmp_path / "gates").items():
        monkeypatch.setenv(variable, value)
    with many.read() as view:
        places = [many.photo_path(photo) for photo in view.photos()]
    photo_gates.shut(places)
    yield places
    photo_gates.let_in(places)  # of a test that failed nothing stays behind


CLASSICAL = ("--working-side", "32")
PRO2SAM = ("--pipeline", "pro2sam", "--localizer", "saliency", "--segmenter", "classical")


def worker(project: Project, *flags: str) -> subprocess.Popen[bytes]:
    words = ["suggest", str(project.folder), "--json", *flags]
    return subprocess.Popen(
        [sys.executable, "-m", "annotator", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.timeout(1800)  # a worker starts seven times
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(CLASSICAL, id="classical"),
        pytest.param(PRO2SAM, id="pro2sam", marks=pytest.mark.slow),
    ],
)
def test_a_worker_killed_at_any_moment_loses_no_photo_and_does_none_twice(
    many: Project, gates: list[Path], flags: tuple[str, ...]
) -> None:
    chance = random.Random(11)

    def done() -> int:
        with many.read() as view:
            return sum(run.done for run in runs.all_runs(view))

    for _ in range(KILLS):
        before = done()
        # Never all of them: it cannot be ready before it is killed.
        open_ones = min(before + 3, MANY - 1)
        photo_gates.let_in(gates[:open_ones])
        process = worker(many, *flags)
        # Somewhere in the photo after the next one or two, or before the first.
        wanted = min(before + chance.choice([0, 1, 2]), open_ones)
        until(lambda wanted=wanted, process=process: done() >= wanted or process.poll() is not None)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err.decode()
    assert 0 < done() < MANY
    photo_gates.let_in(gates)
    last = worker(many, *flags)
    _, err = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, err.decode()
    with many.read() as view:
        (run,) = runs.all_runs(view)
    assert (run.status, run.done) == (runs.DONE, MANY)
    assert_each_photo_was_done_once(many, run.id)


def test_the_processes_of_a_killed_worker_end_too(many: Project, gates: list[Path]) -> None:
    process = worker(many, *CLASSICAL, "--processes", "2")

    def children() -> set[int]:
        folder = Path(f"/proc/{process.pid}/task")
        with contextlib.suppress(FileNotFoundError):
            texts = [path.read_text() for path in folder.glob("*/children")]
            return {int(number) for text in texts for number in text.split()}
        return set()

    if not Path(f"/proc/self/task/{os.getpid()}/children").is_file():
        process.kill()
        process.communicate()
        pytest.skip("this system does not list the children of a process")
    until(lambda: len(children()) >= 3 or process.poll() is not None)  # two and their tracker
    begun = children()
    assert len(begun) >= 3
    process.kill()
    process.wait()
    until(lambda: not any(is_running(number) for number in begun))
    process.communicate()


def is_running(process: int) -> bool:
    """Whether it is there and not merely waiting to be collected."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


# -- started by the app --------------------------------------------------------------------------


def test_the_app_starts_a_worker_that_finishes_and_is_collected(project: Project) -> None:
    run_id = begin(project, working_side=32)
    process = jobs.start_worker(project, run_id)
    until(lambda: look(project, run_id).status not in (runs.WAITING, runs.RUNNING))
    run = look(project, run_id)
    assert (run.status, run.done) == (runs.DONE, 4), jobs.log_path(project, run_id).read_text()
    until(lambda: not runs.process_is_alive(process))
    assert jobs.log_path(project, run_id).read_text().startswith(f"run {run_id} (classical) done")


def test_a_worker_that_the_app_started_and_that_was_killed_is_seen_at_once(
    many: Project, gates: list[Path]
) -> None:
    photo_gates.let_in(gates[:1])
    run_id = begin(many, working_side=32)
    process = jobs.start_worker(many, run_id)
    until(lambda: look(many, run_id).done > 0)
    os.kill(process, signal.SIGKILL)
    until(lambda: look(many, run_id).status == runs.INTERRUPTED)


def test_a_resumed_run_waits_until_its_worker_comes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begin(project)
    runs.cancel(project, run_id)
    runs.expect_worker(project, run_id)
    assert look(project, run_id).status == runs.WAITING
    monkeypatch.setattr(pipelines, "build", lambda *_: OneBox())
    assert suggest.work_on(project, run_id, only_waiting=True).status == runs.DONE


def test_a_run_that_is_stopped_before_its_worker_comes_stays_stopped(project: Project) -> None:
    run_id = begin(project)
    runs.expect_worker(project, run_id)
    runs.cancel(project, run_id)
    with pytest.raises(JobError, match="does not wait"):
        suggest.work_on(project, run_id, only_waiting=True)
    run = look(project, run_id)
    assert (run.status, run.done) == (runs.CANCELLED, 0)


def test_a_worker_that_cannot_start_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(JobError, match="cannot start"):
        jobs.start_worker(project, begin(project))

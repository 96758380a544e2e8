"""The worker of a run: photos in, proposals into the store, one transaction a photo.

It runs in a process of its own, niced when the app started it, so that clicks stay fast.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from annotator import pipeline_options, runs
from annotator.pictures import as_added
from annotator.processes import step_back
from annotator.store import Project
from engine import pipelines
from engine.errors import AnnotatorError, JobError, StoreError
from engine.types import Suggestion

logger = logging.getLogger(__name__)

"""How far a background worker steps back; a click of the app waits no longer because of it."""

BEAT_SECONDS = runs.STALE_SECONDS / 4


@dataclass(frozen=True)
class Task:
    """One photo to work on; travels to another process."""

    image_id: int
    path: Path
    size: tuple[int, int]  # width and height, as added
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of it: a suggestion, or the problem."""

    image_id: int
    suggestion: Suggestion
    seconds: float
    problem: str | None = None


@dataclass(frozen=True)
class Beginning:
    """What a worker process needs to know before its first photo."""

    pipeline: str
    options: dict[str, Any]
    threads: int  # for one network; several processes share the cores


_pipeline: pipelines.Pipeline | None = None  # of this process; see `_begin`
_refusal: AnnotatorError | None = None  # why there is none


def _begin(beginning: Beginning) -> None:
    global _pipeline
    cv2.setNumThreads(1)  # its pieces of work are too small to share
    _pipeline = pipelines.build(beginning.pipeline, beginning.options)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(beginning.threads)


def _begin_beside(beginning: Beginning) -> None:
    """`_begin` of a process that serves another one, and ends with it."""
    global _refusal
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _begin(beginning)
    except AnnotatorError as error:
        _refusal = error  # a pool would only say that a process died


def _threads_each(processes: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // max(1, processes))


def _end_with_parent() -> None:
    # Where the parent was killed nobody tells its pool, which would wait for work for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(task: Task) -> Outcome:
    if _refusal is not None:
        raise _refusal
    assert _pipeline is not None
    started = time.perf_counter()
    try:
        image = as_added(task.path, width=task.size[0], height=task.size[1])
        found = _pipeline.suggest(image, tags=task.tags)
    except AnnotatorError as error:
        return Outcome(task.image_id, Suggestion(()), time.perf_counter() - started, str(error))
    except Exception as error:
        # The edge of the worker: one photo that breaks the pipeline must not stop ten thousand.
        # It is written down, counted and shown, and the log has the traceback.
        logger.exception("photo %s broke the pipeline", task.path)
        problem = f"the pipeline failed on this photo ({type(error).__name__}: {error})"
        return Outcome(task.image_id, Suggestion(()), time.perf_counter() - started, problem)
    return Outcome(task.image_id, found, time.perf_counter() - started)


def work_on(
    project: Project,
    run_id: int,
    *,
    processes: int = 1,
    is_nice: bool = False,
    only_waiting: bool = False,
    on_progress: Callable[[runs.Run], None] | None = None,
) -> runs.Run:
    """Do what is left of a run and return how it ended; cancelling it stops after the photo.

    With ``only_waiting`` a run that was stopped before this worker came stays stopped. Raises
    JobError if another worker is at it, OptionError or WeightsError where the pipeline cannot be
    built; the run is then marked failed with that reason. Interrupting it by Ctrl-C marks it
    cancelled; killing it loses nothing either.
    """
    runs.claim(project, run_id, only_waiting=only_waiting)
    if is_nice:
        step_back(os.getpid())  # those that it starts inherit it
    with project.read() as view:
        run = runs.get(view, run_id)
        tags = view.all_tags()
        waiting = [view.photo(image_id) for image_id in runs.left(view, run_id)]
        tasks = [
            Task(
                photo.id,
                project.photo_path(photo),
                (photo.width, photo.height),
                tags.get(photo.id, ()),
            )
            for photo in waiting
        ]
    status, message = runs.FAILED, "the worker stopped unexpectedly; resume it"
    try:
        options = pipeline_options.located(project, run.options)
        beginning = Beginning(run.pipeline, options, _threads_each(processes))
        with _beating(project, run_id), _outcomes(tasks, beginning, processes) as outcomes:
            status = _store(project, run_id, outcomes, on_progress)
        message = ""
    except AnnotatorError as error:
        message = str(error)
        raise
    except BrokenProcessPool as error:
        message = "one of the worker processes died (out of memory?); resume with fewer processes"
        raise JobError(f"run {run_id}: {message}") from error
    except KeyboardInterrupt:
        status, message = runs.CANCELLED, "interrupted; the same command goes on"
        raise
    finally:
        runs.finish(project, run_id, status=status, message=message)
    with project.read() as view:
        return runs.get(view, run_id)


def _store(
    project: Project,
    run_id: int,
    outcomes: Iterable[Outcome],
    on_progress: Callable[[runs.Run], None] | None,
) -> str:
    for outcome in outcomes:
        runs.record_photo(
            project,
            run_id,
            outcome.image_id,
            instances=outcome.suggestion.instances,
            seconds=outcome.seconds,
            problem=outcome.problem,
            seen=outcome.suggestion.evidence,
        )
        if on_progress is not None:
            with project.read() as view:
                run = runs.get(view, run_id)
            on_progress(run)
        with project.read() as view:
            if runs.is_cancelled(view, run_id):
                return runs.CANCELLED
    return runs.DONE


@contextmanager
def _beating(project: Project, run_id: int) -> Iterator[None]:
    """Say every now and then that this worker is alive, also while a slow photo is at hand."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_SECONDS):
            try:
                runs.beat(project, run_id)
            except StoreError as error:
                logger.warning("no sign of life this time: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _outcomes(
    tasks: list[Task], beginning: Beginning, processes: int
) -> Iterator[Iterator[Outcome]]:
    """The outcomes as they come, from this process or from several."""
    if processes <= 1:
        _begin(beginning)
        yield (_work(task) for task in tasks)
        return
    # Forking a process that has started threads can deadlock, so begin anew.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin_beside, initargs=(beginning,)
    )
    try:
        yield _spread(pool, tasks, ahead=2 * processes)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _spread(pool: ProcessPoolExecutor, tasks: list[Task], *, ahead: int) -> Iterator[Outcome]:
    """Keep a few tasks in the pool, so that a cancelled run has little left to finish."""
    waiting = iter(tasks)
    running: set[Future[Outcome]] = set()
    while True:
        while len(running) < ahead and (task := next(waiting, None)) is not None:
            running.add(pool.submit(_work, task))
        if not running:
            return
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield future.result()

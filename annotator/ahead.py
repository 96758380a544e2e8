"""A process that prepares photos before anybody clicks: paths in, embeddings on the disk out.

It steps back as far as the system allows: a click then takes as long as without it, while beside
an encoder in a thread of the app, or in a process of normal priority, it takes three times that.
It ends with the app, and whatever becomes of it, the app does without.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

from annotator.pictures import as_added
from engine import photos
from engine.errors import AnnotatorError
from engine.segmenters.cached import photo_key
from engine.types import Image

logger = logging.getLogger(__name__)

NICENESS = 19
STARTS = 3  # of the process; where it dies as often, its memory does not suffice
PATIENCE = 1.5  # times the usual duration: longer means that something else has the processor
ENDING_SECONDS = 5.0  # for a process to end that was asked to


class Preparation(Protocol):
    """What the process needs of `engine.segmenters.cached.CachedPreparation`."""

    fingerprint: str

    def recall(self, key: str) -> Any | None:
        """What the store has under the key, or None."""

    def prepare(self, image: Image) -> Any:
        """Prepare the photo and put it into the store."""


@dataclass(frozen=True)
class Wish:
    """A photo to prepare; its name is the caller's."""

    photo: str
    path: Path
    size: tuple[int, int] | None = None  # width and height that it must have


@dataclass(frozen=True)
class _Begun:
    photo: str


@dataclass(frozen=True)
class _Finished:
    photo: str
    key: str = ""  # in the store; empty where it is not there
    seconds: float | None = None  # that encoding took; None where it was there already
    problem: str = ""


@dataclass(frozen=True)
class _Useless:
    reason: str


# -- in the process ------------------------------------------------------------------------------


class _Inbox:
    """The newest list of wishes; ends the process when nobody is there to send any."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wishes: list[Wish] = []
        self._news = threading.Condition()
        threading.Thread(target=self._receive, daemon=True).start()

    def first(self) -> Wish:
        """Wait for a wish and take it."""
        with self._news:
            self._news.wait_for(lambda: self._wishes)
            return self._wishes.pop(0)

    def _receive(self) -> None:
        while True:
            try:
                wishes = self._connection.recv()
            except (EOFError, OSError):
                # The app has ended, in whatever way; half a minute of encoding is for nobody.
                os._exit(0)
            with self._news:
                self._wishes = wishes
                self._news.notify_all()


def _serve(connection: Connection, begin: Callable[[], Preparation], fingerprint: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C means the app, which ends this process
    os.nice(NICENESS)
    _go_first_when_memory_ends()
    inbox = _Inbox(connection)
    preparation = begin()
    with contextlib.suppress(BrokenPipeError):
        if preparation.fingerprint != fingerprint:
            connection.send(_Useless("it found other weights than the app"))
            return
        while True:
            wish = inbox.first()
            connection.send(_Begun(wish.photo))
            connection.send(_prepared(wish, preparation))


def _go_first_when_memory_ends() -> None:
    """Linux then ends this process and not the app, which has somebody's work in hand."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError as error:  # another system
        logger.debug("memory is shared with the app on equal terms: %s", error)


def _picture(wish: Wish) -> Image:
    if wish.size is None:
        return photos.load(wish.path)
    return as_added(wish.path, width=wish.size[0], height=wish.size[1])


def _prepared(wish: Wish, preparation: Preparation) -> _Finished:
    try:
        image = _picture(wish)
    except AnnotatorError as error:
        return _Finished(wish.photo, problem=str(error))
    key = photo_key(image)
    if preparation.recall(key) is not None:
        return _Finished(wish.photo, key)
    started = time.perf_counter()
    preparation.prepare(image)
    seconds = time.perf_counter() - started
    is_kept = preparation.recall(key) is not None
    return _Finished(wish.photo, key if is_kept else "", seconds)


# -- in the app ----------------------------------------------------------------------------------


class PreparingProcess:
    """The app's end of it: starts at the first wish, again after a death, and not for ever.

    ``begin`` travels there and makes what prepares; it must have this fingerprint, which is that of
    the app's own. ``on_ready`` hears, in a thread, of each photo that lies in the store now, with
    its key there.
    """

    def __init__(
        self,
        begin: Callable[[], Preparation],
        *,
        fingerprint: str,
        on_ready: Callable[[str, str], None],
    ) -> None:
        self._begin = begin
        self._fingerprint = fingerprint
        self._on_ready = on_ready
        self._news = threading.Condition()  # for all below
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._listener: threading.Thread | None = None
        self._starts_left = STARTS
        self._is_closed = False
        self._in_hand: tuple[str, float] | None = None  # photo, and when it was begun
        self._last: tuple[str, str] | None = None  # photo and key that it finished last
        self._usual_seconds = 0.0  # the fastest so far: when nothing else ran

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        with self._news:
            return None if self._process is None else self._process.pid

    def wish(self, wishes: Sequence[Wish]) -> bool:
        """Prepare these, first one first, instead of what was wished before and is not begun.

        False where no process can be had (any more).
        """
        with self._news:
            if self._process is None and not self._start():
                return False
            assert self._connection is not None
            try:
                self._connection.send(list(wishes))
            except OSError as error:
                logger.info("wishes reach nobody (%s); the listener will say why", error)
                return False
            return True

    def result_of(self, photo: str) -> str | None:
        """The key of a photo that the process has in hand, once it is ready; else None at once.

        Also None where it takes longer than usual: then the caller is quicker alone.
        """
        with self._news:
            if self._in_hand is not None and self._in_hand[0] == photo:
                latest = self._in_hand[1] + PATIENCE * self._usual_seconds
                self._news.wait_for(
                    lambda: self._in_hand is None or self._in_hand[0] != photo,
                    timeout=max(latest - time.monotonic(), 0.0),
                )
            return self._last[1] if self._last is not None and self._last[0] == photo else None

    def close(self) -> None:
        """End the process, whatever it is at, and start none any more."""
        with self._news:
            self._is_closed = True
            process, listener = self._process, self._listener
        if process is None or listener is None:
            return
        process.terminate()
        listener.join(ENDING_SECONDS)
        if listener.is_alive():
            process.kill()
            listener.join(ENDING_SECONDS)

    def _start(self) -> bool:
        if self._is_closed or self._starts_left == 0:
            return False
        self._starts_left -= 1
        context = multiprocessing.get_context("spawn")  # forking beside threads can deadlock
        ours, theirs = context.Pipe()
        task = (theirs, self._begin, self._fingerprint)
        process = context.Process(target=_serve, args=task, name="prepare", daemon=True)
        try:
            process.start()
        except OSError as error:
            logger.warning("no process to prepare photos ahead: %s", error)
            ours.close()
            return False
        finally:
            theirs.close()  # so that the end of the process ends the connection
        self._process, self._connection = process, ours
        self._listener = threading.Thread(target=self._listen, args=(process, ours), daemon=True)
        self._listener.start()
        return True

    def _listen(self, process: SpawnProcess, connection: Connection) -> None:
        """Until the process ends."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._hear(connection.recv())
        process.join()
        with self._news:
            connection.close()
            self._process = self._connection = self._in_hand = None
            is_closed, left = self._is_closed, self._starts_left
            self._news.notify_all()
        if not is_closed:
            then = "it starts again at the next photo" if left else "the app does it itself now"
            code = process.exitcode
            logger.warning("the process that prepares photos ahead died (%s); %s", code, then)

    def _hear(self, message: _Begun | _Finished | _Useless) -> None:
        if isinstance(message, _Begun):
            with self._news:
                self._in_hand = (message.photo, time.monotonic())
            return
        if isinstance(message, _Useless):
            self._give_up(message.reason)
            return
        if message.problem:
            logger.info("not prepared ahead: %s", message.problem)
        elif message.key:
            self._on_ready(message.photo, message.key)
        else:
            self._give_up("the cache folder takes nothing")
        with self._news:
            self._in_hand = None
            if message.key:
                self._last = (message.photo, message.key)
            if message.seconds is not None:
                known = self._usual_seconds or message.seconds
                self._usual_seconds = min(known, message.seconds)
            self._news.notify_all()

    def _give_up(self, reason: str) -> None:
        logger.warning("no photos are prepared ahead in another process: %s", reason)
        with self._news:
            self._is_closed = True
            process = self._process
        if process is not None:
            process.terminate()

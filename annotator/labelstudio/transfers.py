"""A push or a pull in a thread of its own: work in, how it stands out, and a way to stop it.

Stopping takes effect between two steps, so that what was sent is written down; the next push or
pull goes on from there. A thread that the end of the program cuts off is such a stop, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from annotator.labelstudio.pull import PullReport
from annotator.labelstudio.push import OnProgress, PushReport
from engine.errors import AnnotatorError

Report = PushReport | PullReport
Work = Callable[[OnProgress, Callable[[str], None]], Report]
"""Does it, and tells how far it is and what should be known."""

BROKE_OFF = "it broke off because of a mistake in this program; the terminal shows which"


class Stopped(AnnotatorError):
    """A person asked for it."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a transfer stands."""

    what: str = "connecting"
    done: int = 0
    total: int = 0
    notes: tuple[str, ...] = ()
    is_running: bool = True
    is_stopping: bool = False
    report: Report | None = None  # at the end, if it went well
    error: str = ""  # at the end, if it did not


class Transfer:
    """Runs from the moment that it is made."""

    def __init__(self, work: Work) -> None:
        self._guard = threading.Lock()
        self._standing = Standing()
        self._wish = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        with self._guard:
            return replace(self._standing, is_stopping=self._wish.is_set())

    def stop(self) -> None:
        """Ask it to end after the step that it is at."""
        self._wish.set()

    def wait(self, seconds: float) -> Standing:
        """How it stands at its end, or when the time is over."""
        self._thread.join(seconds)
        return self.standing

    def _run(self, work: Work) -> None:
        error, report = BROKE_OFF, None
        try:
            report, error = work(self._progress, self._note), ""
        except Stopped:
            error = "stopped; what had been done by then stays, and the next one goes on from there"
        except AnnotatorError as refusal:
            error = str(refusal)
        finally:
            self._change(is_running=False, report=report, error=error)

    def _progress(self, what: str, done: int, total: int) -> None:
        if self._wish.is_set():
            raise Stopped("stopped")
        self._change(what=what, done=done, total=total)

    def _note(self, text: str) -> None:
        self._change(notes=(*self._standing.notes, text))

    def _change(self, **changes: object) -> None:
        with self._guard:
            self._standing = replace(self._standing, **changes)  # type: ignore[arg-type]

"""How a training ends: signals ask it to stop, and its log says so, or what went wrong."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

import torch

from engine.errors import JobError
from training.log import RunLog
from training.loop import NonFiniteLoss, Stopped
from training.state import Progress

OUT_OF_MEMORY = "the GPU has not enough memory; set forward_batch lower than it is"


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT came; outside the main thread nobody can be asked."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class EndingTold:
    """Logs "stopped" or "failed" when a training ends early, closes the log, lets the error pass.

    Running out of the GPU's memory becomes a JobError that says what to do.
    """

    def __init__(self, log: RunLog, progress: Progress) -> None:
        self._log = log
        self._progress = progress

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.closing(self._log):
            if isinstance(error, Stopped):
                self._log.write("stopped", step=self._progress.step)
            elif isinstance(error, torch.OutOfMemoryError):
                self._failed(OUT_OF_MEMORY)
                raise JobError(OUT_OF_MEMORY) from error
            elif error is not None:
                self._failed(str(error) or type(error).__name__, error)

    def _failed(self, text: str, error: BaseException | None = None) -> None:
        terms = error.terms if isinstance(error, NonFiniteLoss) else {}
        named = {
            name: value if math.isfinite(value) else str(value) for name, value in terms.items()
        }
        self._log.write("failed", step=self._progress.step, message=text, terms=named)

"""The log of a training, read while it grows: JSON lines in, curves and the last word out.

A killed training leaves half a line, and after it goes on, some steps stand twice: half lines are
left out, of a step the last line counts, and steps behind the point where it went on are dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ENDINGS = ("done", "stopped", "failed")
RATE_STEPS = 50  # how many of the last steps tell the speed


@dataclass(frozen=True)
class Step:
    """One logged step; a figure that the log does not have is None."""

    step: int
    epoch: int | None
    at: datetime | None
    loss: float | None
    terms: dict[str, float]
    area: float | None  # mean of the coarse map
    edge: float | None
    dropped: dict[str, float]  # of a detector: shares of its regions left out, by "fg" and "bg"
    photos_a_second: float | None


@dataclass(frozen=True)
class Ending:
    """The last word of one attempt."""

    event: str  # one of ENDINGS
    offset: int  # where in the file it stands
    step: int | None
    message: str
    metrics: dict[str, float]
    terms: dict[str, float]


class TrainingLog:
    """Everything that `log.jsonl` says so far; call `refresh` to read on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.end = 0  # of the last whole line
        self.start: dict[str, Any] | None = None
        self.start_offset = 0
        self.steps: dict[int, Step] = {}
        self.validations: dict[int, dict[str, float]] = {}
        self.class_figures: dict[str, float] = {}  # AP50 of each class, at the newest validation
        self.is_of_taught = False  # whether the figures are of photos that train
        self.ending: Ending | None = None

    def refresh(self) -> TrainingLog:
        """Read what was written since the last time; the log itself."""
        try:
            size = self.path.stat().st_size
            if size < self.end:  # another file took its place
                self._forget()
            with self.path.open("rb") as file:
                file.seek(self.end)
                content = file.read()
        except FileNotFoundError:
            self._forget()
            return self
        whole = content[: content.rfind(b"\n") + 1]
        offset = self.end
        for line in whole.splitlines(keepends=True):
            for event in _events(line):
                self._take(event, offset)
            offset += len(line)
        self.end = offset
        return self

    def _take(self, event: dict[str, Any], offset: int) -> None:
        kind, step = event.get("event"), _whole(event.get("step"))
        if kind == "start":
            self.start, self.start_offset, self.ending = event, offset, None
            self.steps = {at: one for at, one in self.steps.items() if at <= (step or 0)}
            self.validations = {
                at: one for at, one in self.validations.items() if at <= (step or 0)
            }
        elif kind == "step" and step is not None:
            self.steps.pop(step, None)  # so that the order is that of the steps
            self.steps[step] = _step(step, event)
        elif kind == "validation" and step is not None:
            self.validations[step] = _numbers(event.get("metrics"))
            self.is_of_taught = event.get("of") == "training"
            self.class_figures = _class_figures(event) or self.class_figures
        elif kind in ENDINGS:
            self.class_figures = _class_figures(event) or self.class_figures
            self.ending = Ending(
                event=str(kind),
                offset=offset,
                step=step,
                message=str(event.get("message", "")),
                metrics=_numbers(event.get("metrics")),
                terms=_numbers(event.get("terms")),
            )

    # -- what follows from it ----------------------------------------------------------------

    @property
    def last(self) -> Step | None:
        """The newest step."""
        return next(reversed(self.steps.values()), None)

    @property
    def total_steps(self) -> int:
        """How many steps the whole training has; 0 before it has said so."""
        return _whole((self.start or {}).get("steps")) or 0

    @property
    def done_steps(self) -> int:
        """The number of the last step, also where the training has only just gone on."""
        begun = _whole((self.start or {}).get("step")) or 0
        return max(begun, self.last.step if self.last else 0)

    @property
    def epochs(self) -> int | None:
        """How many epochs the whole training has."""
        return _whole((self.start or {}).get("epochs"))

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of the end, or else of the newest validation; none of photos that train."""
        if self.ending is not None and self.ending.metrics:
            return self.ending.metrics
        if self.is_of_taught:
            return {}
        return next(reversed(self.validations.values()), {})

    @property
    def seconds_a_step(self) -> float | None:
        """By the clock, over the last steps of this attempt; None before there are two."""
        begun = _whole((self.start or {}).get("step")) or 0
        timed = [
            (one.step, one.at)
            for one in list(self.steps.values())[-RATE_STEPS:]
            if one.at is not None and one.step > begun
        ]
        if len(timed) < 2 or timed[-1][0] == timed[0][0]:
            return None
        seconds = (timed[-1][1] - timed[0][1]).total_seconds()
        return max(seconds, 0.0) / (timed[-1][0] - timed[0][0])

    @property
    def seconds_left(self) -> float | None:
        """How long the remaining steps will take at this speed."""
        rate = self.seconds_a_step
        return None if rate is None else rate * max(self.total_steps - self.done_steps, 0)


def _events(line: bytes) -> Iterator[dict[str, Any]]:
    """The event of a line; behind a half line of a killed process, the one that follows it."""
    text = line.decode("utf-8", errors="replace").strip()
    while text:
        try:
            value = json.loads(text)
        except ValueError:
            at = text.find('{"', 1)
            text = text[at:] if at > 0 else ""
            continue
        if isinstance(value, dict):
            yield value
        return


def _step(step: int, event: dict[str, Any]) -> Step:
    return Step(
        step=step,
        epoch=_whole(event.get("epoch")),
        at=_time(event.get("at")),
        loss=_number(event.get("loss")),
        terms=_numbers(event.get("terms")),
        area=_number(event.get("area")),
        edge=_number(event.get("edge")),
        dropped=_numbers(event.get("dropped")),
        photos_a_second=_number(event.get("photos_a_second")),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    read = {str(name): _number(one) for name, one in value.items()}
    return {name: one for name, one in read.items() if one is not None}


def _class_figures(event: dict[str, Any]) -> dict[str, float]:
    metrics = event.get("metrics")
    return _numbers(metrics.get("per_class")) if isinstance(metrics, dict) else {}


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)

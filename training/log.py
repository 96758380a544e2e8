"""The log of a training run: one JSON object a line, on the disk as soon as it is written.

Whoever watches reads the file while it grows. A line that a kill cut off is dropped when the run
goes on, and passed over by `read_log`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class RunLog:
    """Appends events to a file; without a path, only tells the listener."""

    def __init__(self, path: Path | None, listener: Callable[[Event], None] | None = None) -> None:
        self._listener = listener
        self._file = None
        if path is not None:
            _drop_torn_line(path)
            self._file = path.open("ab")

    def write(self, event: str, **fields: Any) -> None:
        """One line, in one write, so that no reader sees half of it unless the power fails."""
        line: Event = {"event": event, "at": datetime.now(UTC).isoformat(), **fields}
        if self._file is not None:
            text = json.dumps(line, ensure_ascii=False, allow_nan=False)
            self._file.write(text.encode("utf-8") + b"\n")
            self._file.flush()
        if self._listener is not None:
            self._listener(line)

    def close(self) -> None:
        """The listener is told nothing more."""
        self._listener = None
        if self._file is not None:
            self._file.close()
            self._file = None


def read_log(path: Path | str) -> list[Event]:
    """All whole lines, oldest first; of a run that was resumed some steps stand there twice."""
    lines = Path(path).read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())

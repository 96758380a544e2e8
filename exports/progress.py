"""How far writing a file and reading it back is: things in, the same out, and somebody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

OnProgress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""

WRITING, READING, COMPARING = "writing", "reading back", "comparing"
_Thing = TypeVar("_Thing")


def silent(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def counted(
    what: str, things: Iterable[_Thing], total: int, on_progress: OnProgress
) -> Iterator[_Thing]:
    """The things one by one; ``on_progress`` hears of each, and of the end."""
    done = 0
    for thing in things:
        on_progress(what, done, total)
        yield thing
        done += 1
    on_progress(what, done, total)

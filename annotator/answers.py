"""How commands answer: text or JSON on stdout, a progress bar on stderr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from annotator.store import Project

LISTED = 20  # how many oddities are printed before the rest is only counted


def answer(arguments: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    """The answer of a command: JSON where that was asked for, text else."""
    if arguments.json:
        json.dump(value, sys.stdout, ensure_ascii=False, indent=1, default=str)
        sys.stdout.write("\n")
    else:
        # As it is: a file may be called ":cat:.jpg".
        Console(highlight=False, soft_wrap=True, emoji=False).print(text, markup=False)


@contextmanager
def opened(folder: Path) -> Iterator[Project]:
    """The project of the folder, closed at the end."""
    project = Project.open(folder)
    try:
        yield project
    finally:
        project.close()


def progress_bar(*, quiet: bool = False) -> Progress:
    """A bar on stderr, so that an answer on stdout stays clean; only where somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    is_hidden = quiet or not console.is_terminal
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=is_hidden)


@contextmanager
def steps_bar(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """`progress_bar` for work of several steps: tell it which one, how far, and of how much."""
    with progress_bar(quiet=quiet) as progress:
        task, current = progress.add_task("", total=None), ""

        def show(what: str, done: int, total: int) -> None:
            nonlocal current
            if what != current:  # with a clock of its own
                progress.reset(task, description=what, total=total)
                current = what
            progress.update(task, completed=done, total=total)

        yield show


def first(lines: list[str]) -> list[str]:
    """The first lines of a long list, and how many more there are."""
    more = len(lines) - LISTED
    return lines[:LISTED] + ([f"  … and {more} more"] if more > 0 else [])

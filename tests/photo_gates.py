"""Photos that a program of ours opens only when it may, so that a test can look at it meanwhile.

A process whose environment is `gated` stands still before it opens a photo that was `shut`, in
whatever thread that is; its other threads go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

ENDING = ".shut"  # of a file beside the photo
LONGEST = 1800.0  # seconds; whoever is left behind by a test that failed ends then

# Python imports a module of this name at its start; an audit hook hears of every file to be opened.
# Only what works on photos waits: a server that shows one must go on.
SITECUSTOMIZE = f"""
import os, sys, time

def wait(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].endswith(".png"):
        deadline = time.monotonic() + {LONGEST}
        while os.path.exists(arguments[0] + {ENDING!r}) and time.monotonic() < deadline:
            time.sleep(0.02)

if "serve" not in sys.orig_argv:
    sys.addaudithook(wait)
"""


def gated(folder: Path) -> dict[str, str]:
    """The variable that makes a program wait; ``folder`` is made for it."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *([known] if known else [])])}


def shut(photos: Iterable[Path]) -> None:
    """Whoever opens one of them from now on waits."""
    for photo in list(photos):
        _mark(photo).touch()


def let_in(photos: Iterable[Path]) -> None:
    """Whoever waits goes on; nothing happens where nobody needs to."""
    for photo in list(photos):
        _mark(photo).unlink(missing_ok=True)


def _mark(photo: Path) -> Path:
    return photo.with_name(photo.name + ENDING)

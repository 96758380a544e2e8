"""A lock on an open file, between programs; the system lets go of it when the program ends."""

from __future__ import annotations

import sys

if sys.platform != "win32":  # there two at once are the business of whoever starts them
    import fcntl


def lock(file: int, *, waits: bool) -> None:
    """Lock the descriptor for this program alone, until it is closed.

    BlockingIOError where another program has it and this one does not wait; OSError where the
    disk knows no locks.
    """
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)

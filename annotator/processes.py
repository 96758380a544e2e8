"""Is this process still the one that was started? Number in, an identity that is never used twice.

A process number alone lies after a while: the system gives it to somebody else. Number and time of
the start together do not, nor does the number of the boot.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from engine.errors import OptionError

PROC = Path("/proc")
START_TIME = 19  # field of /proc/N/stat, counted from the state behind the name
DEAD_STATES = ("Z", "X")  # ended, only nobody has collected it yet
NICENESS = 10  # of what works behind the scenes; 0: as important as the app itself
LARGEST = 19
VARIABLE = "TAG2MASK_NICENESS"  # of the environment: another one, from 0 to 19


def identity(process: int) -> str | None:
    """What tells this process from every other one before and after; None where it has ended."""
    if (PROC / "self" / "stat").exists():
        return _identity_on_linux(process)
    answer = subprocess.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(process)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state[:1] in DEAD_STATES else started.strip()


def _identity_on_linux(process: int) -> str | None:
    try:
        # The name stands in brackets and may itself hold blanks and brackets.
        fields = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in DEAD_STATES else f"{boot}/{fields[START_TIME]}"


def is_running(process: int, known_identity: str | None) -> bool:
    """Whether the process of that number is still the one that had this identity."""
    return known_identity is not None and identity(process) == known_identity


def ask_to_stop(process: int, known_identity: str | None) -> None:
    """SIGTERM, if it is still that process."""
    with suppress(ProcessLookupError):  # it may end this very moment
        if is_running(process, known_identity):
            os.kill(process, signal.SIGTERM)


def kill_session(process: int, known_identity: str | None) -> None:
    """SIGKILL to the process and all that it started, if it is still that process.

    It must have been started with ``start_new_session``.
    """
    with suppress(ProcessLookupError):
        if is_running(process, known_identity):
            os.killpg(process, signal.SIGKILL)


def chosen_niceness() -> int:
    """`NICENESS`, or what the environment says; OptionError where that is no niceness."""
    text = os.environ.get(VARIABLE, str(NICENESS))
    if not text.isdecimal() or not 0 <= int(text) <= LARGEST:
        raise OptionError(f"{VARIABLE} is {text!r}; give a whole number from 0 to {LARGEST}")
    return int(text)


def step_back(process: int) -> None:
    """Let programs that somebody sits in front of go first."""
    niceness = chosen_niceness()
    if not niceness:
        return
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process, niceness)
        if os.getsid(process) == process:
            _step_back_as_session(process, niceness)


def _step_back_as_session(process: int, niceness: int) -> None:
    # Where Linux groups processes by session, niceness only counts within a group, and two groups
    # with work to do get half the machine each, however nice the processes of one are.
    with suppress(OSError):  # no such grouping here, or one that we may not change
        (PROC / str(process) / "autogroup").write_text(str(niceness))

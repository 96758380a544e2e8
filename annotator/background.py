"""A process beside the app that outlives it: started with a note in its folder, looked up there.

The folder gets `process.json` (which process, what its starter noted), `output.txt` (what it
printed) and `exit.json` (how it ended, if whoever started it still lived).
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotator import processes
from annotator import training_files as files
from annotator.store import now
from engine.errors import FormatError, JobError

logger = logging.getLogger(__name__)

_COMPLAINT = re.compile(r"^([\w.]+: error|[\w.]*(Error|Exception)|annotator):")


def launch(
    folder: Path,
    command: Sequence[str],
    *,
    what: str,
    environment: Mapping[str, str],
    note: Mapping[str, Any] | None = None,
) -> None:
    """Start the process; nobody takes it along when they end. JobError, naming ``what``, else."""
    described = {
        **(note or {}),
        "output_offset": files.size_of(folder / files.OUTPUT),
        "at": now(),
    }
    _note(folder, described, os.getpid())  # until there is a process, whoever starts it counts
    try:
        with (folder / files.OUTPUT).open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
    except OSError as error:
        files.write_note(folder, files.PROCESS, described)
        raise JobError(f"{what} cannot start: {error}") from error
    known = _note(folder, described, process.pid)
    processes.step_back(process.pid)
    # Collect it when it ends: a process nobody waits for would stay in the system's table.
    threading.Thread(target=_collect, args=(folder, process, known), daemon=True).start()


def _note(folder: Path, note: Mapping[str, Any], process: int) -> str | None:
    known = processes.identity(process)
    files.write_note(folder, files.PROCESS, {**note, "process": process, "identity": known})
    return known


def _collect(folder: Path, process: subprocess.Popen[bytes], known: str | None) -> None:
    code = process.wait()
    try:
        files.write_note(folder, files.EXIT, {"code": code, "identity": known})
    except FormatError as error:
        # The folder was moved or deleted meanwhile; its files alone then tell how it ended.
        logger.info("nobody is told that a process ended with code %s: %s", code, error)


def note_this_process(folder: Path) -> None:
    """Let this very process count as the one of the folder."""
    described = {"output_offset": files.size_of(folder / files.OUTPUT), "at": now()}
    _note(folder, described, os.getpid())


def is_running(folder: Path) -> bool:
    """Whether the process of the folder is still there."""
    note = files.read_note(folder, files.PROCESS)
    return "process" in note and processes.is_running(note["process"], note["identity"])


def last_words(folder: Path, *, has_started: bool) -> tuple[bool, str]:
    """Of a process that is gone without an answer: whether it failed by itself, and what it said.

    One that printed something before it had started was refused; one that said nothing was killed.
    """
    process = files.read_note(folder, files.PROCESS)
    note = files.read_note(folder, files.EXIT)
    code = note.get("code") if note.get("identity") == process.get("identity") else None
    output = files.last_output(folder, offset=process.get("output_offset", 0))
    complaints = [line for line in output if _COMPLAINT.match(line)]
    has_refused = bool(output) and not has_started and code is None
    if complaints or has_refused or code in (1, 2):
        return True, (complaints or output or [f"it ended with code {code}"])[-1]
    if code is not None and code < 0:
        return False, f"the process was killed (signal {-code})"
    return False, "the process is gone"

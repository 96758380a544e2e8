"""The trainer's process: a run folder and what was asked for in, a running trainer out.

It is `python -m training.wsol`, which this package starts and never imports, or the command in the
environment variable `TAG2MASK_TRAINER`, for example one with torchrun.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator import processes
from annotator import training_files as files
from annotator.store import now
from annotator.training_log import TrainingLog
from engine.errors import JobError

DESCRIBE_SECONDS = 120.0  # to load torch on a busy machine
TRAINER = "TAG2MASK_TRAINER"
PACKAGES = Path(__file__).resolve().parent.parent  # where the trainer's package lies as well


def presets() -> dict[str, dict[str, Any]]:
    """Model -> preset -> its recipe and network, as the trainer itself describes them.

    Takes as long as the trainer takes to start. JobError where it does not answer.
    """
    try:
        answer = subprocess.run(
            [*_trainer(), "--describe"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            timeout=DESCRIBE_SECONDS,
            check=True,
        )
        value = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise JobError(f"the trainer does not say which presets it has: {error}") from error
    return value if isinstance(value, dict) else {}


def launch(folder: Path, request: Mapping[str, Any], photo_folder: Path) -> None:
    """Start the trainer as a process that nobody takes along when they end."""
    is_again = bool(files.read_note(folder, files.PROCESS))
    (folder / files.STOP).unlink(missing_ok=True)
    note = {
        "log_offset": TrainingLog(folder / files.LOG).refresh().end,
        "output_offset": files.size_of(folder / files.OUTPUT),
        "at": now(),
    }
    _note_process(folder, note, os.getpid())  # until there is a trainer, whoever starts it counts
    try:
        with (folder / files.OUTPUT).open("ab") as output:
            process = subprocess.Popen(
                _command(folder, request, photo_folder, is_again=is_again),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_environment(),
            )
    except OSError as error:
        files.write_note(folder, files.PROCESS, note)
        raise JobError(f"the trainer cannot start: {error}") from error
    known = _note_process(folder, note, process.pid)
    processes.step_back(process.pid)
    # Collect it when it ends: a process nobody waits for would stay in the system's table.
    threading.Thread(target=_collect, args=(folder, process, known), daemon=True).start()


def _note_process(folder: Path, note: Mapping[str, Any], process: int) -> str | None:
    known = processes.identity(process)
    files.write_note(folder, files.PROCESS, {**note, "process": process, "identity": known})
    return known


def _command(
    folder: Path, request: Mapping[str, Any], photo_folder: Path, *, is_again: bool
) -> list[str]:
    words = [*_trainer(), "--photos", str(photo_folder), "--tags", str(folder / files.TAGS)]
    words += ["--out", str(folder), *request["flags"]]
    for name in ("truth", "weights"):
        if request.get(name) is not None:
            words += [f"--{name}", request[name]]
    words += request["passed_on"]
    return [*words, "--resume"] if is_again else words


def _trainer() -> list[str]:
    own = os.environ.get(TRAINER)
    # -P: a folder called "training" where we were started is not the trainer's package.
    return shlex.split(own) if own else [sys.executable, "-P", "-m", "training.wsol"]


def _environment() -> dict[str, str]:
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), str(PACKAGES)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _collect(folder: Path, process: subprocess.Popen[bytes], known: str | None) -> None:
    code = process.wait()
    if folder.is_dir():
        files.write_note(folder, files.EXIT, {"code": code, "identity": known})

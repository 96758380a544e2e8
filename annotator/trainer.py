"""The trainer's process: a run folder and what was asked for in, a running trainer out.

It is `python -m training.wsol` or `training.detector`, which this package starts and never imports,
or the command in the environment variable `TAG2MASK_TRAINER` or `TAG2MASK_DETECTOR_TRAINER`, for
example one with torchrun.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator import background
from annotator import training_files as files
from annotator.training_kinds import DETECTOR, KINDS, LOCALIZER, TrainingKind
from annotator.training_log import TrainingLog
from engine.errors import JobError

DESCRIBE_SECONDS = 120.0  # to load torch on a busy machine
TRAINER, DETECTOR_TRAINER = KINDS[LOCALIZER].variable, KINDS[DETECTOR].variable
PACKAGES = Path(__file__).resolve().parent.parent  # where the trainer's package lies as well


def presets(kind: TrainingKind) -> dict[str, dict[str, Any]]:
    """Model -> preset -> its recipe and network, as the kind's trainer itself describes them.

    Takes as long as the trainer takes to start. JobError where it does not answer.
    """
    try:
        answer = subprocess.run(
            [*words_of(kind), "--describe"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment(),
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
    background.launch(
        folder,
        command(folder, request, photo_folder) + ["--resume"] * is_again,
        what="the trainer",
        environment=environment(),
        note={"log_offset": TrainingLog(folder / files.LOG).refresh().end},
    )


def command(
    folder: Path, request: Mapping[str, Any], photo_folder: Path, *, out: Path | None = None
) -> list[str]:
    """What starts a new training as it was asked for; ``out`` is its folder if not that one."""
    kind = files.kind_of(request)
    words = [*words_of(kind), "--photos", str(photo_folder), kind.data_flag]
    words += [str(folder / kind.data), "--out", str(out or folder), *request["flags"]]
    for name in ("truth", "weights"):
        if request.get(name) is not None:
            words += [f"--{name}", request[name]]
    return words + request["passed_on"]


def words_of(kind: TrainingKind) -> list[str]:
    """The trainer's own command, without flags."""
    own = os.environ.get(kind.variable)
    # -P: a folder called "training" where we were started is not the trainer's package.
    return shlex.split(own) if own else [sys.executable, "-P", "-m", kind.module]


def environment() -> dict[str, str]:
    """Of a process of ours: it finds our packages wherever it is started, and prints at once."""
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), str(PACKAGES)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}

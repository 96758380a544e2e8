"""The folder of a run: what lies in it, whether it is free, and what must not change in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import JobError
from exports.whole_files import write_whole
from training.processes import ProcessGroup
from training.state import NAME as STATE

MODEL = "model.safetensors"
LOG = "log.jsonl"
SETTINGS = "settings.json"
STOPPED = 3
"""The exit code of a training that was asked to stop."""


def claim(out: Path, settings: Mapping[str, Any], *, resume: bool, group: ProcessGroup) -> None:
    """Make the run's folder and write the settings it begins with; JobError where it is taken."""
    if group.leads:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(f"cannot make folder {os.fspath(out)!r}: {error.strerror}") from error
        if not resume and any((out / name).exists() for name in (STATE, MODEL)):
            raise JobError(
                f"{os.fspath(out)!r} holds a training already;"
                " go on with --resume, or choose a new folder"
            )
        if not resume or not (out / SETTINGS).exists():
            text = json.dumps(settings, ensure_ascii=False, indent=2)
            write_whole(out / SETTINGS, text + "\n")
    group.wait()


def fingerprint(decisive: Mapping[str, Any]) -> str:
    """Of everything that decides what the network becomes."""
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()

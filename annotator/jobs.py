"""Work beside the app: starts `annotator suggest --run N` as a process that outlives the page.

All that anybody needs to know of it stands in the store; this file only starts processes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from annotator import runs
from annotator.store import Project
from engine.errors import JobError


def log_path(project: Project, run_id: int) -> Path:
    """Where the worker of a run writes what it has to say."""
    return project.cache / f"run-{run_id}.log"


def start_worker(project: Project, run_id: int) -> int:
    """Start a process for a run that nobody works on; its process number.

    Until it has claimed the run, the run waits. JobError if it cannot start or another one is at
    it. The process keeps running when the app ends.
    """
    runs.expect_worker(project, run_id)
    command = [sys.executable, "-m", "annotator", "suggest", str(project.folder)]
    command += ["--run", str(run_id), "--if-waiting", "--nice", "--quiet"]
    try:
        with log_path(project, run_id).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise JobError(f"the worker of run {run_id} cannot start: {error}") from error
    # Collect it when it ends: a process nobody waits for would look alive for ever.
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid

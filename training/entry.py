"""What every entry point of training has in common: the run folder, the log, how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from engine.errors import AnnotatorError
from training.endings import EndingTold, stop_signals
from training.log import Event, RunLog
from training.loop import Stopped
from training.processes import ProcessGroup, is_first, joined
from training.run_folder import LOG, MODEL, STOPPED, claim
from training.settings import Machine
from training.state import Progress

StopAsked = Callable[[], bool]
Work = Callable[[ProcessGroup, RunLog, Progress, StopAsked], None]


class RunSettings(Protocol):
    """What is asked of the settings of a training, whatever it trains."""

    @property
    def out(self) -> Path: ...

    @property
    def resume(self) -> bool: ...

    @property
    def machine(self) -> Machine: ...

    def as_dict(self) -> Mapping[str, Any]: ...


def carry_out(
    settings: RunSettings, work: Work, *, on_event: Callable[[Event], None] | None = None
) -> Path:
    """Do the work with a claimed folder and a log, and return the model's path.

    Under torchrun every process calls this, and the first one writes; ``on_event`` sees every line
    of the log. Sets torch's threads, if asked, for the whole process. Raises what the work raises;
    all but Stopped is logged as "failed".
    """
    if settings.machine.threads:
        torch.set_num_threads(settings.machine.threads)
    with stop_signals() as stop_asked, joined(settings.machine.device) as group:
        claim(settings.out, settings.as_dict(), resume=settings.resume, group=group)
        log = RunLog(settings.out / LOG if group.leads else None, on_event)
        progress = Progress()
        with EndingTold(log, progress):
            work(group, log, progress, stop_asked)
    return settings.out / MODEL


def stop_here(stop_asked: StopAsked, *, alone: bool = True) -> None:
    """Stopped if that was asked for; between steps only one process ``alone`` may just go."""
    if alone and stop_asked():
        raise Stopped("the training was asked to stop between two steps")


def answer(value: object, *, indent: int | None = None) -> None:
    """Write the value as JSON on stdout, once however many processes torchrun started."""
    if is_first():
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def exit_code(work: Callable[[], object]) -> int:
    """The exit code of a command that trains; what went wrong is told in one line."""
    try:
        work()
    except Stopped as error:
        sys.stderr.write(f"{error}; go on with --resume\n")
        return STOPPED
    except AnnotatorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0

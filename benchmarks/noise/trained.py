"""One detector of the bench: what to train in, a finished run out; no run is trained twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.detector import train
from training.detector_settings import detector_settings_for
from training.log import Event, read_log
from training.run_folder import LOG, MODEL
from training.settings import Machine
from training.state import NAME as STATE
from training.tally import NAME as RECORDS


def trained(
    out: Path,
    *,
    photos: Path,
    data: Path,
    recipe: Mapping[str, Any],
    network: Mapping[str, Any],
    seed: int,
    weights: Path | None = None,
) -> Path:
    """The file of the detector, trained as far as it is not there yet."""
    if is_finished(out):
        return out / MODEL
    settings = detector_settings_for(
        "fasterrcnn",
        "tiny",
        photos=photos,
        data=data,
        out=out,
        recipe=recipe,
        network=network,
        weights=weights,
        resume=(out / STATE).exists(),
        machine=Machine(seed=seed, device="cpu", threads=1, workers=1),
    )
    return train(settings, on_event=lambda event: _say(out.name, event))


def is_finished(out: Path) -> bool:
    """Whether the training came to its end."""
    return _last(out, "done") is not None


def records_of(out: Path) -> Any:
    """What the training left about each label, the content of `instances.json`."""
    return json.loads((out / RECORDS).read_text("utf-8"))


def dropped_shares(out: Path) -> dict[str, float]:
    """Of the RoIs on objects ("fg") and of the others ("bg"), the mean share that was dropped.

    Over the steps that the log tells of, the warm-up before any drop included.
    """
    steps = [line["dropped"] for line in read_log(out / LOG) if line["event"] == "step"]
    return {part: sum(step[part] for step in steps) / len(steps) for part in ("fg", "bg")}


def seconds_of(out: Path) -> float:
    """How long the training took."""
    done = _last(out, "done")
    assert done is not None, f"{out} is not finished"
    return float(done["seconds"])


def _last(out: Path, event: str) -> Event | None:
    """The latest line of that kind in a run's log; None where there is none."""
    if not (out / LOG).exists():
        return None
    return next((line for line in reversed(read_log(out / LOG)) if line["event"] == event), None)


def _say(name: str, event: Event) -> None:
    if event["event"] == "validation":
        ap50 = event["metrics"].get("ap50")
        sys.stderr.write(f"{name}, epoch {event['epoch']}: AP50 {ap50:.3f}\n")

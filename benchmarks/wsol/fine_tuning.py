"""One localizer of the bench: a run of the plan in, its checkpoint out; a finished one is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.wsol.plan import Budget, Run, network_of, recipe_of
from training.log import Event, read_log
from training.run_folder import LOG, MODEL
from training.settings import Machine, settings_for
from training.state import NAME as STATE
from training.wsol import train


def trained(
    one: Run, budget: Budget, weights: Mapping[str, Path], *, photos: Path, out: Path
) -> Path:
    """The checkpoint of a run, trained as far as it is not there yet."""
    if _last(out, "done") is not None:
        return out / MODEL
    settings = settings_for(
        one.model,
        "small",
        photos=photos / "images",
        tags=photos / "tags.csv",
        out=out,
        recipe=recipe_of(budget, one),
        network=network_of(budget, one),
        weights=weights["cam" if one.model == "cam" else "vit"],
        classes=photos / "classes.txt",
        val_list=photos / "held-out.txt",
        resume=(out / STATE).exists(),
        machine=Machine(seed=budget.seed, device="cpu", threads=1, workers=1),
    )
    return train(settings, on_event=lambda event: _say(one.name, event))


def training_summary(out: Path) -> dict[str, Any]:
    """How large, how long, and where the losses and the map's area ended."""
    start, step, done = (_last(out, event) or {} for event in ("start", "step", "done"))
    return {
        "parameters": start["parameters"],
        "photos": start["photos"],
        "seconds": done["seconds"],
        "terms": step["terms"],
        **{name: step[name] for name in ("area", "edge") if name in step},
    }


def _last(out: Path, event: str) -> Event | None:
    """The latest line of that kind in a run's log; None where there is none."""
    if not (out / LOG).exists():
        return None
    return next((line for line in reversed(read_log(out / LOG)) if line["event"] == event), None)


def _say(name: str, event: Event) -> None:
    if event["event"] == "validation":
        figures = ", ".join(
            f"{key} {value:.3f}" for key, value in event["metrics"].items() if value is not None
        )
        sys.stderr.write(f"{name}, epoch {event['epoch']}: {figures}\n")

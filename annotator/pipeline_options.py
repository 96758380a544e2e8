"""A pipeline's options as a project means them: names of its models, and which one by default.

A run keeps the names; where the files lie is looked up when a worker begins, so a project may move.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator import models
from annotator.store import Project
from annotator.training_kinds import LOCALIZER
from engine.lookers import SALIENCY

MODEL_OPTIONS = ("localizer", "classifier")


def with_defaults(project: Project, pipeline: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with the project's newest localizer where the pipeline needs one.

    OptionError where a model is named that is not there.
    """
    chosen = dict(options)
    if pipeline == "pro2sam" and not chosen.get("localizer"):
        newest = models.newest(project)
        chosen["localizer"] = "" if newest is None else newest.name
    located(project, chosen)  # tells about a wrong name now, not in a worker
    return chosen


def located(project: Project, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with paths for the names of models; a path stays as it is."""
    found = dict(options)
    for name in MODEL_OPTIONS:
        value = str(found.get(name) or "")
        if value and value != SALIENCY and Path(value).suffix != models.ENDING:
            found[name] = str(models.path_of(project, value))
    return found


def localizer_names(project: Project) -> list[str]:
    """What the option ``localizer`` can be: the project's own, newest first, then saliency."""
    trained = [one.name for one in models.of_kind(project, LOCALIZER)]
    return [*trained, SALIENCY]

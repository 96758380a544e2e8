"""A pipeline's options as a project means them: names of its models, and which one by default.

A run keeps the names; where the files lie is looked up when a worker begins, so a project may move.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator import models, promotion
from annotator.store import Project
from annotator.training_kinds import CLASSIFIER, DETECTOR, LOCALIZER
from engine import pipelines
from engine.errors import OptionError
from engine.lookers import SALIENCY

KINDS_OF_MODELS = {"localizer": LOCALIZER, "detector": DETECTOR, "classifier": CLASSIFIER}
"""Options that name a model, and which kind it has to be."""
MODEL_OF = {"pro2sam": "localizer", "detector": "detector"}
"""Pipeline -> the option that names the model which it is about."""


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """``detector:birds-2`` is the pipeline ``detector`` with that model: name and options.

    OptionError for an unknown pipeline, or a model where the pipeline has none.
    """
    pipeline, colon, model = text.partition(":")
    if pipeline not in pipelines.PIPELINES:
        raise OptionError(
            f"there is no pipeline '{pipeline}'; there are {', '.join(sorted(pipelines.PIPELINES))}"
        )
    if not colon:
        return pipeline, {}
    if pipeline not in MODEL_OF or not model:
        raise OptionError(
            f"'{text}' names no pipeline; leave out what follows '{pipeline}', or write one of "
            f"{', '.join(f'{name}:MODEL' for name in sorted(MODEL_OF))}"
        )
    return pipeline, {MODEL_OF[pipeline]: model}


def with_defaults(project: Project, pipeline: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the model that the project means where none is named.

    Its newest localizer; the detector in use, or the newest where none was promoted. OptionError
    where a model is named that is not there.
    """
    chosen = dict(options)
    wanted = MODEL_OF.get(pipeline)
    if wanted is not None and not chosen.get(wanted):
        names = detector_names(project) if wanted == "detector" else _trained(project, LOCALIZER)
        chosen[wanted] = next(iter(names), "")
    located(project, chosen)  # tells about a wrong name now, not in a worker
    return chosen


def located(project: Project, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with paths for the names of models; a path stays as it is.

    OptionError where a model is not there, or is of another kind.
    """
    found = dict(options)
    for name, kind in KINDS_OF_MODELS.items():
        value = str(found.get(name) or "")
        if value and value != SALIENCY and Path(value).suffix != models.ENDING:
            path = models.path_of(project, value)
            found[name] = str(path)
            _check_kind(project, value, kind)
    return found


def _check_kind(project: Project, name: str, kind: str) -> None:
    """A model that cannot be read passes: the worker tells what is wrong with it."""
    model = next(one for one in models.all_models(project) if one.name == name)
    if model.what not in ("", kind):
        way = "models add FILE --arch NAME" if kind == CLASSIFIER else f"train {kind}"
        there = ", ".join(_trained(project, kind)) or f"none yet; get one: annotator {way}"
        raise OptionError(f"{name!r} is a {model.what}, not a {kind}; there are: {there}")


def localizer_names(project: Project) -> list[str]:
    """What the option ``localizer`` can be: the project's own, newest first, then saliency."""
    return [*_trained(project, LOCALIZER), SALIENCY]


def detector_names(project: Project) -> list[str]:
    """What the option ``detector`` can be: the one in use, then the others, newest first."""
    with project.read() as view:
        in_use = promotion.current(view)
    trained = _trained(project, DETECTOR)
    return sorted(trained, key=lambda name: name != in_use)


def classifier_names(project: Project) -> list[str]:
    """What the option ``classifier`` can be, newest first."""
    return _trained(project, CLASSIFIER)


def _trained(project: Project, kind: str) -> list[str]:
    return [one.name for one in models.of_kind(project, kind)]

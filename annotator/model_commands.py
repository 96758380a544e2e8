"""`annotator train` and `annotator models`: arguments in, an answer out, True if all was done."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from typing import Any

from annotator import (
    adding_models,
    estimates,
    models,
    pretrained,
    promotion,
    promotion_commands,
    training,
)
from annotator.answers import answer, opened, progress_bar
from annotator.estimates import Estimate
from annotator.store import Project
from annotator.training import Training, Trainings
from annotator.training_kinds import DETECTOR, LOCALIZER
from annotator.training_options import AnyOptions, DetectorTrainingOptions, TrainingOptions
from engine import checkpoints
from engine.detectors.saved import DetectorCard
from engine.errors import JobError, OptionError
from engine.options import flag_of, from_arguments

LOOK_SECONDS = 0.5
SHOWN_METRICS = ("top1", "map", "gt_known", "ap50", "ap")


# -- training ------------------------------------------------------------------------------------


def run_train(arguments: argparse.Namespace) -> bool:
    """`annotator train`."""
    with opened(arguments.project) as project:
        if arguments.estimate:
            return _estimate(project, arguments)
        if arguments.stop is not None:
            training.cancel(project, arguments.stop)
            return _tell(arguments, Trainings(project).get(arguments.stop))
        number = arguments.watch or _begin(project, arguments)
        if arguments.background:
            return _tell(arguments, Trainings(project).get(number))
        found = _follow(project, number, arguments)
        if found.status == training.FAILED:
            raise JobError(f"training {number} failed: {found.message}")
        if found.status != training.DONE or found.what != DETECTOR or found.message:
            _tell(arguments, found)
            return found.status == training.DONE
        if not arguments.json:
            _tell(arguments, found)  # judging takes a while
        value, lines = promotion_commands.judge_after_training(project, found, arguments)
    answer(arguments, {**found.as_dict(), **value}, "\n".join(lines))
    return True


def _begin(project: Project, arguments: argparse.Namespace) -> int:
    if arguments.resume is None:
        options = _chosen_options(arguments)
        _ask_for_weights(options, arguments)
        return training.start(
            project,
            options,
            name=arguments.name or "",
            truth=arguments.truth,
            weights=arguments.weights or "",
            passed_on=arguments.passed_on,
        )
    kinds = (TrainingOptions, DetectorTrainingOptions)
    known = dict.fromkeys(one.name for kind in kinds for one in dataclasses.fields(kind))
    chosen = [name for name in known if name in arguments]
    chosen += [
        name for name in ("name", "truth", "weights") if getattr(arguments, name) is not None
    ]
    if chosen or arguments.passed_on:
        given = flag_of(chosen[0]) if chosen else "--"
        raise OptionError(
            f"a resumed training keeps its settings; leave out {given}, or start a new one"
        )
    training.resume(project, arguments.resume)
    return int(arguments.resume)


def _ask_for_weights(options: AnyOptions, arguments: argparse.Namespace) -> None:
    pretrained.consent(
        options,
        weights=arguments.weights or "",
        passed_on=arguments.passed_on,
        may_download=arguments.download,
        asks=not arguments.json,
    )


def _chosen_options(arguments: argparse.Namespace) -> AnyOptions:
    """The settings of what is trained; OptionError for those of the other kind."""
    kinds: tuple[type[AnyOptions], type[AnyOptions]] = (TrainingOptions, DetectorTrainingOptions)
    mine, other = reversed(kinds) if arguments.what == DETECTOR else kinds
    if arguments.what == DETECTOR and arguments.truth is not None:
        raise OptionError(
            "a detector is judged by the photos that the project holds back; leave out --truth"
        )
    own = {one.name for one in dataclasses.fields(mine)}
    for one in dataclasses.fields(other):
        if one.name not in own and one.name in arguments:
            raise OptionError(
                f"{flag_of(one.name)} is no setting of a {arguments.what}; leave it out"
            )
    return from_arguments(mine, arguments)


def _estimate(project: Project, arguments: argparse.Namespace) -> bool:
    """`annotator train detector DIR --estimate`."""
    if arguments.what != DETECTOR:
        raise OptionError("only the time of a detector can be estimated; leave out --estimate")
    options = _chosen_options(arguments)
    _ask_for_weights(options, arguments)  # to time a few steps they are fetched as well
    asked = estimates.ask(
        project, options, weights=arguments.weights or "", passed_on=arguments.passed_on
    )
    with asked, progress_bar(quiet=arguments.quiet or arguments.json) as progress:
        progress.add_task("timing a few steps", total=None)
        found = asked.wait()
    answer(arguments, dataclasses.asdict(found), estimate_sentence(found))
    return True


def estimate_sentence(found: Estimate) -> str:
    """How long a training would take, on one line."""
    return (
        f"about {estimates.duration(found.seconds)}: {found.steps} steps of "
        f"{found.seconds_a_step:.2g} s, on {found.photos} photos with {found.instances} objects"
    )


def _follow(project: Project, number: int, arguments: argparse.Namespace) -> Training:
    """Show how it gets on until it ends; Ctrl-C stops it, a second one at once."""
    trainings = Trainings(project)
    times_stopped = 0
    with progress_bar(quiet=arguments.quiet or arguments.json) as progress:
        task = progress.add_task(f"training {number}", total=None)
        while True:
            try:
                found = trainings.get(number)
                progress.update(
                    task,
                    description=f"training {number} {_figures(found)}".rstrip(),
                    completed=found.step,
                    total=found.steps or None,
                )
                if not found.is_active:
                    break
                time.sleep(LOOK_SECONDS)
            except KeyboardInterrupt:
                if arguments.watch is not None:
                    raise  # whoever only looks goes away, the training goes on
                times_stopped += 1
                patience = training.KILL_AFTER_SECONDS if times_stopped == 1 else 0.0
                _stop(project, number, patience=patience)
    if times_stopped and found.status != training.DONE:
        sys.stderr.write(_sentence(found) + "\n")
        raise KeyboardInterrupt
    return found


def _stop(project: Project, number: int, *, patience: float) -> None:
    try:
        training.cancel(project, number, patience=patience)
    except JobError:  # it has ended by itself meanwhile, which the next look shows
        return
    sys.stderr.write("stopping after this step; Ctrl-C again kills it\n")


def _tell(arguments: argparse.Namespace, found: Training) -> bool:
    lines = [_sentence(found)]
    if found.status == training.DONE and not found.message:
        lines.append(f"the model is called {found.name}; see: annotator models --project DIR")
    if found.is_active:
        lines.append(f"follow it with: annotator train {found.what} DIR --watch {found.number}")
    answer(arguments, found.as_dict(), "\n".join(lines))
    return True


def _sentence(found: Training) -> str:
    """How a training stands, on one line."""
    steps = f"step {found.step} of {found.steps}" if found.steps else "no step yet"
    words = f"training {found.number} ({found.options.get('model')}) {found.status}: {steps}"
    rest = [text for text in (_figures(found), found.message) if text]
    if found.is_resumable:
        rest.append(f"go on with --resume {found.number}")
    return ", ".join([words, *rest])


def _figures(found: Training) -> str:
    metrics = found.metrics
    return " ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN_METRICS if name in metrics)


def training_lines(project: Project) -> tuple[list[dict[str, Any]], list[str]]:
    """Every training as JSON and as a line, for `annotator status`."""
    found = Trainings(project).all()
    return [one.as_dict() for one in found], [_sentence(one) for one in found]


# -- models --------------------------------------------------------------------------------------


def run_models(arguments: argparse.Namespace) -> bool:
    """`annotator models`."""
    if arguments.action == "get":
        return _get_model(arguments)
    if arguments.action == "add":
        return adding_models.run(arguments)
    if arguments.action != "list":
        return promotion_commands.run(arguments)
    rows = [
        {
            "name": name,
            "megabytes": round(weights.size / 1e6),
            "licence": weights.licence,
            "is_here": checkpoints.is_here(name),
            "used_for": weights.used_for,
        }
        for name, weights in checkpoints.WEIGHTS.items()
    ]
    lines = [
        f"{row['name']:12} {row['megabytes']:>6} MB  {row['licence']:12} "
        f"{'here' if row['is_here'] else 'not here':8}  {row['used_for']}"
        for row in rows
    ]
    lines.append("saliency and classical need no checkpoint.  Get one: annotator models get NAME")
    value: dict[str, Any] = {"folder": checkpoints.default_folder(), "models": rows}
    if arguments.project is not None:
        with opened(arguments.project) as project:
            Trainings(project).all()  # the model of a training that has ended comes along
            own = models.all_models(project)
            with project.read() as view:
                in_use = promotion.current(view)
        value["project_models"] = [model.as_dict() for model in own]
        value["promoted"] = in_use
        lines.append(f"trained in {arguments.project}:")
        lines += [_model_line(model, is_in_use=model.name == in_use) for model in own]
        if not own:
            lines.append("  none yet; train one: annotator train localizer DIR")
    answer(arguments, value, "\n".join(lines))
    return True


def _model_line(model: models.Model, *, is_in_use: bool) -> str:
    if model.card is None:
        return f"  {model.name}: {model.problem}"
    figures = [
        f"{name} {value:.3f}"
        for name, value in model.card.metrics.items()
        if isinstance(value, float)
    ]
    card = model.card
    facts = [
        card.arch if model.what == LOCALIZER else f"{model.what} {card.arch}",
        f"{len(card.classes)} classes ({_some(card.classes)})",
        *([] if isinstance(card, DetectorCard) else [f"{card.image_size} px"]),
        f"{model.bytes / 1e6:.1f} MB",
        f"{model.made_at:%Y-%m-%d %H:%M} UTC",
        *figures,
    ]
    if parent := card.training.get("parent"):
        facts.append(f"learned from proposals of {parent}")
    return f"  {model.name}{' (in use)' if is_in_use else ''}: " + ", ".join(facts)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")


def _get_model(arguments: argparse.Namespace) -> bool:
    if arguments.name not in checkpoints.WEIGHTS:
        asked = "say which checkpoint" if arguments.name is None else f"no '{arguments.name}'"
        raise OptionError(f"{asked}; choose from {', '.join(checkpoints.WEIGHTS)}")
    with progress_bar(quiet=arguments.json) as progress:
        task = progress.add_task(arguments.name, total=checkpoints.WEIGHTS[arguments.name].size)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        path = checkpoints.download(arguments.name, progress=show)
    answer(arguments, {"name": arguments.name, "path": path}, f"{arguments.name} is at {path}")
    return True

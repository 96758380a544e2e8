"""`annotator models judge|promote|back|judging`: which detector a project uses, and why."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from annotator import holdback, judgements, judging, promotion
from annotator.answers import answer, opened, progress_bar
from annotator.judging import Figure, Judgement
from annotator.store import Project
from annotator.training import DONE, Training, Trainings
from engine.errors import AnnotatorError, ConflictError, JobError, OptionError

LOOK_SECONDS = 0.5
ATTEMPTS = 2  # where another detector comes into use while one is judged
FIGURES = {"ap50": "AP50", "ap": "AP", "corloc": "CorLoc"}


def run(arguments: argparse.Namespace) -> bool:
    """The actions of `annotator models` that are about a project."""
    if arguments.project is None:
        raise OptionError(
            f"say of which project: annotator models {arguments.action} --project DIR"
        )
    actions: dict[str, Callable[[Project, argparse.Namespace], bool]] = {
        "judge": _judge,
        "promote": _promote,
        "back": _back,
        "judging": _judging,
    }
    with opened(arguments.project) as project:
        Trainings(project).all()  # the model of a training that has ended comes along
        return actions[arguments.action](project, arguments)


def judge_after_training(
    project: Project, found: Training, arguments: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """What follows a detector's training that was watched to its end, as JSON and in words.

    Where an open page has begun to judge it, that judgement is waited for.
    """
    arguments.by_rule, arguments.as_chosen = False, True
    arguments.device = "auto"
    try:
        while (judged := _awaited(project, found.name, arguments)) is None:
            if judgements.claim(project, found.name):
                judged = _judged(project, found.name, arguments)
                break
            time.sleep(LOOK_SECONDS)  # somebody was faster
    except AnnotatorError as error:
        return {"judgement": None, "not_judged": str(error)}, [f"not judged: {error}"]
    return {"judgement": judged.as_dict()}, _what_follows(judged)


def _awaited(project: Project, name: str, arguments: argparse.Namespace) -> Judgement | None:
    """The judgement that another process has made or is making; None where there is none."""
    with progress_bar(quiet=arguments.quiet or arguments.json) as progress:
        task = progress.add_task(f"judging {name}", total=None)
        while (seen := judgements.look(project, name)) is not None and seen.is_active:
            progress.update(task, completed=seen.done, total=seen.total or None)
            time.sleep(LOOK_SECONDS)
    return seen.judgement if seen is not None and seen.status == DONE else None


def _judge(project: Project, arguments: argparse.Namespace) -> bool:
    name = _name(arguments)
    if not judgements.claim(project, name):
        raise JobError(f"{name} is being judged already")
    judged = _judged(project, name, arguments)
    answer(arguments, judged.as_dict(), "\n".join(_what_follows(judged)))
    return True


def _judged(project: Project, name: str, arguments: argparse.Namespace) -> Judgement:
    """Judge the detector that was claimed, use it if the rule says so, and keep what came out."""
    with progress_bar(quiet=arguments.quiet or arguments.json) as progress:
        task = progress.add_task(f"judging {name}", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)
            judgements.note_progress(project, name, done=done, total=total)

        try:
            load = judging.loader(arguments.device)
            for _ in range(ATTEMPTS):
                judged = judging.judge(project, name, load=load, on_progress=show)
                if arguments.by_rule or arguments.as_chosen:
                    judged = _by_rule(project, judged, unless_by_hand=not arguments.by_rule)
                if not judged.refusal:
                    break
        except AnnotatorError as error:
            judgements.note_problem(project, name, str(error))
            raise
    judgements.keep(project, judged)  # the last thing: whoever sees it sees all that followed
    return judged


def _what_follows(judged: Judgement) -> list[str]:
    name = judged.candidate
    if judged.promoted:
        end = f"{name} is in use from now on; take it back with: annotator models back"
    else:
        end = f"use it with: annotator models promote {name} --project DIR"
    return [*judgement_lines(judged), end]


def _by_rule(project: Project, judged: Judgement, *, unless_by_hand: bool) -> Judgement:
    """Use it if the rule says so; the judgement with whether it is, or what came between."""
    if not judged.is_better:
        return judged
    try:
        is_promoted = promotion.promote(
            project,
            judged.candidate,
            by=promotion.RULE,
            reason=judged.reason,
            instead_of=judged.present,
            unless_by_hand=unless_by_hand,
        )
    except ConflictError as error:
        return replace(judged, refusal=str(error))
    return replace(judged, promoted=is_promoted)


def judgement_lines(judged: Judgement) -> list[str]:
    """A judgement as a table and a sentence."""
    against = judged.present or "no detector in use"
    lines = [f"{judged.candidate} against {against}, on {judged.photos} photos held back:"]
    for key, title in FIGURES.items():
        if key not in judged.figures:
            continue
        columns = [f"  {title:7} {_shown(judged.figures[key])}"]
        if key in judged.present_figures:
            columns.append(f"was {_shown(judged.present_figures[key])}")
            columns.append(f"difference {_shown(judged.differences[key], sign='+')}")
        lines.append("  ".join(columns))
    if judged.left_out:
        lines.append(
            f"  {judged.left_out} photos held back left out: learned from, or they do not open"
        )
    return [*lines, judged.reason, *filter(None, [judged.weakness, judged.refusal])]


def _shown(figure: Figure, *, sign: str = "") -> str:
    return f"{figure.value:{sign}.3f} ({figure.low:{sign}.3f} to {figure.high:{sign}.3f})"


def _promote(project: Project, arguments: argparse.Namespace) -> bool:
    name = _name(arguments)
    is_new = promotion.promote(project, name, by=promotion.HAND, reason="by hand")
    text = f"{name} is in use from now on" if is_new else f"{name} is in use already"
    answer(arguments, {"promoted": name}, text)
    return True


def _back(project: Project, arguments: argparse.Namespace) -> bool:
    name = promotion.back(project)
    text = f"{name} is in use again" if name else "no detector is in use any more"
    answer(arguments, {"promoted": name}, text)
    return True


def _judging(project: Project, arguments: argparse.Namespace) -> bool:
    if arguments.by_rule and arguments.by_hand:
        raise OptionError("choose one of --by-rule and --by-hand")
    with project.write() as transaction:
        if arguments.share is not None:
            holdback.set_share(transaction, arguments.share)
        if arguments.by_rule or arguments.by_hand:
            promotion.set_by_hand(transaction, bool(arguments.by_hand))
    with project.read() as view:
        parts = holdback.parts(view)
        value: dict[str, Any] = {
            "share": holdback.share_of(view),
            "judge": len(parts.judges),
            "unfinished": [image.file_name for image in parts.unfinished],
            "judge_without_objects": len(parts.judges) - holdback.with_objects(parts.judges),
            "accepted_unseen": parts.waiting,
            "by_hand": promotion.is_by_hand(view),
            "promoted": promotion.current(view),
            "history": [asdict(one) for one in promotion.history(view)],
        }
    held_back = len(parts.judges) + len(parts.unfinished)
    lines = [
        f"{value['share']:.0%} of the photos are held back for ever: {held_back} photos, of which "
        f"{value['judge']} are reviewed in full and judge",
        *filter(
            None,
            [
                holdback.weakness(holdback.with_objects(parts.judges)),
                holdback.unseen_hint(parts.waiting),
            ],
        ),
        "detectors are promoted " + ("by hand" if value["by_hand"] else "by rule"),
        f"in use: {value['promoted'] or 'no detector'}",
        *(
            f"  {one['at'][:16]} {one['model'] or 'none'}: {one['reason']}"
            for one in value["history"]
        ),
    ]
    answer(arguments, value, "\n".join(lines))
    return True


def _name(arguments: argparse.Namespace) -> str:
    if arguments.name is None:
        raise OptionError(
            f"say which detector: annotator models {arguments.action} NAME --project DIR"
        )
    return str(arguments.name)

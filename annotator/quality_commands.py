"""`annotator check` and `annotator accept`: parsed arguments in, an answer printed."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from annotator import accepting, qa
from annotator.accepting import Choice, Preview
from annotator.answers import answer, first, opened
from annotator.commands import actor
from annotator.findings import KINDS, Finding
from annotator.store import Project
from annotator.thresholds import TOO_FEW, Decisions
from engine.errors import OptionError


def add_check_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `annotator check`."""
    command.add_argument(
        "--kind", action="append", choices=KINDS, help="only these; may be given several times"
    )


def run_check(arguments: argparse.Namespace) -> bool:
    """`annotator check`."""
    with opened(arguments.project) as project:
        training = qa.take_in_training(project)
        with project.read() as view:
            found = qa.open_findings(view, kinds=arguments.kind or KINDS)
            photos = {photo.id: photo.file_name for photo in view.photos()}
    value = {
        "training": training,
        "findings": [{"file_name": photos[one.image_id], **asdict(one)} for one in found],
    }
    lines = [f"{len(found)} findings on {len({one.image_id for one in found})} photos"]
    lines += first([_line(one, photos[one.image_id]) for one in found])
    answer(arguments, value, "\n".join(lines))
    return True


def _line(one: Finding, file_name: str) -> str:
    about = f" (object {one.instance_id})" if one.instance_id is not None else ""
    return f"  {one.badness:.2f} {one.kind:12} {file_name}{about}: {one.reason}"


def add_accept_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `annotator accept`."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--min-score", type=float, metavar="SCORE", help="accept what has at least this score"
    )
    what.add_argument("--undo", action="store_true", help="take back what was accepted so last")
    command.add_argument("--class", dest="category", metavar="NAME", help="only this class")
    command.add_argument(
        "--source", metavar="NAME", help="only of this pipeline, or of PIPELINE:CHECKPOINT"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be accepted, and change nothing"
    )


def run_accept(arguments: argparse.Namespace) -> bool:
    """`annotator accept`."""
    with opened(arguments.project) as project:
        if arguments.undo:
            given = [arguments.category, arguments.source, arguments.dry_run]
            if any(given):
                raise OptionError("--undo takes back all of it: leave the other flags out")
            back = accepting.take_back(project, actor=actor())
            text = f"{back.objects} objects on {back.photos} photos are undecided again"
            answer(arguments, asdict(back), text)
            return True
        choice, shown = _look(project, arguments)
        value: dict[str, Any] = {"done": not arguments.dry_run, **asdict(shown)}
        lines = [_expectation(shown)]
        if arguments.dry_run:
            lines.insert(0, f"{shown.objects} objects on {shown.photos} photos would be accepted")
        else:
            batch = accepting.accept_above(project, choice, actor=actor())
            value["batch"] = batch.number
            lines.insert(0, f"{batch.objects} objects on {batch.photos} photos accepted")
            lines.append(f"take it back with: annotator accept {arguments.project} --undo")
        answer(arguments, value, "\n".join(lines))
    return True


def _look(project: Project, arguments: argparse.Namespace) -> tuple[Choice, Preview]:
    with project.read() as view:
        known = view.category_ids()
        if arguments.category is not None and arguments.category not in known:
            raise OptionError(
                f"this project has no class '{arguments.category}'; choose from {', '.join(known)}"
            )
        category_id = None if arguments.category is None else known[arguments.category]
        choice = Choice(arguments.min_score, category_id, arguments.source)
        return choice, accepting.preview(view, choice, Decisions().thresholds(view))


def _expectation(shown: Preview) -> str:
    """How many of them are right, as far as one's own decisions tell."""
    if shown.expected is None:
        return f"how many are right cannot be told: fewer than {TOO_FEW} such were decided so far"
    one = shown.expected
    share = f"{one.right:.0%} of them are right ({one.low:.0%} to {one.high:.0%})"
    unknown = shown.objects - shown.known
    rest = f"; {unknown} more are of a kind too seldom decided" if unknown else ""
    return f"by your own decisions {share}{rest}"

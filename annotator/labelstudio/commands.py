"""`annotator labelstudio push|pull|file`: arguments in, an answer out, True where all was done."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict

from annotator import exporting
from annotator.answers import answer, opened, steps_bar
from annotator.commands import actor
from annotator.exporting import choose_statuses
from annotator.labelstudio.addresses import UPLOAD
from annotator.labelstudio.exchange import There, fetch, send
from annotator.labelstudio.flags import PUSHED, TOKEN_VARIABLE
from annotator.labelstudio.push import OnProgress
from annotator.labelstudio.reporting import pull_lines, push_lines
from engine.errors import OptionError
from engine.options import as_dict, from_arguments
from exports.choices import Choices
from exports.label_studio import LabelStudioOptions
from exports.label_studio_files import README

# -- to and from a server ------------------------------------------------------------------------


def run_push(arguments: argparse.Namespace, chosen: Choices | None = None) -> bool:
    """Send what is new or changed of what was chosen, by default all of some statuses."""
    options = from_arguments(LabelStudioOptions, arguments)
    with opened(arguments.project) as project:
        there, choices = _there(arguments), chosen or _choices(arguments)
        with _progress(arguments) as show:
            report = send(project, there, choices, options, on_progress=show, on_note=_note)
    answer(arguments, asdict(report), "\n".join(push_lines(report)))
    return report.is_complete


def run_pull(arguments: argparse.Namespace) -> bool:
    """Take over what people did there."""
    with opened(arguments.project) as project:
        there = _there(arguments)
        with _progress(arguments) as show:
            report = fetch(
                project,
                there,
                actor=actor(),
                prefer=arguments.prefer,
                add_classes=arguments.add_classes,
                on_progress=show,
                on_note=_note,
            )
    answer(arguments, asdict(report), "\n".join(pull_lines(report)))
    return report.is_complete


def _there(arguments: argparse.Namespace) -> There:
    if not arguments.url:
        raise OptionError("say where Label Studio is: --url http://localhost:8080")
    return There(
        url=arguments.url,
        token=_token(arguments),
        title=arguments.title or "",
        photos=arguments.photos or UPLOAD,
        document_root=arguments.document_root,
    )


def _token(arguments: argparse.Namespace) -> str:
    """From the flag, the environment or a prompt; never kept."""
    given = arguments.token or os.environ.get(TOKEN_VARIABLE)
    if given:
        return str(given)
    if not sys.stdin.isatty():
        raise OptionError(f"no token: set {TOKEN_VARIABLE} (Account & Settings there shows it)")
    return getpass.getpass(f"Access token of {arguments.url}: ")


def _note(text: str) -> None:
    sys.stderr.write(f"note: {text}\n")


def _choices(arguments: argparse.Namespace) -> Choices:
    return Choices(statuses=choose_statuses(arguments.status or list(PUSHED)))


def _progress(arguments: argparse.Namespace) -> AbstractContextManager[OnProgress]:
    return steps_bar(quiet=arguments.quiet or arguments.json)


# -- to a file -----------------------------------------------------------------------------------


def run_file(arguments: argparse.Namespace) -> bool:
    """Write tasks, label config and README, read them back by the SDK, and keep the report."""
    if arguments.out is None:
        raise OptionError("say where to write: --out FOLDER")
    options = as_dict(from_arguments(LabelStudioOptions, arguments))
    if arguments.photos is not None:
        options["photo_base"] = arguments.photos
    with opened(arguments.project) as project:
        choices = _choices(arguments)
        planned = exporting.plan(project, exporting.SERVER_FORMAT, choices=choices, options=options)
    with _progress(arguments) as show:
        report = exporting.write(planned, arguments.out, on_progress=show)
    lines = [report.summary(), f"{report.path / README} says how to import it"]
    answer(arguments, report.as_dict(), "\n".join(lines))
    is_whole = not planned.losses and not planned.selection.unclassed
    return report.verified.ok and is_whole

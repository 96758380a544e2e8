"""`annotator labelstudio push|pull|file`: arguments in, an answer out, True where all was done."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from annotator.answers import answer, first, opened, progress_bar
from annotator.exporting import choose_statuses
from annotator.labelstudio.addresses import UPLOAD, photo_source
from annotator.labelstudio.client import TESTED, Client, Waiting
from annotator.labelstudio.flags import PUSHED, TOKEN_VARIABLE
from annotator.labelstudio.pull import PullChoices, PullReport, pull
from annotator.labelstudio.push import OnProgress, PushChoices, PushReport, push
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.errors import OptionError
from engine.options import from_arguments
from exports.choices import Choices, Selection, select
from exports.label_studio import LabelStudioOptions
from exports.label_studio_check import seen_in_label_studio
from exports.label_studio_files import (
    LabelStudioFileOptions,
    hold_label_studio,
    write_label_studio,
)
from exports.verify import compare

# -- to and from a server ------------------------------------------------------------------------


def run_push(arguments: argparse.Namespace, chosen: Choices | None = None) -> bool:
    """Send what is new or changed of what was chosen, by default all of some statuses."""
    with opened(arguments.project) as project, _remote(arguments) as remote:
        source = photo_source(
            project, arguments.photos or UPLOAD, document_root=arguments.document_root
        )
        choices = PushChoices(
            title=_title(arguments, project), options=from_arguments(LabelStudioOptions, arguments)
        )
        with _progress(arguments) as show:
            selection = _selection(project, chosen or _choices(arguments))
            report = push(project, remote, selection, choices, source, on_progress=show)
    answer(arguments, asdict(report), _push_text(report))
    return report.is_complete


def run_pull(arguments: argparse.Namespace) -> bool:
    """Take over what people did there."""
    with opened(arguments.project) as project, _remote(arguments) as remote:
        choices = PullChoices(
            title=_title(arguments, project),
            actor=_actor(),
            prefer=arguments.prefer,
            add_classes=arguments.add_classes,
        )
        with _progress(arguments) as show:
            report = pull(project, remote, choices, on_progress=show)
    answer(arguments, asdict(report), _pull_text(report))
    return report.is_complete


@contextmanager
def _remote(arguments: argparse.Namespace) -> Iterator[Remote]:
    """The server, once it is known to be one and to take the token."""
    if not arguments.url:
        raise OptionError("say where Label Studio is: --url http://localhost:8080")
    with Client(arguments.url, _token(arguments), Waiting()) as client:
        version, _ = client.check()
        if not version.startswith(TESTED):
            text = f"note: this is Label Studio {version}; tried was {TESTED}x only\n"
            sys.stderr.write(text)
        yield Remote(client)


def _token(arguments: argparse.Namespace) -> str:
    """From the flag, the environment or a prompt; never kept."""
    given = arguments.token or os.environ.get(TOKEN_VARIABLE)
    if given:
        return str(given)
    if not sys.stdin.isatty():
        raise OptionError(f"no token: set {TOKEN_VARIABLE} (Account & Settings there shows it)")
    return getpass.getpass(f"Access token of {arguments.url}: ")


def _title(arguments: argparse.Namespace, project: Project) -> str:
    if arguments.title:
        return str(arguments.title)
    with project.read() as view:
        return str(view.setting("name", "")) or project.folder.name


def _choices(arguments: argparse.Namespace) -> Choices:
    return Choices(statuses=choose_statuses(arguments.status or list(PUSHED)))


def _selection(project: Project, choices: Choices) -> Selection:
    with project.read() as view:
        categories = list(view.category_names().items())
        return select(view.labeled(choices.statuses), categories, choices)


@contextmanager
def _progress(arguments: argparse.Namespace) -> Iterator[OnProgress]:
    with progress_bar(quiet=arguments.quiet or arguments.json) as progress:
        task = progress.add_task("label studio", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield show


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "person"


# -- to a file -----------------------------------------------------------------------------------


def run_file(arguments: argparse.Namespace) -> bool:
    """Write tasks, label config and README, and read them back by the SDK."""
    if arguments.out is None:
        raise OptionError("say where to write: --out FOLDER")
    chosen = from_arguments(LabelStudioOptions, arguments)
    base = {} if arguments.photos is None else {"photo_base": arguments.photos}
    options = LabelStudioFileOptions(masks=chosen.masks, boxes=chosen.boxes, **base)
    with opened(arguments.project) as project:
        selection = _selection(project, _choices(arguments))
        held = hold_label_studio(selection.images, options)
        write_label_studio(arguments.out, held.images, selection.classes, options)
    seen = seen_in_label_studio(arguments.out)
    verified = compare(held.images, seen, reader="label-studio-sdk")
    value: dict[str, Any] = {
        "path": str(arguments.out),
        "photos": len(held.images),
        "instances": selection.instances,
        "unclassed": selection.unclassed,
        "losses": [loss.as_dict() for loss in held.losses],
        "verified": verified.as_dict(),
    }
    lines = [
        f"{len(held.images)} tasks written to {arguments.out}; README.txt there says how to import",
        f"read back by {verified.reader}: {verified.summary()}",
        *map(str, held.losses),
    ]
    if selection.unclassed:
        lines.append(f"left out: {selection.unclassed} instances that have no class yet")
    answer(arguments, value, "\n".join(lines))
    return verified.ok and not held.losses and not selection.unclassed


# -- answers -------------------------------------------------------------------------------------


def _push_text(report: PushReport) -> str:
    verb = "made" if report.made else "brought in step"
    lines = [
        f"project {report.title!r} at {report.url}/projects/{report.remote_project} {verb}: "
        f"{report.sent} photos sent, {report.updated} updated, {report.unchanged} as they were"
    ]
    if report.config_added:
        lines.append("added to the label config: " + ", ".join(report.config_added))
    if report.waiting:
        lines.append(f"{len(report.waiting)} photos were annotated there meanwhile; pull first:")
        lines += first([f"  {name}" for name in report.waiting])
    if report.twice:
        lines.append(f"{len(report.twice)} photos have more than one task there; the oldest counts")
        lines += first([f"  {name}" for name in report.twice])
    lines += first([f"left out {text}" for text in report.left_out])
    lines += map(str, report.losses)
    if report.unclassed:
        lines.append(f"left out: {report.unclassed} instances that have no class yet")
    return "\n".join(lines)


def _pull_text(report: PullReport) -> str:
    lines = [
        f"project {report.title!r} at {report.url}: {report.tasks} tasks, {report.read} read; "
        f"{report.photos} photos changed here: {report.accepted} accepted, {report.changed} "
        f"changed, {report.added} new, {report.rejected} taken away"
    ]
    if report.skipped or report.drafts or report.foreign:
        lines.append(
            f"not taken: {report.skipped} tasks skipped there, {report.drafts} with a draft, "
            f"{report.foreign} of other projects"
        )
    lines += first([f"set aside: {text}" for text in report.set_aside])
    lines += first([f"conflict: {text}" for text in report.conflicts])
    lines += first([f"problem: {text}" for text in report.problems])
    return "\n".join(lines)

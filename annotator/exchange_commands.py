"""`annotator export` and `annotator import`: flags, arguments in, an answer out.

Both return True where nothing was left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from annotator import exporting, importing, intake
from annotator.answers import answer, first, opened, progress_bar, steps_bar
from annotator.commands import actor
from annotator.labelstudio import dispatch, flags
from engine.errors import FormatError, OptionError
from engine.options import add_arguments, flag_of
from exports.choices import Choices
from exports.formats import NoOptions, formats_to_read, formats_to_write

SERVER_FORMAT = "labelstudio"  # the one that may go to a server
_WRITING = {name: kind.options for name, kind in formats_to_write().items()}
_READING = {name: kind.read_options for name, kind in formats_to_read().items()}


def add_export_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `annotator export`."""
    command.add_argument("format", choices=exporting.FORMATS, help="file format")
    command.add_argument(
        "out", type=Path, metavar="OUT", nargs="?", help="file or new folder to write"
    )
    command.add_argument(
        "--status",
        action="append",
        choices=exporting.STATUS_CHOICES,
        help="which instances; may be given several times (default: curated; to a server: curated "
        "and proposed)",
    )
    command.add_argument(
        "--class",
        action="append",
        dest="classes",
        metavar="NAME",
        help="only instances of this class; may be given several times (default: all)",
    )
    command.add_argument(
        "--split",
        action="append",
        metavar="NAME",
        help="only photos of this split; may be given several times (default: all)",
    )
    command.add_argument(
        "--min-score", type=float, default=0.0, metavar="X", help="leave out lower scores"
    )
    command.add_argument(
        "--val-share", type=float, metavar="X", help="deal photos without a split: share of val"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the dealing")
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be written and lost, write nothing"
    )
    _add_format_options(command, _WRITING)
    server = command.add_argument_group(f"{SERVER_FORMAT}, to a server instead of a file")
    flags.add_server_arguments(server)


def add_import_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `annotator import`."""
    command.add_argument("format", choices=(*importing.FORMATS, importing.TAGS), help="file format")
    command.add_argument("file", type=Path, metavar="FILE", help="file or folder to read")
    command.add_argument(
        "--as",
        choices=("curated", "proposed"),
        default="curated",
        dest="taken_as",
        help="a person stands behind it, or it is to be reviewed (default: %(default)s)",
    )
    command.add_argument(
        "--source", metavar="NAME", help="where it comes from (default: name of the file)"
    )
    command.add_argument(
        "--images",
        action="append",
        type=Path,
        metavar="FOLDER",
        help="names in the file are relative to this folder; may be given several times",
    )
    _add_format_options(command, _READING)


def run_export(arguments: argparse.Namespace) -> bool:
    """`annotator export`."""
    _check_target(arguments)
    default = ["curated"] if arguments.url is None else list(flags.PUSHED)
    choices = Choices(
        statuses=exporting.choose_statuses(arguments.status or default),
        classes=tuple(arguments.classes or ()),
        splits=tuple(arguments.split or ()),
        min_score=arguments.min_score,
        val_share=arguments.val_share,
        seed=arguments.seed,
    )
    options = _format_options(arguments, _WRITING)
    if arguments.url is not None and not arguments.dry_run:
        return dispatch.push_from_export(arguments, choices)
    with opened(arguments.project) as project:
        planned = exporting.plan(project, arguments.format, choices=choices, options=options)
    if arguments.dry_run:
        answer(arguments, planned.as_dict(), planned.summary())
        return planned.selection.unclassed == 0
    if planned.losses and not arguments.json:
        # Before anything is written, so that it can still be stopped.
        sys.stderr.write("".join(f"{loss}\n" for loss in planned.losses))
    with steps_bar(quiet=arguments.json or arguments.quiet) as show:
        report = exporting.write(planned, arguments.out, on_progress=show)
    answer(arguments, report.as_dict(), report.summary())
    if not report.verified.ok:
        raise FormatError(
            f"{arguments.out} does not say what it should ({report.verified.problems[0]}); "
            f"do not use it, and report this with {report.report_path}"
        )
    return planned.selection.unclassed == 0


def _check_target(arguments: argparse.Namespace) -> None:
    """A file or a server, and nothing that belongs to the other one; OptionError else."""
    if arguments.url is None:
        for name, flag in flags.SERVER_FLAGS.items():
            if getattr(arguments, name) is not None:
                raise OptionError(f"{flag} is about a server; say which one with --url")
        if arguments.out is None and not arguments.dry_run:
            raise OptionError("say where to write: annotator export DIR FORMAT OUT")
        return
    if arguments.format != SERVER_FORMAT:
        raise OptionError(
            f"only the format {SERVER_FORMAT} goes to a server, got {arguments.format!r} with --url"
        )
    if arguments.out is not None:
        raise OptionError(f"with --url no file is written; leave out {str(arguments.out)!r}")
    if "photo_base" in arguments:
        raise OptionError("--photo-base is for files; say --photos ADDRESS to a server")


def run_import(arguments: argparse.Namespace) -> bool:
    """`annotator import`."""
    options = _format_options(arguments, _READING)
    if arguments.format == importing.TAGS:
        return _import_tags(arguments)
    with opened(arguments.project) as project, progress_bar(quiet=arguments.json) as progress:
        task = progress.add_task("importing", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = importing.import_file(
            project,
            arguments.format,
            arguments.file,
            actor=actor(),
            taken_as=arguments.taken_as,
            source=arguments.source,
            folders=arguments.images or (),
            options=options,
            on_progress=show,
        )
    lines = [report.summary(), *first([f"  {line}" for line in report.oddities()])]
    answer(arguments, report.as_dict(), "\n".join(lines))
    return report.is_complete


def _import_tags(arguments: argparse.Namespace) -> bool:
    if arguments.source or arguments.images or arguments.taken_as != "curated":
        raise OptionError("tags are no instances: leave out --as, --source and --images")
    with opened(arguments.project) as project:
        report = intake.set_tags_from_file(project, arguments.file, actor=actor())
    lines = [f"{report.tagged} photos tagged, {report.untagged} without tags"]
    lines += first([f"  line {one.line}: {one.text}" for one in report.tag_problems])
    value = {
        "tagged": report.tagged,
        "untagged": report.untagged,
        "classes": report.classes,
        "problems": {one.line: one.text for one in report.tag_problems},
    }
    answer(arguments, value, "\n".join(lines))
    return not report.tag_problems


def _add_format_options(
    command: argparse.ArgumentParser, by_format: Mapping[str, type[Any]]
) -> None:
    """A group of flags for each class of options; formats may share one."""
    by_class: dict[type[Any], list[str]] = {}
    for name, options in by_format.items():
        if fields(options):
            by_class.setdefault(options, []).append(name)
    for options, users in by_class.items():
        add_arguments(command.add_argument_group(f"options of {', '.join(users)}"), options)


def _format_options(
    arguments: argparse.Namespace, by_format: Mapping[str, type[Any]]
) -> Mapping[str, Any]:
    """The options of the chosen format that were given; OptionError for those of another."""
    given = vars(arguments)
    own = {one.name for one in fields(by_format.get(arguments.format, NoOptions))}
    every = {one.name for kind in by_format.values() for one in fields(kind)}
    for name in sorted((every - own) & given.keys()):
        raise OptionError(
            f"{flag_of(name)} is not an option of the format '{arguments.format}'; leave it out"
        )
    return {name: given[name] for name in own & given.keys()}

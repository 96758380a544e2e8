"""What each command does: parsed arguments in, an answer printed, True where all was done."""

from __future__ import annotations

import argparse
import getpass
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from annotator import exporting, intake, listing, pipeline_options, runs, suggest
from annotator.answers import answer, first, opened, progress_bar
from annotator.evaluation import evaluate
from annotator.model_commands import training_lines
from annotator.pictures import file_problem
from annotator.sample import make_sample
from annotator.store import Project
from annotator.workspace import Workspace
from engine import pipelines
from engine.errors import AnnotatorError, OptionError
from engine.options import as_dict, flag_of, from_arguments


def actor() -> str:
    """Whose name the journal keeps."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return "person"


# -- photos and tags -----------------------------------------------------------------------------


def run_new(arguments: argparse.Namespace) -> bool:
    """`annotator new`."""
    if not os.path.isdir(arguments.images):
        raise OptionError(f"there is no folder {str(arguments.images)!r}; give the photos' folder")
    project = Project.create(arguments.project, name=arguments.name)
    try:
        report = _take_in(project, arguments)
    except (AnnotatorError, KeyboardInterrupt):
        project.discard()  # a mistake in the tags leaves nothing behind
        raise
    Workspace().remember(project.folder)
    return _tell_intake(arguments, project, report)


def run_add(arguments: argparse.Namespace) -> bool:
    """`annotator add`."""
    with opened(arguments.project) as project:
        if arguments.images is not None:
            report = _take_in(project, arguments)
        elif arguments.tags is not None:
            report = intake.set_tags_from_file(project, arguments.tags, actor=actor())
        else:
            raise OptionError("nothing to add: give --images FOLDER, --tags FILE.csv, or both")
        return _tell_intake(arguments, project, report)


def _take_in(project: Project, arguments: argparse.Namespace) -> intake.IntakeReport:
    with progress_bar(quiet=arguments.json) as progress:
        task = progress.add_task("reading photos", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return intake.add_photos(
            project,
            arguments.images,
            actor=actor(),
            tags_file=arguments.tags,
            from_folders=arguments.tags_from_folders,
            on_progress=show,
        )


def _tell_intake(
    arguments: argparse.Namespace, project: Project, report: intake.IntakeReport
) -> bool:
    lines = [
        f"{project.folder}: {report.added} photos added, {report.known} known already, "
        f"{len(report.refused)} files refused",
        f"{report.tagged} photos tagged, {report.untagged} without tags, {report.classes} classes",
    ]
    lines += first([f"  refused {file.file_name}: {file.reason}" for file in report.refused])
    lines += first([f"  note {name}: {note}" for name, note in report.notes])
    lines += first([f"  tags, line {one.line}: {one.text}" for one in report.tag_problems])
    answer(arguments, {"project": project.folder, **asdict(report)}, "\n".join(lines))
    return not report.refused and not report.tag_problems


# -- proposals -----------------------------------------------------------------------------------


def run_suggest(arguments: argparse.Namespace) -> bool:
    """`annotator suggest`."""
    if arguments.processes < 1:
        raise OptionError(f"--processes must be at least 1, got {arguments.processes}")
    with opened(arguments.project) as project:
        run_id = arguments.run_id
        if run_id is None:
            run_id = _find_or_start(project, arguments)
        with progress_bar(quiet=arguments.quiet or arguments.json) as progress:
            task = progress.add_task(f"run {run_id}", total=None)

            def show(run: runs.Run) -> None:
                progress.update(task, completed=run.done, total=run.total)

            run = suggest.work_on(
                project,
                run_id,
                processes=arguments.processes,
                is_nice=arguments.nice,
                only_waiting=arguments.if_waiting,
                on_progress=show,
            )
        with project.read() as view:
            problems = runs.problems(view, run_id)
    rate = run.seconds / run.done if run.done else 0.0
    made = "findings" if run.kind == runs.CHECK else "proposals"
    lines = [
        f"run {run.id} ({run.pipeline}) {run.status}: {run.done} of {run.total} photos, "
        f"{run.instances} {made}, {rate:.2f} s a photo on one core, {run.problems} problems"
    ]
    lines += first([f"  {name}: {problem}" for name, problem in problems])
    value = {**asdict(run), "seconds_a_photo": rate, "problems": dict(problems)}
    answer(arguments, value, "\n".join(lines))
    return run.status == runs.DONE and not problems


def _find_or_start(project: Project, arguments: argparse.Namespace) -> int:
    name, named = pipeline_options.split_name(arguments.pipeline)
    _refuse_options_of_others(name, arguments)
    options = as_dict(from_arguments(pipelines.PIPELINES[name].options, arguments))
    for option, model in named.items():
        if options[option] not in ("", model):
            raise OptionError(
                f"--pipeline {arguments.pipeline} and {flag_of(option)} {options[option]} name two "
                f"models; leave one out"
            )
        options[option] = model
    if arguments.check:
        options = _of_check(options, arguments)
    options = pipeline_options.with_defaults(project, name, options)
    kind = runs.CHECK if arguments.check else runs.PROPOSE
    with project.write() as transaction:
        unfinished = runs.resumable(transaction, pipeline=name, options=options, kind=kind)
        if unfinished is not None:
            return unfinished.id
        photos = runs.select_photos(
            transaction, pipeline=name, options=options, again=arguments.again, kind=kind
        )
        return runs.start(transaction, pipeline=name, options=options, photos=photos, kind=kind)


def _of_check(options: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """A check is about every class: what contradicts a label is not among the photo's tags."""
    if "only_tags" not in options:
        return options
    if getattr(arguments, "only_tags", False):
        raise OptionError(
            "--only-tags would hide from --check what contradicts the tags; leave one of them out"
        )
    return {**options, "only_tags": False}


def _refuse_options_of_others(name: str, arguments: argparse.Namespace) -> None:
    known = {one.name for one in fields(pipelines.PIPELINES[name].options)}
    others = {one.name for kind in pipelines.PIPELINES.values() for one in fields(kind.options)}
    for given in sorted((others - known) & vars(arguments).keys()):
        raise OptionError(
            f"{flag_of(given)} is not an option of the pipeline '{name}'; leave it out, or choose "
            f"another --pipeline"
        )


# -- out of the project --------------------------------------------------------------------------


def run_evaluate(arguments: argparse.Namespace) -> bool:
    """`annotator evaluate`."""
    statuses = exporting.choose_statuses(arguments.status or ["all"])
    with opened(arguments.project) as project:
        result = evaluate(project, arguments.truth, split=arguments.split, statuses=statuses)
    answer(arguments, result.as_dict(), result.table())
    return result.photos_missing == 0


def run_status(arguments: argparse.Namespace) -> bool:
    """`annotator status`."""
    with opened(arguments.project) as project:
        with project.read() as view:
            value: dict[str, Any] = {
                "project": str(project.folder),
                "name": view.setting("name"),
                "photos": listing.counts(view),
                "instances": view.status_counts(),
                "classes": list(view.category_names().values()),
                "runs": [asdict(run) for run in runs.all_runs(view)],
                "refused": dict(view.refused()),
            }
            photos = view.photos()
        value["trainings"], lines = training_lines(project)
        if arguments.check:
            value["events_replayed"] = project.check_journal()
            problems = {photo.file_name: file_problem(project, photo) for photo in photos}
            value["file_problems"] = {name: text for name, text in problems.items() if text}
    answer(arguments, value, _status_text(value, lines))
    return not value.get("file_problems")


def _status_text(value: dict[str, Any], trainings: list[str]) -> str:
    photos, instances = value["photos"], value["instances"]
    lines = [
        f"{value['name']} ({value['project']}): {photos['all']} photos, "
        f"{len(value['classes'])} classes",
        f"photos: {photos['todo']} to review, {photos['done']} done, "
        f"{photos['empty']} with nothing on them",
        "instances: " + ", ".join(f"{count} {status}" for status, count in instances.items()),
    ]
    for run in value["runs"]:
        lines.append(
            f"run {run['id']} ({run['pipeline']}): {run['status']}, "
            f"{run['done']} of {run['total']} photos {run['message']}".rstrip()
        )
    lines += trainings
    lines += first([f"  refused {name}: {reason}" for name, reason in value["refused"].items()])
    if "events_replayed" in value:
        lines.append(f"journal: {value['events_replayed']} events replay to the same state")
        lines += first([f"  {text}" for text in value["file_problems"].values()])
    return "\n".join(lines)


# -- the app -------------------------------------------------------------------------------------


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `annotator serve` and of `app.py`."""
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; anything but this machine's own needs a trusted network",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")


def run_serve(arguments: argparse.Namespace) -> bool:
    """`annotator serve`."""
    with opened(arguments.project) as project:
        if arguments.label_studio_backend:
            # It brings its own web server along; the other commands should not wait for it.
            from annotator.labelstudio.backend import serve_backend

            serve_backend(project, host=arguments.host, port=arguments.port)
            return True
        key = Workspace().remember(project.folder)
    serve_project(arguments, address=f"?project={key}")
    return True


def serve_project(arguments: argparse.Namespace, *, address: str) -> None:
    """Run the server as the flags say; ``address`` is what follows the host in the page."""
    # The server brings gradio along; the other commands should not wait for it.
    from annotator.ui.server import serve

    serve(
        host=arguments.host,
        port=arguments.port,
        open_browser=not arguments.no_browser,
        actor=actor(),
        address=address,
    )


def run_sample(arguments: argparse.Namespace) -> bool:
    """`annotator sample`."""
    folder = make_sample_shown(arguments.project)
    answer(arguments, {"project": folder}, f"the sample project is in {folder}")
    return True


def make_sample_shown(folder: Path) -> Path:
    """Make the sample project with a progress bar; nothing happens where it is there already."""
    with progress_bar() as progress:
        task = progress.add_task("sample project", total=None)

        def show(run: runs.Run) -> None:
            progress.update(task, completed=run.done, total=run.total)

        return make_sample(folder, actor=actor(), on_progress=show)

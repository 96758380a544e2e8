"""The command line: `annotator COMMAND …`, parsed here, done in `annotator.commands`.

Exit codes: 0 done; 1 an error, told in one line; 2 a command line that makes no sense; 3 done, but
something was left out (files refused, photos without proposals); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from annotator import (
    __version__,
    caching,
    commands,
    exchange_commands,
    model_commands,
    model_flags,
    quality_commands,
)
from annotator.exporting import STATUS_CHOICES
from annotator.labelstudio import dispatch
from annotator.labelstudio import flags as labelstudio
from engine import pipelines
from engine.errors import AnnotatorError
from engine.options import add_arguments, flag_of

DONE, ERROR, LEFT_OUT, INTERRUPTED = 0, 1, 3, 130


def build_parser() -> argparse.ArgumentParser:
    """Every command with its help and an example."""
    parser = argparse.ArgumentParser(
        prog="annotator",
        description="From image tags to boxes and masks, with a person in the loop.",
        epilog="Start with: annotator new birds --images photos --tags tags.csv",
    )
    parser.add_argument("--version", action="version", version=f"tag2mask {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_new(subparsers)
    _add_add(subparsers)
    _add_suggest(subparsers)
    _add_check(subparsers)
    _add_accept(subparsers)
    _add_train(subparsers)
    _add_serve(subparsers)
    _add_export(subparsers)
    _add_import(subparsers)
    _add_labelstudio(subparsers)
    _add_evaluate(subparsers)
    _add_status(subparsers)
    _add_models(subparsers)
    _add_cache(subparsers)
    _command(subparsers, "sample", "make the sample project", "annotator sample sample-project")
    return parser


Subparsers = argparse._SubParsersAction  # argparse has no public name for it
_ELSEWHERE = {
    "train": model_commands,
    "models": model_commands,
    "cache": caching,
    "check": quality_commands,
    "accept": quality_commands,
    "export": exchange_commands,
    "import": exchange_commands,
    "labelstudio": dispatch,
}


def _command(
    subparsers: Subparsers[argparse.ArgumentParser],
    name: str,
    summary: str,
    example: str,
    *,
    has_project: bool = True,
) -> argparse.ArgumentParser:
    command = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example:  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if has_project:
        command.add_argument("project", type=Path, metavar="DIR", help="folder of the project")
    command.add_argument("--json", action="store_true", help="answer with JSON")
    command.set_defaults(run=getattr(_ELSEWHERE.get(name, commands), f"run_{name}"))
    return command


def _add_tags(command: argparse.ArgumentParser) -> None:
    tags = command.add_mutually_exclusive_group()
    tags.add_argument(
        "--tags", type=Path, metavar="FILE.csv", help="tags: header file,labels; labels joined by ;"
    )
    tags.add_argument(
        "--tags-from-folders", action="store_true", help="the first folder of each photo is its tag"
    )


def _add_new(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "new",
        "make a project from a folder of photos and their tags",
        "annotator new birds --images photos --tags tags.csv",
    )
    command.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="the photos")
    command.add_argument("--name", help="name of the project (default: that of its folder)")
    _add_tags(command)


def _add_add(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "add",
        "add photos or tags to a project",
        "annotator add birds --images more-photos --tags-from-folders",
    )
    command.add_argument("--images", type=Path, metavar="FOLDER", help="more photos")
    _add_tags(command)


def _add_suggest(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "suggest",
        "propose boxes and masks; run it again to go on after a stop",
        "annotator suggest birds --pipeline classical\n"
        "          annotator suggest birds --pipeline detector:maskrcnn-3",
    )
    command.add_argument(
        "--pipeline",
        default=pipelines.DEFAULT,
        metavar="NAME",
        help=f"how to propose: {', '.join(pipelines.PIPELINES)}; detector:MODEL and pro2sam:MODEL "
        "name the model too (default: %(default)s)",
    )
    command.add_argument(
        "--again", action="store_true", help="also where this pipeline proposed before"
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="go over decided photos, compare, leave findings for 'annotator check' instead",
    )
    command.add_argument(
        "--processes", type=int, default=1, metavar="N", help="photos at a time (default: 1)"
    )
    command.add_argument("--run", type=int, metavar="N", dest="run_id", help="go on with this run")
    command.add_argument(
        "--if-waiting", action="store_true", help="with --run: not if it was stopped meanwhile"
    )
    command.add_argument("--nice", action="store_true", help="step back behind other programs")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    seen: set[str] = set()
    for name, pipeline in pipelines.PIPELINES.items():
        names = {one.name for one in fields(pipeline.options)}
        shared = [flag_of(one) for one in sorted(names & seen)]
        note = f"and {', '.join(shared)} from above" if shared else None
        group = command.add_argument_group(f"options of the pipeline {name}", note)
        add_arguments(group, pipeline.options, leave_out=seen)
        seen |= names


def _add_check(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "check",
        "list what looks wrong: suspicious labels, tags against objects, disagreements",
        "annotator check birds --kind dropped --kind tags",
    )
    quality_commands.add_check_arguments(command)


def _add_accept(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "accept",
        "accept every proposal above a score, or take that back",
        "annotator accept birds --min-score 0.8 --class cat --dry-run",
    )
    quality_commands.add_accept_arguments(command)


def _add_train(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "train",
        "train a localizer from the tags, or a detector from what was accepted; what follows -- "
        "goes to the trainer as it is",
        "annotator train localizer birds --preset small --epochs 20 -- --area-prior 0.3\n"
        "          annotator train detector birds --model fasterrcnn --estimate",
        has_project=False,
    )
    model_flags.add_train_arguments(command)


def _add_serve(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "serve",
        "open a project in the browser",
        "annotator serve birds --port 7860",
    )
    commands.add_serve_arguments(command)
    command.add_argument(
        "--label-studio-backend",
        action="store_true",
        help="answer a Label Studio server as its machine-learning backend instead",
    )


def _add_export(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "export",
        "write instances to a file, read it back and compare",
        "annotator export birds coco birds.json",
    )
    exchange_commands.add_export_arguments(command)


def _add_import(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "import",
        "read annotations from a file, as decided or as proposals",
        "annotator import birds voc VOC2012 --as proposed --source voc",
    )
    exchange_commands.add_import_arguments(command)


def _add_labelstudio(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "labelstudio",
        "push to a Label Studio server, pull from it, or write files for it",
        "annotator labelstudio push birds --url http://localhost:8080",
        has_project=False,
    )
    labelstudio.add_labelstudio_arguments(command)


def _add_evaluate(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "evaluate",
        "compare boxes and masks with the truth, and with the box of the whole photo",
        "annotator evaluate birds --truth annotations.json --split val",
    )
    command.add_argument(
        "--truth", type=Path, required=True, metavar="FILE.json", help="COCO file with the truth"
    )
    command.add_argument("--split", help="only photos whose entry says this split, for example val")
    command.add_argument(
        "--status",
        action="append",
        choices=STATUS_CHOICES,
        help="which instances; may be given several times (default: all but rejected)",
    )


def _add_status(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "status",
        "show photos, decisions, runs and files that were refused",
        "annotator status birds",
    )
    command.add_argument(
        "--check", action="store_true", help="also replay the journal and look at every file"
    )


def _add_models(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "models",
        "list and get checkpoints; judge, promote and take back detectors of a project",
        "annotator models get sam_vit_b\n"
        "          annotator models judge maskrcnn-3 --project birds",
        has_project=False,
    )
    model_flags.add_models_arguments(command)


def _add_cache(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    command = _command(
        subparsers,
        "cache",
        "show, limit or empty the cache of what SAM computed of photos",
        "annotator cache limit 8",
        has_project=False,
    )
    caching.add_arguments(command)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for us, and what `train` passes on: argparse cannot keep the two apart."""
    if words[:1] != ["train"] or "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, do, and turn an AnnotatorError into one line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    own, passed_on = _split(sys.argv[1:] if argv is None else list(argv))
    arguments = build_parser().parse_args(own)
    arguments.passed_on = passed_on
    try:
        is_complete = arguments.run(arguments)
    except AnnotatorError as error:
        print("annotator: " + " ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return ERROR
    except KeyboardInterrupt:
        print("annotator: stopped", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return DONE if is_complete else LEFT_OUT


if __name__ == "__main__":
    sys.exit(main())

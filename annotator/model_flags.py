"""The flags of `annotator train` and `annotator models`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from annotator.training_kinds import KINDS
from annotator.training_options import DetectorTrainingOptions, TrainingOptions
from engine.options import add_arguments, flag_of

ACTIONS = {
    "list": "the checkpoints that there are, and the models trained in a project",
    "get": "download a checkpoint",
    "add": "bring weights that were trained elsewhere into a project",
    "judge": "measure a detector on the photos held back, against the one in use",
    "promote": "use this detector from now on",
    "back": "use the detector again that was in use before",
    "judging": "show or change which photos judge, and who decides",
}


def add_train_arguments(command: argparse.ArgumentParser) -> None:
    """What to train, on which project, and its settings."""
    command.add_argument("what", choices=tuple(KINDS), help="what to train")
    command.add_argument("project", type=Path, metavar="DIR", help="folder of the project")
    command.add_argument("--name", help="name of the model (default: network and number)")
    command.add_argument(
        "--truth",
        type=Path,
        metavar="FILE.json",
        help="COCO file to measure the localisation of a localizer with",
    )
    command.add_argument(
        "--weights", metavar="MODEL", help="begin with a model of the project, or with a file"
    )
    existing = command.add_mutually_exclusive_group()
    for flag, text in (
        ("resume", "go on with training N after a stop, a kill or a failure"),
        ("watch", "follow training N, which runs already"),
        ("stop", "stop training N after the step at hand"),
    ):
        existing.add_argument(f"--{flag}", type=_number, metavar="N", help=text)
    existing.add_argument(
        "--estimate",
        action="store_true",
        help="of a detector: only time a few steps and say how long the training would take",
    )
    command.add_argument(
        "--download",
        action="store_true",
        help="of a detector: fetch the published weights that its preset begins with, if they are "
        "not on this machine, without asking",
    )
    command.add_argument("--background", action="store_true", help="start it and come back")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    group = command.add_argument_group("settings of the training of a localizer")
    add_arguments(group, TrainingOptions)
    names = {one.name for one in fields(TrainingOptions)}
    shared = sorted(names & {one.name for one in fields(DetectorTrainingOptions)})
    group = command.add_argument_group(
        "settings of the training of a detector",
        f"and {', '.join(map(flag_of, shared))} from above; "
        f"--model: {DetectorTrainingOptions().model} unless given",
    )
    add_arguments(group, DetectorTrainingOptions, leave_out=names)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a training")
    return int(text)


def add_models_arguments(command: argparse.ArgumentParser) -> None:
    """What to do with models."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    told = "\n".join(f"  {name:9} {text}" for name, text in ACTIONS.items())
    command.description = f"{command.description}\n\nactions:\n{told}"
    command.add_argument(
        "action", nargs="?", choices=tuple(ACTIONS), default="list", help="default: list"
    )
    command.add_argument(
        "name", nargs="?", help="which checkpoint, which model of the project, or which file to add"
    )
    command.add_argument(
        "--project", type=Path, metavar="DIR", help="the project whose models are meant"
    )
    command.add_argument(
        "--by-rule",
        action="store_true",
        default=None,
        help="with judge: promote it if the rule says so; with judging: always, after a training",
    )
    command.add_argument(
        "--as-chosen",
        action="store_true",
        help="with judge: the same, unless the project leaves it to a person by then",
    )
    command.add_argument(
        "--by-hand",
        action="store_true",
        default=None,
        help="with judging: nothing is promoted unless somebody says so",
    )
    command.add_argument(
        "--share", type=float, metavar="X", help="with judging: share of the photos held back"
    )
    command.add_argument("--device", default="auto", help="with judge: auto, cpu, cuda …")
    command.add_argument(
        "--arch",
        help="with add: gtformer, sat or tscam for their published checkpoints, else the name of a "
        "classifier in timm; not needed for files of this program",
    )
    command.add_argument(
        "--classes",
        type=Path,
        metavar="FILE.txt",
        help="with add: the names of its classes, one a line in the order of its outputs "
        "(default: ImageNet's 1000)",
    )
    command.add_argument(
        "--name", dest="model_name", help="with add: what to call it (default: as the file)"
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")

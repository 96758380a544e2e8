"""The flags of `annotator labelstudio`.

`annotator export DIR labelstudio --url …` shares those that are about the server.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator.exporting import STATUS_CHOICES
from engine.options import ArgumentSink, add_arguments
from exports.label_studio import LabelStudioOptions

TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"
PUSHED = ("curated", "proposed")  # statuses, where none is asked for
SERVER_FLAGS = {
    "token": "--token",
    "title": "--project",
    "photos": "--photos",
    "document_root": "--document-root",
}
"""What only makes sense with a server: place in the arguments, and flag."""


def add_labelstudio_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `annotator labelstudio`."""
    parser.add_argument("action", choices=("push", "pull", "file"), help="what to do")
    parser.add_argument("project", type=Path, metavar="DIR", help="folder of the project")
    add_server_arguments(parser)
    parser.add_argument(
        "--status",
        action="append",
        choices=STATUS_CHOICES,
        help="push, file: which instances; may be given several times (default: curated and "
        "proposed)",
    )
    add_arguments(parser, LabelStudioOptions)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="file: a new folder to write to")
    parser.add_argument(
        "--prefer",
        choices=("here", "there"),
        default="here",
        help="pull: which version counts where both sides changed an object (default: %(default)s)",
    )
    parser.add_argument(
        "--add-classes", action="store_true", help="pull: labels not known here become classes"
    )


def add_server_arguments(parser: ArgumentSink) -> None:
    """Where the server is, how to get in, and how it gets the photos."""
    parser.add_argument("--url", help="address of the server, like http://localhost:8080")
    parser.add_argument(
        "--token",
        help=f"access token, legacy or personal (better: the variable {TOKEN_VARIABLE}, or the "
        "prompt; others can read a command line)",
    )
    parser.add_argument(
        "--project",
        dest="title",
        metavar="NAME",
        help="title of the project there (default: the name of this one)",
    )
    parser.add_argument(
        "--photos",
        default=None,
        metavar="HOW",
        help="upload (default), local (the server sees the same folder; with "
        "--document-root), or the address in front of their names",
    )
    parser.add_argument(
        "--document-root",
        type=Path,
        metavar="FOLDER",
        help="LOCAL_FILES_DOCUMENT_ROOT of the server",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")

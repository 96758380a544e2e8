"""What `python app.py` does: find a project, then open it in the browser."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from annotator import commands
from annotator.store import Project
from annotator.workspace import Workspace, key_of
from engine.errors import AnnotatorError


def sample_home() -> Path:
    """Where the sample lives when nobody said where: ``$XDG_DATA_HOME/tag2mask/sample``."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "tag2mask" / "sample"


def project_to_open(given: Path | None) -> Path:
    """The project that was asked for, else the last one, else the sample, made if need be."""
    if given is not None:
        return given
    remembered = Workspace().folders()
    return remembered[0] if remembered else commands.make_sample_shown(sample_home())


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags of app.py and serve; an AnnotatorError becomes one line."""
    parser = argparse.ArgumentParser(
        prog="app.py", description="Open Tag2Mask in the browser.", epilog="python app.py birds"
    )
    parser.add_argument(
        "project", type=Path, nargs="?", metavar="DIR", help="default: the last one"
    )
    commands.add_serve_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        folder = project_to_open(arguments.project)
        Project.open(folder).close()
        Workspace().remember(folder)
        commands.serve_project(arguments, address=f"?project={key_of(folder)}")
    except KeyboardInterrupt:
        sys.stderr.write("app.py: stopped\n")
        return 130
    except AnnotatorError as error:
        sys.stderr.write("app.py: " + " ".join(str(error).split()) + "\n")
        return 1
    return 0

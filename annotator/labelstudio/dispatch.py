"""The way to what `annotator labelstudio` does.

httpx and what is around it take a while to import, and other commands should not wait for them.
"""

from __future__ import annotations

import argparse

from exports.choices import Choices


def push_from_export(arguments: argparse.Namespace, choices: Choices) -> bool:
    """`annotator export` to a server instead of a file."""
    from annotator.labelstudio import commands

    return commands.run_push(arguments, choices)


def run_labelstudio(arguments: argparse.Namespace) -> bool:
    """`annotator labelstudio`."""
    from annotator.labelstudio import commands

    act = {"push": commands.run_push, "pull": commands.run_pull, "file": commands.run_file}
    return act[arguments.action](arguments)

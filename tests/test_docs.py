"""The guides against the program: commands, flags, links, files, keys."""

from __future__ import annotations

import argparse
import configparser
import re
from pathlib import Path

import pytest

from annotator.__main__ import build_parser
from engine.checkpoints import WEIGHTS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def commands() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = [
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(subparsers.choices)


@pytest.mark.parametrize("name", commands())
def test_every_command_and_flag_is_documented(name: str) -> None:
    assert f"`annotator {name}" in COMMAND_LINE
    for action in commands()[name]._actions:
        for flag in action.option_strings:
            if flag.startswith("--") and flag not in ("--help", "--no-browser"):
                assert f"`{flag}`" in COMMAND_LINE, f"annotator {name} {flag}"


def test_no_flag_is_documented_that_is_gone() -> None:
    known = {
        flag for one in commands().values() for act in one._actions for flag in act.option_strings
    }
    documented = set(re.findall(r"`(--[a-z-]+)`", COMMAND_LINE))
    assert documented <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_use_commands_that_exist(page: Path) -> None:
    for line in re.findall(r"^\$ annotator (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert line in commands()


def test_the_map_of_the_readme_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"## Map\n\n```\n(.*?)```", text, re.DOTALL)
    folder = ROOT
    named = 0
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip())[0].split()
        if indent == 0:
            folder = ROOT / names[0] if names[0].endswith("/") else ROOT
        base = ROOT if indent == 0 else folder
        for name in names:
            assert (base / name).exists(), line
            named += 1
    assert named > 25


def test_the_models_of_the_readme_are_those_of_the_program() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (sam\w+) \|", text, re.MULTILINE)) == set(WEIGHTS)


def test_the_readme_installs_what_setup_cfg_and_the_makefile_do() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert "'.[test]'" in text
    assert "'.[test]'" in makefile
    assert "test" in config["options.extras_require"]
    for command in ("make run", "make check", "make check-slow"):
        assert command in text
        assert f"\n{command.split()[1]}: " in makefile

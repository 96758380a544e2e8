"""`annotator models add`: a network that was trained elsewhere becomes a model of the project.

A file of this program is copied as it is. Published checkpoints of Pro2SAM, SAT and TS-CAM, and
weights of any classifier of timm, become files that describe themselves; their class names come
from a text file, because such weights know only numbers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from annotator import models
from annotator.answers import answer, opened
from annotator.store import Project
from engine.cards import Card, read_any_card
from engine.errors import OptionError, WeightsError


def run(arguments: argparse.Namespace) -> bool:
    """The command; True when the model is there."""
    if arguments.name is None or arguments.project is None:
        raise OptionError(
            "say which file, and which project gets it: annotator models add FILE --project DIR"
        )
    with opened(arguments.project) as project:
        added = add(
            project,
            Path(arguments.name).expanduser(),
            arch=arguments.arch,
            classes=read_class_names(arguments.classes) if arguments.classes else None,
            name=arguments.model_name or "",
        )
    card = added.card
    assert card is not None
    answer(
        arguments,
        added.as_dict(),
        f"{added.name} is a {added.what} ({card.arch}) of {len(card.classes)} classes now; "
        f"the project has it at {added.path}",
    )
    return True


def add(
    project: Project, source: Path, *, arch: str | None, classes: tuple[str, ...] | None, name: str
) -> models.Model:
    """Bring the file into the project under ``name`` (its own name where that is empty).

    ``arch`` says which network it is where the file does not. OptionError and WeightsError say
    what is missing; nothing that is there is ever replaced.
    """
    if not source.is_file():
        raise OptionError(f"there is no file {str(source)!r}; give the path of the weights")
    name = name or source.stem
    if not name or name.startswith(".") or Path(name).name != name:
        raise OptionError(f"a model cannot be called {name!r}; give a plain name (--name)")
    taken = project.folder / models.MODELS / (name + models.ENDING)
    if taken.exists():
        raise OptionError(f"the project has a model {name!r}; give another name (--name)")
    if arch is None:
        _of_this_program(source)
        models.take_in(project, source, name)
    else:
        _convert(source, project.subfolder(models.MODELS) / taken.name, arch, classes)
    return next(one for one in models.all_models(project) if one.name == name)


def _of_this_program(source: Path) -> Card:
    try:
        return read_any_card(source)
    except WeightsError as error:
        raise WeightsError(
            f"{error} If others published it, say which network it is: --arch gtformer, sat or "
            "tscam, or the name that timm has for it"
        ) from error


def _convert(source: Path, target: Path, arch: str, classes: tuple[str, ...] | None) -> None:
    # torch takes seconds to import, and every command reads this file.
    from engine import foreign_weights

    chosen: dict[str, Any] = {"arch": arch, "classes": classes}
    if arch in foreign_weights.PUBLISHED:
        foreign_weights.localizer_from(source, target, **chosen)
    else:
        foreign_weights.classifier_from(source, target, **chosen)


def read_class_names(path: Path) -> tuple[str, ...]:
    """One name a line, in the order of the network's outputs; OptionError where there are none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"the class names {str(path)!r} cannot be read: {error}") from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise OptionError(f"{str(path)!r} names no class; write one name a line")
    return names

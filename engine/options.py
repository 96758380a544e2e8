"""Frozen option dataclasses become flags and plain JSON, and come back: one list of knobs.

In: a frozen dataclass whose every field has a default and is a bool, int, float, str, a Literal,
a tuple of one of these, or one of these or None. Its ``__post_init__`` checks the ranges and
raises `OptionError`. Help comes from ``field(default=…, metadata={"help": "…"})``.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from engine.errors import OptionError

T = TypeVar("T")

ArgumentSink = argparse.ArgumentParser | argparse._ArgumentGroup


def add_arguments(
    parser: ArgumentSink, cls: type[Any], *, prefix: str = "", leave_out: Collection[str] = ()
) -> None:
    """Give the parser or group one flag for each field: ``tau_b`` becomes ``--tau-b``.

    A flag that is not given leaves nothing in the namespace, so the default stays with the class.
    Two classes that share a field name share its flag, so the second one must leave it out; or
    one of them gets a ``prefix``: ``--coarse-tau-b``.
    """
    for name, (kind, default) in _described(cls).items():
        if name in leave_out:
            continue
        destination = _destination(name, prefix)
        settings: dict[str, Any] = {
            "dest": destination,
            "default": argparse.SUPPRESS,
            "help": _help_text(cls, name, default),
        }
        parser.add_argument(flag_of(destination), **settings, **_reading(kind))


def flag_of(name: str) -> str:
    """The flag of a field: ``tau_b`` is ``--tau-b``."""
    return "--" + name.replace("_", "-")


def from_arguments(cls: type[T], namespace: argparse.Namespace, *, prefix: str = "") -> T:
    """The options that the flags of `add_arguments` ask for; OptionError as in `from_dict`."""
    given = vars(namespace)
    names = {name: _destination(name, prefix) for name in _described(cls)}
    return from_dict(cls, {name: given[key] for name, key in names.items() if key in given})


def defaults_of(cls: type[Any]) -> dict[str, Any]:
    """Every field with its default, as plain JSON."""
    return as_dict(cls())


def as_dict(options: Any) -> dict[str, Any]:
    """Every field of an instance as plain JSON, for keeping beside a result."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


def from_dict(cls: type[T], mapping: Mapping[str, Any]) -> T:
    """The inverse of `as_dict`; missing keys take their defaults.

    OptionError for an unknown key, a value of another type, or one that the class refuses.
    """
    described = _described(cls)
    values: dict[str, Any] = {}
    for name, value in mapping.items():
        if name not in described:
            raise OptionError(
                f"unknown option {name!r} (value {value!r}) of {cls.__name__}; "
                f"known are {', '.join(described)}"
            )
        kind, _ = described[name]
        fitted = _fit(value, kind)
        if fitted is _MISFIT:
            raise OptionError(f"option {name!r} got {value!r}; allowed: {_allowed(kind)}")
        values[name] = fitted
    return cls(**values)


@dataclasses.dataclass(frozen=True)
class Knob:
    """One option as a form shows it."""

    name: str
    kind: type  # bool, int, float or str; that of the entries where it is a list
    default: Any
    help: str
    choices: tuple[Any, ...] = ()  # empty where any value of the kind will do
    is_list: bool = False
    may_be_none: bool = False


def knobs_of(cls: type[Any]) -> list[Knob]:
    """Every field with what a form needs to know of it, in the order of the class.

    What the class writes itself goes before what it only inherits.
    """
    described = _described(cls)
    own = [name for name in inspect.get_annotations(cls) if name in described]
    texts = {one.name: str(one.metadata.get("help", "")) for one in dataclasses.fields(cls)}
    knobs = []
    for name in dict.fromkeys([*own, *described]):
        kind, default = described[name]
        plain, may_be_none = _without_none(kind)
        item = _item_of_tuple(plain)
        plain = plain if item is None else item
        choices = get_args(plain) if get_origin(plain) is Literal else ()
        knobs.append(
            Knob(
                name,
                kind=type(choices[0]) if choices else plain,
                default=default,
                help=texts[name],
                choices=choices,
                is_list=item is not None,
                may_be_none=may_be_none,
            )
        )
    return knobs


# What a field may be ---------------------------------------------------------------------------

_MISFIT = object()
_SCALARS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
}
_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}


def _described(cls: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Field name -> (type, default), in the order of the class."""
    hints = get_type_hints(cls)
    blank = cls()
    return {
        field.name: (hints[field.name], getattr(blank, field.name))
        for field in dataclasses.fields(cls)
    }


def _without_none(kind: Any) -> tuple[Any, bool]:
    """The type inside ``X | None``, and whether None is allowed."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind, False
    inside = [part for part in get_args(kind) if part is not type(None)]
    if len(inside) != 1:
        raise TypeError(f"an option cannot be {kind}: at most one type besides None")
    return inside[0], len(inside) < len(get_args(kind))


def _item_of_tuple(kind: Any) -> Any:
    """The type of the items of ``tuple[X, ...]``, or None for anything else."""
    if get_origin(kind) is not tuple:
        return None
    arguments = get_args(kind)
    if len(arguments) != 2 or arguments[1] is not Ellipsis:
        raise TypeError(f"an option cannot be {kind}: only tuples of any length of one type")
    return arguments[0]


def _fit(value: Any, kind: Any) -> Any:
    """The value as the field's type, or _MISFIT."""
    kind, may_be_none = _without_none(kind)
    if value is None:
        return None if may_be_none else _MISFIT
    if (item := _item_of_tuple(kind)) is not None:
        if not isinstance(value, list | tuple):
            return _MISFIT
        items = tuple(_fit(entry, item) for entry in value)
        return _MISFIT if any(entry is _MISFIT for entry in items) else items
    if get_origin(kind) is Literal:
        same = [choice for choice in get_args(kind) if type(choice) is type(value)]
        return value if value in same else _MISFIT
    if kind not in _SCALARS:
        raise TypeError(f"an option cannot be {kind}")
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        return _MISFIT
    return value


def _allowed(kind: Any) -> str:
    kind, may_be_none = _without_none(kind)
    if (item := _item_of_tuple(kind)) is not None:
        text = f"a list, each entry {_allowed(item)}"
    elif get_origin(kind) is Literal:
        text = ", ".join(str(choice) for choice in get_args(kind))
    else:
        text = _SCALARS[kind]
    return f"{text} or none" if may_be_none else text


# How a flag reads it ---------------------------------------------------------------------------


def _destination(name: str, prefix: str) -> str:
    return f"{prefix}_{name}" if prefix else name


def _help_text(cls: type[Any], name: str, default: Any) -> str:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    text = f"{field.metadata.get('help', '')} (default: {_shown(default)})".strip()
    return text.replace("%", "%%")  # argparse formats help with %


def _shown(default: Any) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _reading(kind: Any) -> dict[str, Any]:
    """The keywords of add_argument that read one type."""
    kind, may_be_none = _without_none(kind)
    if kind is bool and not may_be_none:
        return {"action": argparse.BooleanOptionalAction}
    item = _item_of_tuple(kind)
    if item is not None:
        return {"nargs": "*", **_reading(item)}
    if get_origin(kind) is Literal:
        choices = [*get_args(kind), *([None] if may_be_none else [])]
        by_text = {"none" if choice is None else str(choice): choice for choice in choices}
        return {
            "type": lambda text: by_text.get(text, text),
            "choices": choices,
            "metavar": "{" + ",".join(by_text) + "}",
        }
    reader: Callable[[str], Any] = kind if kind is not bool else _read_bool
    return {
        "type": _or_none(reader) if may_be_none else reader,
        "metavar": _METAVARS.get(kind, "YES|NO"),
    }


def _or_none(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() == "none" else reader(text)

    read.__name__ = reader.__name__  # argparse names the type in its error
    return read


def _read_bool(text: str) -> bool:
    words = {"yes": True, "true": True, "no": False, "false": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]

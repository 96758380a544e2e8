"""Option dataclasses as flags and as JSON, and back."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OptionError
from engine.options import (
    Knob,
    add_arguments,
    as_dict,
    defaults_of,
    from_arguments,
    from_dict,
    knobs_of,
)


@dataclass(frozen=True)
class Knobs:
    tau_b: float = field(default=0.2, metadata={"help": "cut of the map, 20 % by default"})
    top: int = 5
    rule: Literal["any4", "mean"] = "any4"
    flip: bool = True
    name: str = ""
    seed: int | None = None
    way: Literal["left", "right"] | None = None
    sure: bool | None = None
    levels: tuple[float, ...] = (0.5, 0.7)

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau_b <= 1.0:
            raise OptionError(f"tau_b must lie in [0, 1], got {self.tau_b}")


def parse(*flags: str, prefix: str = "") -> Knobs:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, Knobs, prefix=prefix)
    return from_arguments(Knobs, parser.parse_args(flags), prefix=prefix)


def test_no_flags_give_the_defaults_and_leave_the_namespace_empty() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Knobs)
    assert vars(parser.parse_args([])) == {}
    assert parse() == Knobs()


def test_every_kind_of_field_is_read_from_its_flag() -> None:
    flags = "--tau-b 0.5 --top 7 --rule mean --no-flip --name öl --seed 3 --way left --sure no"
    expected = Knobs(0.5, 7, "mean", False, "öl", 3, "left", False, (0.9, 1.0))
    assert parse(*flags.split(), "--levels", "0.9", "1") == expected


def test_none_is_written_as_a_word() -> None:
    assert parse("--seed", "none", "--way", "none", "--sure", "none") == Knobs()


def test_a_list_may_be_empty() -> None:
    assert parse("--levels").levels == ()


def test_a_whole_number_fits_a_float_and_becomes_one() -> None:
    value = from_dict(Knobs, {"tau_b": 1}).tau_b
    assert value == 1.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    "flags", [["--rule", "nearest"], ["--top", "many"], ["--way", "up"], ["--sure", "perhaps"]]
)
def test_a_flag_that_cannot_be_read_is_refused_by_the_parser(flags: list[str]) -> None:
    with pytest.raises(argparse.ArgumentError, match=flags[0]):
        parse(*flags)


def test_a_flag_out_of_range_is_an_option_error() -> None:
    with pytest.raises(OptionError, match=r"tau_b must lie in \[0, 1\], got 1.5"):
        parse("--tau-b", "1.5")


def test_not_a_number_is_refused_although_float_reads_it() -> None:
    with pytest.raises(OptionError, match="'tau_b' got nan; allowed: a finite number"):
        parse("--tau-b", "nan")


def test_help_shows_text_default_and_a_percent_sign() -> None:
    parser = argparse.ArgumentParser(prog="x")
    add_arguments(parser.add_argument_group("knobs"), Knobs)
    text = " ".join(parser.format_help().split())
    assert "cut of the map, 20 % by default (default: 0.2)" in text
    assert "--flip, --no-flip (default: yes)" in text
    assert "--levels [X ...] (default: 0.5 0.7)" in text
    assert "--way {left,right,none} (default: none)" in text


def test_two_classes_with_the_same_field_live_side_by_side_with_prefixes() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Knobs, prefix="first")
    add_arguments(parser, Knobs, prefix="second")
    namespace = parser.parse_args(["--first-tau-b", "0.1", "--no-second-flip"])
    assert from_arguments(Knobs, namespace, prefix="first") == Knobs(tau_b=0.1)
    assert from_arguments(Knobs, namespace, prefix="second") == Knobs(flip=False)


def test_without_a_prefix_the_clash_is_loud() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Knobs)
    with pytest.raises(argparse.ArgumentError, match="conflicting"):
        add_arguments(parser, Knobs)


def test_defaults_are_plain_json() -> None:
    expected = {
        "tau_b": 0.2,
        "top": 5,
        "rule": "any4",
        "flip": True,
        "name": "",
        "seed": None,
        "way": None,
        "sure": None,
        "levels": [0.5, 0.7],
    }
    assert defaults_of(Knobs) == expected
    assert json.loads(json.dumps(defaults_of(Knobs))) == expected


@given(
    st.builds(
        Knobs,
        tau_b=st.floats(0, 1),
        top=st.integers(),
        rule=st.sampled_from(["any4", "mean"]),
        flip=st.booleans(),
        name=st.text(),
        seed=st.none() | st.integers(),
        way=st.sampled_from(["left", "right", None]),
        sure=st.none() | st.booleans(),
        levels=st.lists(st.floats(0, 1)).map(tuple),
    )
)
def test_options_come_back_from_json_as_they_were(knobs: Knobs) -> None:
    assert from_dict(Knobs, json.loads(json.dumps(as_dict(knobs)))) == knobs


def test_an_unknown_key_names_itself_its_value_and_the_known_ones() -> None:
    with pytest.raises(
        OptionError, match=r"unknown option 'tau' \(value 0.3\) of Knobs; known"
    ) as e:
        from_dict(Knobs, {"tau": 0.3})
    assert "tau_b, top, rule" in str(e.value)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("tau_b", "0.5", "a finite number"),
        ("tau_b", True, "a finite number"),
        ("tau_b", None, "a finite number"),
        ("tau_b", float("inf"), "a finite number"),
        ("top", 2.0, "a whole number"),
        ("top", False, "a whole number"),
        ("rule", "nearest", "any4, mean"),
        ("flip", 1, "true or false"),
        ("name", 5, "text"),
        ("seed", "x", "a whole number or none"),
        ("way", 1, "left, right or none"),
        ("levels", 0.5, "a list, each entry a finite number"),
        ("levels", [0.5, None], "a list, each entry a finite number"),
        ("levels", "ab", "a list, each entry a finite number"),
    ],
)
def test_a_value_of_the_wrong_type_names_key_value_and_what_is_allowed(
    key: str, value: Any, allowed: str
) -> None:
    with pytest.raises(OptionError) as error:
        from_dict(Knobs, {key: value})
    assert str(error.value) == f"option {key!r} got {value!r}; allowed: {allowed}"


def test_a_literal_tells_true_from_one() -> None:
    with pytest.raises(OptionError, match="'count' got True"):
        from_dict(Counted, {"count": True})


@dataclass(frozen=True)
class Counted:
    count: Literal[1, 2] = 1


def test_numbers_as_choices_are_read_as_numbers() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Counted)
    assert from_arguments(Counted, parser.parse_args(["--count", "2"])) == Counted(2)


@dataclass(frozen=True)
class Odd:
    pair: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class Either:
    value: int | str = 1


@pytest.mark.parametrize("cls", [Odd, Either])
def test_a_field_that_no_flag_can_hold_is_a_programming_error(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match="an option cannot be"):
        add_arguments(argparse.ArgumentParser(), cls)


def test_a_form_is_told_kind_default_help_and_choices_of_every_field() -> None:
    assert knobs_of(Knobs) == [
        Knob("tau_b", float, 0.2, "cut of the map, 20 % by default"),
        Knob("top", int, 5, ""),
        Knob("rule", str, "any4", "", choices=("any4", "mean")),
        Knob("flip", bool, True, ""),
        Knob("name", str, "", ""),
        Knob("seed", int, None, "", may_be_none=True),
        Knob("way", str, None, "", choices=("left", "right"), may_be_none=True),
        Knob("sure", bool, None, "", may_be_none=True),
        Knob("levels", float, (0.5, 0.7), "", is_list=True),
    ]


def test_a_form_begins_with_what_the_class_itself_says() -> None:
    @dataclass(frozen=True)
    class More(Knobs):
        way: Literal["left", "right"] | None = "left"
        extra: int = 1

    names = [knob.name for knob in knobs_of(More)]
    assert names[:3] == ["way", "extra", "tau_b"]
    assert sorted(names) == sorted([*(knob.name for knob in knobs_of(Knobs)), "extra"])

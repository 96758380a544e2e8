"""Logs of trainings: growing, torn, continued; and what follows from them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.training_log import TrainingLog


def line(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, **fields}) + "\n"


def step(number: int, **fields: Any) -> str:
    at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000+00:00"
    return line("step", step=number, epoch=1, at=at, loss=1 / number, **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def test_a_log_that_is_not_there_yet_says_nothing(path: Path) -> None:
    log = TrainingLog(path).refresh()
    assert (log.start, log.last, log.ending, log.metrics, log.total_steps) == (
        None,
        None,
        None,
        {},
        0,
    )
    assert log.seconds_left is None


def test_only_what_is_new_is_read_and_half_a_line_waits_for_its_end(path: Path) -> None:
    path.write_text(line("start", step=0, steps=4, epochs=2) + step(1) + step(2)[:20])
    log = TrainingLog(path).refresh()
    assert list(log.steps) == [1]
    with path.open("a") as file:
        file.write(step(2)[20:] + step(3))
    assert list(log.refresh().steps) == [1, 2, 3]
    assert (log.done_steps, log.total_steps, log.epochs) == (3, 4, 2)
    assert log.seconds_a_step == 1.0
    assert log.seconds_left == 1.0


def test_a_line_torn_by_a_kill_does_not_hide_the_start_that_follows_on_it(path: Path) -> None:
    torn = '{"event": "step", "step": 2, "terms": {"classification": 0.1, "ed'
    path.write_text(
        line("start", step=0, steps=9) + step(1) + torn + line("start", step=1, steps=9)
    )
    log = TrainingLog(path).refresh()
    assert list(log.steps) == [1]
    assert log.start is not None
    assert log.start["step"] == 1
    assert path.read_bytes()[log.start_offset :].startswith(torn.encode())


def test_steps_behind_the_point_where_it_went_on_are_taken_from_the_new_attempt(path: Path) -> None:
    path.write_text(
        line("start", step=0, steps=9)
        + "".join(step(number) for number in range(1, 8))
        + line("validation", step=4, metrics={"top1": 0.4})
        + line("validation", step=6, metrics={"top1": 0.6})
        + line("stopped", step=7)
        + line("start", step=5, steps=9)
        + step(6, area=0.3)
    )
    log = TrainingLog(path).refresh()
    assert list(log.steps) == [1, 2, 3, 4, 5, 6]
    assert log.steps[6].area == 0.3
    assert log.metrics == {"top1": 0.4}
    assert log.ending is None
    assert log.seconds_a_step is None  # one step of this attempt tells no speed


def test_a_log_that_was_replaced_is_read_from_its_beginning(path: Path) -> None:
    path.write_text(line("start", step=0, steps=9) + step(1) + step(2))
    log = TrainingLog(path).refresh()
    path.write_text(line("start", step=0, steps=3))
    assert (log.refresh().total_steps, log.steps) == (3, {})


def test_figures_that_are_none_or_no_numbers_are_left_out(path: Path) -> None:
    path.write_text(
        line("start", step=0, steps=True)
        + step(1, terms={"edge": float("nan"), "area": 0.5, "more": None}, area="much")
        + line("validation", step=1, metrics={"top1": 0.5, "gt_known": None})
        + "[1, 2]\n\n null\n"
        + line("failed", step=1, message="the loss is nan", terms={"edge": float("inf")})
    )
    log = TrainingLog(path).refresh()
    assert log.total_steps == 0
    assert log.steps[1].terms == {"area": 0.5}
    assert log.steps[1].area is None
    assert log.metrics == {"top1": 0.5}
    assert log.ending is not None
    assert (log.ending.event, log.ending.message, log.ending.terms) == (
        "failed",
        "the loss is nan",
        {},
    )


@given(cuts=st.lists(st.integers(0, 700), max_size=6), noise=st.binary(max_size=30))
def test_reading_in_pieces_gives_what_reading_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], noise: bytes
) -> None:
    text = line("start", step=0, steps=5) + "".join(step(number) for number in (1, 2, 3, 3, 4))
    content = text.encode() + noise + b"\n" + step(5).encode()
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"")
    log = TrainingLog(path)
    places = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    for begin, end in itertools.pairwise(places):
        with path.open("ab") as file:
            file.write(content[begin:end])
        log.refresh()
    assert log.steps == TrainingLog(path).refresh().steps
    assert set(log.steps) == {1, 2, 3, 4, 5}

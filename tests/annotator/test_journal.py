"""The journal: folding, inverting, and the history that undo walks along."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.journal import Change, Event, Step, history, inverse, replay
from engine.errors import StoreError


def event(number: int, *changes: Change, kind: str = "accept", target: int | None = None) -> Event:
    return Event(number, "2026-01-01", "tester", kind, 1, target, changes)


def test_replay_gives_the_last_row_of_each_id() -> None:
    events = [
        event(1, Change("instance", 7, None, {"id": 7, "status": "proposed"})),
        event(2, Change("instance", 7, {"id": 7, "status": "proposed"}, {"id": 7, "status": "x"})),
        event(3, Change("category", 1, None, {"id": 1, "name": "cat"})),
    ]
    assert replay(events) == {
        "instance": {7: {"id": 7, "status": "x"}},
        "category": {1: {"id": 1, "name": "cat"}},
    }


def test_replay_of_nothing_is_an_empty_state() -> None:
    assert replay([]) == {}


def test_replay_refuses_a_journal_with_a_gap() -> None:
    lost = Change("instance", 7, {"id": 7, "status": "accepted"}, None)
    with pytest.raises(StoreError, match="does not fit together at event 5"):
        replay([event(5, lost)])


def test_the_inverse_of_an_event_takes_it_back_last_change_first() -> None:
    first = Change("instance", 1, None, {"id": 1})
    second = Change("instance", 1, {"id": 1}, {"id": 1, "score": 0.5})
    assert replay([event(1, first, second), event(2, *inverse([first, second]))]) == {}


def test_changes_survive_json() -> None:
    change = Change("instance", 3, {"id": 3, "points": [[1.5, 2.0, 1]]}, None)
    assert Change.from_dict(change.as_dict()) == change


def test_a_new_action_empties_the_redo_list() -> None:
    steps = [Step(1, "accept", None), Step(2, "undo", 1), Step(3, "reject", None)]
    assert history(steps) == ([3], [])


def test_undo_walks_back_and_redo_forward_again() -> None:
    steps = [Step(1, "a", None), Step(2, "b", None), Step(3, "undo", 2), Step(4, "undo", 1)]
    assert history(steps) == ([], [2, 1])
    assert history([*steps, Step(5, "redo", 1)]) == ([1], [2])


def test_runs_are_not_part_of_what_a_person_can_undo() -> None:
    steps = [Step(1, "suggest", None), Step(2, "accept", None), Step(3, "suggest", None)]
    assert history(steps) == ([2], [])


def test_steps_above_the_one_that_was_undone_are_gone_for_good() -> None:
    steps = [Step(1, "a", None), Step(2, "b", None), Step(3, "c", None), Step(4, "undo", 1)]
    assert history(steps) == ([], [1])
    assert history([*steps, Step(5, "redo", 1)]) == ([1], [])


@given(st.lists(st.sampled_from(["act", "undo", "redo", "suggest"]), max_size=40))
def test_history_agrees_with_two_plain_stacks(moves: list[str]) -> None:
    steps: list[Step] = []
    done: list[int] = []
    undone: list[int] = []
    for number, move in enumerate(moves, start=1):
        if move == "undo":
            if not done:
                continue
            undone.append(done.pop())
        elif move == "redo":
            if not undone:
                continue
            done.append(undone.pop())
        elif move == "act":
            done.append(number)
            undone = []
        steps.append(Step(number, move, None))
    assert history(steps) == (done, undone)

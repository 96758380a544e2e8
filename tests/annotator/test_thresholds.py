"""How often a proposal with a score was right, by one's own decisions; accepting all above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.event import listen

from annotator import accepting, runs
from annotator.accepting import Choice
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.thresholds import TOO_FEW, Decision, Decisions, Thresholds, fit
from engine.types import Instance, Status
from tests.fakes import SquareSegmenter, proposal

Captured = pytest.CaptureFixture[str]

decided = st.lists(
    st.tuples(st.floats(0, 1, allow_nan=False), st.booleans()), min_size=TOO_FEW, max_size=150
)


@pytest.fixture
def session(project: Project) -> Iterator[ReviewSession]:
    assistant = Assistant(SquareSegmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def propose(project: Project, image_id: int, instances: Sequence[Instance]) -> list[int]:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[image_id])
    runs.record_photo(project, run_id, image_id, instances=instances, seconds=0.1)
    with project.read() as view:
        return [one.id for one in view.instances(image_id) if one.id is not None]


# -- the curve -----------------------------------------------------------------------------------


@given(decided)
def test_a_curve_never_falls_and_stays_within_its_interval(
    history: list[tuple[float, bool]],
) -> None:
    curve = fit([score for score, _ in history], [right for _, right in history])
    assert curve is not None
    told = [curve.at(score) for score in np.linspace(0, 1, 101)]
    for one in told:
        assert 0.0 <= one.low <= one.right <= one.high <= 1.0
        assert one.decided == len(history)
    for before, after in pairwise(told):
        assert before.right <= after.right + 1e-12
        assert before.low <= after.low + 1e-12
        assert before.high <= after.high + 1e-12


@given(decided, st.randoms(use_true_random=False))
def test_the_order_of_decisions_changes_nothing(
    history: list[tuple[float, bool]], random: object
) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (
        fit([score for score, _ in one], [right for _, right in one]) for one in (history, shuffled)
    )
    assert first is not None
    assert second is not None
    for score in np.linspace(0, 1, 21):
        assert first.at(score).right == pytest.approx(second.at(score).right)


def test_a_curve_finds_the_share_that_made_the_decisions() -> None:
    generator = np.random.default_rng(3)
    scores = generator.random(3000)
    curve = fit(list(scores), list(generator.random(3000) < scores**2))
    assert curve is not None
    for score in (0.2, 0.5, 0.8, 0.95):
        told = curve.at(score)
        assert told.right == pytest.approx(score**2, abs=0.1)
        assert told.high - told.low < 0.15


def test_a_few_decisions_tell_nothing() -> None:
    assert fit([0.5] * (TOO_FEW - 1), [True] * (TOO_FEW - 1)) is None
    assert fit([0.5] * TOO_FEW, [True] * TOO_FEW) is not None


def test_decisions_that_are_all_alike_leave_room_for_the_first_mistake() -> None:
    curve = fit([0.9] * 30, [True] * 30)
    assert curve is not None
    # Prior of two decisions at a share of 31/32: (30 + 2 * 31/32) / 32.
    assert curve.at(0.9).right == pytest.approx((30 + 62 / 32) / 32)
    assert curve.at(0.9).low < curve.at(0.9).right


def test_a_class_too_seldom_decided_is_told_from_all_classes_of_the_source() -> None:
    decisions = [Decision(1, "classical", 0.8, True)] * 30
    decisions += [Decision(2, "classical", 0.8, False)] * 5
    thresholds = Thresholds(decisions)
    own = thresholds.estimate(1, "classical", 0.8)
    borrowed = thresholds.estimate(2, "classical", 0.8)
    assert own is not None
    assert borrowed is not None
    assert (own.decided, borrowed.decided) == (30, 35)
    assert borrowed.right < own.right
    assert thresholds.estimate(1, "pro2sam", 0.8) is None


# -- what counts as a decision -------------------------------------------------------------------


def test_what_a_person_did_to_a_proposal_says_whether_it_was_right(
    project: Project, session: ReviewSession
) -> None:
    boxes = [(x, 10.0, x + 20.0, 40.0) for x in (0.0, 25.0, 50.0, 75.0, 95.0)]
    ids = propose(project, 1, [proposal(box, score=0.7) for box in boxes])
    here = Context(1, "tester")
    session.set_status(here, ids[0], Status.ACCEPTED)
    session.set_status(here, ids[1], Status.REJECTED)
    session.set_box(here, ids[2], (50.0, 10.0, 70.0, 34.0))  # IoU 0.8
    session.set_box(here, ids[3], (75.0, 10.0, 95.0, 20.0))  # IoU 1/3
    session.set_class(here, ids[4], "dog")
    session.add_box(here, category="cat", box=(5, 50, 50, 80))  # has no score, is no proposal
    reader = Decisions()
    with project.read() as view:
        read = reader.read(view)
    assert [one.is_right for one in read] == [True, False, True, False, False]
    assert {(one.source, one.score) for one in read} == {("classical", 0.7)}
    session.undo(here)  # the drawing
    session.undo(here)  # the class: undecided again
    with project.read() as view:
        assert len(reader.read(view)) == 4


def test_what_was_accepted_unseen_vouches_for_nothing(
    project: Project, session: ReviewSession
) -> None:
    first, second = propose(
        project, 1, [proposal((1, 1, 30, 30), score=0.8), proposal((40, 1, 80, 30), score=0.9)]
    )
    accepting.accept_above(project, Choice(0.5), actor="tester")
    with project.read() as view:
        assert Decisions().read(view) == []
    session.set_status(Context(1, "tester"), second, Status.REJECTED)
    with project.read() as view:  # whoever hunts for wrong ones does not count the right ones
        assert Decisions().read(view) == []
    accepting.take_back(project, actor="tester")
    session.set_status(Context(1, "tester"), first, Status.ACCEPTED)
    with project.read() as view:  # an ordinary review of the photo
        assert [one.is_right for one in Decisions().read(view)] == [True, False]


def test_hunting_for_the_wrong_ones_among_many_accepted_unseen_does_not_bias_the_estimate(
    project: Project, session: ReviewSession
) -> None:
    numbers = range(4 * TOO_FEW)
    ids = propose(project, 1, [proposal((n, 1, n + 3, 30), score=0.9) for n in numbers])
    accepting.accept_above(project, Choice(0.5), actor="tester")
    reader = Decisions()
    for place, number in enumerate(ids):
        if place % 5 == 0:
            session.set_status(Context(1, "tester"), number, Status.REJECTED)
    with project.read() as view:
        assert reader.thresholds(view).curves == {}


def test_what_was_accepted_unseen_counts_once_somebody_decides_on_the_rest_of_the_photo(
    project: Project, session: ReviewSession
) -> None:
    """Four right and one wrong on each of two photos with a rest; one more on a third, without."""
    reader, seen = Decisions(), []
    with project.read() as view:
        first, second, *others = [photo.id for photo in view.photos()]
    for image_id in (first, second):
        boxes = [(20.0 * n, 1.0, 20.0 * n + 15, 30.0) for n in range(5)]
        found = [proposal(box, score=0.9) for box in boxes]
        seen.append(propose(project, image_id, [*found, proposal((1, 40, 30, 80), score=0.3)]))
    propose(project, others[0], [proposal((1, 1, 30, 30), score=0.95)])
    accepting.accept_above(project, Choice(0.8), actor="tester")
    session.set_status(Context(first, "tester"), seen[0][0], Status.REJECTED)
    with project.read() as view:
        assert reader.read(view) == []
    session.set_status(Context(first, "tester"), seen[0][-1], Status.REJECTED)  # the rest
    with project.read() as view:
        told = reader.read(view)
        assert told == Decisions().read(view)
    assert [one.is_right for one in told] == [False, True, True, True, True, False]
    session.set_status(Context(second, "tester"), seen[1][-1], Status.ACCEPTED)
    session.set_status(Context(second, "tester"), seen[1][3], Status.REJECTED)  # afterwards
    with project.read() as view:
        told = reader.read(view)
        assert told == Decisions().read(view)
    at_once = [one.is_right for one in told if one.score == 0.9]
    assert (len(at_once), sum(at_once)) == (10, 8)


def test_an_object_accepted_unseen_opened_again_and_accepted_by_hand_counts(
    project: Project, session: ReviewSession
) -> None:
    first, _ = propose(
        project, 1, [proposal((1, 1, 30, 30), score=0.8), proposal((40, 1, 80, 30), score=0.9)]
    )
    accepting.accept_above(project, Choice(0.5), actor="tester")
    reader, here = Decisions(), Context(1, "tester")
    for status in (Status.PROPOSED, Status.ACCEPTED):
        session.set_status(here, first, status)
        with project.read() as view:
            assert reader.read(view) == Decisions().read(view)
    with project.read() as view:
        assert [(one.score, one.is_right) for one in reader.read(view)] == [(0.8, True)]


def test_following_what_changes_comes_to_the_same_as_reading_everything(
    project: Project, session: ReviewSession
) -> None:
    boxes = [(x, 10.0, x + 20.0, 40.0) for x in (0.0, 25.0, 50.0, 75.0)]
    ids = propose(project, 1, [proposal(box, score=0.7) for box in boxes])
    propose(project, 2, [proposal(boxes[0], score=0.8)])
    here, there = Context(1, "tester"), Context(2, "tester")
    follower, told = Decisions(), []
    for act in (
        lambda: session.set_status(here, ids[0], Status.ACCEPTED),
        lambda: session.set_box(here, ids[1], (25.0, 10.0, 45.0, 20.0)),
        lambda: session.delete(here, ids[0]),
        lambda: session.undo(here),
        lambda: accepting.accept_above(project, Choice(0.5), actor="tester"),
        lambda: session.undo(there),  # of what was accepted unseen, by hand
        lambda: session.redo(there),
        lambda: session.set_status(here, ids[2], Status.REJECTED),
        lambda: accepting.take_back(project, actor="tester"),
        lambda: session.undo(here),  # of the taking back: unseen again
        lambda: propose(project, 2, [proposal(boxes[1], score=0.6)]),
    ):
        act()
        with project.read() as view:
            told.append(follower.read(view))
            assert told[-1] == Decisions().read(view)
    assert [len(one) for one in told] == [1, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2]


def test_a_large_project_is_not_read_again_while_nothing_changes_nor_all_the_time(
    project: Project, session: ReviewSession
) -> None:
    first, second = propose(
        project, 1, [proposal((1, 1, 30, 30), score=0.8), proposal((40, 1, 80, 30), score=0.9)]
    )
    session.set_status(Context(1, "tester"), first, Status.ACCEPTED)
    seconds = count()  # everything takes a second
    reader = Decisions(clock=lambda: float(next(seconds)))

    def told() -> tuple[int, list[str]]:
        asked: list[str] = []
        with project.read() as view:
            listen(view.connection, "before_cursor_execute", lambda *words: asked.append(words[2]))
            decided = reader.thresholds(view).decided
        return decided[None, "classical"], [one for one in asked if one != "BEGIN"]

    assert told()[0] == 1
    decided, asked = told()
    assert (decided, len(asked)) == (1, 1)
    assert "max(event.id)" in asked[0]
    session.set_status(Context(1, "tester"), second, Status.ACCEPTED)
    following = [told() for _ in range(30)]
    assert [decided for decided, _ in following] == sorted(decided for decided, _ in following)
    assert (following[5][0], following[-1][0]) == (1, 2)
    working = [asked for _, asked in following if len(asked) > 1]
    assert len(working) == 1
    assert all("instance.id IN" in one for one in working[0] if "FROM instance" in one)

"""How often a proposal with a score was right, by one's own decisions; accepting all above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.event import listen

from annotator import accepting, listing, runs
from annotator.accepting import Choice
from annotator.assist import Assistant
from annotator.listing import Filter
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.thresholds import TOO_FEW, Decision, Decisions, Thresholds, fit
from engine.errors import OptionError, ReviewError
from engine.types import Instance, Status
from tests.annotator.command_line import answer, complaint
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


def statuses(project: Project) -> dict[int, str]:
    with project.read() as view:
        return {
            one.id: one.status.value
            for photo in view.photos()
            for one in view.instances(photo.id)
            if one.id is not None
        }


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
    with project.read() as view:
        assert [one.is_right for one in Decisions().read(view)] == [False]
    accepting.take_back(project, actor="tester")
    session.set_status(Context(1, "tester"), first, Status.ACCEPTED)
    with project.read() as view:
        assert [one.is_right for one in Decisions().read(view)] == [True, False]


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
    assert [len(one) for one in told] == [1, 2, 1, 2, 2, 2, 2, 3, 3, 3, 3]


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


# -- accepting above -----------------------------------------------------------------------------


@pytest.fixture
def proposed(project: Project) -> Project:
    """Photos 1 to 3 with scores .9 and .3 of cats, photo 3 also a dog of .95 and one classless."""
    for image_id in (1, 2):
        found = [proposal((1, 1, 30, 30), score=0.9), proposal((40, 1, 80, 30), score=0.3)]
        propose(project, image_id, found)
    odd = [
        proposal((1, 1, 30, 30), score=0.95, category="dog"),
        proposal((40, 1, 80, 30), score=0.99, category=None),
    ]
    propose(project, 3, odd)
    return project


def test_a_preview_says_what_accepting_would_do_and_changes_nothing(proposed: Project) -> None:
    before = statuses(proposed)
    with proposed.read() as view:
        shown = accepting.preview(view, Choice(0.5), Decisions().thresholds(view))
    assert (shown.objects, shown.photos, shown.known, shown.expected) == (3, 3, 0, None)
    assert [one.score for one in shown.examples] == [0.9, 0.9, 0.95]
    assert shown.examples[0].box_share == pytest.approx((1 / 120, 1 / 90, 0.25, 1 / 3))
    assert statuses(proposed) == before


def test_class_source_and_filter_narrow_the_choice(proposed: Project) -> None:
    with proposed.read() as view:
        ids = view.category_ids()
        thresholds = Decisions().thresholds(view)

        def objects(choice: Choice) -> int:
            return accepting.preview(view, choice, thresholds).objects

        assert objects(Choice(0.0)) == 5
        assert objects(Choice(0.0, category_id=ids["dog"])) == 1
        assert objects(Choice(0.0, source="classical")) == 5
        assert objects(Choice(0.0, source="pro2sam")) == 0
        assert objects(Choice(0.0, photos=Filter("all", ids["dog"]))) == 3  # photo 2 is tagged so
        assert objects(Choice(0.0, photos=Filter("done"))) == 0


def test_one_undo_takes_back_what_was_accepted_on_all_photos(proposed: Project) -> None:
    before = statuses(proposed)
    batch = accepting.accept_above(proposed, Choice(0.5), actor="tester")
    assert (batch.objects, batch.photos) == (3, 3)
    assert sorted(statuses(proposed).values()) == ["accepted"] * 3 + ["proposed"] * 3
    back = accepting.take_back(proposed, actor="tester")
    assert (back.number, back.objects, back.photos) == (batch.number, 3, 3)
    assert statuses(proposed) == before
    proposed.check_journal()
    with pytest.raises(ReviewError, match="nothing is left to take back"):
        accepting.take_back(proposed, actor="tester")


def test_the_last_batch_is_known_until_it_is_taken_back(
    proposed: Project, session: ReviewSession
) -> None:
    def last() -> accepting.Batch | None:
        with proposed.read() as view:
            return accepting.last_batch(view)

    assert last() is None
    first = accepting.accept_above(proposed, Choice(0.92), actor="tester")
    assert last() == first
    second = accepting.accept_above(proposed, Choice(0.5), actor="tester")
    accepting.take_back(proposed, actor="tester", batch=first.number)
    assert last() == second
    for image_id in (1, 2):
        session.undo(Context(image_id, "tester"))
    with pytest.raises(ReviewError, match="nothing is left to take back"):
        accepting.take_back(proposed, actor="tester")
    assert last() is None


def test_taking_back_leaves_what_a_person_did_since(
    proposed: Project, session: ReviewSession
) -> None:
    first, second = propose(
        proposed, 4, [proposal((1, 1, 30, 30), score=0.9), proposal((40, 1, 80, 30), score=0.9)]
    )
    accepting.accept_above(proposed, Choice(0.5), actor="tester")
    session.set_class(Context(4, "tester"), first, "dog")
    session.undo(Context(1, "tester"))  # this photo by hand
    back = accepting.take_back(proposed, actor="tester")
    assert (back.objects, back.photos) == (3, 3)
    assert statuses(proposed)[first] == "edited"
    assert statuses(proposed)[second] == "proposed"
    proposed.check_journal()


def test_taking_back_leaves_what_a_person_accepted_by_hand_since(
    proposed: Project, session: ReviewSession
) -> None:
    (first,) = propose(proposed, 4, [proposal((1, 1, 30, 30), score=0.9)])
    accepting.accept_above(proposed, Choice(0.5), actor="tester")
    session.set_status(Context(4, "tester"), first, Status.PROPOSED)
    session.set_status(Context(4, "tester"), first, Status.ACCEPTED)  # the row is as it was
    accepting.take_back(proposed, actor="tester")
    assert statuses(proposed)[first] == "accepted"
    assert sorted(statuses(proposed).values()).count("accepted") == 1


def test_what_changed_since_the_preview_is_not_accepted(
    proposed: Project, session: ReviewSession
) -> None:
    def look() -> str:
        with proposed.read() as view:
            return accepting.preview(view, Choice(0.5), Thresholds([])).fingerprint

    # As many, but not the same: one was decided, another one came.
    seen = look()
    session.set_status(Context(1, "tester"), 1, Status.REJECTED)
    propose(proposed, 4, [proposal((1, 1, 30, 30), score=0.9)])
    with pytest.raises(ReviewError, match=r"other objects .* than were shown"):
        accepting.accept_above(proposed, Choice(0.5), actor="tester", fingerprint=seen)
    assert "accepted" not in statuses(proposed).values()
    fresh = accepting.accept_above(proposed, Choice(0.5), actor="tester", fingerprint=look())
    assert fresh.objects == 3
    with pytest.raises(ReviewError, match="nothing was accepted"):
        accepting.accept_above(proposed, Choice(1.0), actor="tester")
    with pytest.raises(OptionError, match="between 0 and 1"):
        Choice(1.5)


def test_the_command_line_looks_accepts_and_takes_back(proposed: Project, capsys: Captured) -> None:
    words = ["accept", proposed.folder, "--min-score", 0.5, "--class", "cat"]
    before = statuses(proposed)
    code, value = answer(capsys, *words, "--dry-run")
    assert (code, value["done"], value["objects"]) == (0, False, 2)
    assert statuses(proposed) == before
    code, value = answer(capsys, *words, "--source", "classical")
    assert (code, value["done"], value["photos"]) == (0, True, 2)
    assert sorted(statuses(proposed).values()).count("accepted") == 2
    code, value = answer(capsys, "accept", proposed.folder, "--undo")
    assert (code, value["objects"]) == (0, 2)
    assert statuses(proposed) == before
    assert "no class 'cow'" in complaint(
        capsys, "accept", proposed.folder, "--min-score", 0.5, "--class", "cow"
    )
    assert "leave the other flags out" in complaint(
        capsys, "accept", proposed.folder, "--undo", "--dry-run"
    )


def test_the_expected_share_is_told_from_own_decisions(
    project: Project, session: ReviewSession
) -> None:
    ids = propose(
        project, 1, [proposal((n, 1, n + 3, 30), score=0.8) for n in range(0, 4 * TOO_FEW, 4)]
    )
    for place, number in enumerate(ids):
        status = Status.REJECTED if place % 4 == 0 else Status.ACCEPTED
        session.set_status(Context(1, "tester"), number, status)
    propose(project, 2, [proposal((1, 1, 30, 30), score=0.8)])
    with project.read() as view:
        shown = accepting.preview(view, Choice(0.5), Decisions().thresholds(view))
        assert listing.counts(view)["todo"] == 1
    assert shown.known == 1
    assert shown.expected is not None
    assert shown.expected.right == pytest.approx(0.75, abs=0.02)
    assert shown.expected.low < 0.75 < shown.expected.high

"""Accepting all proposals above a score: look first, do it, take it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from annotator import accepting, listing
from annotator.accepting import Choice
from annotator.assist import Assistant
from annotator.listing import Filter
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.thresholds import TOO_FEW, Decisions, Thresholds
from engine.errors import OptionError, ReviewError
from engine.types import Status
from tests.annotator.command_line import answer, complaint
from tests.annotator.test_thresholds import propose
from tests.fakes import SquareSegmenter, proposal

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def session(project: Project) -> Iterator[ReviewSession]:
    assistant = Assistant(SquareSegmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def statuses(project: Project) -> dict[int, str]:
    with project.read() as view:
        return {
            one.id: one.status.value
            for photo in view.photos()
            for one in view.instances(photo.id)
            if one.id is not None
        }


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

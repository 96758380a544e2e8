"""Review orders: which photo comes next and why; stable while one walks along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator import listing, queue, runs
from annotator.assist import Assistant
from annotator.listing import DISAGREEING, LAST, PLAIN, SUSPECT, UNCERTAIN, Filter
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.thresholds import Decisions
from engine.errors import OptionError
from engine.types import Instance, Source, Status
from tests.fakes import SquareSegmenter, proposal


@pytest.fixture
def session(project: Project) -> Iterator[ReviewSession]:
    assistant = Assistant(SquareSegmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def propose(project: Project, image_id: int, *found: Instance) -> None:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="any", options={}, photos=[image_id])
    runs.record_photo(project, run_id, image_id, instances=found, seconds=0.1)


def ordered(project: Project, order: str, *, status: str = "all") -> list[int]:
    with project.read() as view:
        return listing.photo_ids(view, Filter(status, order=order))


def reason(project: Project, order: str, image_id: int) -> str:
    with project.read() as view:
        return queue.why(view, order, image_id)


def by(pipeline: str, found: Instance) -> Instance:
    return replace(found, source=Source(pipeline))


# -- the orders ----------------------------------------------------------------------------------


def test_the_most_doubtful_photo_comes_first(project: Project) -> None:
    propose(project, 1, proposal((1, 1, 30, 30), score=0.95))
    propose(project, 2, proposal((1, 1, 30, 30), score=0.1), proposal((40, 1, 80, 30), score=0.7))
    propose(project, 4, proposal((1, 1, 30, 30), score=0.48))
    queue.renew(project, UNCERTAIN, Decisions())
    # Entropies 1.00, 0.88, 0.29; photo 3 has nothing to be doubtful about.
    assert ordered(project, UNCERTAIN) == [4, 2, 1, 3]
    assert reason(project, UNCERTAIN, 4) == "most doubtful: cat with score 0.48"
    assert reason(project, UNCERTAIN, 2) == "most doubtful: cat with score 0.70"
    assert reason(project, UNCERTAIN, 3) == ""


def test_own_decisions_say_what_is_doubtful(project: Project, session: ReviewSession) -> None:
    propose(project, 1, *[proposal((4 * n, 1, 4 * n + 3, 30), score=0.9) for n in range(24)])
    for number in range(1, 25):
        status = Status.ACCEPTED if number % 2 else Status.REJECTED
        session.set_status(Context(1, "tester"), number, status)
    propose(project, 2, by("new", proposal((1, 1, 30, 30), score=0.8)))
    propose(project, 4, proposal((1, 1, 30, 30), score=0.9))
    queue.renew(project, UNCERTAIN, Decisions())
    assert ordered(project, UNCERTAIN)[:2] == [4, 2]
    assert reason(project, UNCERTAIN, 4).endswith("of such 50 % were right so far")


def test_a_proposal_without_a_score_is_as_doubtful_as_can_be(project: Project) -> None:
    propose(project, 1, proposal((1, 1, 30, 30), score=0.6))
    propose(project, 2, replace(proposal((1, 1, 30, 30)), score=None))
    queue.renew(project, UNCERTAIN, Decisions())
    assert ordered(project, UNCERTAIN)[:2] == [2, 1]
    assert "without a score" in reason(project, UNCERTAIN, 2)


def test_where_pipelines_differ_most_comes_first(project: Project) -> None:
    for image_id, box in ((1, (0, 0, 20, 16)), (2, (0, 0, 20, 4))):
        propose(project, image_id, by("classical", proposal((0, 0, 20, 20))))
        propose(project, image_id, by("pro2sam", proposal(box)))
    queue.renew(project, DISAGREEING, Decisions())
    assert ordered(project, DISAGREEING) == [2, 1, 3, 4]
    assert "classical and pro2sam disagree" in reason(project, DISAGREEING, 2)


def test_suspicious_photos_come_worst_first(project: Project, session: ReviewSession) -> None:
    for image_id in (2, 4):
        propose(project, image_id, proposal((1, 1, 30, 30)))
        session.set_status(Context(image_id, "tester"), image_id // 2, Status.ACCEPTED)
    session.set_class(Context(4, "tester"), 2, "dog")
    # Photo 2: tagged cat and dog, holds a cat; photo 4: tagged dog, holds one.
    queue.renew(project, SUSPECT, Decisions())
    assert ordered(project, SUSPECT) == [2, 1, 3, 4]
    assert reason(project, SUSPECT, 2).startswith("tagged dog")


def test_an_empty_project_has_an_empty_order(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = Project.create(tmp_path_factory.mktemp("empty") / "project")
    for order in listing.ORDERS:
        queue.renew(empty, order, Decisions())
        assert ordered(empty, order) == []
    empty.close()


@given(st.floats(0, 1))
def test_entropy_is_one_bit_at_most_and_even(share: float) -> None:
    assert 0.0 <= queue.entropy(share) <= 1.0 + 1e-12
    assert queue.entropy(share) == pytest.approx(queue.entropy(1 - share))


# -- walking along -------------------------------------------------------------------------------


@pytest.fixture
def doubtful(project: Project) -> Project:
    """The order by uncertainty is 3, 1, 4, 2."""
    for image_id, score in ((1, 0.6), (2, 0.9), (3, 0.5), (4, 0.8)):
        propose(project, image_id, proposal((1, 1, 30, 30), score=score))
    queue.renew(project, UNCERTAIN, Decisions())
    return project


def test_deciding_does_not_shuffle_what_comes_next(
    doubtful: Project, session: ReviewSession
) -> None:
    session.set_status(Context(1, "tester"), 1, Status.ACCEPTED)
    assert ordered(doubtful, UNCERTAIN) == [3, 1, 4, 2]
    chosen = Filter("todo", order=UNCERTAIN)
    with doubtful.read() as view:
        keys = listing.photo_keys(view, chosen)
        at = listing.key_of(view, chosen, 1)  # no longer in the list
        before, after = listing.neighbours(keys, at)
        assert listing.following(keys, at, 8) == keys[1:]
    assert [image_id for _, image_id in keys] == [3, 4, 2]
    assert before is not None
    assert after is not None
    assert (before[1], after[1]) == (3, 4)
    queue.renew(doubtful, UNCERTAIN, Decisions())
    assert ordered(doubtful, UNCERTAIN) == [3, 4, 2, 1]


def test_pages_of_an_order_join_without_gap_or_overlap(doubtful: Project) -> None:
    chosen = Filter(order=UNCERTAIN)
    with doubtful.read() as view:
        pages = [listing.page(view, chosen, offset=at, limit=2) for at in (0, 2, 4)]
        assert [one.id for page in pages for one in page] == [3, 1, 4, 2]
        assert listing.first_to_show(view, chosen) == 3


def test_a_photo_without_a_place_comes_behind_all_others_by_its_number(
    doubtful: Project, session: ReviewSession
) -> None:
    for image_id in (1, 2):
        session.set_status(Context(image_id, "tester"), image_id, Status.ACCEPTED)
    queue.renew(doubtful, UNCERTAIN, Decisions())
    with doubtful.read() as view:
        keys = listing.photo_keys(view, Filter(order=UNCERTAIN))
    assert keys == [(0, 3), (1, 4), (LAST, 1), (LAST, 2)]


def test_the_plain_order_is_that_of_the_photos(doubtful: Project) -> None:
    queue.renew(doubtful, PLAIN, Decisions())
    assert ordered(doubtful, PLAIN) == [1, 2, 3, 4]
    with doubtful.read() as view:
        assert listing.key_of(view, Filter(), 3) == (0, 3)


def test_an_unknown_order_names_those_that_exist() -> None:
    with pytest.raises(OptionError, match="plain, uncertainty, disagreement, suspicious"):
        Filter(order="worst")

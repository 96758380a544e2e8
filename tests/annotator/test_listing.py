"""Filters of the filmstrip, and where one stands in it."""

from __future__ import annotations

import pytest

from annotator import listing, runs
from annotator.assist import Assistant
from annotator.listing import Filter
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.errors import OptionError
from engine.types import Status
from tests.fakes import SquareSegmenter, proposal


@pytest.fixture
def mixed(project: Project) -> Project:
    """Photo 1 to do, photo 2 done (accepted), photo 3 done (rejected), photo 4 empty."""
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[1, 2, 3, 4])
    for image_id in (1, 2, 3):
        found = [proposal((1, 1, 30, 30))]
        runs.record_photo(project, run_id, image_id, instances=found, seconds=0.1)
    runs.record_photo(project, run_id, 4, instances=[], seconds=0.1)
    assistant = Assistant(SquareSegmenter)
    session = ReviewSession(project, assistant)
    session.set_status(Context(2, "tester"), 2, Status.ACCEPTED)
    session.set_status(Context(3, "tester"), 3, Status.REJECTED)
    assistant.close()
    return project


@pytest.mark.parametrize(
    ("status", "expected"),
    [("all", [1, 2, 3, 4]), ("todo", [1]), ("done", [2, 3]), ("rejected", [3]), ("empty", [4])],
)
def test_each_filter_shows_its_photos(mixed: Project, status: str, expected: list[int]) -> None:
    with mixed.read() as view:
        assert listing.photo_ids(view, Filter(status)) == expected
        assert listing.counts(view)[status] == len(expected)


def test_a_class_is_found_by_tag_and_by_what_was_decided(mixed: Project) -> None:
    with mixed.read() as view:
        cat, dog = view.category_ids()["cat"], view.category_ids()["dog"]
        # Photo 3 has no tag and its one cat was rejected.
        assert listing.photo_ids(view, Filter("all", cat)) == [1, 2]
        assert listing.photo_ids(view, Filter("all", dog)) == [2, 4]
        assert listing.photo_ids(view, Filter("done", dog)) == [2]


def test_a_page_tells_status_and_counts(mixed: Project) -> None:
    with mixed.read() as view:
        items = listing.page(view, Filter(), offset=1, limit=3)
    assert [(one.id, one.status, one.proposed, one.curated) for one in items] == [
        (2, "done", 0, 1),
        (3, "done", 0, 0),
        (4, "empty", 0, 0),
    ]


def test_an_unknown_filter_names_those_that_exist() -> None:
    with pytest.raises(OptionError, match="all, todo, done, rejected, empty"):
        Filter("open")


@pytest.mark.parametrize(
    ("at", "expected"),
    [(10, (None, 20)), (20, (10, 30)), (30, (20, None)), (15, (10, 20)), (5, (None, 10))],
)
def test_neighbours_also_of_a_photo_that_left_the_list(
    at: int, expected: tuple[int | None, int | None]
) -> None:
    assert listing.neighbours([10, 20, 30], at) == expected


@pytest.mark.parametrize(
    ("at", "expected"), [(10, [20, 30]), (15, [20, 30]), (20, [30, 40]), (40, []), (50, [])]
)
def test_what_follows_also_of_a_photo_that_left_the_list(at: int, expected: list[int]) -> None:
    assert listing.following([10, 20, 30, 40], at, 2) == expected
    assert listing.following([], at, 2) == []


def test_neighbours_in_an_empty_list() -> None:
    assert listing.neighbours([], 7) == (None, None)


def test_review_begins_where_it_stopped_else_where_something_is_to_do(mixed: Project) -> None:
    with mixed.read() as view:
        assert listing.first_to_show(view, Filter()) == 1
        assert listing.first_to_show(view, Filter("empty")) == 4
        assert listing.first_to_show(view, Filter("todo", 99)) is None
    with mixed.write() as transaction:
        transaction.set_setting("position", 3)
    with mixed.read() as view:
        assert listing.first_to_show(view, Filter()) == 3
        assert listing.first_to_show(view, Filter("todo")) == 1

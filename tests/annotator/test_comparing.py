"""Where two pipelines disagree, and where a detector contradicts labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from annotator.comparing import detector_findings, disagreement
from annotator.findings import Finding
from engine.types import Box, Instance, Source, Status
from tests.fakes import proposal


def found_by(pipeline: str, box: Box, *, category: str = "cat", score: float = 0.8) -> Instance:
    return replace(proposal(box, category=category, score=score), source=Source(pipeline))


# -- two pipelines -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "badness"),
    [
        ([("cat", (0, 0, 10, 10)), ("dog", (20, 0, 30, 10))], 0.0),
        ([("dog", (0, 0, 10, 10)), ("cat", (20, 0, 30, 10))], 1.0),  # the classes are swapped
        ([("cat", (0, 0, 10, 10))], 1 - 2 / 3),  # one is missing
        ([], 1.0),
    ],
)
def test_agreement_counts_matched_boxes_of_one_class(
    new: list[tuple[str, Box]], badness: float
) -> None:
    old = [found_by("a", (0, 0, 10, 10)), found_by("a", (20, 0, 30, 10), category="dog")]
    one = disagreement(1, old, [found_by("b", box, category=name) for name, box in new])
    assert one is not None
    assert one.badness == pytest.approx(badness)


def test_nothing_proposed_before_is_no_disagreement() -> None:
    assert disagreement(1, [], [found_by("a", (0, 0, 10, 10))]) is None


# -- a detector and labels -----------------------------------------------------------------------


def look(labels: Sequence[Instance], detections: Sequence[Instance]) -> list[Finding]:
    return detector_findings(
        7,
        [replace(one, id=number) for number, one in enumerate(labels, start=1)],
        detections,
        states={number: f"state {number}" for number in range(1, 9)},
        category_ids={"cat": 1, "dog": 2},
    )


CAT = replace(proposal((0, 0, 20, 20)), status=Status.ACCEPTED)


def test_a_detection_that_agrees_is_no_finding() -> None:
    assert look([CAT], [found_by("detector", (0, 0, 20, 18), score=0.2)]) == []
    assert look([], []) == []


def test_a_label_that_a_confident_detection_takes_for_another_class() -> None:
    (one,) = look([CAT], [found_by("detector", (0, 0, 20, 20), category="dog", score=0.9)])
    assert (one.instance_id, one.badness, one.state) == (1, 0.9, "state 1")
    assert one.reason == "detector takes this cat for a dog (0.90)"


def test_a_label_that_no_detection_covers_counts_half() -> None:
    (one,) = look([CAT], [])
    assert (one.instance_id, one.badness) == (1, 0.5)
    (one,) = look([CAT], [found_by("detector", (0, 0, 20, 8), score=0.3)])  # IoU 0.4
    assert one.badness == pytest.approx(0.3)


def test_a_confident_detection_without_a_label_says_where() -> None:
    far = found_by("detector", (50, 0, 70, 20), score=0.8)
    one = next(found for found in look([CAT], [far]) if found.box)
    assert (one.box, one.category_id, one.instance_id) == ((50, 0, 70, 20), 1, None)
    assert [found.box for found in look([CAT], [replace(far, score=0.4)])] == [None]


def test_a_detection_where_a_person_said_no_is_no_news() -> None:
    refused = replace(CAT, status=Status.REJECTED)
    assert look([refused], [found_by("detector", (0, 0, 20, 20), score=0.9)]) == []

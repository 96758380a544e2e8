"""Other masks for an object: which are offered, in which order, and choosing one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator import alternatives, runs
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.errors import ConflictError, PhotoError, ReviewError, StoreError
from engine.gallery import Gallery
from engine.geometry import mask_to_rle
from engine.types import (
    PERSON,
    Candidate,
    Evidence,
    Image,
    Instance,
    Prompts,
    RankedMask,
    Rle,
    Status,
)
from tests.fakes import SquareSegmenter, proposal, square_mask

SIZE = (90, 120)
HERE = Context(1, "tester")
IntBox = tuple[int, int, int, int]


def rle(box: IntBox) -> Rle:
    return mask_to_rle(square_mask(SIZE, box))


def ranked(box: IntBox, score: float = 0.5) -> RankedMask:
    return RankedMask(rle(box), score)


def masked(box: IntBox, category: str | None = "cat") -> Instance:
    return replace(proposal(box, category=category), rle=rle(box))


class ManySquares(SquareSegmenter):
    """Answers a click with squares of three sizes, as a SAM does, and has a gallery of two."""

    name = "classical"  # whose gallery is quick

    def __init__(self) -> None:
        super().__init__()
        self.galleries = 0

    def masks_for(self, prompts: Prompts) -> list[Candidate]:
        first = super().masks_for(prompts)
        if prompts.box is not None or prompts.mask is not None:
            return first
        ((x, y),) = prompts.points
        around = [
            square_mask(self._size, (int(x) - r, int(y) - r, int(x) + r + 1, int(y) + r + 1))
            for r in (8, 3)
        ]
        return [*first, *(Candidate(mask, 0.8) for mask in around)]

    def gallery(self, image: Image, **_options: Any) -> Gallery:
        self.galleries += 1
        masks = [square_mask(SIZE, box) for box in ((10, 10, 40, 50), (80, 60, 110, 85))]
        return Gallery.from_masks(masks, [0.4, 0.9])


class SlowSquares(ManySquares):
    name = "sam_vit_b"


# -- which ones, in which order ------------------------------------------------------------------


def test_the_best_score_nearby_comes_first_then_score_times_overlap() -> None:
    # IoU with 40 x 40 pixels: 0.75, 0.5, 0.25 (below CLOSE), 0 and 1.
    three_quarters, half = ranked((10, 10, 40, 50), 0.5), ranked((10, 10, 30, 50), 0.7)
    quarter, elsewhere = ranked((10, 10, 30, 30), 0.9), ranked((60, 60, 90, 90), 1.0)
    same = ranked((10, 10, 50, 50), 0.95)
    given = [same, elsewhere, quarter, half, three_quarters]
    found = alternatives.about_the_same(masked((10, 10, 50, 50)), given)
    assert found == [half, three_quarters, quarter]  # 0.5 * 0.75 = 0.375 > 0.9 * 0.25


def test_an_object_without_a_mask_is_compared_by_its_box() -> None:
    tight, loose = ranked((10, 10, 50, 50), 0.3), ranked((10, 10, 50, 30), 0.2)
    found = alternatives.about_the_same(proposal((10, 10, 50, 50)), [loose, tight])
    assert found == [tight, loose]


def test_half_of_an_object_with_the_same_box_is_about_the_same_object() -> None:
    bent = square_mask(SIZE, (10, 10, 50, 14)) | square_mask(SIZE, (10, 10, 14, 50))
    found = alternatives.about_the_same(
        masked((10, 10, 50, 50)), [RankedMask(mask_to_rle(bent), 0.5)]
    )
    assert len(found) == 1  # IoU of the masks 0.19, of the boxes 1


def test_what_looks_the_same_is_offered_once() -> None:
    one, twin = ranked((10, 10, 30, 50), 0.9), ranked((10, 10, 30, 51), 0.8)  # IoU 40 / 41
    almost_present = ranked((10, 10, 110, 89), 0.9)
    assert alternatives.about_the_same(masked((10, 10, 50, 50)), [one, twin]) == [one]
    assert alternatives.about_the_same(masked((10, 10, 110, 90)), [almost_present]) == []


def test_an_empty_mask_is_never_offered_and_no_candidates_are_no_list() -> None:
    empty = RankedMask(mask_to_rle(np.zeros(SIZE, bool)), 1.0)
    assert alternatives.about_the_same(masked((10, 10, 50, 50)), [empty]) == []
    assert alternatives.about_the_same(masked((10, 10, 50, 50)), []) == []


def test_the_list_is_short() -> None:
    boxes = [(10 + x, 10 + y, 50 + x, 50 + y) for x in range(-8, 25, 8) for y in range(-8, 9, 4)]
    many = [ranked(box, 0.5) for box in boxes]
    found = alternatives.about_the_same(masked((10, 10, 50, 50)), many)
    assert len(found) == alternatives.LONGEST


def test_candidates_without_any_score_go_by_overlap() -> None:
    near, far = ranked((10, 10, 45, 50), 0.0), ranked((10, 10, 30, 50), 0.0)
    found = alternatives.about_the_same(masked((10, 10, 50, 50)), [far, near])
    assert found == [near, far]


@pytest.mark.parametrize(
    ("points", "asked"),
    [
        ((), Prompts(box=(10.0, 10.0, 50.0, 50.0))),
        (((20.0, 20.0, 1), (45.0, 45.0, 0)), Prompts(((20.0, 20.0), (45.0, 45.0)), (1, 0))),
        (((45.0, 45.0, 0),), Prompts(box=(10.0, 10.0, 50.0, 50.0))),
    ],
)
def test_what_a_person_began_is_asked_for_again(points: Any, asked: Prompts) -> None:
    drawn = replace(masked((10, 10, 50, 50)), source=PERSON, points=points)
    assert alternatives.own_prompts(drawn) == asked
    assert alternatives.own_prompts(replace(masked((10, 10, 50, 50)), points=points)) is None


# -- in a review ---------------------------------------------------------------------------------


@pytest.fixture
def segmenter() -> ManySquares:
    return ManySquares()


@pytest.fixture
def session(project: Project, segmenter: ManySquares) -> Iterator[ReviewSession]:
    assistant = Assistant(lambda: segmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def propose(project: Project, *instances: Instance, seen: Evidence | None = None) -> list[int]:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[1])
    runs.record_photo(project, run_id, 1, instances=instances, seconds=0.1, seen=seen)
    with project.read() as view:
        return [one.id for one in view.instances(1) if one.id is not None]


def only(project: Project) -> Instance:
    with project.read() as view:
        (instance,) = view.instances(1)
    return instance


SEEN = Evidence(
    candidates=(
        ranked((10, 10, 50, 50), 0.9),
        ranked((10, 10, 40, 50), 0.8),
        ranked((10, 10, 50, 30), 0.7),
        ranked((80, 60, 110, 85), 0.6),
    )
)


def test_a_proposal_gets_what_its_run_left(
    project: Project, session: ReviewSession, segmenter: ManySquares
) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)), seen=SEEN)
    assert session.alternatives(1, one) == [SEEN.candidates[1], SEEN.candidates[2]]
    assert (segmenter.prepared, segmenter.galleries) == ([], 0)  # nobody waits for a segmenter


def test_what_was_clicked_gets_the_segmenters_own_other_masks_first(
    project: Project, session: ReviewSession
) -> None:
    near = ranked((20, 20, 40, 42), 0.95)
    propose(project, seen=Evidence(candidates=(near, ranked((80, 60, 110, 85)))))
    one = session.click(HERE, None, (30, 30, 1), category="dog")
    assert only(project).rle == rle((25, 25, 36, 36))
    assert session.alternatives(1, one) == [
        RankedMask(rle((22, 22, 39, 39)), 0.8),
        RankedMask(rle((27, 27, 34, 34)), 0.8),
        near,
    ]


def test_without_evidence_the_quick_gallery_is_looked_through_once_a_photo(
    project: Project, session: ReviewSession, segmenter: ManySquares
) -> None:
    first, second = propose(project, masked((10, 10, 50, 50)), masked((80, 60, 110, 80)))
    assert session.alternatives(1, first) == [ranked((10, 10, 40, 50), 0.4)]
    assert session.alternatives(1, second) == [ranked((80, 60, 110, 85), 0.9)]
    assert segmenter.galleries == 1


def test_where_the_run_left_nothing_nearby_the_gallery_may_have_something(
    project: Project, session: ReviewSession, segmenter: ManySquares
) -> None:
    seen = Evidence(candidates=SEEN.candidates[:3])
    (one,) = propose(project, masked((80, 60, 110, 80)), seen=seen)
    assert session.alternatives(1, one) == [ranked((80, 60, 110, 85), 0.9)]
    assert segmenter.galleries == 1


def test_a_slow_gallery_is_not_asked_and_that_is_said(project: Project) -> None:
    slow = SlowSquares()
    assistant = Assistant(lambda: slow)
    session = ReviewSession(project, assistant)
    (one,) = propose(project, masked((10, 10, 50, 50)))
    with pytest.raises(ReviewError, match="would take this segmenter a minute"):
        session.alternatives(1, one)
    # What it says to a click takes no time, and is offered alone.
    clicked = session.click(HERE, None, (30, 70, 1), category="dog")
    assert len(session.alternatives(1, clicked)) == 2
    assert slow.galleries == 0
    assistant.close()


def test_evidence_without_anything_nearby_is_an_empty_list_with_a_slow_segmenter(
    project: Project,
) -> None:
    assistant = Assistant(SlowSquares)
    (one,) = propose(project, masked((60, 20, 75, 40)), seen=SEEN)
    assert ReviewSession(project, assistant).alternatives(1, one) == []
    assistant.close()


def test_an_object_that_is_not_there_has_no_alternatives(
    project: Project, session: ReviewSession
) -> None:
    propose(project, masked((10, 10, 50, 50)), seen=SEEN)
    with pytest.raises(StoreError, match="object 99 is not on this photo"):
        session.alternatives(1, 99)


def test_a_photo_that_is_gone_is_said_where_it_is_needed(
    project: Project, session: ReviewSession
) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)))
    with project.read() as view:
        project.photo_path(view.photo(1)).unlink()
    with pytest.raises(PhotoError, match=r"a\.png"):
        session.alternatives(1, one)


# -- choosing ------------------------------------------------------------------------------------


def test_choosing_changes_mask_and_box_keeps_the_class_and_is_one_step(
    project: Project, session: ReviewSession
) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)), seen=SEEN)
    before = only(project)
    session.choose(HERE, one, rle((10, 10, 40, 50)).as_dict())
    after = only(project)
    assert (after.rle, after.box) == (rle((10, 10, 40, 50)), (10, 10, 40, 50))
    assert (after.category, after.status, after.score) == ("cat", Status.EDITED, before.score)
    with project.read() as view:
        assert view.event(view.revision(1)).kind == "choose mask"
    session.undo(HERE)
    assert only(project) == before
    session.redo(HERE)
    assert only(project) == after


def test_walking_back_to_the_first_mask_leaves_the_object_as_it_was(
    project: Project, session: ReviewSession
) -> None:
    propose(project, masked((10, 10, 50, 50)), masked((60, 20, 90, 50)), seen=SEEN)
    with project.read() as view:
        before, other = view.instances(1)
    assert before.id is not None
    assert other.id is not None
    for box in ((10, 10, 40, 50), (10, 10, 50, 30)):
        session.choose(HERE, before.id, rle(box).as_dict())
    session.set_status(HERE, other.id, Status.REJECTED)  # another object does not matter
    session.undo(HERE)
    session.undo(HERE)
    session.choose(HERE, before.id, rle((10, 10, 50, 50)).as_dict())
    with project.read() as view:
        assert view.instance(1, before.id) == before
    assert before.status is Status.PROPOSED
    project.check_journal()


def test_the_first_mask_after_another_mend_is_a_choice_like_any(
    project: Project, session: ReviewSession
) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)), seen=SEEN)
    session.choose(HERE, one, rle((10, 10, 40, 50)).as_dict())
    session.set_class(HERE, one, "dog")
    session.choose(HERE, one, rle((10, 10, 50, 50)).as_dict())
    after = only(project)
    assert (after.category, after.status, after.rle) == (
        "dog",
        Status.EDITED,
        rle((10, 10, 50, 50)),
    )


def test_a_box_alone_can_be_gone_back_to_while_nothing_else_was_decided(
    project: Project, session: ReviewSession
) -> None:
    (one,) = propose(project, proposal((10, 10, 50, 50)), seen=SEEN)
    before = only(project)
    session.choose(HERE, one, rle((10, 10, 40, 50)).as_dict())
    session.choose(HERE, one, None)
    assert only(project) == before
    session.choose(HERE, one, rle((10, 10, 40, 50)).as_dict())
    session.set_class(HERE, one, "dog")
    with pytest.raises(ReviewError, match="cannot lose its mask"):
        session.choose(HERE, one, None)


def test_choosing_the_present_mask_is_no_event(project: Project, session: ReviewSession) -> None:
    one = session.add_box(HERE, category="cat", box=(10, 10, 50, 50))
    with project.read() as view:
        revision = view.revision(1)
    session.choose(HERE, one, rle((10, 10, 50, 50)).as_dict())
    with project.read() as view:
        assert view.revision(1) == revision


def test_clicks_that_the_new_mask_contradicts_are_forgotten(
    project: Project, session: ReviewSession
) -> None:
    one = session.click(HERE, None, (30, 30, 1), category="dog")
    session.click(HERE, one, (60, 30, 0))
    session.choose(HERE, one, rle((20, 20, 70, 40)).as_dict())
    assert only(project).points == ((30, 30, 1),)
    assert only(project).status is Status.DRAWN


def test_an_object_without_a_class_waits_for_one_after_choosing(
    project: Project, session: ReviewSession
) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50), category=None), seen=SEEN)
    session.choose(HERE, one, rle((10, 10, 40, 50)).as_dict())
    assert (only(project).status, only(project).edited) == (Status.PROPOSED, True)


def test_a_photo_that_moved_on_is_a_conflict(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)), seen=SEEN)
    with project.read() as view:
        seen = Context(1, "tester", base_revision=view.revision(1))
    session.set_status(HERE, one, Status.REJECTED)
    with pytest.raises(ConflictError):
        session.choose(seen, one, rle((10, 10, 40, 50)).as_dict())
    assert only(project).status is Status.REJECTED


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"size": [10, 10], "counts": "d3"}, "RLE of size"),
        ({"size": [90, 120], "counts": "d3"}, "do not add up"),
        ({"size": [90, 120], "counts": "\x00"}, "no COCO text"),
        ({"counts": "d3"}, "RLE of size None"),
        (mask_to_rle(np.zeros(SIZE, bool)).as_dict(), "this mask is empty"),
    ],
)
def test_what_is_no_mask_of_this_photo_is_refused(
    project: Project, session: ReviewSession, value: dict[str, Any], says: str
) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)), seen=SEEN)
    before = only(project)
    with pytest.raises(ReviewError, match=says):
        session.choose(HERE, one, value)
    assert only(project) == before

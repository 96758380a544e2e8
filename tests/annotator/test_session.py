"""What a person does to a photo: every action, its event, its undo."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from annotator import runs
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import Project
from engine.errors import AnnotatorError, ConflictError, OptionError, ReviewError, StoreError
from engine.geometry import mask_to_rle, rle_to_mask
from engine.types import Instance, Status
from tests.fakes import SquareSegmenter, proposal, square_mask

HERE = Context(1, "tester")


@pytest.fixture
def session(project: Project) -> Iterator[ReviewSession]:
    assistant = Assistant(SquareSegmenter)
    yield ReviewSession(project, assistant)
    assistant.close()


def propose(project: Project, *instances: Instance, image_id: int = 1) -> list[int]:
    """Put proposals on a photo as a run does; their ids."""
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="classical", options={}, photos=[image_id])
    runs.record_photo(project, run_id, image_id, instances=instances, seconds=0.1)
    with project.read() as view:
        return [one.id for one in view.instances(image_id) if one.id is not None]


def only(project: Project, image_id: int = 1) -> Instance:
    with project.read() as view:
        (instance,) = view.instances(image_id)
    return instance


def masked(box: tuple[int, int, int, int], category: str | None = "cat") -> Instance:
    mask = square_mask((90, 120), box)
    plain = proposal((box[0], box[1], box[2], box[3]), category=category)
    return Instance(**{**plain.__dict__, "rle": mask_to_rle(mask)})


def test_accept_reject_reopen(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, proposal((10, 10, 30, 30)))
    for status in (Status.ACCEPTED, Status.REJECTED, Status.PROPOSED):
        session.set_status(HERE, one, status)
        assert only(project).status is status


def test_an_object_without_a_class_cannot_be_accepted(
    project: Project, session: ReviewSession
) -> None:
    (one,) = propose(project, proposal((10, 10, 30, 30), category=None))
    with pytest.raises(ReviewError, match="choose a class"):
        session.set_status(HERE, one, Status.ACCEPTED)
    session.set_class(HERE, one, "dog")
    assert (only(project).category, only(project).status) == ("dog", Status.EDITED)


def test_a_rejected_edit_comes_back_as_edited(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, proposal((10, 10, 30, 30)))
    session.set_class(HERE, one, "dog")
    session.set_status(HERE, one, Status.REJECTED)
    session.set_status(HERE, one, Status.ACCEPTED)
    assert only(project).status is Status.EDITED


def test_a_drawn_object_cannot_be_undecided(project: Project, session: ReviewSession) -> None:
    one = session.add_box(HERE, category="cat", box=(10, 10, 30, 30))
    with pytest.raises(ReviewError, match="delete or undo"):
        session.set_status(HERE, one, Status.PROPOSED)


def test_a_status_that_nobody_can_set_is_refused(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, proposal((10, 10, 30, 30)))
    with pytest.raises(OptionError, match="drawn"):
        session.set_status(HERE, one, Status.DRAWN)


def test_accept_all_takes_what_reaches_the_score_in_one_step(
    project: Project, session: ReviewSession
) -> None:
    propose(project, proposal((1, 1, 9, 9), score=0.8), proposal((20, 20, 40, 40), score=0.3))
    assert session.accept_all(HERE, min_score=0.5) == 1
    assert session.accept_all(HERE) == 1
    with pytest.raises(ReviewError, match="nothing on this photo"):
        session.accept_all(HERE)
    session.undo(HERE)
    with project.read() as view:
        assert [one.status for one in view.instances(1)] == [Status.ACCEPTED, Status.PROPOSED]


def test_a_shrinking_box_cuts_the_mask(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)))
    session.set_box(HERE, one, (20, 15, 50, 50))
    changed = only(project)
    assert changed.box == (20, 15, 50, 50)
    assert changed.rle is not None
    assert np.array_equal(rle_to_mask(changed.rle), square_mask((90, 120), (20, 15, 50, 50)))
    assert changed.status is Status.EDITED


def test_a_growing_box_asks_the_segmenter_again(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)))
    session.set_box(HERE, one, (5, 10, 60, 50))
    changed = only(project)
    assert changed.rle is not None
    assert np.array_equal(rle_to_mask(changed.rle), square_mask((90, 120), (5, 10, 60, 50)))


def test_a_box_is_clipped_to_the_photo(project: Project, session: ReviewSession) -> None:
    session.add_box(HERE, category="cat", box=(-10, -10, 200, 40))
    assert only(project).box == (0, 0, 120, 40)


@pytest.mark.parametrize("box", [(200, 10, 300, 20), (10, 10, 10.4, 30), (-9, -9, 0, 0)])
def test_a_box_outside_or_too_small_is_refused(
    project: Project, session: ReviewSession, box: tuple[float, float, float, float]
) -> None:
    with pytest.raises(ReviewError, match="outside the photo or is smaller"):
        session.add_box(HERE, category="cat", box=box)


def test_drawing_without_a_class_says_what_to_do(session: ReviewSession) -> None:
    with pytest.raises(ReviewError, match="choose a class first"):
        session.add_box(HERE, category=None, box=(1, 1, 20, 20))


def test_clicks_add_and_take_away_and_are_kept(project: Project, session: ReviewSession) -> None:
    one = session.click(HERE, None, (30, 30, 1), category="dog")
    assert only(project).box == (25, 25, 36, 36)
    session.click(HERE, one, (40, 30, 1))
    assert only(project).box == (25, 25, 46, 36)
    session.click(HERE, one, (45, 30, 0))
    assert only(project).box == (25, 25, 40, 36)
    assert only(project).points == ((30, 30, 1), (40, 30, 1), (45, 30, 0))
    session.clear_points(HERE, one)
    assert only(project).points == ()
    assert only(project).box == (25, 25, 40, 36)


def test_a_click_that_leaves_nothing_is_refused(project: Project, session: ReviewSession) -> None:
    one = session.click(HERE, None, (30, 30, 1), category="dog")
    with pytest.raises(ReviewError, match="nothing is left"):
        session.click(HERE, one, (30, 30, 0))
    assert only(project).box == (25, 25, 36, 36)


def test_a_click_outside_the_photo_is_refused(session: ReviewSession) -> None:
    with pytest.raises(ReviewError, match="outside the photo"):
        session.click(HERE, None, (120, 10, 1), category="dog")


def test_a_negative_click_needs_an_object(session: ReviewSession) -> None:
    with pytest.raises(ReviewError, match="select an object"):
        session.click(HERE, None, (20, 10, 0), category="dog")


def test_brush_and_eraser(project: Project, session: ReviewSession) -> None:
    one = session.brush(HERE, None, mode="add", radius=4, path=[(20, 20), (60, 20)], category="cat")
    assert only(project).box == (16, 16, 64, 24)
    session.brush(HERE, one, mode="erase", radius=10, path=[(60, 20)])
    assert only(project).box[2] == pytest.approx(51, abs=1)
    with pytest.raises(ReviewError, match="would leave nothing"):
        session.brush(HERE, one, mode="erase", radius=50, path=[(20, 20), (60, 20)])


def test_a_stroke_outside_the_photo_changes_nothing(
    project: Project, session: ReviewSession
) -> None:
    one = session.brush(HERE, None, mode="add", radius=4, path=[(20, 20)], category="cat")
    before = only(project)
    session.brush(HERE, one, mode="add", radius=4, path=[(500, 500)])
    assert only(project).rle == before.rle


def test_delete_and_undo_bring_back_the_same_object(
    project: Project, session: ReviewSession
) -> None:
    propose(project, masked((10, 10, 50, 50)))
    before = only(project)
    assert before.id is not None
    session.delete(HERE, before.id)
    with project.read() as view:
        assert view.instances(1) == []
    session.undo(HERE)
    assert only(project) == before


def test_a_drag_to_the_same_box_is_no_event(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)))
    with project.read() as view:
        before = view.revision(1)
    session.set_box(HERE, one, (10, 10, 50, 50))
    with project.read() as view:
        assert view.revision(1) == before


def test_an_object_of_another_photo_is_not_found(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)))
    with pytest.raises(StoreError, match=f"object {one} is not on this photo"):
        session.set_status(Context(2, "tester"), one, Status.ACCEPTED)


def test_a_slow_mask_cannot_overwrite_what_happened_meanwhile(project: Project) -> None:
    class Slow(SquareSegmenter):
        def masks_for(self, prompts):  # type: ignore[no-untyped-def]
            session.set_status(HERE, one, Status.REJECTED)  # the second tab, meanwhile
            return super().masks_for(prompts)

    assistant = Assistant(Slow)
    session = ReviewSession(project, assistant)
    (one,) = propose(project, masked((10, 10, 50, 50)))
    with pytest.raises(ConflictError):
        session.set_box(HERE, one, (5, 5, 60, 60))
    assert only(project).status is Status.REJECTED
    assistant.close()


def test_a_photo_is_prepared_once_for_many_clicks(project: Project) -> None:
    segmenter = SquareSegmenter()
    assistant = Assistant(lambda: segmenter)
    session = ReviewSession(project, assistant)
    one = session.click(HERE, None, (30, 30, 1), category="dog")
    for x in range(40, 60, 5):
        session.click(HERE, one, (x, 30, 1))
    assert segmenter.prepared == [(90, 120)]
    assistant.close()


def test_a_photo_that_cannot_be_read_is_tried_again_later(
    project: Project, session: ReviewSession
) -> None:
    with project.read() as view:
        path = project.photo_path(view.photo(1))
    away = path.with_name("away.png")
    path.rename(away)
    with pytest.raises(AnnotatorError, match=r"a\.png"):
        session.add_box(HERE, category="cat", box=(1, 1, 20, 20))
    away.rename(path)
    session.add_box(HERE, category="cat", box=(1, 1, 20, 20))
    assert only(project).status is Status.DRAWN


@pytest.mark.parametrize("seed", range(4))
def test_undo_all_is_the_start_and_redo_all_is_the_end(
    project: Project, session: ReviewSession, seed: int
) -> None:
    chance = random.Random(seed)
    propose(project, masked((10, 10, 50, 50)), masked((60, 20, 110, 80), category=None))
    with project.read() as view:
        start = view.instances(1)
    done = 0
    for _ in range(25):
        done += act_at_random(project, session, chance)
    with project.read() as view:
        end = view.instances(1)
    for _ in range(done):
        session.undo(HERE)
    with project.read() as view:
        assert view.instances(1) == start
    for _ in range(done):
        session.redo(HERE)
    with project.read() as view:
        assert view.instances(1) == end
    project.check_journal()


def act_at_random(project: Project, session: ReviewSession, chance: random.Random) -> int:
    """One random action; how many events it made (a refused one makes none)."""
    with project.read() as view:
        ids = [one.id for one in view.instances(1) if one.id is not None]
        before = view.revision(1)
    one = chance.choice(ids) if ids else 0
    x, y = chance.uniform(0, 119), chance.uniform(0, 89)
    squares = [
        mask_to_rle(square_mask((90, 120), box)).as_dict()
        for box in ((10, 10, 40, 50), (10, 10, 50, 50))
    ]
    actions = [
        lambda: session.set_status(HERE, one, Status.ACCEPTED),
        lambda: session.set_status(HERE, one, Status.REJECTED),
        lambda: session.set_class(HERE, one, chance.choice(["cat", "dog"])),
        lambda: session.set_box(HERE, one, (x / 2, y / 2, x / 2 + 30, y / 2 + 20)),
        lambda: session.add_box(HERE, category="cat", box=(x / 2, y / 2, x / 2 + 9, y / 2 + 9)),
        lambda: session.click(HERE, one, (x, y, chance.choice([0, 1]))),
        lambda: session.brush(HERE, one, mode="add", radius=5, path=[(x, y)]),
        lambda: session.brush(HERE, one, mode="erase", radius=5, path=[(x, y)]),
        lambda: session.choose(HERE, one, squares[chance.randrange(2)]),
        lambda: session.delete(HERE, one),
    ]
    try:
        chance.choice(actions)()
    except (ReviewError, StoreError):
        return 0
    with project.read() as view:
        return int(view.revision(1) > before)


def test_a_mask_that_does_not_fit_its_photo_is_told_and_can_be_rejected(
    project: Project, session: ReviewSession
) -> None:
    large = mask_to_rle(square_mask((150, 200), (10, 10, 50, 50)))
    (one,) = propose(project, Instance(**{**masked((10, 10, 50, 50)).__dict__, "rle": large}))
    for change in (
        lambda: session.brush(HERE, one, mode="add", radius=4, path=[(20, 20)]),
        lambda: session.click(HERE, one, (20, 20, 1)),
        lambda: session.set_box(HERE, one, (12, 12, 50, 50)),
    ):
        with pytest.raises(ReviewError, match="does not fit its photo of 120 by 90 pixels"):
            change()
    session.set_status(HERE, one, Status.REJECTED)
    session.delete(HERE, one)


@pytest.mark.parametrize("box", [(17, 15, 65, 23), (10, 10, 70, 30)])
def test_a_mask_by_hand_outlives_its_box(
    project: Project, session: ReviewSession, box: tuple[float, float, float, float]
) -> None:
    one = session.brush(HERE, None, mode="add", radius=4, path=[(20, 20), (60, 20)], category="cat")
    painted = only(project)
    assert painted.rle is not None
    session.set_box(HERE, one, box)
    now = only(project)
    assert now.rle is not None
    assert (now.box, rle_to_mask(now.rle).sum()) == (box, rle_to_mask(painted.rle).sum())


def test_a_mask_of_which_the_stroke_was_undone_is_the_segmenters_again(
    project: Project, session: ReviewSession
) -> None:
    one = session.add_box(HERE, category="cat", box=(10, 10, 30, 30))
    session.brush(HERE, one, mode="erase", radius=4, path=[(12, 12)])
    session.undo(HERE)
    session.set_box(HERE, one, (10, 10, 40, 40))
    now = only(project)
    assert now.rle is not None
    assert np.array_equal(rle_to_mask(now.rle), square_mask((90, 120), (10, 10, 40, 40)))


def test_a_box_is_moved_without_the_photo(project: Project, session: ReviewSession) -> None:
    (one,) = propose(project, masked((10, 10, 50, 50)))
    with project.read() as view:
        project.photo_path(view.photo(1)).unlink()
    session.set_box(HERE, one, (11, 10, 51, 50))
    assert only(project).box == (11, 10, 51, 50)


def test_proposals_that_a_run_has_replaced_are_a_conflict(
    project: Project, session: ReviewSession
) -> None:
    (gone,) = propose(project, masked((10, 10, 50, 50)))
    with project.read() as view:
        seen = Context(1, "tester", base_revision=view.revision(1))
    propose(project, masked((20, 20, 60, 60)))
    for act in (
        lambda: session.set_status(seen, gone, Status.ACCEPTED),
        lambda: session.set_class(seen, gone, "dog"),
        lambda: session.delete(seen, gone),
        lambda: session.accept_all(seen, min_score=0.9),
        lambda: session.set_box(seen, gone, (12, 12, 50, 50)),
    ):
        with pytest.raises(ConflictError):
            act()
    assert only(project).status is Status.PROPOSED

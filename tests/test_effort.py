"""The bench of effort: the simulated person's rules on made-up photos, and all of it in tiny."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from annotator import runs
from annotator.session import ReviewSession
from benchmarks.effort.__main__ import bench, parsed
from benchmarks.effort.clicks import first_click, middle_of, next_click
from benchmarks.effort.modes import close, in_rounds
from benchmarks.effort.person import (
    COSTS,
    Habits,
    ObjectRecord,
    PhotoRecord,
    SimulatedPerson,
    assigned,
)
from benchmarks.effort.projects import FIRST_ID, make_project, session_on
from benchmarks.effort.report import actions_per_correct, interval, with_foresight
from benchmarks.effort.truth import TrueObject, TruePhoto, nearness, photos_of
from benchmarks.synthetic import SceneOptions, make_set
from engine.geometry import mask_to_box, mask_to_rle, ranked_masks
from engine.types import Box, Evidence, Instance, Mask, Source, Status

SIDE = 64
SQUARE = (12.0, 16.0, 44.0, 48.0)
OTHER = (48.0, 50.0, 62.0, 62.0)


def filled(box: Box) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    x0, y0, x1, y1 = (int(value) for value in box)
    mask[y0:y1, x0:x1] = True
    return mask


def thing(box: Box = SQUARE, category: str = "cat", *, masked: bool = True) -> TrueObject:
    return TrueObject(category, box, filled(box) if masked else None)


def proposal(box: Box = SQUARE, category: str | None = "cat", score: float = 0.5) -> Instance:
    return Instance(
        box=box,
        category=category,
        status=Status.PROPOSED,
        source=Source("classical"),
        rle=mask_to_rle(filled(box)),
        score=score,
    )


@pytest.fixture
def photo(tmp_path: Path) -> TruePhoto:
    """A bright square and a small one on a dark ground."""
    image = np.random.default_rng(0).integers(30, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    image[filled(SQUARE)] = (230, 180, 60)
    image[filled(OTHER)] = (60, 160, 230)
    path = tmp_path / "squares.png"
    Pillow.fromarray(image).save(path)
    return TruePhoto(path, ("cat", "dog"), (thing(),))


@pytest.fixture
def session(tmp_path: Path, photo: TruePhoto) -> Iterator[ReviewSession]:
    project = make_project(tmp_path / "made", [photo])
    made = session_on(project)
    yield made
    close(made, project)


def propose(session: ReviewSession, *instances: Instance, others: tuple[Mask, ...] = ()) -> None:
    """What a run would leave: proposals, and other masks with falling scores."""
    with session.project.write() as transaction:
        run = runs.start(transaction, pipeline="classical", options={}, photos=[FIRST_ID])
    candidates = ranked_masks((mask, 0.9 - 0.1 * at) for at, mask in enumerate(others))
    runs.record_photo(
        session.project,
        run,
        FIRST_ID,
        instances=instances,
        seconds=0.0,
        seen=Evidence(candidates=candidates),
    )


def left(session: ReviewSession) -> list[Instance]:
    with session.project.read() as view:
        return view.instances(FIRST_ID)


def review(session: ReviewSession, photo: TruePhoto, **habits: int) -> PhotoRecord:
    return SimulatedPerson(session, Habits(**habits)).review(FIRST_ID, photo)


# -- what an object takes --------------------------------------------------------------------------


def test_a_good_proposal_is_accepted_by_one_action(
    session: ReviewSession, photo: TruePhoto
) -> None:
    propose(session, proposal((12.0, 16.0, 44.0, 46.0)))
    record = review(session, photo)
    assert (record.actions, record.correct, record.rejected) == (1, 1, 0)
    assert [one.status for one in left(session)] == [Status.ACCEPTED]


@pytest.mark.parametrize("category", ["dog", None])
def test_a_wrong_class_is_one_action_and_decides_the_proposal(
    session: ReviewSession, photo: TruePhoto, category: str | None
) -> None:
    propose(session, proposal(category=category))
    record = review(session, photo)
    assert (record.actions, record.objects[0].ended) == (1, "class")
    (one,) = left(session)
    assert (one.category, one.status) == ("cat", Status.EDITED)


def test_one_press_is_enough_where_the_next_mask_is_the_object(
    session: ReviewSession, photo: TruePhoto
) -> None:
    half = (12.0, 16.0, 30.0, 48.0)
    propose(session, proposal(half), others=(filled(SQUARE), filled(half)))
    record = review(session, photo)
    assert (record.actions, record.objects[0].ended) == (1, "gallery")
    assert record.objects[0].futile_presses == 0
    assert nearness(left(session)[0], thing()) == 1.0


def test_a_press_that_shows_worse_is_paid_and_taken_back(
    session: ReviewSession, photo: TruePhoto
) -> None:
    half, quarter = (12.0, 16.0, 30.0, 48.0), (12.0, 16.0, 26.0, 40.0)
    propose(session, proposal(half), others=(filled(quarter),))
    record = review(session, photo)
    (one,) = record.objects
    assert (one.counts["gallery"], one.futile_presses) == (2, 2)
    assert one.actions == sum(COSTS[kind] * count for kind, count in one.counts.items())
    assert one.correct


def test_a_second_press_counts_the_first_as_futile(
    session: ReviewSession, photo: TruePhoto
) -> None:
    half = (12.0, 16.0, 30.0, 48.0)
    propose(session, proposal(half), others=(filled((12.0, 16.0, 26.0, 40.0)), filled(SQUARE)))
    record = review(session, photo, presses=2)
    assert (record.actions, record.objects[0].futile_presses) == (2, 1)
    assert record.objects[0].correct


def test_without_proposals_the_object_is_clicked(session: ReviewSession, photo: TruePhoto) -> None:
    record = review(session, photo)
    assert set(record.objects[0].counts) == {"click"}
    assert record.correct == 1
    assert [one.status for one in left(session)] == [Status.DRAWN]


def test_an_object_that_no_click_gets_is_drawn_as_its_box(
    session: ReviewSession, photo: TruePhoto
) -> None:
    nothing_there = (2.0, 52.0, 30.0, 62.0)
    hidden = replace(photo, objects=(thing(nothing_there, masked=False),))
    record = review(session, hidden, clicks=2)
    (one,) = record.objects
    assert one.ended == "draw"
    assert one.correct
    assert one.counts["click"] <= 2
    assert left(session)[0].box == nothing_there


def test_without_patience_for_clicks_every_box_is_drawn_at_once(
    session: ReviewSession, photo: TruePhoto
) -> None:
    record = review(session, replace(photo, objects=(thing(masked=False),)), clicks=0)
    assert (record.actions, record.correct) == (2, 1)


def test_a_new_object_of_another_class_than_the_one_at_hand_takes_its_key(
    session: ReviewSession, photo: TruePhoto
) -> None:
    objects = (thing(OTHER, "dog", masked=False), thing(masked=False))
    record = review(session, replace(photo, objects=objects), clicks=0)
    assert [one.counts for one in record.objects] == [{"class": 1, "draw": 1}] * 2
    assert {one.category for one in left(session)} == {"cat", "dog"}


def test_what_belongs_to_no_object_is_rejected_and_a_second_frame_is_deleted(
    session: ReviewSession, photo: TruePhoto
) -> None:
    propose(session, proposal(), proposal((13.0, 17.0, 44.0, 48.0)), proposal(OTHER, "dog"))
    record = review(session, photo)
    assert (record.actions, record.rejected, record.correct) == (3, 2, 1)
    assert sorted(one.status for one in left(session)) == [Status.ACCEPTED, Status.REJECTED]


def test_nothing_is_left_undecided_and_the_journal_replays(
    session: ReviewSession, photo: TruePhoto
) -> None:
    propose(session, proposal((20.0, 16.0, 44.0, 48.0)), proposal(OTHER, None))
    review(session, photo)
    assert Status.PROPOSED not in {one.status for one in left(session)}
    assert session.project.check_journal() > 0


# -- which proposal belongs to which object --------------------------------------------------------


def test_of_two_good_proposals_that_of_the_right_class_is_taken() -> None:
    near, right = proposal(category="dog"), proposal((12.0, 16.0, 44.0, 45.0))
    ((_, chosen),), others = assigned([thing()], [near, right], Habits())
    assert chosen is right
    assert others == [near]


def test_a_proposal_serves_one_object_only() -> None:
    pairs, others = assigned([thing(), thing()], [proposal()], Habits())
    assert sorted(one is None for _, one in pairs) == [False, True]
    assert others == []


def test_a_proposal_that_hardly_overlaps_is_left() -> None:
    far = proposal((36.0, 40.0, 60.0, 60.0))
    ((_, chosen),), others = assigned([thing()], [far], Habits())
    assert chosen is None
    assert others == [far]


# -- where a person clicks -------------------------------------------------------------------------


def test_the_middle_of_a_ring_lies_on_the_ring() -> None:
    ring = filled((4.0, 4.0, 40.0, 40.0)) & ~filled((10.0, 10.0, 34.0, 34.0))
    x, y = middle_of(ring)
    assert ring[int(y), int(x)]


def test_the_middle_of_one_pixel_is_that_pixel() -> None:
    assert middle_of(filled((3.0, 5.0, 4.0, 6.0))) == (3.5, 5.5)


def test_the_first_click_on_a_box_is_at_its_centre() -> None:
    assert first_click(thing(masked=False)) == (28.0, 32.0, 1)


@given(st.integers(0, 2**32 - 1))
def test_a_click_by_masks_is_always_on_a_wrong_pixel(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, present = (random.random((12, 12)) < random.uniform(0.1, 0.9) for _ in range(2))
    box = mask_to_box(present)
    if box is None or mask_to_box(truth) is None:
        return
    instance = replace(proposal(), box=box, rle=mask_to_rle(present))
    click = next_click(TrueObject("cat", (0.0, 0.0, 1.0, 1.0), truth), instance)
    if click is None:
        assert (truth == present).all()
    else:
        row, column = int(click[1]), int(click[0])
        assert truth[row, column] == bool(click[2])
        assert present[row, column] != truth[row, column]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20.0, 16.0, 44.0, 48.0), (16.0, 32.0, 1)),  # the left quarter is missing
        ((12.0, 16.0, 44.0, 40.0), (28.0, 44.0, 1)),  # the lower quarter is missing
        (SQUARE, None),
    ],
)
def test_by_boxes_the_click_goes_to_the_middle_of_the_missing_strip(
    box: Box, expected: tuple[float, float, int] | None
) -> None:
    assert next_click(thing(masked=False), proposal(box)) == expected


def test_by_boxes_what_reaches_out_is_clicked_on_the_mask() -> None:
    mask = filled(SQUARE) | filled((44.0, 18.0, 56.0, 22.0))
    box = mask_to_box(mask)
    assert box is not None
    click = next_click(thing(masked=False), replace(proposal(), box=box, rle=mask_to_rle(mask)))
    assert click is not None
    assert click[2] == 0
    assert 44 < click[0] < 56
    assert 18 < click[1] < 22


# -- the tables ------------------------------------------------------------------------------------


def record(actions: int, *, correct: bool = True) -> PhotoRecord:
    done = ObjectRecord("cat", {"click": actions}, "click", 0.9, correct, 0)
    return PhotoRecord((done,), 0, 0.1)


def test_actions_are_counted_over_good_instances_only() -> None:
    photos = [record(1), record(5, correct=False), record(2)]
    assert actions_per_correct(photos) == 4.0
    assert np.isnan(actions_per_correct([record(1, correct=False)]))


def test_presses_that_did_not_help_are_left_out_for_a_person_with_foresight() -> None:
    done = ObjectRecord("cat", {"gallery": 2, "click": 1}, "click", 0.9, True, 2)
    photos = [PhotoRecord((done,), 0, 0.1), record(2)]
    assert actions_per_correct(photos) == 2.5
    assert with_foresight(photos) == 1.5


def test_the_interval_holds_the_figure_and_shrinks_with_more_photos() -> None:
    few = [record(1), record(7), record(2), record(2)]
    low, high = interval(few)
    assert low < actions_per_correct(few) < high
    more = interval(few * 25)
    assert more[1] - more[0] < (high - low) / 3


@given(st.integers(1, 200), st.integers(1, 9))
def test_rounds_take_every_photo_once_and_in_order(count: int, rounds: int) -> None:
    parts = in_rounds(count, rounds)
    assert [at for part in parts for at in part] == list(range(count))
    assert len(parts) <= rounds


def test_photos_are_shuffled_by_the_seed_and_the_same_for_the_same_one(tmp_path: Path) -> None:
    make_set(tmp_path, photos=12, options=SceneOptions(classes=2, size=32, objects=2))
    first, again, other = (
        [one.path.name for one in photos_of(tmp_path, most=8, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) == 8


# -- all of it -------------------------------------------------------------------------------------


def test_the_bench_without_the_loop_in_tiny(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_set(tmp_path / "set", photos=3, options=SceneOptions(classes=2, size=48, objects=2))
    flags = [str(tmp_path / "set"), "--photos", "2", "--made-up", "0", "--rounds", "2"]
    ((text, results),) = bench(parsed([*flags, "--modes", "draw", "click", "classical"]))
    assert "### set" in text
    modes = json.loads(json.dumps(results))["sets"]["set"]["modes"]
    assert [one["name"] for one in modes] == ["draw", "click", "classical"]
    for mode in modes:
        assert [len(part) for part in mode["rounds"]] == [1, 1]
        for photo in (photo for part in mode["rounds"] for photo in part):
            assert photo["actions"] >= len(photo["objects"]) >= 1
    assert "classical" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--made-up", "0"], ["--photos", "0"], ["--rounds", "0"], ["--steps", "0"]]
)
def test_flags_that_leave_nothing_to_do_are_refused(flags: list[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(flags)

"""Held-back photos judge: which of them, what they say, and what they must not have taught."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from annotator import (
    accepting,
    detector_material,
    holdback,
    judging,
    models,
    promotion,
)
from annotator.accepting import Choice
from annotator.assist import Assistant
from annotator.judgements import Judging
from annotator.judging import Figure, Judgement
from annotator.promotion import HAND, RULE
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.ui import render_detector
from engine.errors import OptionError
from engine.metrics.detection import DetectedPhoto, ScoredBox, TrueBox
from engine.metrics.resampling import paired_difference
from engine.types import Box, Status
from tests.annotator.fake_detectors import NOWHERE, Seer, add_model, seers
from tests.annotator.reviewed import EGG, put, reviewed_project, sorted_photos, tag


@pytest.fixture
def hens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Sixteen reviewed photos, of which some judge: enough for the rule, for once."""
    monkeypatch.setattr(holdback, "ENOUGH", 2)
    project = reviewed_project(tmp_path, photos=16)
    yield project
    project.close()


# -- who is held back ------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_all_that_a_smaller_one_held_back(
    content: bytes, one: float, other: float
) -> None:
    smaller, larger = sorted((one, other))
    assert holdback.is_held_back(content.hex(), smaller) <= holdback.is_held_back(
        content.hex(), larger
    )
    assert not holdback.is_held_back(content.hex(), 0.0)
    assert holdback.is_held_back(content.hex(), 1.0)


def test_the_part_of_a_photo_is_its_contents_for_ever() -> None:
    assert holdback.is_held_back("33333333" + "0" * 56, 0.2)
    assert not holdback.is_held_back("33333334" + "0" * 56, 0.2)  # 0x33333334 / 2**32 > 0.2


@given(st.binary(min_size=32, max_size=32))
def test_whether_a_photo_validates_says_nothing_of_whether_it_is_held_back(content: bytes) -> None:
    swapped = content[8:16] + content[:8] + content[16:]
    assert holdback.may_validate(content.hex()) == holdback.is_held_back(
        swapped.hex(), holdback.VALIDATION_SHARE
    )


def test_only_photos_reviewed_in_full_judge(hens: Project) -> None:
    _, held_back = sorted_photos(hens)
    put(hens, held_back[0], status=Status.PROPOSED, score=0.5)
    with hens.read() as view:
        parts = holdback.parts(view)
    assert [image.id for image in parts.unfinished] == held_back[:1]
    assert [image.id for image in parts.judges] == held_back[1:]
    assert len(parts.train) + len(held_back) == 16


def test_what_was_accepted_unseen_does_not_judge_until_a_person_looks_at_it(
    hens: Project,
) -> None:
    _, (first, second, *others) = sorted_photos(hens)
    boxes: list[Box] = [(1, 1, 20, 20), (30, 1, 50, 20)]
    ids = [
        put(hens, image_id, status=Status.PROPOSED, score=0.9, checkpoint="maskrcnn-1", box=box)
        for image_id, box in ((first, boxes[0]), (first, boxes[1]), (second, boxes[0]))
    ]
    accepting.accept_above(hens, Choice(0.5), actor="tester")
    session = ReviewSession(hens, Assistant("classical"))

    def unfinished() -> tuple[list[int], int]:
        with hens.read() as view:
            parts = holdback.parts(view)
        assert {image.id for image in parts.judges} >= set(others)
        return [image.id for image in parts.unfinished], parts.waiting

    assert unfinished() == ([first, second], 2)
    with hens.read() as view:
        shown = render_detector.readiness(detector_material.material(view), share=0.2)
    assert "2 of them hold objects that were accepted above a score" in shown
    for status in (Status.PROPOSED, Status.ACCEPTED):  # looked at, and agreed to
        session.set_status(Context(first, "tester"), ids[0], status)
    assert unfinished() == ([first, second], 2)
    session.set_class(Context(first, "tester"), ids[1], "egg")  # it is one: nothing is decided
    assert unfinished() == ([first, second], 2)
    session.set_status(Context(first, "tester"), ids[1], Status.REJECTED)
    assert unfinished() == ([second], 1)
    session.set_status(Context(second, "tester"), ids[2], Status.PROPOSED)
    assert unfinished() == ([second], 0)  # undecided, as everybody can see
    session.set_status(Context(second, "tester"), ids[2], Status.ACCEPTED)
    assert unfinished() == ([], 0)


@pytest.mark.parametrize(
    ("photos", "said"),
    [(0, "no photo with an object judges, and it takes about 10"), (9, "review 1 more"), (10, "")],
)
def test_a_weak_judgement_says_so(photos: int, said: str) -> None:
    assert said in holdback.weakness(photos)
    assert bool(said) == bool(holdback.weakness(photos))


@pytest.mark.parametrize("share", [-0.1, 0.95])
def test_a_share_that_leaves_nothing_is_refused(hens: Project, share: float) -> None:
    with hens.write() as transaction, pytest.raises(OptionError, match=r"from 0 to 0\.9"):
        holdback.set_share(transaction, share)


# -- judging ---------------------------------------------------------------------------------------


def test_old_and_new_are_measured_on_the_same_held_back_photos(hens: Project) -> None:
    for weight, name in enumerate(("old", "new")):
        add_model(hens, name, weight=weight)
    promotion.promote(hens, "old", by=HAND)
    _, held_back = sorted_photos(hens)
    told: list[tuple[int, int]] = []
    found = judging.judge(
        hens,
        "new",
        load=seers(new=Seer(), old=Seer(misses=len(held_back) - 1)),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert (found.candidate, found.present, found.photos) == ("new", "old", len(held_back))
    assert found.figures["ap50"].value == pytest.approx(1.0)
    assert found.figures["corloc"] == Figure(1.0, 1.0, 1.0)
    assert found.present_figures["corloc"].value == pytest.approx(1 / len(held_back))
    change = found.differences["ap50"]
    assert change.low <= change.value <= change.high
    assert change.value == pytest.approx(1 - found.present_figures["ap50"].value)
    assert found.per_class == {"egg": pytest.approx(1.0)}
    assert found.is_better
    assert found.reason.startswith("better than old: AP50 +")
    assert told[0] == (0, 2 * len(held_back))
    assert told[-1] == (2 * len(held_back), 2 * len(held_back))
    assert Judgement.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_an_equal_detector_is_not_better_and_a_worse_one_is_told_as_such(hens: Project) -> None:
    for weight, name in enumerate(("old", "new")):
        add_model(hens, name, weight=weight)
    promotion.promote(hens, "old", by=HAND)
    equal = judging.judge(hens, "new", load=seers(new=Seer(), old=Seer()))
    assert (equal.is_better, equal.differences["ap50"].value) == (False, 0.0)
    assert equal.reason.startswith("not surely better than old")
    worse = judging.judge(hens, "new", load=seers(new=Seer(misses=99), old=Seer()))
    assert not worse.is_better
    assert worse.reason.startswith("worse than old: AP50 -100.0%")


def test_where_none_is_in_use_the_first_that_finds_something_is_better(hens: Project) -> None:
    add_model(hens, "first")
    assert judging.judge(hens, "first", load=seers(first=Seer())).is_better
    blind = judging.judge(hens, "first", load=seers(first=Seer(misses=99)))
    assert (blind.is_better, blind.present) == (False, "")
    assert blind.reason == "it found none of the objects (AP50 0.0%)"


def test_a_class_that_nobody_knows_is_found_wrong_and_nothing_breaks(hens: Project) -> None:
    add_model(hens, "first")
    found = judging.judge(hens, "first", load=seers(first=Seer(category="unheard of")))
    assert found.figures["ap50"].value == 0.0
    assert not found.is_better


def test_a_photo_that_does_not_open_or_is_another_by_now_judges_neither_of_them(
    hens: Project,
) -> None:
    for weight, name in enumerate(("old", "new")):
        add_model(hens, name, weight=weight)
    promotion.promote(hens, "old", by=HAND)
    _, held_back = sorted_photos(hens)
    with hens.read() as view:
        places = [hens.photo_path(view.photo(image_id)) for image_id in held_back]
    assert len(places) > 2
    places[0].write_bytes(b"no picture")
    told: list[tuple[int, int]] = []
    found = judging.judge(
        hens,
        "new",
        load=seers(new=Seer(), old=Seer()),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert (found.photos, found.left_out) == (len(held_back) - 1, 1)
    assert told[-1] == (2 * len(held_back), 2 * len(held_back))
    with PillowImage.open(places[1]) as picture:
        picture.rotate(90, expand=True).save(places[1])
    found = judging.judge(hens, "new", load=seers(new=Seer(), old=Seer()))
    assert (found.photos, found.objects, found.left_out) == (len(held_back) - 2,) * 2 + (2,)
    for place in places:
        place.write_bytes(b"no picture")
    with pytest.raises(OptionError, match="none of the photos held back can be read: "):
        judging.judge(hens, "new", load=seers(new=Seer(), old=Seer()))


def test_a_detector_in_use_whose_file_is_gone_counts_as_none(hens: Project) -> None:
    for weight, name in enumerate(("old", "new")):
        add_model(hens, name, weight=weight)
    promotion.promote(hens, "old", by=HAND)
    models.path_of(hens, "old").unlink()
    found = judging.judge(hens, "new", load=seers(new=Seer()))
    assert (found.is_better, found.present) == (True, "")
    assert found.reason.endswith("; old, which was in use, is not in the project any more")
    assert promotion.promote(hens, "new", by=RULE, instead_of=found.present)


def test_the_one_in_use_is_not_better_than_itself(hens: Project) -> None:
    add_model(hens, "only")
    promotion.promote(hens, "only", by=HAND)
    found = judging.judge(hens, "only", load=seers(only=Seer()))
    assert (found.is_better, found.present, found.reason) == (False, "", "only is in use already")


@pytest.mark.parametrize(
    ("change", "low", "high", "is_better"),
    [
        (0.1, 0.01, 0.2, True),
        (0.1, 0.0, 0.2, False),
        (0.1, -0.01, 0.2, False),
        (0.0, 0.0, 0.0, False),
        (-0.1, -0.2, 0.1, False),
    ],
)
def test_the_rule_asks_that_nearly_all_draws_are_better(
    change: float, low: float, high: float, is_better: bool
) -> None:
    figures = {"ap50": Figure(0.5, 0.4, 0.6)}
    differences = {"ap50": Figure(change, low, high)}
    found = judging.verdict(figures, differences, present="old", photos=10)
    assert found[0] is is_better


@pytest.mark.parametrize("present", ["", "old"])
def test_the_rule_leaves_it_to_a_person_where_few_photos_judge(present: str) -> None:
    figures, differences = {"ap50": Figure(0.5, 0.4, 0.6)}, {"ap50": Figure(0.3, 0.2, 0.4)}
    found = judging.verdict(figures, differences, present=present, photos=9)
    assert not found[0]
    assert found[1].endswith(
        "; but the rule needs 10 photos with objects that judge and has 9, so it is for you to "
        "decide"
    )
    assert judging.verdict(figures, differences, present=present, photos=10)[0]


def answers(found: set[int], *, photos: int) -> list[DetectedPhoto]:
    """One egg on each photo, found on some of them."""
    return [
        DetectedPhoto(
            truth=(TrueBox(EGG, "egg"),),
            detections=(ScoredBox(EGG if place in found else NOWHERE, "egg", 0.9),),
        )
        for place in range(photos)
    ]


@pytest.mark.parametrize("photos", [10, 40, 200])
def test_one_more_object_on_one_photo_does_not_promote(photos: int) -> None:
    half = photos // 2
    old, new = (answers(set(range(found)), photos=photos) for found in (half, half + 1))
    change = paired_difference(old, new, "ap50")
    assert change is not None
    assert change.value >= 0
    found = judging.verdict(
        {"ap50": Figure(0.5, 0.4, 0.6)},
        {"ap50": Figure.of(change)},
        present="old",
        photos=photos,
    )
    assert found[0] is False
    assert found[1].startswith("not surely better than old")


def test_the_rule_leaves_it_to_a_person_where_nobody_knows_what_taught_a_detector(
    hens: Project,
) -> None:
    add_model(hens, "old")
    add_model(hens, "foreign", weight=1.0, is_known=False)
    promotion.promote(hens, "old", by=HAND)
    found = judging.judge(hens, "foreign", load=seers(foreign=Seer(), old=Seer(misses=99)))
    assert (found.unknown, found.is_better) == (["foreign"], False)
    assert found.reason.startswith("better than old: AP50 +100.0%")
    assert "whether foreign learned from these photos, so it is for you to decide" in found.reason


def test_photos_decided_to_be_empty_punish_what_is_found_there(hens: Project) -> None:
    add_model(hens, "sees eggs everywhere")
    _, (first, *others) = sorted_photos(hens)
    with hens.read() as view:
        ids = [one.id for one in view.instances(first)]
    session = ReviewSession(hens, Assistant("classical"))
    alone = judging.judge(hens, "sees eggs everywhere", load=lambda path: Seer())
    session.set_status(Context(first, "tester"), ids[0] or 0, Status.REJECTED)
    with hens.read() as view:
        parts = holdback.parts(view)
    assert [image.id for image in parts.judges] == [first, *others]
    assert holdback.with_objects(parts.judges) == len(others)
    found = judging.judge(hens, "sees eggs everywhere", load=lambda path: Seer())
    assert (found.photos, found.empty, found.objects) == (len(others) + 1, 1, len(others))
    assert found.figures["ap50"].value < alone.figures["ap50"].value == pytest.approx(1.0)
    assert "and nothing on 1 of them" in render_detector.judgement(
        Judging(found.candidate, "done", "", 0, 0, found), in_use=""
    )
    tag(hens, first, "egg")
    with hens.read() as view:  # the tag says that something is there
        assert [image.id for image in holdback.parts(view).unfinished] == [first]


def test_photos_that_are_all_empty_cannot_judge_and_say_so(hens: Project) -> None:
    add_model(hens, "first")
    session = ReviewSession(hens, Assistant("classical"))
    _, held_back = sorted_photos(hens)
    for image_id in held_back:
        with hens.read() as view:
            (one,) = view.instances(image_id)
        session.set_status(Context(image_id, "tester"), one.id or 0, Status.REJECTED)
    with pytest.raises(OptionError, match=f"nothing to be found on the {len(held_back)} photos"):
        judging.judge(hens, "first", load=seers(first=Seer()))


def test_nobody_to_judge_is_told_with_what_to_do(hens: Project) -> None:
    add_model(hens, "first")
    _, held_back = sorted_photos(hens)
    for image_id in held_back:
        put(hens, image_id, status=Status.PROPOSED, score=0.5)
    with pytest.raises(OptionError, match="none is reviewed in full yet; review some of them, for"):
        judging.judge(hens, "first", load=seers(first=Seer()))
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.0)
    with pytest.raises(OptionError, match="hold back a larger share"):
        judging.judge(hens, "first", load=seers(first=Seer()))

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from annotator.merging import MARK, merge, prepared
from engine.types import PERSON, Instance, Source, Status
from tests.builders import make_instance, make_mask

FILE = "theirs.json"
BOX = (2.0, 3.0, 12.0, 9.0)
NEAR = (2.0, 3.0, 12.0, 10.0)  # IoU 6/7 with BOX
FAR = (20.0, 3.0, 32.0, 9.0)


def incoming(box: tuple[float, ...] = BOX, *, as_proposal: bool = False, **fields: Any) -> Instance:
    """As a reader gives it, then prepared."""
    read = make_instance(**{"source": Source(FILE), **fields, "box": box})
    found = prepared(read, as_proposal=as_proposal, source="theirs", file_name=FILE)
    assert found is not None
    return found


def present(box: tuple[float, ...] = BOX, **fields: Any) -> Instance:
    return make_instance(**{"id": 7, "source": PERSON, **fields, "box": box})


# -- preparing -----------------------------------------------------------------------------------


def test_what_states_no_status_and_source_is_accepted_from_the_named_one() -> None:
    one = incoming()
    assert (one.status, one.source.pipeline, one.id) == (Status.ACCEPTED, "theirs", None)
    assert len(one.source.options[MARK]) == 16


def test_what_a_file_states_stays_as_curated_without_the_run_of_another_project() -> None:
    stated = Source("classical", run=3, options={"tau_b": 0.5})
    one = incoming(source=stated, status=Status.EDITED, id=9)
    assert (one.status, one.edited, one.source.pipeline) == (Status.EDITED, True, "classical")
    assert (one.source.run, one.source.options["tau_b"], one.id) == (None, 0.5, 9)


def test_as_proposals_only_the_name_and_the_notes_of_the_source_stay() -> None:
    source = Source("person", options={"notes": {"difficult": True}, "x": 1})
    one = incoming(as_proposal=True, source=source, status=Status.DRAWN, edited=True)
    assert (one.status, one.source.pipeline, one.edited) == (Status.PROPOSED, "theirs", False)
    assert one.source.options.keys() == {"notes", MARK}
    rejected = make_instance(status=Status.REJECTED)
    assert prepared(rejected, as_proposal=True, source="x", file_name=FILE) is None


# -- merging -------------------------------------------------------------------------------------


def test_on_an_empty_photo_everything_is_added_also_two_that_are_equal() -> None:
    twins = [incoming(), incoming()]
    done = merge([], twins)
    assert (done.added, done.removed, done.known, done.conflicts) == (tuple(twins), (), 0, ())
    # And the second time both are known, a third one is not.
    stored = [replace(one, id=number) for number, one in enumerate(twins)]
    again = merge(stored, [*twins, incoming()])
    assert (again.known, len(again.added)) == (2, 0)
    assert len(again.conflicts) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"box": FAR, "edited": True, "status": Status.EDITED},
        {"category": "dog", "edited": True, "status": Status.EDITED},
        {"status": Status.REJECTED},
        {"rle": None},
    ],
)
def test_what_was_imported_is_known_however_it_was_edited_since(changed: dict[str, Any]) -> None:
    one = incoming(rle=make_instance(make_mask((2, 3, 12, 9))).rle)
    done = merge([replace(one, id=4, **changed)], [one])
    assert (done.known, done.added, done.conflicts) == (1, (), ())


def test_what_says_the_same_is_known_whoever_made_it() -> None:
    done = merge([present()], [incoming((2.004, 3.0, 12.0, 9.0))])
    assert (done.known, done.added) == (1, ())
    # A box says nothing against a mask.
    masked = present(rle=make_instance(make_mask((2, 3, 12, 9))).rle)
    assert merge([masked], [incoming()]).known == 1


@pytest.mark.parametrize(
    ("decided", "box"),
    [
        ({"status": Status.DRAWN}, NEAR),
        ({"status": Status.REJECTED}, NEAR),
        ({"category": "dog"}, BOX),
        ({"status": Status.PROPOSED, "edited": True, "source": Source("x")}, NEAR),
    ],
)
@pytest.mark.parametrize("as_proposal", [False, True])
def test_what_a_person_decided_is_never_touched(
    decided: dict[str, Any], box: tuple[float, ...], as_proposal: bool
) -> None:
    one = incoming(box, as_proposal=as_proposal)
    done = merge([present(**decided)], [one])
    assert (done.added, done.removed, done.conflicts) == ((), (), (one,))


def test_another_object_beside_a_decided_one_is_added() -> None:
    beside, other_class = incoming(FAR), incoming(NEAR, category="dog")
    done = merge([present()], [beside, other_class])
    assert done.added == (beside, other_class)


def test_an_undecided_proposal_gives_way_to_a_curated_object_that_covers_it() -> None:
    proposal = present(NEAR, status=Status.PROPOSED, source=Source("classical"))
    elsewhere = replace(proposal, id=8, box=FAR)
    equal = replace(proposal, id=9, box=BOX)
    one = incoming()
    done = merge([proposal, elsewhere, equal], [one])
    assert (done.added, done.removed) == ((one,), (proposal, equal))


def test_proposals_of_a_source_are_replaced_by_its_newer_ones_and_by_no_others() -> None:
    old = replace(incoming(FAR, as_proposal=True), id=3)
    other = present(FAR, status=Status.PROPOSED, source=Source("classical"))
    kept = replace(incoming(as_proposal=True), id=5)
    new = incoming(NEAR, as_proposal=True)
    done = merge([old, other, kept], [incoming(as_proposal=True), new])
    assert (done.added, done.removed, done.known) == ((new,), (old,), 1)


def test_a_source_that_finds_nothing_any_more_has_thought_again() -> None:
    old = replace(incoming(as_proposal=True), id=3)
    edited = replace(old, id=4, edited=True)
    other = present(FAR, status=Status.PROPOSED, source=Source("classical"))
    assert merge([old, edited, other], [], renewed="theirs").removed == (old,)
    assert merge([old, edited, other], []).removed == ()


def test_ids_of_another_project_say_nothing() -> None:
    one = incoming(FAR, id=7)
    done = merge([present()], [one])
    assert (done.changed, done.added) == ((), (replace(one, id=None),))


def test_nothing_changes_where_nothing_comes() -> None:
    assert not merge([present()], []).changes_anything

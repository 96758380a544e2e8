"""Held-back photos judge, the better detector is used, and one step leads back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from annotator import holdback, judgements, judging, models, promotion, training
from annotator.__main__ import DONE, main
from annotator.judging import Detect, Figure, Judgement
from annotator.promotion import BACK, HAND, RULE
from annotator.store import Project
from annotator.training import Trainings
from engine.errors import ConflictError, OptionError, StoreError
from engine.types import Box, Image, Status
from tests.annotator.command_line import answer, complaint
from tests.annotator.reviewed import EGG, put, reviewed_project, sorted_photos
from tests.annotator.trainers import begin_detector, wait_for_end

NOWHERE: Box = (0.0, 0.0, 10.0, 10.0)


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Sixteen reviewed photos, of which some judge."""
    project = reviewed_project(tmp_path, photos=16)
    yield project
    project.close()


def add_model(
    project: Project, name: str, *, arch: str = "fasterrcnn", weight: float = 0.0
) -> Path:
    """A file that says it is a detector; nothing but its card is ever read."""
    card = {"kind": "detector", "arch": arch, "options": {}, "classes": ["egg"]}
    path = project.subfolder(models.MODELS) / f"{name}.safetensors"
    weights = {"weight": np.full(2, weight, np.float32)}
    save_file(
        weights, path, metadata={"tag2mask": json.dumps({**card, "metrics": {}, "training": {}})}
    )
    return path


class Seer:
    """Finds one egg on each photo: where it is, or on so many photos somewhere else."""

    def __init__(self, *, misses: int = 0, score: float = 0.9, category: str = "egg") -> None:
        self.misses, self.score, self.category = misses, score, category

    def __call__(self, image: Image) -> Sequence[judging.Detection]:
        box = NOWHERE if self.misses > 0 else EGG
        self.misses -= 1
        return [FakeDetection(box, self.category, self.score)]


class FakeDetection:
    def __init__(self, box: Box, category: str, score: float) -> None:
        self.box, self.category, self.score = box, category, score


def seers(**known: Seer) -> Callable[[Path], Detect]:
    """Loads by the name of the file."""
    return lambda path: known[path.stem]


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


def test_only_photos_reviewed_in_full_judge(hens: Project) -> None:
    _, held_back = sorted_photos(hens)
    put(hens, held_back[0], status=Status.PROPOSED, score=0.5)
    with hens.read() as view:
        parts = holdback.parts(view)
    assert [image.id for image in parts.unfinished] == held_back[:1]
    assert [image.id for image in parts.judges] == held_back[1:]
    assert len(parts.train) + len(held_back) == 16


@pytest.mark.parametrize(
    ("photos", "said"),
    [(0, "no photo judges, and it takes about 10"), (9, "review 1 more"), (10, "")],
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


def test_the_one_in_use_is_not_better_than_itself(hens: Project) -> None:
    add_model(hens, "only")
    promotion.promote(hens, "only", by=HAND)
    found = judging.judge(hens, "only", load=seers(only=Seer()))
    assert (found.is_better, found.present, found.reason) == (False, "", "only is in use already")


@pytest.mark.parametrize(
    ("change", "low", "high", "is_better"),
    [
        (0.1, 0.0, 0.2, True),
        (0.1, -0.01, 0.2, False),
        (0.0, 0.0, 0.0, False),
        (-0.1, -0.2, 0.1, False),
    ],
)
def test_the_rule_asks_that_nearly_all_draws_are_no_worse(
    change: float, low: float, high: float, is_better: bool
) -> None:
    figures = {"ap50": Figure(0.5, 0.4, 0.6)}
    found = judging.verdict(figures, {"ap50": Figure(change, low, high)}, present="old")
    assert found[0] is is_better


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


@pytest.mark.usefixtures("fake_trainer")
def test_photos_that_a_detector_has_learned_from_do_not_judge_it(hens: Project) -> None:
    """They can only meet when fewer photos were held back at the time of the training."""
    trainings = Trainings(hens)
    wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    train, held_back = sorted_photos(hens)
    assert judging.learnt_from(hens, "first") == set(train)
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.6)
    now_held_back = sorted_photos(hens, 0.6)[1]
    assert set(held_back) < set(now_held_back)
    found = judging.judge(hens, "first", load=seers(first=Seer()))
    assert (found.photos, found.left_out) == (
        len(held_back),
        len(now_held_back) - len(held_back),
    )
    # One that began with it has seen what it has seen.
    number = begin_detector(trainings, epochs=1, name="second", weights="first")
    wait_for_end(trainings, number)
    assert judging.learnt_from(hens, "second") >= set(train)


# -- which one is used -----------------------------------------------------------------------------


def in_use(project: Project) -> str:
    with project.read() as view:
        return promotion.current(view)


def test_every_promotion_can_be_taken_back_one_by_one(hens: Project) -> None:
    for weight, name in enumerate(("a", "b", "c")):
        add_model(hens, name, weight=weight)
    with pytest.raises(OptionError, match="no detector is in use, so there is nothing to take ba"):
        promotion.back(hens)
    for name in ("a", "b"):
        assert promotion.promote(hens, name, by=RULE, reason="better")
    assert not promotion.promote(hens, "b", by=HAND)  # it is in use already
    assert promotion.back(hens) == in_use(hens) == "a"
    assert promotion.promote(hens, "c", by=HAND)
    assert promotion.back(hens) == "a"
    assert promotion.back(hens) == in_use(hens) == ""
    with hens.read() as view:
        kept = promotion.history(view)
        assert promotion.before(view) is None
    assert [(one.model, one.by) for one in kept] == [
        *[("a", RULE), ("b", RULE), ("a", BACK)],
        *[("c", HAND), ("a", BACK), ("", BACK)],
    ]
    assert kept[2].reason == "instead of b"


def test_what_was_judged_against_another_one_is_not_promoted(hens: Project) -> None:
    for weight, name in enumerate(("a", "b", "c")):
        add_model(hens, name, weight=weight)
    promotion.promote(hens, "b", by=HAND)
    with pytest.raises(ConflictError, match="c was judged against a, but b is in use by now"):
        promotion.promote(hens, "c", by=RULE, instead_of="a")
    assert in_use(hens) == "b"


def test_what_is_no_detector_or_is_gone_cannot_be_used(hens: Project) -> None:
    path = add_model(hens, "a")
    add_model(hens, "odd", arch="unheard of")
    (hens.folder / "models" / "broken.safetensors").write_bytes(b"nothing")
    for name in ("odd", "broken"):
        with pytest.raises(OptionError, match=f"'{name}' is no detector that could be used"):
            promotion.promote(hens, name, by=HAND)
    with pytest.raises(OptionError, match="no model 'none'; choose from"):
        promotion.promote(hens, "none", by=HAND)
    promotion.promote(hens, "a", by=HAND)
    add_model(hens, "b", weight=1.0)
    promotion.promote(hens, "b", by=HAND)
    path.unlink()
    with pytest.raises(StoreError, match="'a', is not in the project any more"):
        promotion.back(hens)
    assert in_use(hens) == "b"


# -- kept beside the model, and by the command line ------------------------------------------------


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Seer]:
    """What the detectors of the command line see, by their names; the networks stay out."""
    known: dict[str, Seer] = {}
    monkeypatch.setattr(judging, "loader", lambda device: seers(**known))
    return known


def test_a_judgement_is_kept_until_another_model_takes_the_name(
    hens: Project, eyes: dict[str, Seer]
) -> None:
    add_model(hens, "first")
    assert judgements.look(hens, "first") is None
    eyes["first"] = Seer()
    assert main(["models", "judge", "first", "--project", str(hens.folder)]) == DONE
    found = judgements.look(hens, "first")
    assert found is not None
    assert found.judgement is not None
    assert (found.status, found.judgement.figures["ap50"].value) == (training.DONE, 1.0)
    add_model(hens, "first", weight=5.0)
    again = judgements.look(hens, "first")
    assert again is None or again.judgement is None


def test_the_command_line_judges_promotes_and_takes_back(
    hens: Project, eyes: dict[str, Seer], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--project", hens.folder)
    for weight, name in enumerate(("a", "b")):
        add_model(hens, name, weight=weight)
    eyes.update(a=Seer(misses=99), b=Seer())
    assert answer(capsys, "models", "promote", "a", *where)[1] == {"promoted": "a"}
    code, value = answer(capsys, "models", "judge", "b", *where, "--by-rule")
    assert (code, value["promoted"], value["present"]) == (DONE, True, "a")
    assert in_use(hens) == "b"
    assert main(["models", "judge", "a", *map(str, where)]) == DONE
    said = capsys.readouterr().out
    assert "a against b, on" in said
    assert "worse than b: AP50 -100.0%" in said
    assert "review" in said  # more photos: so few make a weak judgement
    assert in_use(hens) == "b"  # nobody asked for the rule
    listed = answer(capsys, "models", *where)[1]
    assert listed["promoted"] == "b"
    assert answer(capsys, "models", "back", *where)[1] == {"promoted": "a"}
    shown = answer(capsys, "models", "judging", *where, "--share", "0.4", "--by-hand")[1]
    assert (shown["share"], shown["by_hand"], shown["promoted"]) == (0.4, True, "a")
    assert [one["model"] for one in shown["history"]] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["judge", "a"], "say of which project: annotator models judge --project DIR"),
        (["judge", "--project", "DIR"], "say which detector: annotator models judge NAME"),
        (["promote", "x", "--project", "DIR"], "no model 'x'"),
        (["back", "--project", "DIR"], "nothing to take back"),
        (["judging", "--project", "DIR", "--share", "1"], "from 0 to 0.9, got 1"),
        (["judging", "--project", "DIR", "--by-rule", "--by-hand"], "choose one of --by-rule"),
    ],
)
def test_mistakes_are_told_in_one_line(
    hens: Project, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    here = [str(hens.folder) if word == "DIR" else word for word in words]
    assert said in complaint(capsys, "models", *here)


def test_a_judgement_that_fails_says_why_to_whoever_looks(
    hens: Project, eyes: dict[str, Seer], capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(hens, "first")
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.0)
    said = complaint(capsys, "models", "judge", "first", "--project", hens.folder)
    found = judgements.look(hens, "first")
    assert found is not None
    assert found.status == training.FAILED
    assert found.message in said

"""The better detector is used, by rule or by hand, and one step leads back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from annotator import (
    background,
    holdback,
    judgements,
    judging,
    models,
    processes,
    promotion,
    training,
)
from annotator import training_files as files
from annotator.__main__ import DONE, main
from annotator.judging import Detect
from annotator.promotion import BACK, HAND, RULE
from annotator.store import Project
from annotator.training import Trainings
from annotator.ui import render_detector
from engine.errors import ConflictError, OptionError, StoreError
from engine.types import Image
from tests.annotator.command_line import answer, complaint
from tests.annotator.fake_detectors import Seer, add_model, seers
from tests.annotator.reviewed import reviewed_project
from tests.annotator.trainers import begin_detector, wait_for_end


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Sixteen reviewed photos, of which some judge."""
    project = reviewed_project(tmp_path, photos=16)
    yield project
    project.close()


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
    with pytest.raises(ConflictError, match="a was in use, but b is by now"):
        promotion.back(hens, instead_of="a")  # a page that has not heard of it
    assert in_use(hens) == "b"
    assert promotion.back(hens, instead_of="b") == ""


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
    hens: Project,
    eyes: dict[str, Seer],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = ("--project", hens.folder)
    for weight, name in enumerate(("a", "b")):
        add_model(hens, name, weight=weight)
    eyes.update(a=Seer(misses=99), b=Seer())
    assert answer(capsys, "models", "promote", "a", *where)[1] == {"promoted": "a"}
    code, value = answer(capsys, "models", "judge", "b", *where, "--by-rule")
    assert (value["promoted"], in_use(hens)) == (False, "a")
    assert "it is for you to decide" in value["reason"]
    monkeypatch.setattr(holdback, "ENOUGH", 2)
    eyes.update(a=Seer(misses=99), b=Seer())
    code, value = answer(capsys, "models", "judge", "b", *where, "--by-rule")
    assert (code, value["promoted"], value["present"]) == (DONE, True, "a")
    assert in_use(hens) == "b"
    assert main(["models", "judge", "a", *map(str, where)]) == DONE
    said = capsys.readouterr().out
    assert "a against b, on" in said
    assert "worse than b: AP50 -100.0%" in said
    assert in_use(hens) == "b"  # nobody asked for the rule
    listed = answer(capsys, "models", *where)[1]
    assert listed["promoted"] == "b"
    assert answer(capsys, "models", "back", *where)[1] == {"promoted": "a"}
    shown = answer(capsys, "models", "judging", *where, "--share", "0.4", "--by-hand")[1]
    assert (shown["share"], shown["by_hand"], shown["promoted"]) == (0.4, True, "a")
    assert [one["model"] for one in shown["history"]] == ["a", "b", "a"]


class Meanwhile(Seer):
    """While it looks at photos, somebody does something."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self.happens = happens

    def __call__(self, image: Image) -> Sequence[judging.Detection]:
        self.happens()
        return super().__call__(image)


@pytest.mark.parametrize(("changes", "last"), [({"": "a"}, "new"), ({"": "a", "a": "b"}, "b")])
def test_what_came_into_use_while_another_was_judged_is_judged_against_as_well(
    hens: Project,
    eyes: dict[str, Seer],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    last: str,
) -> None:
    monkeypatch.setattr(holdback, "ENOUGH", 2)
    for weight, name in enumerate(("a", "b", "new")):
        add_model(hens, name, weight=weight)
    is_first = {"": True, "a": True}

    def another() -> None:
        now = in_use(hens)
        if now in changes and is_first[now]:
            promotion.promote(hens, changes[now], by=HAND)

    def one_a_judging(path: Path) -> Detect:
        # Each judging meets the detector that is in use at its begin, once.
        present = in_use(hens)
        for name in is_first:
            is_first[name] = name == present
        return eyes[path.stem]

    monkeypatch.setattr(judging, "loader", lambda device: one_a_judging)
    eyes.update(a=Seer(misses=99), b=Seer(misses=99), new=Meanwhile(another))
    assert main(["models", "judge", "new", "--project", str(hens.folder), "--by-rule"]) == DONE
    found = judgements.look(hens, "new")
    assert found is not None
    assert found.judgement is not None
    assert in_use(hens) == last
    assert (found.judgement.promoted, found.judgement.present) == (last == "new", "a")
    refusal = "" if last == "new" else "was judged against a, but b is in use by now; judge it"
    assert refusal in found.judgement.refusal
    assert bool(refusal) == bool(found.judgement.refusal)
    assert refusal in render_detector.judgement(found, in_use=last)


@pytest.mark.parametrize("is_by_hand", [True, False])
def test_leaving_it_to_a_person_counts_from_when_it_is_chosen(
    hens: Project, eyes: dict[str, Seer], monkeypatch: pytest.MonkeyPatch, is_by_hand: bool
) -> None:
    monkeypatch.setattr(holdback, "ENOUGH", 2)
    add_model(hens, "new")

    def choose() -> None:
        with hens.write() as transaction:
            promotion.set_by_hand(transaction, is_by_hand)

    with hens.write() as transaction:
        promotion.set_by_hand(transaction, not is_by_hand)
    eyes["new"] = Meanwhile(choose)
    assert main(["models", "judge", "new", "--project", str(hens.folder), "--as-chosen"]) == DONE
    assert in_use(hens) == ("" if is_by_hand else "new")


@pytest.mark.usefixtures("fake_trainer")
def test_detectors_that_have_ended_are_judged_one_after_the_other(
    hens: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(hens)
    for name in ("first", "second"):
        wait_for_end(trainings, begin_detector(trainings, epochs=1, name=name))
    begun: list[str] = []

    def launch(folder: Path, command: Sequence[str], **others: object) -> None:
        begun.append(command[command.index("judge") + 1])
        assert command[-1] == "--as-chosen"
        background.note_this_process(folder)  # which is there, and goes on

    monkeypatch.setattr(background, "launch", launch)
    for _ in range(2):
        judgements.see_to(hens, trainings.all())
        assert begun == ["first"]
    judged = judging.judge(hens, "first", load=seers(first=Seer()))
    judgements.keep(hens, replace(judged, at="2999"))
    for _ in range(2):
        judgements.see_to(hens, trainings.all())
        assert begun == ["first", "second"]


@pytest.mark.usefixtures("fake_trainer")
def test_a_command_that_trains_waits_for_the_judgement_that_a_page_has_begun(
    hens: Project, eyes: dict[str, Seer], capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's process is a real one here, which keeps its judgement when it is told to."""
    trainings = Trainings(hens)
    wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    made = judging.judge(hens, "first", load=seers(first=Seer()))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as page:
        assert page.stdin is not None
        folder = judgements.folder_of(hens, "first")
        folder.mkdir()
        files.write_note(
            folder,
            files.PROCESS,
            {"process": page.pid, "identity": processes.identity(page.pid), "at": "2024"},
        )
        assert complaint(capsys, "models", "judge", "first", "--project", hens.folder).endswith(
            "first is being judged already"
        )
        later = threading.Timer(1.0, judgements.keep, (hens, made))
        later.start()
        _, value = answer(capsys, "train", "detector", hens.folder, "--watch", 1)
        later.join()
    assert value["judgement"]["candidate"] == "first"
    assert value["judgement"]["at"] == made.at
    assert "not_judged" not in value
    # Whoever comes when all is over does not judge once more.
    _, value = answer(capsys, "train", "detector", hens.folder, "--watch", 1)
    assert value["judgement"]["at"] == made.at


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


@pytest.mark.usefixtures("fake_trainer")
@pytest.mark.parametrize("left", ["training", "judgement", "history"])
def test_a_new_model_never_gets_the_name_of_an_old_one_and_what_was_said_of_it(
    hens: Project, eyes: dict[str, Seer], left: str
) -> None:
    trainings, eyes["first"] = Trainings(hens), Seer()
    if left == "training":
        wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    else:
        add_model(hens, "first")
    if left == "judgement":
        assert main(["models", "judge", "first", "--project", str(hens.folder)]) == DONE
    if left == "history":
        promotion.promote(hens, "first", by=HAND)
    models.path_of(hens, "first").unlink()
    with pytest.raises(OptionError, match="a model or a training is, or was, called 'first'; cho"):
        begin_detector(trainings, epochs=1, name="first")

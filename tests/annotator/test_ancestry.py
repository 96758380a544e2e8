"""What a detector has seen, which must not judge it: told by the contents of models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator import estimates, holdback, judging, training
from annotator import training_files as files
from annotator.ancestry import Ancestry, ancestry
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_options import DetectorTrainingOptions
from engine.errors import OptionError
from tests.annotator.fake_detectors import Seer, add_model, seers
from tests.annotator.reviewed import reviewed_project, sorted_photos
from tests.annotator.trainers import begin_detector, wait_for_end


@pytest.fixture
def hens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Sixteen reviewed photos, of which some judge: enough for the rule, for once."""
    monkeypatch.setattr(holdback, "ENOUGH", 2)
    project = reviewed_project(tmp_path, photos=16)
    yield project
    project.close()


@pytest.mark.usefixtures("fake_trainer")
def test_photos_that_a_detector_has_learned_from_do_not_judge_it(hens: Project) -> None:
    """They can only meet when fewer photos were held back at the time of the training."""
    trainings = Trainings(hens)
    wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    train, held_back = sorted_photos(hens)
    assert ancestry(hens, "first") == Ancestry(frozenset(train), ())
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
    assert ancestry(hens, "second").photos >= set(train)


@pytest.mark.usefixtures("fake_trainer")
def test_models_are_known_by_what_is_in_their_files_wherever_these_lie(
    hens: Project, tmp_path: Path
) -> None:
    trainings, (train, _) = Trainings(hens), sorted_photos(hens)
    made = wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    copy = tmp_path / "best.safetensors"
    shutil.copyfile(made.folder / "model.safetensors", copy)
    stranger = add_model(hens, "another project's", weight=7.0, is_known=False)
    foreign = stranger.rename(tmp_path / "first.safetensors")  # no relation to ours
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.6)  # so the next ones learn from fewer photos
    fewer = sorted_photos(hens, 0.6)[0]
    assert set(fewer) < set(train)
    found = {}
    for name, weights in (
        ("of a run", made.folder / "model.safetensors"),
        ("of a copy", copy),
        ("of a stranger", foreign),
    ):
        number = begin_detector(trainings, epochs=1, name=name, weights=str(weights))
        wait_for_end(trainings, number)
        found[name] = ancestry(hens, name)
    assert found["of a run"] == found["of a copy"] == Ancestry(frozenset(train), ())
    assert found["of a stranger"] == Ancestry(frozenset(fewer), ("first",))
    judged = judging.judge(hens, "of a stranger", load=seers(**{"of a stranger": Seer()}))
    assert "nobody knows here what first learned from" in judged.weakness
    assert not judged.is_better
    assert judged.reason.endswith(
        "; but nobody knows here whether first learned from these photos, so it is for you to "
        "decide"
    )
    copy.unlink()  # what it was is written down
    assert ancestry(hens, "of a copy") == found["of a copy"]
    (made.folder / "data.json").unlink()  # tidied away
    assert ancestry(hens, "of a run") == Ancestry(
        frozenset(fewer), ("1-maskrcnn/model.safetensors",)
    )


@pytest.mark.parametrize("flag", [["--weights", "FILE"], ["--weights=FILE"]])
def test_what_a_training_must_know_cannot_be_passed_on_to_the_trainer_behind_its_back(
    hens: Project, flag: list[str]
) -> None:
    for begin in (training.start, estimates.ask):
        with pytest.raises(OptionError, match=r"--weights cannot be passed on .* before the --"):
            begin(hens, DetectorTrainingOptions(), passed_on=flag)
    assert not (hens.folder / files.TRAINING).exists()


@pytest.mark.usefixtures("fake_trainer")
@pytest.mark.parametrize("told_by", [files.REQUEST, files.SETTINGS])
def test_weights_that_the_trainer_got_another_way_are_known(
    hens: Project, tmp_path: Path, told_by: str
) -> None:
    """Of old trainings, which could pass them on, and of trainers with flags of their own."""
    trainings = Trainings(hens)
    made = wait_for_end(trainings, begin_detector(trainings, epochs=1, name="first"))
    assert ancestry(hens, "first").unknown == ()
    elsewhere = str(tmp_path / "elsewhere.safetensors")
    request = files.read_note(made.folder, files.REQUEST)
    if told_by == files.REQUEST:
        passed_on = {"passed_on": ["--drop-box", "2", "--weights", elsewhere]}
        files.write_note(made.folder, files.REQUEST, {**request, **passed_on})
    else:
        files.write_note(made.folder, files.SETTINGS, {"weights": elsewhere})
    assert ancestry(hens, "first").unknown == ("elsewhere",)

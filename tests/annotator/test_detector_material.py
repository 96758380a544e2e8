"""What a detector learns from and what judges it: curated, rejected, held back, left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator import accepting, detector_material, holdback, training
from annotator import training_files as files
from annotator.accepting import Choice
from annotator.assist import Assistant
from annotator.intake import add_photos
from annotator.session import Context, ReviewSession
from annotator.store import Project
from annotator.training_kinds import KINDS, Gathered
from annotator.training_material import gather
from annotator.training_options import DetectorTrainingOptions
from annotator.ui import render_detector
from engine.errors import OptionError
from engine.types import Status
from exports.detection_data import DetectionData, read_detection_data
from tests.annotator.reviewed import bare_project, put, reviewed_project, sorted_photos, tag
from tests.conftest import save_scene


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Twelve reviewed photos."""
    project = reviewed_project(tmp_path, photos=12, classes=("egg", "hen"))
    yield project
    project.close()


def gathered(project: Project, *, with_proposals: float | None = None) -> Gathered:
    with project.read() as view:
        return gather(project, view, DetectorTrainingOptions(with_proposals=with_proposals))


def data_of(project: Project, *, with_proposals: float | None = None) -> DetectionData:
    """What a trainer would read, without one."""
    path = project.folder / "data.json"
    gathered(project, with_proposals=with_proposals).write(path)
    return read_detection_data(path)


def test_photos_held_back_only_measure_and_all_others_train(hens: Project) -> None:
    train, held_back = sorted_photos(hens)
    assert len(train) > len(held_back) > 0
    data = data_of(hens)
    assert [photo.image.id for photo in data.part("train")] == train
    assert not {photo.image.id for photo in data.photos} & set(held_back)
    assert all(photo.complete for photo in data.photos)
    assert data.classes == ("egg", "hen")
    assert data.parent == ""


def test_some_of_many_photos_choose_among_the_networks_and_never_those_that_judge(
    hens: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdback, "VALIDATION_SHARE", 0.5)
    train, held_back = sorted_photos(hens)
    with hens.read() as view:
        sha256 = {photo.id: photo.sha256 for photo in view.photos()}
    chosen = [one for one in train if holdback.may_validate(sha256[one])]
    first, *others = chosen
    assert 1 < len(chosen) < len(train)
    assert not data_of(hens).part("validation")  # too few photos to spare some
    monkeypatch.setattr(holdback, "VALIDATION_FROM", len(train))
    assert [photo.image.id for photo in data_of(hens).part("validation")] == chosen
    put(hens, first, status=Status.PROPOSED, score=0.9)  # on which a find may be right unseen
    data = data_of(hens)
    assert [photo.image.id for photo in data.part("validation")] == others
    assert [photo.image.id for photo in data.part("train")] == [
        one for one in train if one not in others
    ]
    assert {photo.image.id for photo in data.photos} == set(train)
    with hens.read() as view:
        assert {image.id for image in holdback.parts(view).judges} == set(held_back)


def test_a_photo_with_something_undecided_is_not_complete_and_does_not_judge(
    hens: Project,
) -> None:
    train, held_back = sorted_photos(hens)
    for image_id in (train[0], held_back[0]):
        put(hens, image_id, status=Status.PROPOSED, score=0.9)
    data = data_of(hens)
    complete = {photo.image.id: photo.complete for photo in data.part("train")}
    assert [image_id for image_id, whole in complete.items() if not whole] == [train[0]]
    assert held_back[0] not in [photo.image.id for photo in data.photos]  # it never trains, either
    assert all(
        one.status is not Status.PROPOSED for photo in data.photos for one in photo.image.instances
    )


def test_rejected_objects_are_known_negatives_of_the_classes_that_there_are(
    hens: Project,
) -> None:
    train, held_back = sorted_photos(hens)
    refused = put(hens, train[0], category="egg", status=Status.REJECTED, score=0.7)
    put(hens, train[0], category="nothing is one", status=Status.REJECTED)
    put(hens, train[0], category=None, status=Status.REJECTED)
    put(hens, held_back[0], category="egg", status=Status.REJECTED)
    data = data_of(hens)
    rejected = [
        one
        for photo in data.photos
        for one in photo.image.instances
        if one.status is Status.REJECTED
    ]
    assert [(one.id, one.category) for one in rejected] == [(refused, "egg")]
    assert data.classes == ("egg", "hen")


def test_a_photo_with_nothing_but_rejected_objects_teaches_what_they_are_not(
    tmp_path: Path,
) -> None:
    project = bare_project(tmp_path, photos=4)
    with project.write() as transaction:
        holdback.set_share(transaction, 0.0)
    *others, last = sorted_photos(project, 0.0)[0]
    for image_id in others:
        put(project, image_id)
    put(project, last, status=Status.REJECTED)
    with project.read() as view:
        found = detector_material.material(view)
    assert [image.id for image in found.train] == [*others, last]
    assert last in found.complete  # somebody decided that there is nothing
    assert (found.classes, found.rejected) == ({"egg": 3}, 1)
    tag(project, last, "egg")
    with project.read() as view:
        assert last not in detector_material.material(view).complete  # the tag says otherwise
    project.close()


def test_a_photo_where_all_was_rejected_trains_as_background_whatever_it_was_taken_for(
    tmp_path: Path,
) -> None:
    project = bare_project(tmp_path, photos=4)
    with project.write() as transaction:
        holdback.set_share(transaction, 0.0)
    *others, last = sorted_photos(project, 0.0)[0]
    for image_id in others:
        put(project, image_id)
    put(project, last, category=None, status=Status.REJECTED)
    photos = {photo.image.id: photo for photo in data_of(project).part("train")}
    assert photos[last].complete
    assert photos[last].image.instances == ()
    project.close()


def test_what_was_accepted_unseen_teaches_but_not_that_the_rest_is_background(
    hens: Project,
) -> None:
    train, _ = sorted_photos(hens)
    ids = [
        put(hens, image_id, status=Status.PROPOSED, score=0.95, checkpoint="maskrcnn-1")
        for image_id in train[:2]
    ]
    accepting.accept_above(hens, Choice(0.9), actor="tester")
    data = data_of(hens)
    complete = {photo.image.id: photo.complete for photo in data.part("train")}
    assert [image_id for image_id, whole in complete.items() if not whole] == train[:2]
    taught = {one.id for photo in data.photos for one in photo.image.instances}
    assert set(ids) <= taught
    with hens.read() as view:
        found = detector_material.material(view)
    assert (len(found.complete), found.unseen_train) == (len(train) - 2, 2)
    shown = render_detector.readiness(found, share=0.2)
    assert f"{len(train) - 2} of these photos are reviewed in full" in shown
    assert "2 more hold objects accepted above a score and not looked at" in shown
    session = ReviewSession(hens, Assistant("classical"))
    for status in (Status.PROPOSED, Status.ACCEPTED):  # looked at, and agreed to
        session.set_status(Context(train[0], "tester"), ids[0], status)
    with hens.read() as view:
        assert train[0] in detector_material.material(view).complete


def test_proposals_train_from_the_score_that_was_chosen_and_only_if_it_was(
    hens: Project,
) -> None:
    train, _ = sorted_photos(hens)
    good = put(hens, train[0], status=Status.PROPOSED, score=0.8, checkpoint="maskrcnn-1")
    put(hens, train[1], status=Status.PROPOSED, score=0.79, checkpoint="maskrcnn-1")
    data = data_of(hens, with_proposals=0.8)
    pseudo = [
        one.id
        for photo in data.photos
        for one in photo.image.instances
        if one.status is Status.PROPOSED
    ]
    assert pseudo == [good]
    assert gathered(hens, with_proposals=0.8).facts["proposed"] == 1
    flags = DetectorTrainingOptions(with_proposals=0.8).flags()
    assert "--with-proposals" not in flags  # the trainer only sees the data


@pytest.mark.parametrize(
    ("share", "keep", "match"),
    [
        (0.2, 0, "none is accepted yet: review some photos first"),
        (0.0, 1, "lie on only 1 photo that may train, and it takes at least 2"),
        (0.9, 1, r"all photos with accepted objects \(1\) are held back"),
    ],
)
def test_too_little_to_learn_from_is_told_with_what_to_do(
    tmp_path: Path, share: float, keep: int, match: str
) -> None:
    project = bare_project(tmp_path, photos=8)
    with project.write() as transaction:
        holdback.set_share(transaction, share)
    train, held_back = sorted_photos(project, share)
    for image_id in (held_back if share == 0.9 else train)[:keep]:
        put(project, image_id)
    with pytest.raises(OptionError, match=match):
        training.start(project, DetectorTrainingOptions())
    assert not (project.folder / "training").exists()
    project.close()


def test_a_score_that_no_proposal_has_is_told(tmp_path: Path) -> None:
    project = bare_project(tmp_path, photos=2)
    with pytest.raises(OptionError, match=r"no proposal has a score of 0\.9 or more"):
        gathered(project, with_proposals=0.9)
    project.close()


def test_proposals_alone_are_enough_for_who_wants_that(tmp_path: Path) -> None:
    project = bare_project(tmp_path, photos=3)
    with project.write() as transaction:
        holdback.set_share(transaction, 0.0)
    for image_id in sorted_photos(project, 0.0)[0]:
        put(project, image_id, status=Status.PROPOSED, score=1.0)
    photos = data_of(project, with_proposals=1.0).photos
    assert len(photos) == 3
    assert not any(photo.complete for photo in photos)
    project.close()


def test_photos_that_are_gone_are_left_out_and_named(hens: Project, tmp_path: Path) -> None:
    train, _ = sorted_photos(hens)
    with hens.read() as view:
        gone = view.photo(train[0])
    (tmp_path / "photos" / gone.file_name).unlink()
    found = gathered(hens)
    assert len(found.photos) == len(train) - 1
    assert found.missing == (gone.file_name,)
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(OptionError, match=f"{len(train)} of the photos to learn from are not"):
        gathered(hens)


def test_photos_of_two_folders_meet_in_one(hens: Project, tmp_path: Path) -> None:
    save_scene(tmp_path / "more" / "0.png", seed=50)  # a name that is there already
    add_photos(hens, tmp_path / "more", actor="tester")
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.0)
    with hens.read() as view:
        last = view.photos()[-1]
    put(hens, last.id)
    found, run = gathered(hens), tmp_path / "run"
    run.mkdir()
    found.write(run / "data.json")
    place = files.photo_folder(hens, run, KINDS["detector"], found.photos)
    assert len(list(place.iterdir())) == 13
    assert os.path.samefile(place / last.file_name, tmp_path / "more" / "0.png")

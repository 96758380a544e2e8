"""Photos, tags, the split, the order and the views: the same every time, and complete."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import OptionError, TagsError
from engine.localizers.views import MEAN, STANDARD_DEVIATION, normalised, resized
from tests.training.runs import make_photos
from training.batches import Plan
from training.data import TaggedPhoto, data_hash, is_held_out, read_tagged_set
from training.log import RunLog, read_log
from training.photo_cache import View, prepare
from training.transforms import Augmentation, evaluation_view, training_view
from training.validation import average_precision

NAMES = [f"photo {number}.jpg" for number in range(2000)]
HELD_OUT = ["photo 2.jpg", "photo 7.jpg", "photo 11.jpg"]


# -- who is held out -----------------------------------------------------------------------------


def test_the_split_of_these_names_never_changes() -> None:
    held_out = [name for name in NAMES[:20] if is_held_out(name, 0.2)]
    assert held_out == HELD_OUT


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_about_the_wanted_share_is_held_out(share: float) -> None:
    found = sum(is_held_out(name, share) for name in NAMES) / len(NAMES)
    assert found == pytest.approx(share, abs=0.03)


def test_a_larger_share_holds_out_the_same_photos_and_more() -> None:
    fewer = {name for name in NAMES if is_held_out(name, 0.2)}
    assert fewer < {name for name in NAMES if is_held_out(name, 0.3)}
    assert not any(is_held_out(name, 0.0) for name in NAMES)


@given(st.text())
def test_both_spellings_of_a_name_are_on_the_same_side(name: str) -> None:
    composed, split = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert is_held_out(composed, 0.5) == is_held_out(split, 0.5)


# -- what the tags say ---------------------------------------------------------------------------


def test_classes_are_all_tags_sorted_or_those_of_a_file_in_its_order(tmp_path: Path) -> None:
    photos = make_photos(
        tmp_path / "photos", {"1.png": ("dog",), "2.png": ("Ä",), "3.png": ("cat",)}
    )
    tags = tmp_path / "tags.csv"
    assert read_tagged_set(photos, tags).classes == ("cat", "dog", "Ä")
    listed = tmp_path / "classes.txt"
    listed.write_text("dog\nA\u0308\nbird\n\ncat\n", encoding="utf-8")
    tagged = read_tagged_set(photos, tags, classes_file=listed, validation_share=0.0)
    assert tagged.classes == ("dog", "Ä", "bird", "cat")
    assert [photo.classes for photo in tagged.training] == [(0,), (1,), (3,)]
    assert tagged.targets(tagged.training).tolist() == [0, 1, 3]
    listed.write_text("dog\ncat\n", encoding="utf-8")
    with pytest.raises(OptionError, match="'Ä' is not in the classes file"):
        read_tagged_set(photos, tags, classes_file=listed)
    listed.write_text("dog\ncat\ndog\n", encoding="utf-8")
    with pytest.raises(OptionError, match="'dog' twice"):
        read_tagged_set(photos, tags, classes_file=listed)


def test_one_photo_with_two_tags_makes_the_set_multi_label(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"1.png": ("a",), "2.png": ("c", "a"), "3.png": ()})
    tags = tmp_path / "tags.csv"
    tagged = read_tagged_set(photos, tags, validation_share=0.0)
    assert tagged.multi_label
    assert tagged.targets(tagged.training).tolist() == [[1, 0], [1, 1]]
    assert tagged.without_tags == 1
    with pytest.raises(OptionError, match=r"'2\.png' has 2 tags"):
        read_tagged_set(photos, tags, multi_label="no")


def test_single_tags_can_be_learnt_class_by_class_too(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"1.png": ("a",), "2.png": ("b",)})
    tags = tmp_path / "tags.csv"
    assert not read_tagged_set(photos, tags, validation_share=0.0).multi_label
    tagged = read_tagged_set(photos, tags, validation_share=0.0, multi_label="yes")
    assert tagged.targets(tagged.training).tolist() == [[1, 0], [0, 1]]


def test_a_list_says_who_is_held_out(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"é/1.png": ("a",), "2.png": ("b",)})
    listed = tmp_path / "held out.txt"
    listed.write_text("./e\u0301/1.png\r\n", encoding="utf-8")
    tagged = read_tagged_set(photos, tmp_path / "tags.csv", validation_file=listed)
    assert [photo.file_name for photo in tagged.validation] == ["é/1.png"]
    assert [photo.file_name for photo in tagged.training] == ["2.png"]
    listed.write_text("3.png\n", encoding="utf-8")
    with pytest.raises(OptionError, match=r"'3\.png'"):
        read_tagged_set(photos, tmp_path / "tags.csv", validation_file=listed)
    listed.write_text("é/1.png\n2.png\n", encoding="utf-8")
    with pytest.raises(OptionError, match="every photo"):
        read_tagged_set(photos, tmp_path / "tags.csv", validation_file=listed)


def test_tags_of_no_photo_are_refused_with_what_to_do(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", {"1.png": ("a",)})
    with pytest.raises(TagsError, match="relative to that folder"):
        read_tagged_set(tmp_path, tmp_path / "tags.csv")


def test_the_hash_of_the_data_is_that_of_names_contents_and_tags() -> None:
    photos = [TaggedPhoto("a", (0,)), TaggedPhoto("b", (0, 1))]
    contents = {"a": "1" * 64, "b": "2" * 64}
    known = data_hash(photos, contents)
    assert data_hash(photos[::-1], contents) == known
    assert data_hash([photos[0], TaggedPhoto("b", (1,))], contents) != known
    assert data_hash(photos, {**contents, "b": "3" * 64}) != known
    assert data_hash([TaggedPhoto("c", (0,)), photos[1]], {**contents, "c": "1" * 64}) != known


# -- the order -----------------------------------------------------------------------------------


@given(st.integers(1, 50), st.integers(1, 60), st.integers(1, 3), st.integers(0, 5))
def test_an_epoch_shows_no_photo_twice_and_processes_share_its_steps(
    photos: int, batch: int, processes: int, epoch: int
) -> None:
    if min(batch, photos) < processes:
        with pytest.raises(OptionError, match="start fewer"):
            Plan.fitting(photos, batch=batch, seed=1, rank=0, processes=processes)
        return
    plans = [
        Plan.fitting(photos, batch=batch, seed=1, rank=rank, processes=processes)
        for rank in range(processes)
    ]
    steps = plans[0].steps_an_epoch
    assert steps >= 1
    seen = [
        number
        for step in range(epoch * steps, (epoch + 1) * steps)
        for plan in plans
        for number in plan.numbers(step).tolist()
    ]
    assert len(seen) == len(set(seen)) == steps * plans[0].batch
    assert set(seen) <= set(range(photos))
    assert photos - len(seen) < plans[0].batch


def test_every_epoch_has_another_order_and_the_same_one_again() -> None:
    plan = Plan(100, batch=100, seed=6)
    assert plan.numbers(0).tolist() != plan.numbers(1).tolist()
    assert plan.numbers(1).tolist() == Plan(100, batch=100, seed=6).numbers(1).tolist()
    assert plan.numbers(0).tolist() != Plan(100, batch=100, seed=7).numbers(0).tolist()


# -- the views -----------------------------------------------------------------------------------


def numbered(side: int) -> np.ndarray:
    """Red counts rows, green columns."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)


def test_a_training_view_is_a_crop_mirrored_half_of_the_time() -> None:
    photo = numbered(36)
    augmentation = Augmentation(image_size=32)
    mirrored, corners = 0, set()
    for seed in range(300):
        view = training_view(photo, augmentation, np.random.default_rng(seed))
        assert view.shape == (32, 32, 3)
        flipped = view[0, 0, 1] > view[0, -1, 1]
        mirrored += flipped
        left = int(min(view[0, 0, 1], view[0, -1, 1]))
        top = int(view[0, 0, 0])
        corners.add((top, left))
        straight = view[:, ::-1] if flipped else view
        assert np.array_equal(straight, photo[top : top + 32, left : left + 32])
    assert corners == {(top, left) for top in range(5) for left in range(5)}
    assert 110 < mirrored < 190


def test_a_crop_of_the_whole_photo_without_a_flip_is_the_photo() -> None:
    photo = numbered(8)
    augmentation = Augmentation(image_size=8, flip=0.0)
    assert np.array_equal(training_view(photo, augmentation, np.random.default_rng(0)), photo)


def test_random_parts_stay_within_the_photo_and_have_the_wanted_size() -> None:
    photo = numbered(40)
    augmentation = Augmentation(image_size=16, flip=0.0, smallest_crop=0.3, colour=0.4)
    views = [training_view(photo, augmentation, np.random.default_rng(seed)) for seed in range(50)]
    assert {view.shape for view in views} == {(16, 16, 3)}
    assert len({view.tobytes() for view in views}) == 50
    again = training_view(photo, augmentation, np.random.default_rng(3))
    assert np.array_equal(views[3], again)


def test_the_judged_view_is_the_whole_photo_or_its_centre() -> None:
    photo = np.zeros((30, 60, 3), np.uint8)
    photo[:, 30:] = 200
    direct = evaluation_view(photo, image_size=224, resize=256, view="direct")
    assert direct.shape == (224, 224, 3)
    assert np.array_equal(direct, resized(photo, 224))
    crop = evaluation_view(photo, image_size=224, resize=256, view="crop")
    assert np.array_equal(crop, resized(photo, 256)[16:240, 16:240])


def test_normalised_pixels_have_the_mean_and_deviation_of_imagenet() -> None:
    batch = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    found = normalised(batch)
    assert found.shape == (1, 3, 1, 1)
    expected = [
        (value - mean) / deviation
        for value, mean, deviation in zip((0.0, 1.0, 0.2), MEAN, STANDARD_DEVIATION, strict=True)
    ]
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


# -- decoded photos ------------------------------------------------------------------------------


def test_kept_pixels_are_those_of_the_photos_and_are_read_once(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"a.png": ("a",), "b.png": ("b",)}, side=36)
    looked: list[None] = []
    options = {"place": tmp_path / "kept", "workers": 2, "byte_limit": 10**6}

    def read() -> list[np.ndarray]:
        names = ["a.png", "b.png"]
        cache = prepare(photos, names, View(36, 36), check=lambda: looked.append(None), **options)
        return [np.array(cache[number]) for number in range(len(cache))]

    first = read()
    for pixels, name in zip(first, ("a.png", "b.png"), strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(photos / name)))
    assert len(looked) == 2
    assert all(np.array_equal(*pair) for pair in zip(first, read(), strict=True))
    assert len(looked) == 2
    Image.fromarray(np.zeros((36, 36, 3), np.uint8)).save(photos / "a.png")
    assert not read()[0].any()
    assert len(looked) == 4


def test_a_broken_photo_is_left_out_and_the_others_keep_their_pixels(tmp_path: Path) -> None:
    tags = dict.fromkeys(("a.png", "b.png", "c.png"), ("a",))
    photos = make_photos(tmp_path / "photos", tags, side=36)
    (photos / "b.png").write_bytes(b"broken")
    options = {"place": tmp_path / "kept", "workers": 2, "byte_limit": 10**6}
    for _ in range(2):  # read, and taken over
        cache = prepare(photos, list(tags), View(36, 36), **options)
        assert cache.file_names == ("a.png", "c.png")
        assert [name for name, _ in cache.unreadable] == ["b.png"]
        assert np.array_equal(cache[1], np.asarray(Image.open(photos / "c.png")))


def test_no_photos_at_all_are_kept_too(tmp_path: Path) -> None:
    options = {"place": tmp_path / "kept", "workers": 1, "byte_limit": 10**6}
    assert len(prepare(tmp_path, [], View(8, 8), **options)) == 0


# -- figures and log -----------------------------------------------------------------------------


def test_average_precision_of_a_worked_example() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    present = np.array([True, False, True, False])
    assert average_precision(scores, present) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(scores, ~present) == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_a_torn_last_line_is_passed_over_and_gone_when_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog(path)
    log.write("step", step=1, name="é")
    log.close()
    with path.open("ab") as file:
        file.write(b'{"event": "step", "st')
    assert [event["step"] for event in read_log(path)] == [1]
    log = RunLog(path)
    log.write("step", step=2)
    log.close()
    assert [event["step"] for event in read_log(path)] == [1, 2]

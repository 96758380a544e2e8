"""A trained detector on one photo: torchvision's own answers, several views, half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import nms

from engine.detectors.fitting import fitted
from engine.detectors.options import ViewOptions
from engine.detectors.predictor import Detection, Detector, _halve
from engine.detectors.saved import load_detector
from engine.detectors.views import Found, merged
from engine.errors import OptionError, WeightsError
from engine.types import Image
from tests.engine.detectors.small import CLASSES, saved


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: saved(folder, name) for name in ("fasterrcnn", "maskrcnn")}


def photo(height: int = 60, width: int = 90, *, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = (250, 10, 10)
    return image


def rows_of(found: list[Detection]) -> list[tuple[float, ...]]:
    return [(*one.box, one.score, CLASSES.index(one.category)) for one in found]


@pytest.mark.parametrize("size", [(60, 90), (90, 31), (64, 64), (1, 40)])
@pytest.mark.parametrize("name", ["fasterrcnn", "maskrcnn"])
def test_answers_are_torchvisions_own(
    name: str, size: tuple[int, int], files: dict[str, Path]
) -> None:
    image = photo(*size)
    network, _ = load_detector(files[name])
    planes = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    with torch.inference_mode():
        expected = network([planes])[0]
    found = Detector(files[name], device="cpu").detect(image)
    kept = [place for place, box in enumerate(expected["boxes"].tolist()) if box[2] > box[0]]
    assert len(found) == len(kept) > 0
    for one, place in zip(found, kept, strict=True):
        assert one.box == pytest.approx(expected["boxes"][place].tolist(), abs=1e-4)
        assert one.score == pytest.approx(float(expected["scores"][place]))
        assert one.category == CLASSES[int(expected["labels"][place]) - 1]
        assert 0 <= one.box[0] < one.box[2] <= size[1]
        assert 0 <= one.box[1] < one.box[3] <= size[0]
        if name == "maskrcnn":
            np.testing.assert_array_equal(one.mask, expected["masks"][place, 0].numpy() >= 0.5)
        else:
            assert one.mask is None
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_a_large_photo_is_made_small_as_in_training_and_its_boxes_large_again(
    files: dict[str, Path],
) -> None:
    large = photo(300, 450)
    small = fitted(large, min_size=64, max_size=96)
    assert small.shape == (64, 96, 3)
    detector = Detector(files["maskrcnn"], device="cpu")
    found, expected = detector.detect(large), detector.detect(small)
    assert len(found) == len(expected) > 0
    scale = np.array([450 / 96, 300 / 64] * 2)
    for one, other in zip(found, expected, strict=True):
        assert one.score == other.score
        np.testing.assert_allclose(one.box, np.array(other.box) * scale, atol=1e-3)
        assert one.mask is not None
        assert one.mask.shape == (300, 450)


def test_a_mirrored_photo_is_seen_the_other_way_round(files: dict[str, Path]) -> None:
    """Both views of a photo and both of its mirror image are the same two."""
    image = photo()
    detector = Detector(files["maskrcnn"], device="cpu", views=ViewOptions(flips=True))
    found, mirrored = detector.detect(image), detector.detect(image[:, ::-1])
    assert len(found) == len(mirrored) > 0
    back = {(round(one.score, 4), round(90 - one.box[2], 2)) for one in mirrored}
    assert {(round(one.score, 4), round(one.box[0], 2)) for one in found} == back
    one, other = found[0], next(two for two in mirrored if two.score == found[0].score)
    assert one.mask is not None
    assert other.mask is not None
    assert (one.mask != other.mask[:, ::-1]).mean() < 0.02  # where it is drawn rounds to the left


def test_several_scales_are_merged_and_leave_the_network_as_it_was(files: dict[str, Path]) -> None:
    image = photo()
    once = Detector(files["fasterrcnn"], device="cpu")
    often = Detector(files["fasterrcnn"], device="cpu", views=ViewOptions(scales=(48, 64, 96)))
    before = rows_of(often.detect(image))
    assert before == rows_of(often.detect(image))
    alone = Detector(files["fasterrcnn"], device="cpu", views=ViewOptions(scales=(64,)))
    assert rows_of(alone.detect(image)) == rows_of(once.detect(image))  # 64 is what it learnt with
    assert before != rows_of(once.detect(image))


def view(index: int) -> Found:
    """What a fake detector sees in one of fourteen views: a box further right, less surely."""
    x = 10.0 * index
    return Found(
        torch.tensor([[x, 0.0, x + 40.0, 20.0]]),
        torch.tensor([1]),
        torch.tensor([1.0 / (1 + index)]),
        None,
    )


def test_fourteen_views_are_united_and_then_suppressed_at_one_half() -> None:
    views = [view(index) for index in range(14)]
    union = torch.cat([one.boxes for one in views])
    scores = torch.cat([one.scores for one in views])
    found = merged(views)
    kept = nms(union, scores, 0.5)
    torch.testing.assert_close(found.boxes, union[kept])
    # Neighbours overlap by 30 of 50: every second one goes, as overlaps of 20 of 60 stay.
    assert found.boxes[:, 0].tolist() == [20.0 * step for step in range(7)]
    assert found.scores.tolist() == pytest.approx([1 / (1 + 2 * step) for step in range(7)])


def test_views_of_other_classes_do_not_suppress_each_other() -> None:
    cup = view(0)
    bird = Found(cup.boxes, torch.tensor([2]), cup.scores / 2, None)
    assert merged([cup, bird]).labels.tolist() == [1, 2]


@given(st.integers(1, 5), st.integers(0, 130), st.integers(0, 99))
def test_a_photo_has_at_most_a_hundred_detections_whatever_the_views(
    count: int, boxes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    places = torch.tensor(rng.permutation(5000)[:boxes], dtype=torch.float32) * 20
    corners = torch.stack([places, places * 0, places + 10, places * 0 + 10], dim=1)
    one = Found(corners, torch.ones(boxes, dtype=torch.int64), torch.rand(boxes), None)
    found = merged([one.picked(torch.randperm(boxes)) for _ in range(count)])
    assert len(found.boxes) == (boxes if count == 1 else min(boxes, 100))


def test_nothing_found_in_any_view_is_an_answer() -> None:
    empty = Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), torch.zeros(0, 28, 28))
    found = merged([empty, empty.mirrored(90)])
    assert found.boxes.shape == (0, 4)
    assert found.patches is not None


@pytest.mark.parametrize("name", ["fasterrcnn", "maskrcnn"])
def test_halves_become_whole_before_boxes_are_made(name: str, files: dict[str, Path]) -> None:
    network, _ = load_detector(files[name])
    planes = torch.from_numpy(photo()).permute(2, 0, 1).float() / 255
    with torch.inference_mode():
        before = network([planes])[0]
        _halve(network, torch.bfloat16)
        features = network.backbone(network.transform([planes])[0].tensors)
        after = network([planes])[0]
    assert {one.dtype for one in features.values()} == {torch.float32}
    assert {value.dtype for value in after.values()} == {torch.float32, torch.int64}
    assert float(after["scores"][0]) == pytest.approx(float(before["scores"][0]), abs=0.05)
    assert not torch.equal(after["scores"], before["scores"])  # or nothing was halved


def test_a_view_of_a_few_pixels_is_refused() -> None:
    with pytest.raises(OptionError, match=r"at least 32 pixels, got \[480, 8\]"):
        ViewOptions(scales=(480, 8))


def test_a_missing_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        Detector(tmp_path / "nowhere.safetensors")

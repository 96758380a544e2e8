"""SAM's galleries against the published generator: exact to the bit, fast where it may differ."""

from __future__ import annotations

import gc
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import build_point_grid

from engine import matching
from engine.errors import OptionError
from engine.gallery import Gallery
from engine.geometry import iou_masks, mask_to_box
from engine.segmenters import sam, sam_exact, sam_fast
from engine.segmenters.sam import GridOptions, SamSegmenter
from engine.segmenters.sam_decoder import ClickDecoder, Decoded
from engine.segmenters.sam_fast import FEWEST, MOST, TAU, plausible
from engine.types import Image, Mask
from tests.engine.small_sam import crop, lively_sam, prepared, small_sam

LOOSE = GridOptions(
    points_per_side=8, pred_iou_thresh=0.8, stability_score_thresh=0.8, box_nms_thresh=0.95
)


def official(network: torch.nn.Module, grid: GridOptions, image: Image) -> list[Mask]:
    """The generator's masks in its order, of equal ones the first, none empty."""
    found = SamAutomaticMaskGenerator(network, **asdict(grid)).generate(image)
    different = {entry["segmentation"].tobytes("C"): entry["segmentation"] for entry in found[::-1]}
    first_first = {entry["segmentation"].tobytes("C"): None for entry in found if entry["area"]}
    return [different[key] for key in first_first]


def assert_equal(gallery: Gallery, masks: list[Mask]) -> None:
    assert len(gallery) == len(masks)
    for index, mask in enumerate(masks):
        assert np.array_equal(gallery.mask(index), mask)


# Exact -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "height", "width"),
    [(0, 96, 128), (4, 1, 60), (5, 60, 1), (6, 128, 96), (6, 150, 11), (7, 130, 90), (9, 2, 2)],
)
@pytest.mark.parametrize("nms_threshold", [0.7, 0.99])
def test_exact_is_the_generator_mask_for_mask(
    seed: int, height: int, width: int, nms_threshold: float
) -> None:
    network, image = lively_sam(seed), crop(height, width)
    grid = GridOptions(8, 64, 0.85, 0.9, nms_threshold)
    assert_equal(
        SamSegmenter(network, name="s", grid=grid).gallery(image), official(network, grid, image)
    )


@pytest.mark.parametrize("grid", [
    GridOptions(6, 64, 0.0, 0.0, 0.9),  # the generator filters nothing then
    GridOptions(3, 8, 0.8, 0.8, 1.0),  # leaves a batch of one click
    GridOptions(1, 64, 0.0, 0.0, 0.7),
])  # fmt: skip
def test_exact_is_the_generator_with_odd_options(grid: GridOptions) -> None:
    network, image = lively_sam(6), crop(70, 90)
    expected = official(network, grid, image)
    assert expected
    assert_equal(SamSegmenter(network, name="s", grid=grid).gallery(image), expected)


def test_there_are_masks_that_a_wrong_order_would_betray() -> None:
    assert len(official(lively_sam(6), LOOSE, crop(96, 128))) >= 4


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clicks that the network is asked about, in the list that comes back."""
    clicks: list[int] = []
    ask = sam_exact._Network.ask

    def remembering(self: sam_exact._Network, wanted: list[int]) -> object:
        clicks.extend(set(wanted) - self._known.keys())
        return ask(self, wanted)

    monkeypatch.setattr(sam_exact._Network, "ask", remembering)
    return clicks


def test_where_rounding_cannot_decide_the_network_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = asked(monkeypatch)
    network, image = lively_sam(6), crop(96, 128)
    grid = GridOptions(points_per_side=8)
    assert_equal(
        SamSegmenter(network, name="s", grid=grid).gallery(image), official(network, grid, image)
    )
    assert len(clicks) < 16


@pytest.mark.parametrize("noise", [1e-5, 1e-4, 1e-3])
def test_a_sloppy_decoder_costs_time_but_no_mask(
    monkeypatch: pytest.MonkeyPatch, noise: float
) -> None:
    clicks = asked(monkeypatch)
    decode, draw = ClickDecoder.decode, ClickDecoder.logits
    generator = torch.Generator().manual_seed(5)

    def sloppy_decode(self: ClickDecoder, places: torch.Tensor) -> Decoded:
        decoded = decode(self, places)
        wrong = torch.rand(decoded.scores.shape, generator=generator) - 0.5
        return Decoded(decoded.scores + noise * wrong, decoded.drawers, decoded.image_tokens)

    def sloppy_logits(self: ClickDecoder, decoded: Decoded, chosen: torch.Tensor) -> torch.Tensor:
        logits = draw(self, decoded, chosen)
        wrong = torch.rand(logits.shape, generator=generator) - 0.5
        return logits + noise * wrong * logits.abs().amax(dim=(2, 3), keepdim=True)

    monkeypatch.setattr(ClickDecoder, "decode", sloppy_decode)
    monkeypatch.setattr(ClickDecoder, "logits", sloppy_logits)
    network, image = lively_sam(6), crop(96, 128)
    expected = official(network, LOOSE, image)
    assert_equal(SamSegmenter(network, name="s", grid=LOOSE).gallery(image), expected)
    assert clicks


def test_the_network_answers_eight_clicks_as_it_does_sixty_four() -> None:
    predictor = prepared(lively_sam(), 90, 120)
    points = build_point_grid(8) * (120, 90)
    network = sam_exact._Network(predictor, points, 64)
    with torch.inference_mode():
        everything = network.run(range(64))
        for start in (0, 13, 56):
            few = network.run(range(start, start + sam_exact.OFFICIAL_BATCH))
            for one, all_of_them in zip(few, everything, strict=True):
                assert torch.equal(one, all_of_them[start : start + sam_exact.OFFICIAL_BATCH])


def test_what_the_network_said_once_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network = sam_exact._Network(prepared(lively_sam(), 40, 50), build_point_grid(8) * (50, 40), 64)
    with torch.inference_mode():
        first = network.ask([3, 9])
        monkeypatch.setattr(network, "run", None)
        assert network.ask([9, 3]) == first


def test_a_gallery_without_masks_is_empty_in_both_modes() -> None:
    segmenter = SamSegmenter(small_sam(), name="s", grid=GridOptions(2, pred_iou_thresh=9.0))
    exact = segmenter.gallery(crop(50, 60))
    assert len(exact) == 0
    # What was asked about can be shown, whatever came of it.
    assert exact.prompts == tuple((x * 60, y * 50) for x, y in build_point_grid(2).tolist())
    fast = segmenter.gallery(crop(50, 60), mode="fast")
    assert len(fast) == 0
    assert fast.cells(14).shape == fast.coverage(14).shape == (0, 14, 14)
    assert len(fast.prompts) == 4


def test_galleries_leave_current_photo_and_weights_alone() -> None:
    network = lively_sam()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    segmenter = SamSegmenter(network, name="s", grid=GridOptions(2))
    segmenter.set_image(crop(40, 50))
    features = segmenter._predictor.features
    segmenter.gallery(crop(60, 30))
    segmenter.gallery(crop(60, 30), mode="fast")
    assert segmenter._predictor.features is features
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_photo_after_photo_needs_no_more_memory() -> None:
    segmenter = SamSegmenter(lively_sam(6), name="s", grid=GridOptions(2))

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    segmenter.gallery(crop(60, 70), mode="fast")
    segmenter.gallery(crop(60, 70))
    before = tensors()
    for _ in range(2):
        segmenter.gallery(crop(60, 70), mode="fast")
        segmenter.gallery(crop(60, 70))
    assert tensors() <= before


def test_an_unknown_mode_is_told() -> None:
    with pytest.raises(OptionError, match="'slow'; there are exact and fast"):
        SamSegmenter(small_sam(), name="s").gallery(crop(9, 9), mode="slow")  # type: ignore[arg-type]


# Fast --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(96, 128), (200, 31), (1, 60), (300, 240)])
def test_boxes_cells_and_coverage_of_fast_are_those_of_its_masks(height: int, width: int) -> None:
    gallery = SamSegmenter(lively_sam(6), name="s", grid=LOOSE).gallery(
        crop(height, width), mode="fast"
    )
    assert len(gallery) > 0
    assert (np.diff(gallery.scores) <= 0).all()
    for index in range(len(gallery)):
        mask = gallery.mask(index)
        assert mask.shape == (height, width)
        assert mask_to_box(mask) == tuple(gallery.boxes[index])
        assert np.array_equal(gallery.cells(14)[index], matching.mask_cells(mask, 14))
        assert np.array_equal(gallery.coverage(7)[index], matching.coverage(mask, 7))
        assert np.array_equal(gallery.mask(index), mask)


def test_fast_on_a_device_without_half_precision_finds_the_exact_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sam, "half_precision", lambda device: torch.float32)
    monkeypatch.setattr(sam_fast, "KEPT_AS", torch.float32)
    network, image = lively_sam(6), crop(96, 128)
    fast = SamSegmenter(network, name="s", grid=LOOSE).gallery(image, mode="fast")
    exact = SamSegmenter(network, name="s", grid=LOOSE).gallery(image)
    assert len(fast) == len(exact)
    for index in range(len(exact)):
        assert iou_masks(fast.mask(index), exact.mask(index)) > 0.999


def test_fast_clicks_only_on_and_beside_what_the_map_shows() -> None:
    coarse = np.zeros((14, 14), dtype=np.float32)
    coarse[5:11, 6:9] = 0.9
    segmenter = SamSegmenter(lively_sam(6), name="s", grid=GridOptions(32))
    prompts = np.array(segmenter.gallery(crop(70, 140), coarse=coarse, mode="fast").prompts)
    assert 150 < len(prompts) < 250
    assert prompts[:, 0].min() > 5 / 14 * 140
    assert prompts[:, 0].max() < 10 / 14 * 140
    assert prompts[:, 1].min() > 4 / 14 * 70
    assert prompts[:, 1].max() < 12 / 14 * 70


def test_exact_does_not_look_at_the_map() -> None:
    network, image = lively_sam(6), crop(50, 60)
    segmenter = SamSegmenter(network, name="s", grid=LOOSE)
    assert_equal(
        segmenter.gallery(image, coarse=np.zeros((3, 3), dtype=np.float32)),
        official(network, LOOSE, image),
    )


@given(st.integers(1, 20), st.integers(1, 40), st.floats(0.0, 1.0), st.integers(0, 99))
def test_plausible_places_are_those_above_the_threshold_within_bounds(
    grid: int, side: int, level: float, seed: int
) -> None:
    shares = build_point_grid(side)
    coarse = (np.random.default_rng(seed).random((grid, grid)) * level).astype(np.float32)
    chosen = plausible(shares, coarse)
    known = {tuple(place) for place in shares}
    assert all(tuple(place) in known for place in chosen)
    assert min(FEWEST, len(shares)) <= len(chosen)
    cells = np.minimum((shares * grid).astype(int), grid - 1)
    padded = np.pad(coarse, 1)
    around = np.max(
        [padded[i : i + grid, j : j + grid] for i in range(3) for j in range(3)], axis=0
    )
    above = int((around[cells[:, 1], cells[:, 0]] > TAU).sum())
    if FEWEST <= above <= MOST:
        assert len(chosen) == above


def test_of_a_map_that_says_everything_every_second_place_is_enough() -> None:
    chosen = plausible(build_point_grid(32), np.ones((14, 14), dtype=np.float32))
    assert len(chosen) == 512
    assert len(set(chosen[:, 0])) == len(set(chosen[:, 1])) == 32

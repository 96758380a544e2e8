"""Which mask of a gallery a coarse map picks, by every rule, and what happens where none fits."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine import matching, selection
from engine.errors import OptionError
from engine.gallery import Gallery
from engine.selection import PAPER, MatchOptions
from engine.types import Mask
from tests.builders import make_mask

SIDE = 224
GRID = 14


def block(rows: tuple[int, int], columns: tuple[int, int]) -> Mask:
    return make_mask((columns[0], rows[0], columns[1], rows[1]), height=SIDE, width=SIDE)


def gallery_of(*masks: Mask) -> Gallery:
    """In this order: a gallery sorts by score."""
    return Gallery.from_masks(masks, [1.0 - 0.01 * index for index in range(len(masks))])


def first(values: np.ndarray, gallery: Gallery, options: MatchOptions) -> int | None:
    return next(selection.ranking(values, gallery, options), None)


@pytest.fixture
def coarse() -> np.ndarray:
    """The map of the published fixture: 30 cells are on at 0.2."""
    values = np.zeros((GRID, GRID), dtype=np.float32)
    values[3:8, 4:10] = 0.7
    values[3, 4] = 0.15
    values[9, 9] = 0.25
    return values


FIXTURE = gallery_of(
    block((48, 128), (64, 160)),
    block((55, 120), (72, 153)),
    block((40, 136), (56, 168)),
    block((56, 120), (72, 152)),
)


def test_the_papers_rule_gives_the_published_scores_and_the_first_of_equals_wins(
    coarse: np.ndarray,
) -> None:
    values = selection.match(coarse, FIXTURE, PAPER)
    assert values.tolist() == [29 / 31, 29 / 31, 29 / 57, 29 / 31]
    assert list(selection.ranking(values, FIXTURE, PAPER)) == [0, 1, 3, 2]


def test_areas_tell_apart_what_cells_cannot(coarse: np.ndarray) -> None:
    clean = np.zeros((GRID, GRID), dtype=np.float32)
    clean[3:8, 4:10] = 1.0  # rows 48..128, columns 64..160
    values = selection.match(clean, FIXTURE, MatchOptions())
    assert values[0] == 1.0
    # 64 x 80 of 80 x 96 pixels; by cells the same as the whole.
    assert values[3] == pytest.approx(64 * 80 / (80 * 96))
    assert (values[1:] < 1.0).all()


@pytest.mark.parametrize(
    ("grid_rule", "expected"),
    [
        ("any4", [29 / 31, 29 / 31, 29 / 57, 29 / 31]),
        # A cell that is half covered is not on: mask 1 keeps 19 cells, mask 3 its inner 12.
        ("mean", [29 / 31, 19 / 30, 29 / 31, 12 / 30]),
        # The pixel (56, 72) is the centre of cell (3, 4), which the map has not.
        ("nearest", [29 / 31, 23 / 31, 29 / 43, 19 / 31]),
    ],
)
def test_every_grid_rule_has_its_cells(
    coarse: np.ndarray, grid_rule: matching.GridRule, expected: list[float]
) -> None:
    values = selection.match(coarse, FIXTURE, MatchOptions(rule="iou", grid_rule=grid_rule))
    assert values.tolist() == pytest.approx(expected)


def test_boxes_are_compared_with_the_box_of_the_map(coarse: np.ndarray) -> None:
    # The map's cells span rows 3..9 and columns 4..9: the box (64, 48, 160, 160).
    options = MatchOptions(compared="bbox")
    assert selection.box_of_map(coarse, (SIDE, SIDE), options) == (64.0, 48.0, 160.0, 160.0)
    exact = block((48, 160), (64, 160))
    values = selection.match(coarse, gallery_of(FIXTURE.mask(0), exact), options)
    assert values[1] == 1.0
    assert values[0] == pytest.approx(97 * 81 / (97 * 113))  # end pixels count


@pytest.mark.parametrize(("combined", "expected"), [("mean", 0.65), ("sum", 1.3), ("product", 0.4)])
def test_masks_and_boxes_together(
    coarse: np.ndarray, monkeypatch: pytest.MonkeyPatch, combined: str, expected: float
) -> None:
    monkeypatch.setattr(selection, "_by_mask", lambda *_: np.array([0.8]))
    monkeypatch.setattr(selection, "_by_box", lambda *_: np.array([0.5]))
    options = MatchOptions(compared="both", combined=combined)  # type: ignore[arg-type]
    values = selection.match(coarse, gallery_of(FIXTURE.mask(0)), options)
    assert values[0] == pytest.approx(expected)


def test_masks_that_span_the_frame_are_passed_over_unless_they_may_stay(
    coarse: np.ndarray,
) -> None:
    everything = np.ones((GRID, GRID), dtype=np.float32)
    whole = gallery_of(block((0, SIDE), (0, SIDE)), FIXTURE.mask(0))
    values = selection.match(everything, whole, MatchOptions())
    assert first(values, whole, MatchOptions()) == 1
    assert first(values, whole, MatchOptions(drop_full_frame=False)) == 0


def test_specks_do_not_count_as_a_mask() -> None:
    speck = gallery_of(block((100, 103), (100, 103)))  # 9 pixels
    values = np.array([1.0])
    assert first(values, speck, MatchOptions()) is None
    assert first(values, speck, MatchOptions(min_area=9)) == 0


def test_an_empty_gallery_has_no_first(coarse: np.ndarray) -> None:
    empty = gallery_of()
    for options in (PAPER, MatchOptions(), MatchOptions(compared="both")):
        values = selection.match(coarse, empty, options)
        assert values.shape == (0,)
        assert first(values, empty, options) is None


def test_a_mask_drawn_from_the_map_is_its_cells(coarse: np.ndarray) -> None:
    drawn = selection.drawn_from(coarse, (SIDE, SIDE), 0.2)
    assert drawn.sum() == 30 * 16 * 16
    assert drawn[48:64, 80:96].all()
    assert not drawn[48:64, 64:80].any()


def test_a_map_below_the_threshold_is_drawn_where_it_is_highest(coarse: np.ndarray) -> None:
    faint = coarse * 0.1
    assert selection.drawn_from(faint, (SIDE, SIDE), 0.2).sum() == 29 * 16 * 16


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2), (14, 14), (37, 500)])
def test_what_is_drawn_is_never_empty(shape: tuple[int, int]) -> None:
    lonely = np.zeros((GRID, GRID), dtype=np.float32)
    lonely[0, 0] = 1.0
    assert selection.drawn_from(lonely, shape, 0.2).any()
    assert selection.drawn_from(np.zeros_like(lonely), shape, 0.2).any()


def test_the_centre_is_that_of_the_largest_part(coarse: np.ndarray) -> None:
    blobs = np.zeros((GRID, GRID), dtype=np.float32)
    blobs[2:5, 6:9] = 1.0
    blobs[10, 10] = 1.0
    # Cells 6..8 and 2..4: their centres are 7.5 and 3.5 cells from the corner.
    assert selection.centre_of_map(blobs, (140, 280), 0.2) == (150.0, 35.0)


@given(
    gallery=arrays.arrays(bool, (4, 20, 30)),
    wanted=arrays.arrays(bool, (20, 30)).filter(lambda mask: bool(mask.any())),
    rule=st.sampled_from(["area", "iou"]),
)
def test_the_mask_that_made_the_map_always_wins(
    gallery: np.ndarray, wanted: Mask, rule: selection.Rule
) -> None:
    full = Gallery.from_masks([*gallery, wanted], [0.5] * 5)
    if rule == "area":
        coarse = matching.coverage(wanted, 5)
    else:
        coarse = matching.mask_cells(wanted, 5).astype(np.float32)
        if not coarse.any():
            return  # it misses every centre: eq. 11 cannot see it
    options = MatchOptions(rule=rule, drop_full_frame=False)
    values = selection.match(coarse, full, options)
    best = first(values, full, options)
    assert best is not None
    assert values[best] == pytest.approx(1.0)


@given(coarse=arrays.arrays(np.float32, (6, 6), elements=st.floats(0, 1, width=32)))
def test_values_lie_between_nothing_and_all(coarse: np.ndarray) -> None:
    small = gallery_of(make_mask((2, 3, 20, 17), height=24, width=24))
    for compared in ("mask", "bbox", "both"):
        options = MatchOptions(compared=compared)  # type: ignore[arg-type]
        values = selection.match(coarse, small, options)
        assert ((values >= 0) & (values <= 1)).all()
        assert len(list(islice(selection.ranking(values, small, options), 3))) == 1


@pytest.mark.parametrize("given_options", [{"tau_b": 1.0}, {"tau_b": -0.1}, {"min_area": 0}])
def test_options_out_of_range_are_refused(given_options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=str(next(iter(given_options.values())))):
        MatchOptions(**given_options)  # type: ignore[arg-type]

"""Strokes: which pixels a round brush covers. Boxes: what becomes of the mask in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.shaping import Shape, kept_in_box, rasterise_stroke, translated
from engine.geometry import mask_to_rle, rle_to_mask
from engine.types import Instance
from tests.fakes import proposal, square_mask

coordinates = st.floats(-20, 60, allow_nan=False)


def test_a_tiny_brush_paints_the_pixel_under_it() -> None:
    mask = rasterise_stroke([(3.9, 2.1)], radius=0.1, shape_hw=(5, 6))
    assert np.argwhere(mask).tolist() == [[2, 3]]


def test_a_brush_of_one_pixel_and_a_half_paints_three_by_three() -> None:
    # Around the centre of pixel (4, 4): side neighbours lie 1 away, corners 1.41.
    mask = rasterise_stroke([(4.5, 4.5)], radius=1.5, shape_hw=(9, 9))
    assert np.argwhere(mask).tolist() == [[y, x] for y in (3, 4, 5) for x in (3, 4, 5)]


def test_a_stroke_off_the_photo_paints_what_reaches_in() -> None:
    mask = rasterise_stroke([(-2.0, 2.5), (-1.0, 2.5)], radius=1.6, shape_hw=(5, 5))
    assert np.argwhere(mask).tolist() == [[2, 0]]
    assert not rasterise_stroke([(-50.0, -50.0)], radius=3, shape_hw=(5, 5)).any()


@given(
    path=st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=5),
    radius=st.floats(0.5, 12),
)
def test_a_stroke_is_the_set_of_centres_near_the_path(
    path: list[tuple[float, float]], radius: float
) -> None:
    mask = rasterise_stroke(path, radius=radius, shape_hw=(30, 40))
    rows, columns = np.mgrid[:30, :40] + 0.5
    nearest = np.full((30, 40), np.inf)
    for (x0, y0), (x1, y1) in zip([path[0], *path], path, strict=False):
        for share in np.linspace(0, 1, 200):
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            nearest = np.minimum(nearest, np.hypot(columns - x, rows - y))
    steps = max(
        np.hypot(b[0] - a[0], b[1] - a[1]) for a, b in zip([path[0], *path], path, strict=False)
    )
    assert mask[nearest <= radius].all()
    under = {(int(np.floor(y)), int(np.floor(x))) for x, y in path}
    for row, column in np.argwhere(mask & (nearest > radius + steps / 200)):
        assert (row, column) in under


@pytest.mark.parametrize("radius", [5.0, 40.0])
def test_one_point_is_a_disc(radius: float) -> None:
    mask = rasterise_stroke([(50.0, 50.0)], radius=radius, shape_hw=(100, 100))
    assert mask.sum() == pytest.approx(np.pi * radius**2, rel=0.03)


def by_hand(box: tuple[int, int, int, int], *points: tuple[float, float, int]) -> Instance:
    mask = mask_to_rle(square_mask((90, 120), box))
    x0, y0, x1, y1 = (float(side) for side in box)
    return replace(proposal((x0, y0, x1, y1)), rle=mask, points=points)


def mask_of(shape: Shape | None) -> np.ndarray:
    assert shape is not None
    assert shape.rle is not None
    return rle_to_mask(shape.rle)


def test_a_box_that_moves_takes_its_mask_and_its_clicks_along() -> None:
    one = by_hand((10, 10, 30, 20), (12.5, 15.0, 1), (2.0, 2.0, 0))
    shape = kept_in_box(one, (3, 12, 23, 22), is_by_hand=False)
    assert np.array_equal(mask_of(shape), square_mask((90, 120), (3, 12, 23, 22)))
    assert shape is not None
    assert shape.points == ((5.5, 17.0, 1),)  # the other one left the photo


def test_many_small_moves_lead_where_one_large_one_does() -> None:
    one = by_hand((10, 10, 30, 20))
    for step in range(1, 26):
        box = (10 + 0.4 * step, 10.0, 30 + 0.4 * step, 20.0)
        shape = kept_in_box(one, box, is_by_hand=False)
        assert shape is not None
        one = replace(one, box=shape.box, rle=shape.rle)
    assert one.rle is not None
    assert np.array_equal(rle_to_mask(one.rle), square_mask((90, 120), (20, 10, 40, 20)))


def test_a_box_that_grows_keeps_a_mask_that_is_by_hand_and_asks_for_any_other() -> None:
    one = by_hand((10, 10, 30, 20), (12.5, 15.0, 1))
    assert kept_in_box(one, (5, 10, 40, 20), is_by_hand=False) is None
    shape = kept_in_box(one, (20, 5, 40, 25), is_by_hand=True)
    assert np.array_equal(mask_of(shape), square_mask((90, 120), (20, 10, 30, 20)))
    assert shape is not None
    assert (shape.box, shape.points) == ((20, 5, 40, 25), ())
    assert kept_in_box(one, (60, 60, 99, 80), is_by_hand=True) is None  # nothing of it is left


@given(right=st.integers(-9, 9), down=st.integers(-9, 9))
def test_a_mask_moves_by_whole_pixels_and_ends_at_the_edges(right: int, down: int) -> None:
    mask = np.random.default_rng(3).random((7, 6)) < 0.5
    moved = translated(mask, right=right, down=down)
    expected = {(row + down, column + right) for row, column in np.argwhere(mask)}
    inside = {(row, column) for row, column in expected if 0 <= row < 7 and 0 <= column < 6}
    assert {(row, column) for row, column in np.argwhere(moved)} == inside

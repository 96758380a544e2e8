"""Strokes: which pixels a round brush covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.shaping import rasterise_stroke

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

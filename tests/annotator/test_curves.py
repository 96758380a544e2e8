"""Curves as SVG: where points land, what the axes say, and that names cannot break the page."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.training_log import TrainingLog
from annotator.ui import render_training
from annotator.ui.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, chart, thinned
from tests.annotator.test_training_log import line, step

figures = st.floats(0, 1e6, allow_subnormal=False)


def drawing(text: str) -> ElementTree.Element:
    """The SVG inside the figure; an error where it is not well formed."""
    svg = ElementTree.fromstring(text).find("svg")
    assert svg is not None
    return svg


def texts(text: str, kind: str) -> list[str]:
    return [one.text or "" for one in drawing(text).iter("text") if one.get("class") == kind]


def test_points_land_where_the_axes_say() -> None:
    made = chart("Loss", [Line("all", [(0, 1.0), (100, 0.0)], 1)], x_end=100, y_end=1.0)
    (group,) = drawing(made).iter("g")
    path = group.find("path")
    assert path is not None
    assert path.get("d") == (f"M{LEFT:.1f} {TOP:.1f}L{WIDTH - RIGHT:.1f} {HEIGHT - BOTTOM:.1f}")
    assert texts(made, "t2-x") == ["step 0", "25", "50", "75", "100"]
    assert texts(made, "t2-y") == ["0", "0.25", "0.5", "0.75", "1"]


def test_shares_are_shown_in_percent_and_the_newest_stands_in_the_legend() -> None:
    made = chart("x", [Line("top-1", [(1, 0.25), (2, 0.5)], 1)], x_end=2, y_end=1.0, is_share=True)
    assert texts(made, "t2-y") == ["0%", "25%", "50%", "75%", "100%"]
    assert "<b>50.0%</b>" in made


def test_a_guide_is_inside_even_where_it_lies_above_every_curve() -> None:
    made = chart("map", [Line("area", [(1, 0.1)], 1)], x_end=9, guide=("expected", 0.35))
    (guide,) = [one for one in drawing(made).iter("path") if one.get("class") == "t2-guide"]
    y = float(re.findall(r"M[\d.]+ ([\d.]+)H", guide.get("d") or "")[0])
    assert TOP <= y < HEIGHT - BOTTOM
    assert texts(made, "t2-guide-name") == ["expected"]


def test_names_are_escaped() -> None:
    made = chart("<b>&", [Line("<script>", [(1, 1.0)], 1)], x_end=1, guide=('"<i>', 1.0))
    drawing(made)
    assert "<script>" not in made


@given(
    points=st.lists(st.tuples(figures, figures), max_size=300),
    x_end=st.floats(0, 1e6),
    guide=st.none() | st.tuples(st.text("a<&é", max_size=3), figures),
)
def test_every_figure_can_be_drawn(
    points: list[tuple[float, float]], x_end: float, guide: tuple[str, float] | None
) -> None:
    made = chart("any", [Line("all", sorted(points), 1)], x_end=x_end, guide=guide)
    for group in drawing(made).iter("g"):
        for dot in group.iter("circle"):
            assert 0 <= float(dot.get("cx") or -1) <= WIDTH
            assert 0 <= float(dot.get("cy") or -1) <= HEIGHT
    assert "nan" not in made
    assert 2 <= len(texts(made, "t2-y")) <= 6


@given(count=st.integers(0, 1000), limit=st.integers(2, 50))
def test_thinned_curves_keep_their_end_and_their_mean(count: int, limit: int) -> None:
    points = [(float(x), float(x)) for x in range(count)]
    fewer = thinned(points, limit)
    assert len(fewer) == min(count, limit)
    assert list(fewer[-1:]) == points[-1:]
    assert all(a[0] < b[0] for a, b in zip(fewer, list(fewer)[1:], strict=False))


def test_a_log_becomes_three_charts_with_what_it_has(tmp_path: Path) -> None:
    terms = {"classification": 0.7, "edge": 0.2, "area": 0.1}
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path)
    assert render_training.curves(log.refresh(), area_prior=None) == ""
    path.write_text(line("start", step=0, steps=9) + step(1, terms={"classification": 0.7}))
    only_loss = render_training.curves(log.refresh(), area_prior=0.25)
    assert only_loss.count("<figure") == 1
    assert "classification" not in only_loss  # it is all there is
    with path.open("a") as file:
        file.write(step(2, terms=terms, area=0.4, edge=0.2))
        file.write(line("validation", step=2, metrics={"top1": 0.5, "gt_known": None}))
    made = render_training.curves(log.refresh(), area_prior=0.25)
    assert made.count("<figure") == 3
    assert "expected 0.25" in made
    assert "GT-Known" not in made


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (12000, "3 h 20 min")],
)
def test_durations_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert render_training.duration(seconds) == text

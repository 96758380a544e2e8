"""The bar of an export in the app moves twice a second, however many things go by."""

from __future__ import annotations

from typing import Any

import pytest

from annotator.ui import export_tab


class Watch:
    """Stands still until it is set."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_the_bar_moves_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, moves = Watch(), []

    def progress(place: tuple[int, int], **how: Any) -> None:
        moves.append((place, how["desc"]))

    monkeypatch.setattr(export_tab, "time", watch)
    show = export_tab.bar_of(progress)  # type: ignore[arg-type]
    for done in range(1000):
        show("writing", done, 1000)
    assert moves == [((0, 1000), "Writing")]
    watch.now += export_tab.TICK_SECONDS
    show("reading back", 7, 1000)
    assert moves[1:] == [((7, 1000), "Reading back")]

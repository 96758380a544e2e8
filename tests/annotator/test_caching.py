"""The command that shows, limits and empties the cache of prepared photos."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from annotator.__main__ import main
from engine.segmenters.embeddings import LIMIT_BYTES, EmbeddingStore


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["cache", *words, "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def fill(count: int) -> int:
    """So many photos; bytes that they take."""
    store = EmbeddingStore(spare_bytes=0)
    for number in range(count):
        store.put(f"{number:064x}", "a" * 32, {"x": np.zeros(100_000, np.float16)})
    return store.usage().bytes


def test_an_empty_cache_shows_where_it_would_be_and_makes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = told(capsys)
    assert shown["folder"] == str(EmbeddingStore().folder)
    assert (shown["photos"], shown["bytes"], shown["limit_bytes"]) == (0, 0, LIMIT_BYTES)
    assert not EmbeddingStore().folder.exists()


def test_the_cache_is_shown_and_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    size = fill(3)
    shown = told(capsys, "show")
    assert (shown["photos"], shown["bytes"], shown["removed_photos"]) == (3, size, 0)
    cleared = told(capsys, "clear")
    assert (cleared["photos"], cleared["removed_photos"]) == (0, 3)
    assert cleared["removed_bytes"] == size
    assert EmbeddingStore().usage().files == 0


def test_a_limit_holds_at_once_and_stays(capsys: pytest.CaptureFixture[str]) -> None:
    fill(3)
    limited = told(capsys, "limit", "0.0005")
    assert limited["limit_bytes"] == 500_000
    assert (limited["photos"], limited["removed_photos"]) == (2, 1)
    fill(5)
    assert told(capsys)["photos"] == 2
    assert told(capsys, "limit", "0")["photos"] == 0
    fill(1)
    assert told(capsys)["photos"] == 0


@pytest.mark.parametrize("size", [None, "-1", "much", "nan", "inf", "1e9", ""])
def test_a_limit_that_is_no_size_is_refused_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], size: str | None
) -> None:
    fill(1)
    assert main(["cache", "limit", *([] if size is None else ["--", size])]) == 1
    assert "number of gigabytes" in capsys.readouterr().err
    assert EmbeddingStore().limit_bytes == LIMIT_BYTES
    assert EmbeddingStore().usage().files == 1


def test_a_size_without_limit_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "4"]) == 1
    assert "takes no size" in capsys.readouterr().err


def test_the_answer_for_people_names_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    fill(2)
    assert main(["cache"]) == 0
    assert "2 photos, 0.4 MB of at most 4.00 GB" in " ".join(capsys.readouterr().out.split())
    main(["cache", "clear"])
    assert "removed 2 files, 0.4 MB" in capsys.readouterr().out

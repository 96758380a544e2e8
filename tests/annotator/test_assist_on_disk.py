"""The app with a SAM: embeddings on the disk, neighbours prepared by another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator.ahead import PreparingProcess
from annotator.assist import Assistant
from annotator.store import Project
from annotator.views import Photo
from engine.segmenters.embeddings import EmbeddingStore
from engine.segmenters.sam import PreparedPhoto, SamSegmenter
from engine.types import Image
from tests.annotator.desk import is_alive, until
from tests.engine.small_sam import small_sam


class CountingSam(SamSegmenter):
    """Knows how often it had to encode."""

    def __init__(self) -> None:
        super().__init__(small_sam(), name="small")
        self.encoded = 0

    def prepare(self, image: Image) -> PreparedPhoto:
        self.encoded += 1
        return super().prepare(image)


@pytest.fixture
def four(project: Project) -> list[Photo]:
    with project.read() as view:
        return view.photos()


def test_the_app_has_its_neighbours_prepared_by_the_process_and_finds_them_after_a_restart(
    project: Project, four: list[Photo], tmp_path: Path
) -> None:
    store = EmbeddingStore(tmp_path / "embeddings", spare_bytes=0)
    built: list[CountingSam] = []
    assistant = Assistant(CountedBuild(built), store=store)
    assistant.prefetch(project, four)
    until(lambda: store.usage().files == 4)
    assert built[0].encoded == 1  # the one on screen; the process did the others
    until(lambda: len(assistant._prepared) == 3)  # those near, in memory
    for photo in four:
        with assistant.on(project, photo) as segmenter:
            assert segmenter is built[0]
    assert built[0].encoded == 1
    assert assistant._process is not None
    pid = assistant._process.pid
    assert pid is not None
    assistant.close()
    assert not is_alive(pid)

    again = Assistant(CountedBuild(built), store=EmbeddingStore(store.folder))
    for photo in four:
        with again.on(project, photo):
            pass
    assert built[1].encoded == 0
    again.close()


class CountedBuild:
    """Builds and remembers what it built in this process."""

    def __init__(self, built: list[CountingSam]) -> None:
        self.built = built

    def __call__(self) -> CountingSam:
        self.built.append(CountingSam())
        return self.built[-1]

    def __reduce__(self) -> tuple[object, ...]:
        return (CountedBuild, ([],))


def test_without_the_process_the_app_prepares_what_is_near_itself(
    project: Project,
    four: list[Photo],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PreparingProcess, "_start", lambda self: False)
    built: list[CountingSam] = []
    assistant = Assistant(
        CountedBuild(built), store=EmbeddingStore(tmp_path / "embeddings", spare_bytes=0)
    )
    assistant.prefetch(project, four)
    until(lambda: len(assistant._prepared) == 3)
    with assistant.on(project, four[0]):
        pass
    assistant.close()
    assert built[0].encoded == 3


def test_a_cache_that_is_turned_off_starts_no_process(
    project: Project, four: list[Photo], tmp_path: Path
) -> None:
    store = EmbeddingStore(tmp_path / "embeddings", limit_bytes=0)
    assistant = Assistant(CountingSam, store=store)
    assistant.prefetch(project, four)
    with assistant.on(project, four[0]):
        pass
    assert assistant._process is None
    assistant.close()
    assert store.usage().files == 0


def test_what_earlier_apps_left_too_much_goes_when_the_app_starts(tmp_path: Path) -> None:
    EmbeddingStore(tmp_path, spare_bytes=0).put("1" * 64, "a" * 32, {})
    assistant = Assistant(CountingSam, store=EmbeddingStore(tmp_path, limit_bytes=0))
    assistant.close()
    until(lambda: EmbeddingStore(tmp_path).usage().files == 0)

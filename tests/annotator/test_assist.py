"""The segmenter behind the clicks: which one is chosen, and what is kept prepared."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from annotator import assist
from annotator.assist import Assistant
from annotator.store import Project
from engine import segmenters
from engine.errors import PhotoError
from engine.gallery import Gallery
from engine.types import Image
from tests.conftest import save_scene
from tests.fakes import SquareSegmenter


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Names and devices that were built, instead of networks of gigabytes."""
    calls: list[tuple[str, str]] = []

    def build(name: str, *, device: str = "cpu") -> SquareSegmenter:
        calls.append((name, device))
        return SquareSegmenter()

    monkeypatch.setattr(segmenters, "build", build)
    return calls


def test_without_weights_clicks_are_classical(built: list[tuple[str, str]]) -> None:
    assist.build_segmenter()
    assert built == [("classical", "cpu")]


@pytest.mark.parametrize(
    ("has_gpu", "chosen"), [(False, ("sam_vit_b", "cpu")), (True, ("sam_vit_h", "cuda"))]
)
def test_the_smallest_sam_on_a_cpu_and_the_largest_on_a_gpu(
    built: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    has_gpu: bool,
    chosen: tuple[str, str],
) -> None:
    here = ["classical", "sam_vit_b", "sam_vit_h"]
    monkeypatch.setattr(segmenters, "available", lambda: here)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assist.build_segmenter()
    assert built == [chosen]


def test_nothing_is_built_before_it_is_needed(project: Project) -> None:
    built: list[int] = []

    def build() -> SquareSegmenter:
        built.append(1)
        return SquareSegmenter()

    assistant = Assistant(build)
    assert built == []
    with project.read() as view:
        photo = view.photo(1)
    for _ in range(2):
        with assistant.on(project, photo):
            pass
    assert built == [1]
    assistant.close()


def test_the_last_few_photos_stay_prepared_and_older_ones_go(project: Project) -> None:
    segmenter = SquareSegmenter()
    assistant = Assistant(lambda: segmenter, kept=2)
    with project.read() as view:
        photos = view.photos()
    for index in (0, 1, 0, 1, 2, 1, 0):
        with assistant.on(project, photos[index]):
            pass
    # The first two once each; the third pushed out the first, which was prepared again.
    assert len(segmenter.prepared) == 4
    assistant.close()


def test_two_threads_that_want_one_photo_prepare_it_once(project: Project) -> None:
    go = threading.Event()

    class Slow(SquareSegmenter):
        def prepare(self, image: Image) -> tuple[int, int]:
            go.wait(10)
            return super().prepare(image)

    segmenter = Slow()
    assistant = Assistant(lambda: segmenter)
    with project.read() as view:
        photo = view.photo(1)

    def use() -> None:
        with assistant.on(project, photo):
            pass

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert len(segmenter.prepared) == 1
    assistant.close()


def test_a_photo_prepared_ahead_that_cannot_be_read_hurts_nobody_yet(project: Project) -> None:
    segmenter = SquareSegmenter()
    assistant = Assistant(lambda: segmenter)
    with project.read() as view:
        gone, there = view.photo(1), view.photo(2)
    project.photo_path(gone).unlink()
    assistant.prefetch(project, [gone, there])
    with assistant.on(project, there):
        pass
    assistant.close()
    assert len(segmenter.prepared) == 1
    with pytest.raises(PhotoError, match=r"a\.png"), assistant.on(project, gone):
        pass


def test_a_photo_that_was_replaced_by_one_of_another_size_is_refused(
    project: Project, photo_folder: Path
) -> None:
    class Quick(SquareSegmenter):
        name = "classical"

        def gallery(self, image: Image) -> Gallery:
            raise AssertionError("nobody looks through a photo that is another one")

    assistant = Assistant(Quick)
    with project.read() as view:
        photo = view.photo(1)
    kept = (photo_folder / "a.png").read_bytes()
    save_scene(photo_folder / "a.png", width=200, height=150)
    told = r"a\.png' is 200 by 150 pixels, and was 120 by 90 when it was added"
    with pytest.raises(PhotoError, match=told), assistant.on(project, photo):
        pass
    with pytest.raises(PhotoError, match=told):
        assistant.gallery(project, photo)
    (photo_folder / "a.png").write_bytes(kept)
    with assistant.on(project, photo):
        pass
    assistant.close()

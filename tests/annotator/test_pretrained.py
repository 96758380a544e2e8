"""Published weights are downloaded by nobody who was not asked; nothing here downloads any."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from annotator import pretrained
from annotator.__main__ import DONE, main
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_options import DetectorTrainingOptions
from annotator.ui import render_detector
from annotator.ui.detector_form import DetectorForm
from engine.detectors.published import published_for
from engine.errors import OptionError
from tests.annotator.command_line import complaint
from tests.annotator.fake_trainer import DETECTOR_PRESETS
from tests.annotator.reviewed import reviewed_project
from tests.annotator.trainers import wait_for_end

Captured = pytest.CaptureFixture[str]
OF_COCO = {"weights": "coco", "backbone": "resnet50"}
SAID = "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth, 178 MB from download.pytorch.org"


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Twelve reviewed photos."""
    project = reviewed_project(tmp_path, photos=12)
    yield project
    project.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch would keep weights; nothing is in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


class Terminal(io.StringIO):
    """A person types this."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("fake_trainer")
def test_a_command_does_not_start_what_would_download_unless_that_is_allowed(
    hens: Project, capsys: Captured
) -> None:
    words = ("train", "detector", hens.folder, "--preset", "finetune", "--epochs", 1)
    for more in ((), ("--estimate",)):
        said = complaint(capsys, *words, *more)
        assert SAID in said
        assert "BSD-3-Clause" in said
        assert "without a network it will not start; allow it with --download" in said
    assert Trainings(hens).all() == []
    assert main([*map(str, words), "--download", "--background"]) == DONE
    trainings = Trainings(hens)
    wait_for_end(trainings, 1)


@pytest.mark.usefixtures("fake_trainer")
@pytest.mark.parametrize(("typed", "is_refused"), [("y\n", False), ("\n", True), ("no\n", True)])
def test_a_person_at_a_terminal_is_asked(
    monkeypatch: pytest.MonkeyPatch, typed: str, is_refused: bool
) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", shown)

    def ask() -> None:
        pretrained.consent(
            DetectorTrainingOptions(preset="finetune"),
            weights="",
            passed_on=[],
            may_download=False,
            asks=True,
        )

    if is_refused:
        with pytest.raises(OptionError, match="allow it with --download"):
            ask()
    else:
        ask()
    assert SAID in shown.getvalue()
    assert shown.getvalue().endswith("Download them now? [y/N] ")


def test_what_is_at_hand_or_not_needed_is_not_asked_about(cache: Path) -> None:
    finetune = DetectorTrainingOptions(preset="finetune")

    def is_missing(options: DetectorTrainingOptions, *passed_on: str, weights: str = "") -> bool:
        found = pretrained.missing(options, DETECTOR_PRESETS, weights=weights, passed_on=passed_on)
        return found is not None

    assert is_missing(finetune)
    assert not is_missing(finetune, weights="fasterrcnn-1")  # begins with that instead
    assert not is_missing(finetune, "--network-weights", "none")
    assert not is_missing(DetectorTrainingOptions(preset="small"))
    assert is_missing(DetectorTrainingOptions(preset="small"), "--network-weights=backbone")
    found = published_for("maskrcnn", OF_COCO)
    assert found is not None
    cache.mkdir(parents=True)
    found.path.write_bytes(b"weights")
    assert not is_missing(finetune)


@pytest.mark.usefixtures("fake_trainer")
def test_the_form_says_what_would_be_downloaded_and_neither_times_nor_starts_it_unasked(
    hens: Project,
) -> None:
    async def build() -> DetectorForm:
        # In a running loop, because Gradio would make one and leave it open.
        with gr.Blocks():
            return DetectorForm()

    form = asyncio.run(build())
    values = ["maskrcnn", "finetune", "1", "", False, 0.8, False, "", "", "as the preset says", ""]
    text, is_pending = form.look_at_estimate(hens, values)
    assert not is_pending
    assert SAID in text
    with pytest.raises(OptionError, match="allow the download below"):
        form.begin(hens, values)
    assert Trainings(hens).all() == []
    values[6] = True
    number = form.begin(hens, values)
    wait_for_end(Trainings(hens), number)


def test_the_facts_of_a_preset_say_whether_its_weights_are_here(cache: Path) -> None:
    described = {"model": "maskrcnn", "recipe": {"epochs": 9}, "network": OF_COCO}
    assert SAID in render_detector.preset_facts(described)
    found = published_for("maskrcnn", OF_COCO)
    assert found is not None
    cache.mkdir(parents=True)
    found.path.write_bytes(b"weights")
    assert "Its weights are on this machine." in render_detector.preset_facts(described)

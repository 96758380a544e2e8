"""Models by their names: which one a pipeline takes, what it may not take, and a run by command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from annotator import models, pipeline_options, promotion
from annotator.store import Project
from annotator.ui.projects_tab import _names
from engine.errors import OptionError
from engine.localizers import build
from engine.localizers.saved import LocalizerCard, save_localizer
from tests.annotator.command_line import answer, complaint
from tests.engine.detectors.small import saved


def add(project: Project, name: str, *, what: str, age: int) -> Path:
    """A small trained model in the project, so many seconds old."""
    path = project.folder / models.MODELS / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    if what == "localizer":
        options = {"backbone": "small", "width": 8, "image_size": 32}
        card = LocalizerCard("cam", options, ("cat", "dog"), 32, multi_label=False)
        save_localizer(path, build("cam", num_classes=2, **options), card)
    else:
        saved(path.parent, "maskrcnn").rename(path)
    moment = path.stat().st_mtime - age
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def stocked(project: Project) -> Project:
    """A project with two localizers and two detectors, the newest model a detector."""
    for age, (name, what) in enumerate(
        [("Vögel", "detector"), ("cam-2", "localizer"), ("older", "detector"), ("cam", "localizer")]
    ):
        add(project, name, what=what, age=age)
    return project


def promote(project: Project, name: str) -> None:
    promotion.promote(project, name, by=promotion.HAND)


def test_each_pipeline_takes_the_newest_model_of_its_kind(stocked: Project) -> None:
    def chosen(pipeline: str) -> dict[str, Any]:
        return pipeline_options.with_defaults(stocked, pipeline, {})

    assert chosen("pro2sam") == {"localizer": "cam-2"}
    assert chosen("detector") == {"detector": "Vögel"}
    assert chosen("classical") == {}


def test_the_detector_in_use_comes_before_a_newer_one(stocked: Project) -> None:
    promote(stocked, "older")
    assert pipeline_options.with_defaults(stocked, "detector", {}) == {"detector": "older"}
    assert pipeline_options.detector_names(stocked) == ["older", "Vögel"]


def test_lists_offer_models_of_their_kind_only(stocked: Project) -> None:
    assert pipeline_options.localizer_names(stocked) == ["cam-2", "cam", "saliency"]
    assert pipeline_options.detector_names(stocked) == ["Vögel", "older"]


def test_the_app_offers_the_same_lists(stocked: Project) -> None:
    promote(stocked, "older")
    names = _names(stocked)
    assert names["detector"] == ["older", "Vögel"]
    assert names["localizer"] == ["cam-2", "cam", "saliency"]
    assert "classical" in names["segmenter"]


def test_a_model_that_is_named_stays(stocked: Project) -> None:
    chosen = pipeline_options.with_defaults(stocked, "detector", {"detector": "older"})
    assert chosen == {"detector": "older"}
    located = pipeline_options.located(stocked, chosen)
    assert located == {"detector": str(models.path_of(stocked, "older"))}
    assert pipeline_options.located(stocked, located) == located  # a path stays as it is


@pytest.mark.parametrize(
    ("pipeline", "options", "message"),
    [
        (
            "pro2sam",
            {"localizer": "older"},
            "'older' is a detector, not a localizer; .* cam-2, cam",
        ),
        ("detector", {"detector": "cam"}, "'cam' is a localizer, not a detector; .* Vögel, older"),
        ("detector", {"detector": "none"}, "no model 'none'; choose from Vögel"),
    ],
)
def test_a_model_of_another_kind_or_name_is_told_before_the_run(
    pipeline: str, options: dict[str, str], message: str, stocked: Project
) -> None:
    with pytest.raises(OptionError, match=message):
        pipeline_options.with_defaults(stocked, pipeline, options)


def test_without_a_detector_the_message_says_how_to_get_one(project: Project) -> None:
    add(project, "cam", what="localizer", age=0)
    assert pipeline_options.with_defaults(project, "detector", {}) == {"detector": ""}
    with pytest.raises(OptionError, match="none yet; get one: annotator train detector"):
        pipeline_options.with_defaults(project, "detector", {"detector": "cam"})


def test_a_pipeline_may_be_named_with_its_model() -> None:
    split = pipeline_options.split_name
    assert split("classical") == ("classical", {})
    assert split("detector") == ("detector", {})
    assert split("detector:Vögel 2:b") == ("detector", {"detector": "Vögel 2:b"})
    assert split("pro2sam:saliency") == ("pro2sam", {"localizer": "saliency"})


@pytest.mark.parametrize("text", ["", "magic", "classical:x", "detector:", ":detector"])
def test_a_name_that_is_no_pipeline_is_answered_with_those_that_are(text: str) -> None:
    with pytest.raises(OptionError, match="detector"):
        pipeline_options.split_name(text)


# On the command line ----------------------------------------------------------------------------


def test_a_detector_proposes_by_command(
    stocked: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("suggest", stocked.folder, "--pipeline", "detector:older", "--min-score", "0")
    code, value = answer(capsys, *words, "--no-only-tags", "--device", "cpu", "--quiet")
    assert code == 0
    assert value["pipeline"] == "detector"
    assert value["options"]["detector"] == "older"
    with stocked.read() as view:
        found = [one for photo in view.photos() for one in view.instances(photo.id)]
    assert found
    assert {one.source.checkpoint for one in found} == {"older"}
    assert any(one.rle is not None for one in found)  # its own masks, of which some are empty
    # It was trained on classes that this project has not: a person says what these are.
    assert {one.category for one in found} == {None}


def test_two_models_for_one_run_are_refused(
    stocked: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("suggest", stocked.folder, "--pipeline", "detector:older", "--detector", "Vögel")
    assert "name two models; leave one out" in complaint(capsys, *words)


def test_a_run_without_any_detector_says_how_to_get_one(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, "suggest", project.folder, "--pipeline", "detector", "--quiet")
    assert "train one from what was accepted" in said

"""The fields of a pipeline's options: made from its class, read back, filled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

import gradio as gr
import pytest

from annotator.ui.pipeline_form import PipelineForm
from engine import pipelines
from engine.errors import OptionError
from engine.options import defaults_of


@dataclass(frozen=True)
class Knobs:
    rule: Literal["soft", "iou"] = field(default="soft", metadata={"help": "how masks compare"})
    side: int = 192
    tau_b: float = 0.2
    flip: bool = True
    localizer: str = ""
    seed: int | None = None
    sure: bool | None = None
    levels: tuple[float, ...] = (0.5, 0.7)

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau_b < 1.0:
            raise OptionError(f"tau_b must lie in [0, 1), got {self.tau_b}")


NAME = "a pipeline that nobody has heard of"


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch) -> PipelineForm:
    def never(_options: Any) -> Any:
        raise AssertionError("a form builds no pipeline")

    kinds = {**pipelines.PIPELINES, NAME: pipelines.PipelineKind(Knobs, never)}
    monkeypatch.setattr(pipelines, "PIPELINES", kinds)

    async def build() -> PipelineForm:
        # In a running loop, because Gradio would make one and leave it open.
        with gr.Blocks(analytics_enabled=False):
            made = PipelineForm()
            made.build_choice()
            made.build_options()
        return made

    return asyncio.run(build())


def values(form: PipelineForm, pipeline: str, **changed: Any) -> list[Any]:
    """What the page sends while this pipeline is chosen."""
    found = [component.value for component in form.components]
    found[0] = pipeline
    for name, value in changed.items():
        found[1 + list(form._components).index((pipeline, name))] = value
    return found


@pytest.mark.parametrize("pipeline", [*pipelines.PIPELINES, NAME])
def test_an_untouched_form_gives_the_defaults_of_the_class(
    form: PipelineForm, pipeline: str
) -> None:
    expected = defaults_of(pipelines.PIPELINES[pipeline].options)
    assert form.read(values(form, pipeline)) == (pipeline, expected)


def test_a_new_pipeline_needs_no_code_here(form: PipelineForm) -> None:
    kinds = {
        name: type(component).__name__
        for (pipeline, name), component in form._components.items()
        if pipeline == NAME
    }
    assert kinds == {
        "rule": "Dropdown",
        "side": "Number",
        "tau_b": "Number",
        "flip": "Checkbox",
        "localizer": "Dropdown",
        "seed": "Textbox",
        "sure": "Textbox",
        "levels": "Textbox",
    }
    rule = form._components[NAME, "rule"]
    assert rule.info == "how masks compare (default: soft)"
    assert [value for _, value in rule.choices] == ["soft", "iou"]


def test_every_kind_of_field_is_read(form: PipelineForm) -> None:
    typed = values(
        form,
        NAME,
        rule="iou",
        side=64,
        tau_b=0,
        flip=False,
        localizer=" birds-1 ",
        seed="7",
        sure="no",
        levels="0.9, 1",
    )
    assert form.read(typed)[1] == {
        "rule": "iou",
        "side": 64,
        "tau_b": 0.0,
        "flip": False,
        "localizer": "birds-1",
        "seed": 7,
        "sure": False,
        "levels": [0.9, 1.0],
    }


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"tau_b": 2}, r"tau_b must lie in \[0, 1\), got 2"),
        ({"side": None}, "option 'side' got None; allowed: a whole number"),
        ({"seed": "many"}, "option 'seed' got 'many'; allowed: a whole number or none"),
        ({"sure": "perhaps"}, "option 'sure' got 'perhaps'"),
        ({"levels": "0.5 high"}, "option 'levels' got"),
    ],
)
def test_what_makes_no_sense_is_told_by_the_name_of_the_option(
    form: PipelineForm, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        form.read(values(form, NAME, **changed))


def test_an_empty_list_and_none_can_be_said(form: PipelineForm) -> None:
    assert form.read(values(form, NAME, levels="", seed="None"))[1]["levels"] == []
    assert form.read(values(form, NAME, seed=" "))[1]["seed"] is None


def test_the_form_shows_what_a_run_used(form: PipelineForm) -> None:
    used = {"rule": "iou", "levels": [0.25], "seed": 3, "an option of an older version": 1}
    names = {"localizer": ["birds-1", "saliency"]}
    updates = form.filled(NAME, used, names)
    assert updates[0]["value"] == NAME
    shown = dict(zip(form._components, updates[1:], strict=True))
    assert shown[NAME, "rule"]["value"] == "iou"
    assert shown[NAME, "levels"]["value"] == "0.25"
    assert shown[NAME, "seed"]["value"] == "3"
    assert shown[NAME, "side"]["value"] == 192
    assert shown[NAME, "localizer"]["choices"] == [
        ("default", ""),
        ("birds-1", "birds-1"),
        ("saliency", "saliency"),
    ]
    defaults = defaults_of(pipelines.PIPELINES["classical"].options)
    assert shown["classical", "working_side"]["value"] == defaults["working_side"]


def test_a_run_of_a_pipeline_that_is_gone_shows_the_default(form: PipelineForm) -> None:
    assert form.filled("gone", {"rule": "iou"}, {})[0]["value"] == pipelines.DEFAULT


def test_new_names_change_no_choice(form: PipelineForm) -> None:
    updates = form.offered({"localizer": ["birds-2"]})
    assert len(updates) == len(form.components)
    assert all("value" not in update for update in updates if isinstance(update, dict))

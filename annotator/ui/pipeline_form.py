"""The choice of a pipeline and its options as fields, made from the option classes.

Nothing here knows a pipeline by name: what `engine.pipelines.PIPELINES` holds is shown, one field
an option, with the help, the default and the choices that its class gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from engine import pipelines
from engine.errors import OptionError
from engine.options import Knob, as_dict, from_dict, knobs_of

Names = Mapping[str, Sequence[str]]  # of an option: what it can be in this project


class PipelineForm:
    """Holds the components; `build_choice` and `build_options` put them where they belong."""

    def __init__(self) -> None:
        self._knobs = {
            name: knobs_of(kind.options) for name, kind in sorted(pipelines.PIPELINES.items())
        }
        self._groups: dict[str, gr.Row] = {}
        self._components: dict[tuple[str, str], Any] = {}

    def build_choice(self, **options: Any) -> None:
        """The list of pipelines."""
        self.choice = gr.Dropdown(
            list(self._knobs),
            value=pipelines.DEFAULT,
            label="Pipeline",
            elem_id="pipeline",
            **options,
        )

    def build_options(self) -> None:
        """The options of every pipeline, of which those of the chosen one are shown."""
        with gr.Accordion("Options", open=False, elem_id="pipeline-options"):
            for name, knobs in self._knobs.items():
                row = gr.Row(visible=name == pipelines.DEFAULT, elem_classes="t2-options")
                self._groups[name] = row
                with row:
                    for knob in knobs:
                        self._components[name, knob.name] = _component(name, knob)
        groups = list(self._groups.values())
        self.choice.change(self._show_group, self.choice, groups, show_progress="hidden")

    def _show_group(self, chosen: str) -> list[Any]:
        return [gr.Row(visible=name == chosen) for name in self._groups]

    @property
    def components(self) -> list[Any]:
        """All of it: what `read` reads and `filled` fills."""
        return [self.choice, *self._components.values()]

    def read(self, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
        """The pipeline and its options as plain JSON; OptionError as its class says.

        ``values`` are those of `components`.
        """
        name = str(values[0])
        if name not in self._knobs:
            raise OptionError(f"there is no pipeline '{name}'")
        given = dict(zip(self._components, values[1:], strict=True))
        read = {knob.name: _read(knob, given[name, knob.name]) for knob in self._knobs[name]}
        return name, as_dict(from_dict(pipelines.PIPELINES[name].options, read))

    def filled(self, pipeline: str, options: Mapping[str, Any], names: Names) -> list[Any]:
        """Updates of `components` that show this pipeline with these options.

        The other pipelines get their defaults, and so does an option that is not given.
        """
        known = pipeline if pipeline in self._knobs else pipelines.DEFAULT
        updates: list[Any] = [gr.update(value=known)]
        for name, knob in self._all():
            given = options if name == known == pipeline else {}
            value = _shown(knob, given.get(knob.name, knob.default))
            updates.append(gr.update(value=value, **_choices(knob, names)))
        return updates

    def offered(self, names: Names) -> list[Any]:
        """Updates of `components` that change what can be chosen and nothing that was."""
        updates = [
            gr.update(**found) if (found := _choices(knob, names)) else gr.skip()
            for _, knob in self._all()
        ]
        return [gr.skip(), *updates]

    def _all(self) -> Iterator[tuple[str, Knob]]:
        return ((name, knob) for name, knobs in self._knobs.items() for knob in knobs)


NONE = "none"


def _component(pipeline: str, knob: Knob) -> Any:
    shared: dict[str, Any] = {
        "label": knob.name.replace("_", " ").capitalize(),
        "info": knob.help
        if knob.default == ""
        else f"{knob.help} (default: {_in_words(knob.default)})",
        "value": _shown(knob, knob.default),
        "elem_id": f"option-{pipeline}-{knob.name.replace('_', '-')}",
        "min_width": 240,
    }
    if knob.is_list or knob.may_be_none:
        return gr.Textbox(**shared)
    if knob.choices:
        return gr.Dropdown([str(one) for one in knob.choices], **shared)
    if knob.kind is bool:
        return gr.Checkbox(**shared)
    if knob.kind is int:
        return gr.Number(precision=0, **shared)
    if knob.kind is float:
        return gr.Number(**shared)
    # What the option can be is known once a project is open; another word may be typed.
    return gr.Dropdown([], allow_custom_value=True, **shared)


def _choices(knob: Knob, names: Names) -> dict[str, Any]:
    """The names that an option of text can be in this project, its default first."""
    is_text = knob.kind is str and not (knob.choices or knob.is_list or knob.may_be_none)
    if not is_text:
        return {}
    values = dict.fromkeys([knob.default, *names.get(knob.name, ())])
    return {"choices": [(value or "default", value) for value in values]}


def _in_words(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(map(str, default)) or NONE
    return NONE if default is None else str(default)


def _shown(knob: Knob, value: Any) -> Any:
    """The value as its component shows it."""
    if knob.is_list:
        return NONE if value is None else " ".join(map(str, value))
    if knob.may_be_none:
        return _in_words(value)
    return str(value) if knob.choices else value


def _read(knob: Knob, value: Any) -> Any:
    """What stands in a component as plain JSON; left as it is where it makes no sense."""
    if knob.may_be_none and str(value or "").strip().lower() in ("", NONE):
        return None
    if knob.is_list:
        return [_one(knob, word) for word in str(value or "").replace(",", " ").split()]
    if knob.may_be_none or knob.choices:
        return _one(knob, str(value).strip())
    return str(value or "").strip() if knob.kind is str else value


def _one(knob: Knob, word: str) -> Any:
    """A word as the option's kind, for `from_dict` to judge."""
    if knob.kind is bool:
        return {"yes": True, "true": True, "no": False, "false": False}.get(word.lower(), word)
    if knob.kind in (int, float):
        try:
            return knob.kind(word)
        except ValueError:
            return word
    return word

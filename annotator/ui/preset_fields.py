"""Network, preset and the numbers of a preset as fields, filled with what the trainer describes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from annotator import trainer
from annotator.training_kinds import TrainingKind
from engine.errors import AnnotatorError, OptionError

DEFAULT_PRESET = "small"
HIDDEN: dict[str, Any] = {"show_progress": "hidden"}

Facts = Callable[[dict[str, Any] | None], str]


class PresetFields:
    """Builds the fields inside the current `gr.Blocks` context; ``prefix`` begins their ids."""

    def __init__(
        self,
        kind: TrainingKind,
        networks: Sequence[str],
        network: str,
        numbers: Mapping[str, str],
        *,
        facts: Facts,
        prefix: str,
    ) -> None:
        self._kind = kind
        self._facts = facts
        self._titles = numbers
        self._described: dict[str, dict[str, Any]] = {}
        self._asking = threading.Lock()
        with gr.Row():
            self.model = gr.Dropdown(
                list(networks), value=network, label="Network", elem_id=f"{prefix}-model"
            )
            self.preset = gr.Dropdown(
                [DEFAULT_PRESET], value=DEFAULT_PRESET, label="Preset", elem_id=f"{prefix}-preset"
            )
        self.facts = gr.HTML(elem_id=f"{prefix}-facts", padding=False)
        with gr.Row():
            self._numbers = {
                name: gr.Textbox("", label=label, min_width=90, elem_id=f"{prefix}-{name}")
                for name, label in numbers.items()
            }
        self.inputs = [self.model, self.preset]
        self.outputs = [self.preset, self.facts, *self._numbers.values()]
        self.components = [*self.inputs, *self._numbers.values()]  # what `read` reads
        self.model.change(self._choose_model, self.inputs, self.outputs, **HIDDEN)
        self.preset.change(self._describe, self.inputs, self.outputs[1:], **HIDDEN)

    def ask(self, model: str, preset: str) -> list[Any]:
        """Ask the trainer for its presets, once; `inputs` in, updates of `outputs` out."""
        self.described()
        return self._choose_model(model, preset)

    def described(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """What the trainer says of its presets, asked once; empty where it does not answer."""
        # It takes seconds, so a second page waits for the answer instead of asking again; and by
        # the second answer somebody may have chosen.
        with self._asking:
            if not self._described:
                try:
                    self._described = trainer.presets(self._kind)
                except AnnotatorError as error:
                    gr.Warning(str(error))
        return self._described

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values of `components` as options; OptionError where a number is none."""
        model, preset, *typed = values
        numbers = {
            name: whole(text, self._titles[name])
            for name, text in zip(self._numbers, typed, strict=True)
        }
        return {"model": model, "preset": preset, **numbers}

    def _choose_model(self, model: str, preset: str) -> list[Any]:
        names = list(self._described.get(model, {})) or [DEFAULT_PRESET]
        fallback = DEFAULT_PRESET if DEFAULT_PRESET in names else names[0]
        if preset in names:
            # No value: what was chosen since this was asked stays.
            return [gr.Dropdown(names), *self._describe(model, preset)]
        return [gr.Dropdown(names, value=fallback), *self._describe(model, fallback)]

    def _describe(self, model: str, preset: str) -> list[Any]:
        described = self._described.get(model, {}).get(preset)
        recipe = (described or {}).get("recipe", {})
        numbers = [gr.Textbox(placeholder=str(recipe.get(name, ""))) for name in self._numbers]
        facts = None if described is None else {"model": model, **described}
        return [self._facts(facts), *numbers]


def whole(text: str, label: str) -> int | None:
    """What was typed as a number; None where nothing was."""
    text = text.strip()
    if text and not text.isdecimal():
        raise OptionError(f"{label} must be a whole number, got {text!r}")
    return int(text) if text else None

"""The training screen: what there is to learn from, a form, live curves, trainings and models.

Nothing is kept in the page: every tick and every reload looks the training up, so closing the
page or killing the server changes nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from annotator import models, trainer, training
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_kinds import KINDS, LOCALIZER
from annotator.training_options import DEFAULT_MODEL, TrainingOptions, material
from annotator.ui import render, render_training
from annotator.workspace import Workspace
from engine.errors import AnnotatorError, OptionError
from engine.localizers import LOCALIZERS

TICK_SECONDS = 1.0
DEFAULT_PRESET = "small"
STOP, KILL = "Stop", "Kill it"
NUMBERS = {"epochs": "Epochs", "image_size": "Image size", "batch": "Photos a step"}
THREADS = "Threads"
HIDDEN: dict[str, Any] = {"show_progress": "hidden"}


class TrainingTab:
    """Builds the tab inside the current `gr.Blocks` context and holds its components."""

    def __init__(self, workspace: Workspace, key: gr.State) -> None:
        self._workspace = workspace
        self._guard = threading.Lock()  # logs are read by the ticks of several pages
        self._trainings: dict[str, Trainings] = {}
        self._presets: dict[str, dict[str, Any]] = {}
        self.number = gr.State(None)  # of the training that is shown; None: the newest
        self._sent = gr.State({})  # what the page shows already
        with gr.Row(equal_height=False, elem_classes="t2-page"):
            with gr.Column(scale=3, min_width=420):
                with gr.Column(elem_classes="t2-panel"):
                    self._build_shown()
                self.list = gr.HTML(elem_id="trainings", padding=False)
                self.models = gr.HTML(elem_id="models", padding=False)
            with gr.Column(scale=2, min_width=360, elem_classes="t2-panel"):
                self._build_form()
        self.timer = gr.Timer(TICK_SECONDS, active=False)
        self._connect(key)

    # -- the training that is shown ----------------------------------------------------------

    def _build_shown(self) -> None:
        self.progress = gr.HTML(elem_id="training-progress", padding=False)
        self.curves = gr.HTML(elem_id="training-curves", padding=False)
        with gr.Row():
            self.stop = gr.Button(STOP, elem_id="training-stop", visible=False)
            self.resume = gr.Button("Resume", elem_id="training-resume", visible=False)

    def _connect(self, key: gr.State) -> None:
        shown, seen = [key, self.number, self._sent], self._state_outputs
        self.timer.tick(self._tick, shown, seen, **HIDDEN)
        self.stop.click(self._stop, shown, seen, **HIDDEN)
        self.resume.click(self._resume, shown, seen, **HIDDEN)
        outputs = [self.refusal, self.number, *seen]
        self.start.click(self._start, [key, self._sent, *self.form], outputs, **HIDDEN)
        described = [self.preset, self.facts, *self.numbers.values()]
        self.model.change(self._choose_model, [self.model, self.preset], described, **HIDDEN)
        self.preset.change(self._describe, [self.model, self.preset], described[1:], **HIDDEN)

    @property
    def _state_outputs(self) -> list[Any]:
        html = [self.progress, self.curves, self.list, self.models]
        return [*html, self.stop, self.resume, self.timer, self._sent]

    @property
    def outputs(self) -> list[Any]:
        """The components that `show` fills."""
        return [self.number, self.readiness, self.start, self.weights, *self._state_outputs]

    def show(self, key: str | None, number: int | None) -> list[Any]:
        """Everything of the tab for the current project and a training of it; see `outputs`."""
        if key is None:
            return self._nothing("Open a project first.")
        try:
            project = self._workspace.get(key)
            with project.read() as view:
                found = material(view)
        except AnnotatorError as error:
            return self._nothing(str(error))
        return [
            number,
            render_training.readiness(found),
            gr.Button(interactive=len(found.classes) > 1),
            gr.Dropdown(choices=["", *(path.stem for path in models.paths(project))]),
            *self._tick(key, number, {}),
        ]

    def _nothing(self, why: str) -> list[Any]:
        start = gr.Button(interactive=False)
        return [None, render.notice(why), start, gr.skip(), *self._tick(None, None, {})]

    def look_again(self, key: str | None, number: int | None) -> list[Any]:
        """`show` for a tab that is opened again."""
        # A page opens its first tab before it has loaded, and this answer may be the later one.
        return [gr.skip() for _ in self.outputs] if key is None else self.show(key, number)

    def _tick(self, key: str | None, number: int | None, sent: dict[str, str]) -> list[Any]:
        """The state of the shown training; only what differs from what the page shows."""
        if key is None:
            hidden = gr.Button(visible=False)
            return [*[""] * 4, hidden, hidden, gr.Timer(active=False), {}]
        try:
            with self._guard:
                parts, found, is_busy = self._look(key, number)
        except AnnotatorError as error:
            gr.Warning(str(error))
            return [*[gr.skip()] * 6, gr.Timer(active=False), gr.skip()]
        html = [gr.skip() if sent.get(name) == text else text for name, text in parts.items()]
        stops = found is not None and found.status == training.STOPPING
        kills = stops and found is not None and found.can_be_killed
        return [
            *html,
            gr.Button(
                KILL if kills else STOP,
                visible=found is not None and found.is_active,
                interactive=kills or not stops,
            ),
            gr.Button(visible=found is not None and found.is_resumable),
            gr.Timer(active=is_busy),
            parts,
        ]

    def _look(
        self, key: str, number: int | None
    ) -> tuple[dict[str, str], training.Training | None, bool]:
        project = self._workspace.get(key)
        trainings = self._trainings.get(key)
        if trainings is None or trainings.project is not project:
            trainings = self._trainings[key] = Trainings(project)
        found = trainings.all()
        shown = next((one for one in found if number in (None, one.number)), None)
        curves = ""
        if shown is not None:
            prior = training.area_prior(shown)
            curves = render_training.curves(trainings.log(shown.number), area_prior=prior)
        parts = {
            "progress": render_training.progress(shown),
            "curves": curves,
            "list": render_training.trainings(
                found, key=key, shown=shown.number if shown else None
            ),
            "models": render_training.models(models.all_models(project)),
        }
        return parts, shown, any(one.is_active for one in found)

    def _stop(self, key: str, number: int | None, sent: dict[str, str]) -> list[Any]:
        return self._act(key, number, sent, training.cancel)

    def _resume(self, key: str, number: int | None, sent: dict[str, str]) -> list[Any]:
        return self._act(key, number, sent, training.resume)

    def _act(
        self,
        key: str,
        number: int | None,
        sent: dict[str, str],
        act: Callable[[Project, int], None],
    ) -> list[Any]:
        try:
            project = self._workspace.get(key)
            act(project, number or max(training.numbers(project)))
        except AnnotatorError as error:
            gr.Warning(str(error))
        return self._tick(key, number, sent)

    # -- a new one ---------------------------------------------------------------------------

    def _build_form(self) -> None:
        gr.HTML('<h2 class="t2-title">Train a localizer from the tags</h2>', padding=False)
        self.readiness = gr.HTML(elem_id="training-readiness", padding=False)
        with gr.Row():
            self.model = gr.Dropdown(
                list(LOCALIZERS), value=DEFAULT_MODEL, label="Network", elem_id="training-model"
            )
            self.preset = gr.Dropdown(
                [DEFAULT_PRESET], value=DEFAULT_PRESET, label="Preset", elem_id="training-preset"
            )
        self.facts = gr.HTML(elem_id="training-facts", padding=False)
        with gr.Row():
            self.numbers = {
                name: gr.Textbox("", label=label, min_width=90, elem_id=f"training-{name}")
                for name, label in NUMBERS.items()
            }
        with gr.Accordion("More", open=False):
            threads = gr.Textbox(
                "",
                label=THREADS,
                info="Of the processor; fewer leave room for reviewing meanwhile.",
                placeholder=f"{os.cpu_count()}",
                elem_id="training-threads",
            )
            self.weights = gr.Dropdown(
                [],
                value="",
                label="Begin with",
                info="A model of this project, or the path of a file; empty: as the preset says.",
                allow_custom_value=True,
                elem_id="training-weights",
            )
            truth = gr.Textbox(
                "",
                label="Truth file",
                info="COCO with true boxes; it only measures, nothing is learned from it.",
                placeholder="/home/me/annotations.json",
                elem_id="training-truth",
            )
            name = gr.Textbox(
                "",
                label="Name of the model",
                info="Network and number of the training if left empty.",
                elem_id="training-name",
            )
        self.start = gr.Button(
            "Start training", variant="primary", interactive=False, elem_id="training-start"
        )
        self.refusal = gr.HTML(elem_id="training-refusal", padding=False)
        self.form = [self.model, self.preset, *self.numbers.values()]
        self.form += [threads, self.weights, truth, name]

    def _start(
        self,
        key: str,
        sent: dict[str, str],
        model: str,
        preset: str,
        epochs: str,
        image_size: str,
        batch: str,
        threads: str,
        weights: str | None,
        truth: str,
        name: str,
    ) -> list[Any]:
        try:
            options = TrainingOptions(
                model=model,
                preset=preset,
                epochs=_whole(epochs, NUMBERS["epochs"]),
                image_size=_whole(image_size, NUMBERS["image_size"]),
                batch=_whole(batch, NUMBERS["batch"]),
                threads=_whole(threads, THREADS),
            )
            number = training.start(
                self._workspace.get(key),
                options,
                name=name,
                truth=Path(truth.strip()).expanduser() if truth.strip() else None,
                weights=(weights or "").strip(),
            )
        except AnnotatorError as error:
            return [render.notice(str(error)), *[gr.skip()] * (1 + len(self._state_outputs))]
        return ["", number, *self._tick(key, number, sent)]

    def read_presets(self, model: str, preset: str) -> list[Any]:
        """Ask the trainer for its presets, once; see `preset_outputs`."""
        if not self._presets:
            try:
                self._presets = trainer.presets(KINDS[LOCALIZER])
            except AnnotatorError as error:
                gr.Warning(str(error))
        return self._choose_model(model, preset)

    @property
    def preset_inputs(self) -> list[Any]:
        """What `read_presets` is told."""
        return [self.model, self.preset]

    @property
    def preset_outputs(self) -> list[Any]:
        """What `read_presets` fills."""
        return [self.preset, self.facts, *self.numbers.values()]

    def _choose_model(self, model: str, preset: str) -> list[Any]:
        names = list(self._presets.get(model, {})) or [DEFAULT_PRESET]
        chosen = preset if preset in names else DEFAULT_PRESET
        return [gr.Dropdown(names, value=chosen), *self._describe(model, chosen)]

    def _recipe(self, model: str, preset: str) -> dict[str, Any]:
        recipe = self._presets.get(model, {}).get(preset, {}).get("recipe", {})
        return dict(recipe) if isinstance(recipe, dict) else {}

    def _describe(self, model: str, preset: str) -> list[Any]:
        described = self._presets.get(model, {}).get(preset)
        recipe = self._recipe(model, preset)
        numbers = [gr.Textbox(placeholder=str(recipe.get(name, ""))) for name in self.numbers]
        return [render_training.preset_facts(described), *numbers]


def _whole(text: str, label: str) -> int | None:
    """What was typed as a number; None where nothing was."""
    text = text.strip()
    if text and not text.isdecimal():
        raise OptionError(f"{label} must be a whole number, got {text!r}")
    return int(text) if text else None

"""The form for training a localizer from tags: what there is to learn from, and the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gradio as gr

from annotator import models, training
from annotator.store import Project
from annotator.training_kinds import KINDS, LOCALIZER
from annotator.training_options import DEFAULT_MODEL, TrainingOptions, material
from annotator.ui import render_training
from annotator.ui.preset_fields import PresetFields, whole
from engine.localizers import LOCALIZERS

NUMBERS = {"epochs": "Epochs", "image_size": "Image size", "batch": "Photos a step"}
THREADS = "Threads"


class LocalizerForm:
    """Builds the form inside the current `gr.Blocks` context and holds its components."""

    def __init__(self) -> None:
        self.readiness = gr.HTML(elem_id="training-readiness", padding=False)
        self.presets = PresetFields(
            KINDS[LOCALIZER],
            list(LOCALIZERS),
            DEFAULT_MODEL,
            NUMBERS,
            facts=render_training.preset_facts,
            prefix="training",
        )
        with gr.Accordion("More", open=False):
            self._build_more()
        self.start = gr.Button(
            "Start training", variant="primary", interactive=False, elem_id="training-start"
        )
        self.refusal = gr.HTML(elem_id="training-refusal", padding=False)

    def _build_more(self) -> None:
        threads = gr.Textbox(
            "",
            label=THREADS,
            info="Of the processor; fewer leave room for reviewing meanwhile.",
            placeholder=f"{os.cpu_count()}",
            elem_id="training-threads",
        )
        self._weights = gr.Dropdown(
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
        self._more = [threads, self._weights, truth, name]

    @property
    def inputs(self) -> list[Any]:
        """What `begin` is told."""
        return [*self.presets.components, *self._more]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self.readiness, self.start, self._weights]

    def show(self, project: Project) -> list[Any]:
        """What the project has to learn from."""
        with project.read() as view:
            found = material(view)
        names = [one.name for one in models.of_kind(project, LOCALIZER)]
        return [
            render_training.readiness(found),
            gr.Button(interactive=len(found.classes) > 1),
            gr.Dropdown(choices=["", *names]),
        ]

    def show_nothing(self, why: str) -> list[Any]:
        """The form without a project."""
        return [why, gr.Button(interactive=False), gr.skip()]

    def begin(self, project: Project, values: list[Any]) -> int:
        """Start a training with the values of `inputs`; its number."""
        threads, weights, truth, name = values[-len(self._more) :]
        chosen = self.presets.read(values[: -len(self._more)])
        options = TrainingOptions(**chosen, threads=whole(threads, THREADS))
        return training.start(
            project,
            options,
            name=name,
            truth=Path(truth.strip()).expanduser() if truth.strip() else None,
            weights=(weights or "").strip(),
        )

"""The export screen: what to write and what reading it back found; beside it the way back in."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import gradio as gr

from annotator import exporting
from annotator.store import Project
from annotator.ui import render, render_exchange
from annotator.ui.import_form import ImportForm
from annotator.ui.label_studio_form import LabelStudioForm
from annotator.ui.voc_fields import VocFields
from annotator.workspace import Workspace
from engine.errors import AnnotatorError, OptionError
from engine.types import Status
from exports.choices import TRAIN, VAL, Choices
from exports.formats import formats_to_write
from exports.progress import OnProgress

FORMATS = {kind.title: name for name, kind in formats_to_write().items()}
FIRST = next(iter(FORMATS))
STATUSES = {
    "Accepted": Status.ACCEPTED,
    "Edited": Status.EDITED,
    "Drawn": Status.DRAWN,
    "Proposed (nobody looked)": Status.PROPOSED,
    "Rejected": Status.REJECTED,
}
CURATED = ["Accepted", "Edited", "Drawn"]
ROOM = '<div class="t2-room"></div>'  # for the bar of an export, which lies on its result
TICK_SECONDS = 0.5


class ExportTab:
    """Builds the tab inside the current `gr.Blocks` context."""

    def __init__(self, workspace: Workspace, key: gr.State, *, actor: str) -> None:
        self._workspace = workspace
        with gr.Row(equal_height=False, elem_classes="t2-page"):
            with gr.Column(scale=3, min_width=420):
                with gr.Column(elem_classes="t2-panel"):
                    self._build_export(key)
                with gr.Column(elem_classes="t2-panel"):
                    LabelStudioForm(workspace, key, actor=actor)
            with gr.Column(scale=2, min_width=360, elem_classes="t2-panel"):
                ImportForm(workspace, key, actor=actor)

    def _build_export(self, key: gr.State) -> None:
        gr.HTML('<h2 class="t2-title">Export</h2>', padding=False)
        kind = gr.Dropdown(list(FORMATS), value=FIRST, label="Format", elem_id="export-format")
        holds = gr.HTML(_holds(FIRST), elem_id="export-holds", padding=False)
        statuses = gr.CheckboxGroup(
            list(STATUSES),
            value=CURATED,
            label="Which objects",
            info="Curated objects, what a person stands behind, are chosen already.",
            elem_id="export-statuses",
        )
        voc = VocFields(kind, FORMATS, name="export", to_write=True)
        with gr.Accordion("More choices", open=False, elem_id="export-choices"):
            with gr.Row():
                classes = gr.Dropdown(
                    [], multiselect=True, label="Classes", info="All, if none is chosen",
                    elem_id="export-classes",
                )  # fmt: skip
                splits = gr.Dropdown(
                    [], multiselect=True, label="Splits", info="All photos, if none is chosen",
                    elem_id="export-splits",
                )  # fmt: skip
            score = gr.Slider(0, 1, value=0, step=0.05, label="Lowest score")
            with gr.Row():
                share = gr.Slider(
                    0, 0.9, value=0, step=0.05, label="Share of val", elem_id="export-share",
                    info="Of photos without a split",
                )  # fmt: skip
                seed = gr.Number(
                    0, precision=0, label="Seed", elem_id="export-seed",
                    info="Another one deals them differently",
                )  # fmt: skip
        with gr.Row():
            check = gr.Button("What would be lost?", elem_id="export-check")
            write = gr.Button("Export", variant="primary", elem_id="export-write")
        result = gr.HTML(elem_id="export-result", padding=False)
        self.lists: list[Any] = [classes, splits]
        inputs = [key, kind, statuses, *self.lists, score, share, seed, *voc.components]
        check.click(self._check, inputs, result, show_progress="minimal")
        # The download of the last export goes first: nobody should take it for the new one.
        cleared = write.click(lambda: ROOM, None, result, show_progress="hidden")
        cleared.then(self._write, inputs, result)
        kind.change(_holds, kind, holds, show_progress="hidden")
        key.change(self.look_again, key, self.lists, show_progress="hidden")

    def look_again(self, key: str | None) -> list[Any]:
        """The classes and splits that can be chosen now; what was chosen stays."""
        if key is None:
            return [gr.skip()] * len(self.lists)
        try:
            with self._workspace.get(key).read() as view:
                classes = list(view.category_names().values())
                present = {photo.split for photo in view.photos()} - {"", TRAIN, VAL}
        except AnnotatorError:  # an export says what is wrong
            return [gr.skip()] * len(self.lists)
        # What can be dealt can be chosen, too.
        return [gr.Dropdown(choices=one) for one in (classes, [TRAIN, VAL, *sorted(present)])]

    def _check(self, key: str | None, *chosen: Any) -> str:
        try:
            return render_exchange.plan(self._plan(self._project(key), *chosen))
        except AnnotatorError as error:
            return render.notice(str(error))

    def _write(
        self,
        key: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio finds it by its default)
        *chosen: Any,
    ) -> str:
        try:
            project = self._project(key)
            planned = self._plan(project, *chosen)
            folder = project.subfolder(exporting.EXPORTS)
            stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
            ending = exporting.writer_of(planned.format).ending
            report = exporting.write(
                planned,
                folder / f"{planned.format}-{stamp}{ending}",
                on_progress=bar_of(progress),
            )
            download = exporting.packed(report.path)
        except AnnotatorError as error:
            return render.notice(str(error))
        link = f"export/{key}/{download.name}"
        return render_exchange.export_result(report, download=download, link=link)

    def _project(self, key: str | None) -> Project:
        if key is None:
            raise OptionError("Open a project first.")
        return self._workspace.get(key)

    def _plan(
        self,
        project: Project,
        title: str,
        statuses: list[str],
        classes: list[str] | None,
        splits: list[str] | None,
        score: float | None,
        share: float | None,
        seed: float | None,
        *voc: Any,
    ) -> exporting.Plan:
        choices = Choices(
            statuses=exporting.choose_statuses([STATUSES[one].value for one in statuses]),
            classes=tuple(classes or ()),
            splits=tuple(splits or ()),
            # A field that was never shown comes as None.
            min_score=float(score or 0),
            val_share=float(share or 0) or None,
            seed=int(seed or 0),
        )
        name = FORMATS[title]
        return exporting.plan(project, name, choices=choices, options=VocFields.read(name, voc))


def bar_of(progress: gr.Progress) -> OnProgress:
    """Moves the bar now and then: each move keeps the browser, and so the export, busy."""
    last = -TICK_SECONDS

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TICK_SECONDS:
            last = now
            progress((done, total), desc=what.capitalize(), unit="")

    return show


def _holds(title: str) -> str:
    return render_exchange.holds(formats_to_write()[FORMATS[title]].holds)

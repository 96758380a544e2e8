"""The page: header, the tabs, and what a load or a reload brings back."""

from __future__ import annotations

from typing import Any

import gradio as gr

from annotator.listing import ORDERS, PLAIN
from annotator.ui import render
from annotator.ui.canvas import review_canvas
from annotator.ui.export_tab import ExportTab
from annotator.ui.operations import ORDER, Operations
from annotator.ui.projects_tab import ProjectsTab
from annotator.ui.training_tab import TrainingTab
from annotator.workspace import Workspace
from engine.errors import AnnotatorError

TABS = ("projects", "review", "train", "export")


def build_blocks(workspace: Workspace, operations: Operations, *, actor: str) -> gr.Blocks:
    """All pages as one `gr.Blocks`; the project and the photo stand in the page's address."""

    def review_op(op: Any) -> dict[str, Any]:
        return operations.handle(op)

    with gr.Blocks(title="Tag2Mask", analytics_enabled=False) as blocks:
        key = gr.State(None)
        header = gr.HTML(elem_id="header", padding=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Projects", id="projects") as projects:
                projects_tab = ProjectsTab(workspace, key, actor=actor)
            with gr.Tab("Review", id="review") as review:
                canvas = review_canvas(review_op=review_op, elem_id="review")
            with gr.Tab("Train", id="train") as train:
                training_tab = TrainingTab(workspace, key)
            with gr.Tab("Export", id="export") as export:
                export_tab = ExportTab(workspace, key, actor=actor)

        def load(request: gr.Request) -> list[Any]:
            project_key, name, photo, tab = _address(workspace, request)
            number = _number(request, "training")
            value = None
            if project_key is not None:
                order = _order(workspace, project_key, request)
                value = _start(project_key, photo, actor, order=order)
            return [
                project_key,
                render.header(name),
                gr.Tabs(selected=tab),
                value,
                *projects_tab.show(project_key, name),
                *training_tab.show(project_key, number, is_open=tab == "train"),
            ]

        outputs = [key, header, tabs, canvas, *projects_tab.outputs, *training_tab.outputs]
        loaded = blocks.load(load, None, outputs, show_progress="hidden")
        again, shown = projects_tab.look_again, projects_tab.outputs
        projects.select(again, projects_tab.inputs, shown, show_progress="hidden")
        numbered, seen = [key, *training_tab.inputs], training_tab.outputs
        opened = train.select(training_tab.look_again, numbered, seen, show_progress="hidden")
        asked, answered = training_tab.preset_inputs, training_tab.preset_outputs
        opened.then(training_tab.ask_presets, asked, answered, show_progress="hidden")

        def ask_at_start(request: gr.Request, *chosen: str) -> list[Any]:
            is_open = request.query_params.get("tab") == "train"
            return training_tab.ask_presets(*chosen) if is_open else [gr.skip()] * len(answered)

        loaded.then(ask_at_start, asked, answered, show_progress="hidden")
        for other in (projects, review, export):
            other.select(
                training_tab.leave, key, training_tab.estimate_timer, show_progress="hidden"
            )
        export.select(export_tab.look_again, key, export_tab.lists, show_progress="hidden")
    return blocks


Address = tuple[str | None, str | None, int | None, str]


def _address(workspace: Workspace, request: gr.Request) -> Address:
    """Project and its name, photo and tab that the page's address asks for and that are there."""
    query = dict(request.query_params)
    key: str | None = query.get("project")
    name: str | None = None
    try:
        if key is not None:
            with workspace.get(key).read() as view:
                name = str(view.setting("name", ""))
    except AnnotatorError as error:
        gr.Warning(str(error))
        key = None
    photo = _number(request, "photo")
    tab = query.get("tab", "review" if key else "projects")
    return key, name, photo, tab if tab in TABS else "projects"


def _number(request: gr.Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    return int(text) if text.isdecimal() else None


def _order(workspace: Workspace, key: str, request: gr.Request) -> str:
    """The order of photos that the address asks for, else the one chosen last."""
    asked = request.query_params.get("order")
    if asked is None:
        with workspace.get(key).read() as view:
            asked = view.setting(ORDER, PLAIN)
    return asked if asked in ORDERS else PLAIN


def _start(key: str, photo: int | None, actor: str, *, order: str) -> dict[str, Any]:
    """What the review screen needs to begin; it asks for the rest itself."""
    chosen = {"order": order}
    return {"schema": 1, "project": key, "photo": photo, "user": actor, "filter": chosen}

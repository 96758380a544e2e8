"""The page: header, the three tabs, and what a load or a reload brings back."""

from __future__ import annotations

from typing import Any

import gradio as gr

from annotator.store import Project
from annotator.ui import render
from annotator.ui.canvas import review_canvas
from annotator.ui.export_tab import ExportTab
from annotator.ui.operations import Operations
from annotator.ui.projects_tab import ProjectsTab
from annotator.workspace import Workspace
from engine.errors import AnnotatorError

TABS = ("projects", "review", "export")


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
            with gr.Tab("Export", id="export"):
                ExportTab(workspace, key)

        def load(request: gr.Request) -> list[Any]:
            project_key, photo, tab = _address(workspace, request)
            name = None
            if project_key is not None:
                name = _name_of(workspace.get(project_key))
            value = None if project_key is None else _start(project_key, photo, actor)
            return [
                project_key,
                render.header(name),
                gr.Tabs(selected=tab),
                value,
                *projects_tab.show(project_key),
            ]

        outputs = [key, header, tabs, canvas, *projects_tab.outputs]
        blocks.load(load, None, outputs, show_progress="hidden")
        again, shown = projects_tab.look_again, projects_tab.outputs
        projects.select(again, [key], shown, show_progress="hidden")
        # Proposals may have come in while another tab was shown: look at the photo again.
        review.select(None, None, None, js="() => window.dispatchEvent(new Event('t2m:shown'))")
    return blocks


def _name_of(project: Project) -> str:
    with project.read() as view:
        return str(view.setting("name", ""))


def _address(workspace: Workspace, request: gr.Request) -> tuple[str | None, int | None, str]:
    """Project, photo and tab that the page's address asks for, as far as they make sense."""
    query = dict(request.query_params)
    key: str | None = query.get("project")
    try:
        if key is not None:
            workspace.get(key)
    except AnnotatorError as error:
        gr.Warning(str(error))
        key = None
    photo_text = query.get("photo", "")
    photo = int(photo_text) if photo_text.isdecimal() else None
    tab = query.get("tab", "review" if key else "projects")
    return key, photo, tab if tab in TABS else "projects"


def _start(key: str, photo: int | None, actor: str) -> dict[str, Any]:
    """What the review screen needs to begin; it asks for the rest itself."""
    return {"schema": 1, "project": key, "photo": photo, "user": actor, "filter": {}}

"""The export screen: what to write, and what reading it back found."""

from __future__ import annotations

from datetime import datetime

import gradio as gr

from annotator import exporting
from annotator.ui import render
from annotator.workspace import Workspace
from engine.errors import AnnotatorError
from engine.types import Status
from exports.choices import Choices

FORMATS = {"COCO JSON": "coco"}
STATUSES = {
    "Accepted": Status.ACCEPTED,
    "Edited": Status.EDITED,
    "Drawn": Status.DRAWN,
    "Proposed (nobody looked)": Status.PROPOSED,
    "Rejected": Status.REJECTED,
}
CURATED = ["Accepted", "Edited", "Drawn"]


class ExportTab:
    """Builds the tab inside the current `gr.Blocks` context."""

    def __init__(self, workspace: Workspace, key: gr.State) -> None:
        self._workspace = workspace
        with gr.Column(elem_classes="t2-panel t2-narrow"):
            gr.HTML('<h2 class="t2-title">Export</h2>', padding=False)
            file_format = gr.Dropdown(list(FORMATS), value="COCO JSON", label="Format")
            statuses = gr.CheckboxGroup(
                list(STATUSES),
                value=CURATED,
                label="Which objects",
                info="Curated objects, what a person stands behind, are chosen already.",
                elem_id="export-statuses",
            )
            write = gr.Button("Export", variant="primary", elem_id="export-write")
            result = gr.HTML(elem_id="export-result", padding=False)
        write.click(self._write, [key, file_format, statuses], result, show_progress="minimal")

    def _write(self, key: str | None, file_format: str, choices: list[str]) -> str:
        if key is None:
            return render.notice("Open a project first.")
        try:
            project = self._workspace.get(key)
            folder = project.subfolder(exporting.EXPORTS)
            stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
            statuses = exporting.choose_statuses([STATUSES[choice].value for choice in choices])
            path = folder / f"{FORMATS[file_format]}-{stamp}.json"
            chosen = Choices(statuses=statuses)
            report = exporting.export(project, FORMATS[file_format], path, choices=chosen)
        except AnnotatorError as error:
            return render.notice(str(error))
        return render.export_result(report, link=f"export/{key}/{path.name}")

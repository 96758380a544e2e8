"""The form that brings annotations of others into the open project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from annotator import importing, intake
from annotator.ui import render, render_exchange
from annotator.ui.voc_fields import VocFields
from annotator.workspace import Workspace
from engine.errors import AnnotatorError, OptionError
from exports.formats import formats_to_read, formats_to_write

FORMATS = {kind.title: name for name, kind in formats_to_read().items()}
FORMATS[formats_to_write()[importing.TAGS].title] = importing.TAGS
FIRST = next(iter(FORMATS))
TAGS_TOLD = (
    '<p class="t2-path">Lines of <code>file,labels</code>, several labels joined by'
    " <code>;</code>. They replace the tags of the photos that the file names.</p>"
)
AS: dict[str, importing.As] = {
    "Decided: somebody stands behind them": "curated",
    "Proposals, to be reviewed": "proposed",
}


class ImportForm:
    """Builds the form inside the current `gr.Blocks` context."""

    def __init__(self, workspace: Workspace, key: gr.State, *, actor: str) -> None:
        self._workspace = workspace
        self._actor = actor
        gr.HTML('<h2 class="t2-title">Import</h2>', padding=False)
        kind = gr.Dropdown(list(FORMATS), value=FIRST, label="Format", elem_id="import-format")
        path = gr.Textbox(
            label="File or folder",
            info="On the computer that this program runs on",
            placeholder="/home/me/annotations.json",
            elem_id="import-path",
        )
        with gr.Column() as objects:
            taken_as = gr.Radio(
                list(AS), value=next(iter(AS)), label="Take them as", elem_id="import-as"
            )
            source = gr.Textbox(
                label="Name of the source",
                info="Kept with every object; the name of the file, if left empty",
                elem_id="import-source",
            )
            voc = VocFields(kind, FORMATS, name="import", to_write=False)
            with gr.Accordion("Where the photos lie", open=False):
                images = gr.Textbox(
                    label="Folder of the photos",
                    info="Only where names in the file are found in several folders of the project",
                    elem_id="import-images",
                )
        tags = gr.HTML(TAGS_TOLD, visible=False, elem_id="import-tags", padding=False)
        kind.change(_shown, kind, [objects, tags], show_progress="hidden")
        start = gr.Button("Import", variant="primary", elem_id="import-start")
        result = gr.HTML(elem_id="import-result", padding=False)
        inputs = [key, kind, path, taken_as, source, images, *voc.components]
        start.click(self._import, inputs, result, show_progress="minimal")

    def _import(
        self,
        key: str | None,
        title: str,
        path: str | None,
        taken_as: str,
        source: str | None,
        images: str | None,
        *voc: Any,
    ) -> str:
        # A field that was never shown comes as None.
        try:
            if key is None:
                raise OptionError("Open a project first.")
            if not (path or "").strip():
                raise OptionError("Give the file or folder to import.")
            name = FORMATS[title]
            if name == importing.TAGS:
                return render_exchange.tags_result(
                    intake.set_tags_from_file(
                        self._workspace.get(key), _typed(path or ""), actor=self._actor
                    )
                )
            report = importing.import_file(
                self._workspace.get(key),
                name,
                _typed(path or ""),
                actor=self._actor,
                taken_as=AS[taken_as],
                source=(source or "").strip() or None,
                folders=[_typed(images)] if images and images.strip() else (),
                options=VocFields.read(name, voc),
            )
        except AnnotatorError as error:
            return render.notice(str(error))
        return render_exchange.import_result(report)


def _shown(title: str) -> list[Any]:
    """What is asked of objects is not asked of tags."""
    is_tags = FORMATS[title] == importing.TAGS
    return [gr.Column(visible=not is_tags), gr.HTML(visible=is_tags)]


def _typed(text: str) -> Path:
    """A path as a person types it; FormatError and OptionError tell where nothing is there."""
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError as error:
        raise OptionError(f"{text.strip()!r}: there is no such home folder") from error

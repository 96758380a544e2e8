"""The two choices of the VOC formats as fields, shown where such a format is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from exports.formats import FORMATS
from exports.voc import VocOptions

CORNERS = {"0-based, as most programs write them": "plain", "1-based, inclusive": "inclusive"}
FIRST = next(iter(CORNERS))


class VocFields:
    """Builds the fields inside the current `gr.Blocks` context; they follow the list of formats."""

    def __init__(
        self, choice: gr.Dropdown, titles: Mapping[str, str], *, name: str, to_write: bool
    ) -> None:
        self._titles = titles
        with gr.Row(visible=False) as row:
            corners = gr.Radio(
                list(CORNERS), value=FIRST, label="Corners", elem_id=f"{name}-corners"
            )
            whole = gr.Checkbox(
                value=False,
                label="Whole pixels",
                info="Round boxes, for programs that read whole numbers only",
                visible=to_write,
            )
        self.components: list[Any] = [corners, whole]
        choice.change(self._shown, choice, row, show_progress="hidden")

    def _shown(self, title: str) -> Any:
        return gr.Row(visible=_has_corners(self._titles[title]))

    @staticmethod
    def read(name: str, values: Sequence[Any]) -> dict[str, Any]:
        """The options of the format from the values of the components; none for other formats."""
        if not _has_corners(name):
            return {}
        return {"corners": CORNERS[values[0]], "whole_pixels": bool(values[1])}


def _has_corners(name: str) -> bool:
    return VocOptions in (FORMATS[name].options, FORMATS[name].read_options)

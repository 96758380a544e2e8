"""The form that keeps a project and a Label Studio server in step: send, fetch back, stop.

The token stands in the page and in the memory of a transfer as long as that runs, nowhere else. A
transfer is a thread of the server: closing the page changes nothing, and a reload shows it again.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import gradio as gr

from annotator.exporting import choose_statuses
from annotator.labelstudio import exchange
from annotator.labelstudio.addresses import LOCAL, UPLOAD
from annotator.labelstudio.exchange import There
from annotator.labelstudio.transfers import Transfer, Work
from annotator.ui import render, render_exchange
from annotator.workspace import Workspace
from engine.errors import AnnotatorError, OptionError
from exports.choices import Choices
from exports.label_studio import LabelStudioOptions

TICK_SECONDS = 0.5
ADDRESS = "address"
WAYS = {
    "Upload them": UPLOAD,
    "It sees the same folder": LOCAL,
    "They stand on a web server": ADDRESS,
}
FIRST = next(iter(WAYS))
PLACES = {
    LOCAL: ("Its LOCAL_FILES_DOCUMENT_ROOT", "/srv/photos"),
    ADDRESS: ("Address in front of their names", "https://example.org/photos/"),
}
SIDES = {"Mine": "here", "Theirs": "there"}
HIDDEN: dict[str, Any] = {"show_progress": "hidden"}


class LabelStudioForm:
    """Builds the form inside the current `gr.Blocks` context."""

    def __init__(self, workspace: Workspace, key: gr.State, *, actor: str) -> None:
        self._workspace = workspace
        self._actor = actor
        self._guard = threading.Lock()
        self._transfers: dict[str, Transfer] = {}  # the newest of each project
        gr.HTML('<h2 class="t2-title">Label Studio server</h2>', padding=False)
        where = self._build_where()
        sending, fetching = self._build_how()
        with gr.Row():
            self._send = gr.Button("Send", variant="primary", elem_id="ls-send")
            self._fetch = gr.Button("Fetch back", elem_id="ls-fetch")
            self._stop = gr.Button("Cancel", elem_id="ls-stop", visible=False)
        result = gr.HTML(elem_id="ls-result", padding=False)
        timer = gr.Timer(TICK_SECONDS, active=False)
        outputs = [result, self._send, self._fetch, self._stop, timer]
        self._send.click(self._start_sending, [key, *where, *sending], outputs, **HIDDEN)
        self._fetch.click(self._start_fetching, [key, *where, *fetching], outputs, **HIDDEN)
        self._stop.click(self._cancel, key, outputs, **HIDDEN)
        timer.tick(self._look, key, outputs, **HIDDEN)
        key.change(self._look, key, outputs, **HIDDEN)

    def _build_where(self) -> list[Any]:
        with gr.Row():
            url = gr.Textbox(
                label="Address",
                placeholder="http://localhost:8080",
                elem_id="ls-url",
                min_width=140,
            )
            token = gr.Textbox(
                label="Access token",
                type="password",
                elem_id="ls-token",
                min_width=140,
                # So that no browser offers to keep it.
                html_attributes=gr.InputHTMLAttributes(autocomplete="one-time-code"),
            )
            title = gr.Textbox(
                label="Project there", placeholder="as this one", elem_id="ls-title", min_width=140
            )
        return [url, token, title]

    def _build_how(self) -> tuple[list[Any], list[Any]]:
        """The choices of sending, and those of fetching."""
        with gr.Accordion("Photos, proposals, conflicts", open=False, elem_id="ls-choices"):
            proposals = gr.Checkbox(True, label="Send proposals too, as predictions")
            way = gr.Radio(
                list(WAYS), value=FIRST, label="How it gets the photos", elem_id="ls-photos"
            )
            place = gr.Textbox(visible=False, elem_id="ls-place")
            side = gr.Radio(
                list(SIDES),
                value="Mine",
                label="Where both changed an object, this counts",
                elem_id="ls-prefer",
            )
            classes = gr.Checkbox(False, label="Labels not known here become classes")
        way.change(_place, way, place, **HIDDEN)
        return [proposals, way, place], [side, classes]

    # -- acts --------------------------------------------------------------------------------

    def _start_sending(
        self,
        key: str | None,
        url: str | None,
        token: str | None,
        title: str | None,
        proposals: bool | None,
        way: str | None,
        place: str | None,
    ) -> list[Any]:
        def begin(key: str) -> Work:
            project = self._workspace.get(key)
            there = _there(url, token, title, WAYS[way or FIRST], (place or "").strip())
            # A field that was never shown comes as None.
            chosen = ["curated"] if proposals is False else ["curated", "proposed"]
            choices = Choices(statuses=choose_statuses(chosen))
            return lambda on_progress, on_note: exchange.send(
                project,
                there,
                choices,
                LabelStudioOptions(),
                on_progress=on_progress,
                on_note=on_note,
            )

        return self._begin(key, begin)

    def _start_fetching(
        self,
        key: str | None,
        url: str | None,
        token: str | None,
        title: str | None,
        side: str | None,
        add_classes: bool | None,
    ) -> list[Any]:
        def begin(key: str) -> Work:
            project = self._workspace.get(key)
            there = _there(url, token, title, UPLOAD, "")
            return lambda on_progress, on_note: exchange.fetch(
                project,
                there,
                actor=self._actor,
                prefer="there" if side == "Theirs" else "here",
                add_classes=bool(add_classes),
                on_progress=on_progress,
                on_note=on_note,
            )

        return self._begin(key, begin)

    def _begin(self, key: str | None, begin: Any) -> list[Any]:
        try:
            if key is None:
                raise OptionError("Open a project first.")
            with self._guard:
                running = self._transfers.get(key)
                if running is None or not running.standing.is_running:
                    self._transfers[key] = Transfer(begin(key))
        except AnnotatorError as error:
            return [render.notice(str(error)), *[gr.skip()] * 4]
        return self._look(key)

    def _cancel(self, key: str | None) -> list[Any]:
        transfer = self._transfers.get(key or "")
        if transfer is not None:
            transfer.stop()
        return self._look(key)

    def _look(self, key: str | None) -> list[Any]:
        """How the newest transfer of the project stands, and what can be done now."""
        transfer = self._transfers.get(key or "")
        standing = None if transfer is None else transfer.standing
        is_running = standing is not None and standing.is_running
        can_stop = standing is not None and is_running and not standing.is_stopping
        return [
            "" if standing is None else render_exchange.transfer(standing),
            gr.Button(interactive=not is_running),
            gr.Button(interactive=not is_running),
            gr.Button(visible=is_running, interactive=can_stop),
            gr.Timer(active=is_running),
        ]


def _there(url: str | None, token: str | None, title: str | None, way: str, place: str) -> There:
    """Where to, as typed; OptionError where something is missing."""
    if not (url or "").strip():
        raise OptionError("Give the address of the server, like http://localhost:8080.")
    if not (token or "").strip():
        raise OptionError("Give the access token; Account & Settings of Label Studio shows it.")
    if way in PLACES and not place:
        raise OptionError(f"Give the {PLACES[way][0][0].lower()}{PLACES[way][0][1:]}.")
    return There(
        url=(url or "").strip(),
        token=(token or "").strip(),
        title=(title or "").strip(),
        photos=place if way == ADDRESS else way,
        document_root=Path(place) if way == LOCAL else None,
    )


def _place(title: str) -> Any:
    """The field for the place of the photos; none where they are uploaded."""
    label, example = PLACES.get(WAYS[title], ("", ""))
    return gr.Textbox(label=label, placeholder=example, visible=bool(label))

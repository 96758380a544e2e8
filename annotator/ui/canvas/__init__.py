"""The review screen: one hand-written Canvas-2D component inside `gr.HTML`, no JavaScript library.

The page gets where to start as its value; every gesture then goes through one server function that
takes one dict (``review_op``) and answers with what changed. ``session.js`` holds the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import gradio as gr

ReviewOperation = Callable[[dict[str, Any]], dict[str, Any]]

# In the order of their needs: pure logic, drawing, the conversation, the page, the wiring.
SCRIPTS = (
    "core.js",
    "document.js",
    "outbox.js",
    "unsaved.js",
    "session.js",
    "cycle.js",
    "evidence.js",
    "scene.js",
    "tools.js",
    "panels.js",
    "findings.js",
    "above.js",
    "strip.js",
    "chrome.js",
    "actions.js",
    "bindings.js",
    "canvas.js",
)

# Gradio looks for the names of events in quotes in the script; "edited" stands in canvas.js.
_START = (
    "mountReview(element, { trigger, props, server, watch });\n//# sourceURL=tag2mask_review.js"
)


def read_asset(name: str) -> str:
    """The text of a file of this folder, also from an installed wheel."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def script() -> str:
    """All JavaScript as the body of one function, which is what ``js_on_load`` wants."""
    return '"use strict";\n' + "\n".join(read_asset(name) for name in SCRIPTS) + "\n" + _START


def review_canvas(
    value: dict[str, Any] | None = None, *, review_op: ReviewOperation, **options: Any
) -> gr.HTML:
    """The whole review screen: tools, photo, lists, film strip.

    ``review_op`` is called with one dict an operation, in a thread, outside the queue. It has to
    answer mistakes as ``{"error": {"code", "message"}}``, since Gradio swallows exceptions.

    The value is ``{"schema": 1, "project": key, "photo": id | None, "user": name, "filter":
    {"status", "cls"}}``, or None while no project is open. Any other value opens what it names, so
    a counter in it refreshes the screen. The event ``edited`` follows saved edits. Never list the
    component among the inputs of an event.
    """
    # Not a subclass: for each of those Gradio writes an interface file beside the source.
    return gr.HTML(
        value=value,
        html_template=read_asset("canvas.html"),
        css_template=read_asset("canvas.css"),
        js_on_load=script(),
        apply_default_css=False,
        server_functions=[_named_for_the_page(review_op)],
        **options,
    )


def _named_for_the_page(answer: ReviewOperation) -> ReviewOperation:
    def review_op(op: dict[str, Any]) -> dict[str, Any]:
        return answer(op)

    return review_op  # the page calls it by this name, whatever the caller's function is called

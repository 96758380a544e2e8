"""How the pages look: Gradio's theme with our accent, and the style sheet beside this file."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr

CSS = files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Calm greys, one accent, the system's own fonts: nothing is fetched from anywhere."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "monospace"]
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_sm,
        spacing_size=gr.themes.sizes.spacing_sm,
        font=fonts,
        font_mono=mono,
    )

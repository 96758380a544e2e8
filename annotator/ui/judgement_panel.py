"""What a trained detector is worth, beside the one in use: figures, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from annotator import judgements, promotion
from annotator.store import Project
from annotator.training import DONE, Trainings
from annotator.training_kinds import DETECTOR
from annotator.ui.training_looks import Seen

Act = Callable[[Project, int, str], object]
"""What a button does: with the training that its page showed, and the detector in use there."""


class JudgementPanel:
    """Builds the panel inside the current `gr.Blocks` context and holds its components."""

    def __init__(self) -> None:
        self.html = gr.HTML(elem_id="training-judgement", padding=False)
        with gr.Row():
            promote = gr.Button(
                "Use this detector", variant="primary", elem_id="detector-promote", visible=False
            )
            back = gr.Button("Back", elem_id="detector-back", visible=False)
            judge = gr.Button("Judge again", elem_id="detector-judge", visible=False)
        self.actions: dict[gr.Button, Act] = {
            promote: _promote,
            back: _back,
            judge: _judge,
        }

    def buttons(self, seen: Seen) -> list[Any]:
        """Updates of the buttons, in the order of `actions`."""
        shown, judging = seen.shown, seen.judging
        is_ready = shown is not None and shown.what == DETECTOR and shown.status == DONE
        is_judging = judging is not None and judging.is_active
        name = "" if shown is None else shown.name
        return [
            gr.Button(visible=is_ready and name != seen.in_use, interactive=not is_judging),
            gr.Button(
                f"Back to {seen.before}" if seen.before else "Use no detector",
                visible=seen.before is not None,
            ),
            gr.Button(
                "Judge" if judging is None or judging.judgement is None else "Judge again",
                visible=is_ready,
                interactive=not is_judging,
            ),
        ]


def _promote(project: Project, number: int, in_use: str) -> None:
    name = Trainings(project).get(number).name
    promotion.promote(project, name, by=promotion.HAND, reason="by hand")


def _back(project: Project, number: int, in_use: str) -> None:
    promotion.back(project, instead_of=in_use)


def _judge(project: Project, number: int, in_use: str) -> None:
    judgements.start(project, Trainings(project).get(number).name, by_rule=False)

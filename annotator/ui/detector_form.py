"""The form for training a detector from what was accepted, with an estimate of the time it takes.

The estimate is asked for in the background while the form is shown, and ended when it is left.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

import gradio as gr

from annotator import (
    detector_material,
    estimates,
    holdback,
    models,
    pretrained,
    promotion,
    training,
)
from annotator.detector_material import DetectorMaterial
from annotator.estimates import AskedEstimate, Estimate
from annotator.store import Project
from annotator.training_kinds import DETECTOR, KINDS
from annotator.training_options import DEFAULT_DETECTOR, DetectorTrainingOptions
from annotator.ui import render_detector
from annotator.ui.preset_fields import DEFAULT_PRESET, PresetFields, whole
from engine.detectors import DETECTORS
from engine.detectors.published import Published
from engine.errors import AnnotatorError

NUMBERS = {"epochs": "Epochs", "batch": "Photos a step"}
THREADS = "Threads"
SCORE = 0.8  # from which a proposal may well be right
DROP = ["as the preset says", "yes", "no"]


@dataclass
class _Timed:
    """An estimate, and what it is of: settings, and the state of the project when it was begun."""

    of: tuple[Any, ...]
    state: tuple[int, ...]
    asked: AskedEstimate | None
    answer: Estimate | str | None = None  # what was found, or why nothing was


class DetectorForm:
    """Builds the form inside the current `gr.Blocks` context and holds its components."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # pages of one project share its estimate
        self._timed: dict[str, _Timed] = {}
        self.readiness = gr.HTML(elem_id="detector-readiness", padding=False)
        self.presets = PresetFields(
            KINDS[DETECTOR],
            list(DETECTORS),
            DEFAULT_DETECTOR,
            NUMBERS,
            facts=render_detector.preset_facts,
            prefix="detector",
        )
        self.download = gr.Checkbox(
            False,
            label="Download published weights if they are not on this machine",
            info="Only for a preset that begins with some; which ones is said above.",
            elem_id="detector-download",
        )
        with gr.Row(elem_classes="t2-together"):
            self.proposals = gr.Checkbox(
                False,
                label="Learn from proposals, too",
                info="As if they were accepted, from this score on.",
                elem_id="detector-proposals",
            )
            self.score = gr.Slider(
                0, 1, SCORE, step=0.05, show_label=False, elem_id="detector-score", min_width=120
            )
        with gr.Accordion("More", open=False):
            self._build_more()
        self.estimate = gr.HTML(elem_id="detector-estimate", padding=False)
        self.start = gr.Button(
            "Start training", variant="primary", interactive=False, elem_id="detector-start"
        )
        self.refusal = gr.HTML(elem_id="detector-refusal", padding=False)

    def _build_more(self) -> None:
        threads = gr.Textbox(
            "",
            label=THREADS,
            info="Of the processor; fewer leave room for reviewing meanwhile.",
            placeholder=f"{os.cpu_count()}",
            elem_id="detector-threads",
        )
        self._weights = gr.Dropdown(
            [],
            value="",
            label="Begin with",
            info="A detector of this project, or the path of a file; empty: as the preset says.",
            allow_custom_value=True,
            elem_id="detector-weights",
        )
        name = gr.Textbox(
            "",
            label="Name of the model",
            info="Network and number of the training if left empty.",
            elem_id="detector-name",
        )
        drop = gr.Dropdown(
            DROP,
            value=DROP[0],
            label="Leave out doubtful labels",
            info="Regions whose loss says that their label is wrong; you get to see them.",
            elem_id="detector-drop",
        )
        self._more = [threads, self._weights, drop, name]
        self.share = gr.Slider(
            0,
            holdback.LARGEST_SHARE,
            holdback.SHARE,
            step=0.05,
            label="Photos held back",
            info="They judge detectors and never train. A larger share keeps those of a smaller.",
            elem_id="detector-share",
        )
        self.by_rule = gr.Checkbox(
            True,
            label="Use what is surely better at once",
            info="By the photos held back; otherwise you decide after each training.",
            elem_id="detector-by-rule",
        )

    # -- what the project has ----------------------------------------------------------------

    @property
    def inputs(self) -> list[Any]:
        """What `begin` and `look_at_estimate` are told."""
        given = [self.proposals, self.score, self.download]
        return [*self.presets.components, *given, *self._more]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self.readiness, self.start, self._weights, self.share, self.by_rule]

    def material(self, project: Project, *, proposals: bool, score: float) -> DetectorMaterial:
        """What the project has to learn from and to judge by, as the form asks for it."""
        with project.read() as view:
            return detector_material.material(view, with_proposals=score if proposals else None)

    def show(self, project: Project, found: DetectorMaterial) -> list[Any]:
        """What was found, and what is chosen for the project."""
        with project.read() as view:
            share, is_by_hand = holdback.share_of(view), promotion.is_by_hand(view)
        names = [one.name for one in models.of_kind(project, DETECTOR)]
        return [
            render_detector.readiness(found, share=share),
            gr.Button(interactive=not found.problem()),
            gr.Dropdown(choices=["", *names]),
            gr.Slider(value=share),
            gr.Checkbox(value=not is_by_hand),
        ]

    def show_nothing(self, why: str) -> list[Any]:
        """The form without a project."""
        return [why, gr.Button(interactive=False), gr.skip(), gr.skip(), gr.skip()]

    # Each setting of the project by itself: what else a page shows may be long out of date.

    def keep_share(self, project: Project, share: float) -> None:
        """Hold back that share of the project's photos."""
        with project.write() as transaction:
            holdback.set_share(transaction, share)

    def keep_rule(self, project: Project, by_rule: bool) -> None:
        """Let the rule decide for the project, or a person."""
        with project.write() as transaction:
            promotion.set_by_hand(transaction, not by_rule)

    # -- a new one ---------------------------------------------------------------------------

    def begin(self, project: Project, values: list[Any]) -> int:
        """Start a training with the values of `inputs`; its number."""
        options, weights, name = self._read(values)
        found = self._missing(options, weights)
        pretrained.require_consent(found, may_download=self._may_download(values))
        return training.start(project, options, name=name, weights=weights)

    def _read(self, values: list[Any]) -> tuple[DetectorTrainingOptions, str, str]:
        fields, rest = values[: len(self.presets.components)], values[-len(self._more) :]
        proposals, score = values[len(fields) : len(fields) + 2]
        threads, weights, drop, name = rest
        options = DetectorTrainingOptions(
            **self.presets.read(fields),
            with_proposals=score if proposals else None,
            drop=None if drop == DROP[0] else drop == DROP[1],
            threads=whole(threads, THREADS),
        )
        return options, (weights or "").strip(), name

    def _may_download(self, values: list[Any]) -> bool:
        return bool(values[len(self.presets.components) + 2])

    def _missing(self, options: DetectorTrainingOptions, weights: str) -> Published | None:
        """What the trainer would download."""
        is_default = options.preset in (None, DEFAULT_PRESET)  # which begins with nothing
        described = {} if is_default else self.presets.described()
        return pretrained.missing(options, described, weights=weights)

    # -- how long it would take --------------------------------------------------------------

    def look_at_estimate(self, project: Project, values: list[Any]) -> tuple[str, bool]:
        """What is known of the time that these settings take, and whether more will come.

        Asks for it where nobody did, and ends the estimate of other settings.
        """
        try:
            options, weights, _ = self._read(values)
        except AnnotatorError:
            return "", False  # the start says what is wrong
        key, of, state = str(project.folder), (options, weights), _state(project)
        found = self._missing(options, weights)
        if found is not None and not self._may_download(values):  # timing would fetch them as well
            self.leave(project)
            return render_detector.estimate(pretrained.sentence(found), seconds=0.0), False
        with self._guard:
            timed = self._timed.get(key)
            # What is under way is not begun again at each decision that is made meanwhile.
            if timed is None or timed.of != of or (timed.asked is None and timed.state != state):
                self._end(key)
                timed = self._timed[key] = _asked(project, of, state)
            if timed.asked is not None:
                _listen(timed)
            is_pending = timed.asked is not None
            seconds = timed.asked.seconds if timed.asked is not None else 0.0
            return render_detector.estimate(timed.answer, seconds=seconds), is_pending

    def leave(self, project: Project) -> None:
        """Nobody looks at the form any more: what is being timed ends, what was found stays."""
        key = str(project.folder)
        with self._guard:
            if key in self._timed and self._timed[key].asked is not None:
                self._end(key)

    def _end(self, key: str) -> None:
        timed = self._timed.pop(key, None)
        if timed is not None and timed.asked is not None:
            timed.asked.cancel()


def _state(project: Project) -> tuple[int, ...]:
    """Changes with everything that is decided, so that a new estimate is asked for."""
    with project.read() as view:
        return tuple(view.status_counts().values())


def _asked(project: Project, of: tuple[Any, ...], state: tuple[int, ...]) -> _Timed:
    options, weights = of
    try:
        return _Timed(of, state, estimates.ask(project, options, weights=weights))
    except AnnotatorError as error:
        return _Timed(of, state, None, str(error))


def _listen(timed: _Timed) -> None:
    assert timed.asked is not None
    try:
        timed.answer = timed.asked.found()
    except AnnotatorError as error:
        timed.answer = str(error)
    if timed.answer is not None:
        timed.asked = None

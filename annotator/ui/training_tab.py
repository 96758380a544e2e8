"""The training screen: a form for each kind of model, live curves, trainings, models, judgements.

Nothing is kept in the page: every tick and every reload looks the training up, so closing the
page or killing the server changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from annotator import training
from annotator.store import Project
from annotator.training_kinds import DETECTOR, KINDS, LOCALIZER
from annotator.ui import render
from annotator.ui.detector_form import SCORE, DetectorForm
from annotator.ui.judgement_panel import Act, JudgementPanel
from annotator.ui.localizer_form import LocalizerForm
from annotator.ui.training_looks import TrainingLooks
from annotator.workspace import Workspace
from engine.errors import AnnotatorError

TICK_SECONDS = 1.0
STOP, KILL = "Stop", "Kill it"
HIDDEN: dict[str, Any] = {"show_progress": "hidden"}


class TrainingTab:
    """Builds the tab inside the current `gr.Blocks` context and holds its components."""

    def __init__(self, workspace: Workspace, key: gr.State) -> None:
        self._workspace = workspace
        self._looks = TrainingLooks(workspace)
        self.number = gr.State(None)  # of the training that is shown; None: the newest
        self._sent = gr.State({})  # what the page shows already
        # What the buttons are about: with a newer training or in another window it may have changed
        # since, and a person means what is on the screen.
        self._on_screen = gr.State(None)  # number of a training, name of the detector in use
        self._is_chosen = gr.State(False)  # whether a person said what to train
        with gr.Row(equal_height=False, elem_classes="t2-page"):
            with gr.Column(scale=3, min_width=420):
                with gr.Column(elem_classes="t2-panel"):
                    self._build_shown()
                self.list = gr.HTML(elem_id="trainings", padding=False)
                self.models = gr.HTML(elem_id="models", padding=False)
            with gr.Column(scale=2, min_width=360, elem_classes="t2-panel"):
                self._build_forms()
        self.timer = gr.Timer(TICK_SECONDS, active=False)
        self.estimate_timer = gr.Timer(TICK_SECONDS, active=False)
        self._connect(key)

    def _build_shown(self) -> None:
        self.progress = gr.HTML(elem_id="training-progress", padding=False)
        self.curves = gr.HTML(elem_id="training-curves", padding=False)
        with gr.Row():
            self.stop = gr.Button(STOP, elem_id="training-stop", visible=False)
            self.resume = gr.Button("Resume", elem_id="training-resume", visible=False)
        self.detail = gr.HTML(elem_id="training-detail", padding=False)
        self.panel = JudgementPanel()

    def _build_forms(self) -> None:
        gr.HTML('<h2 class="t2-title">Train a model</h2>', padding=False)
        self.what = gr.Radio(
            [(kind.title.capitalize(), name) for name, kind in KINDS.items()],
            value=LOCALIZER,
            show_label=False,
            container=False,
            elem_id="training-what",
        )
        with gr.Column(elem_id="localizer-form") as self._localizer_column:
            self.localizer = LocalizerForm()
        with gr.Column(elem_id="detector-form", visible=False) as self._detector_column:
            self.detector = DetectorForm()

    def _connect(self, key: gr.State) -> None:
        shown, seen = [key, self.number, self._sent], self._state_outputs
        self.timer.tick(self._tick, shown, seen, **HIDDEN)
        acts: dict[gr.Button, Act] = {
            self.stop: lambda project, number, _: training.cancel(project, number),
            self.resume: lambda project, number, _: training.resume(project, number),
            **self.panel.actions,
        }
        for button, act in acts.items():
            button.click(self._acting(act), [*shown, self._on_screen], seen, **HIDDEN)
        for what, form in ((LOCALIZER, self.localizer), (DETECTOR, self.detector)):
            outputs = [form.refusal, self.number, *seen]
            given = [key, self._sent, *form.inputs]
            form.start.click(self._beginning(what), given, outputs, **HIDDEN)
        columns = [self._localizer_column, self._detector_column]
        # Only what a person chooses: a page sets it as well, and may show another tab.
        self.what.input(self._choose, self.what, [self._is_chosen, *columns], **HIDDEN)
        self.what.input(self.ask_presets, self.preset_inputs, self.preset_outputs, **HIDDEN)
        self._connect_detector(key)

    def _connect_detector(self, key: gr.State) -> None:
        form = self.detector
        asked, timed = [key, self.what, *form.inputs], [form.estimate, self.estimate_timer]
        self.estimate_timer.tick(self._estimate, asked, timed, **HIDDEN)
        # Whoever still types would have many estimates begun and ended; a field that is left is
        # typed to its end.
        self.what.input(self._estimate, asked, timed, **HIDDEN)
        for field in form.inputs:
            event = field.blur if isinstance(field, gr.Textbox) else field.input
            event(self._estimate, asked, timed, **HIDDEN)
        material = [key, form.proposals, form.score]
        for event in (form.proposals.input, form.score.release):
            event(self._show_detector, material, form.outputs, **HIDDEN)
        for event, field, keep in (
            (form.share.release, form.share, form.keep_share),
            (form.by_rule.input, form.by_rule, form.keep_rule),
        ):
            event(self._keeping(keep), [*material, field], form.outputs, **HIDDEN)

    # -- what is shown -----------------------------------------------------------------------

    @property
    def _state_outputs(self) -> list[Any]:
        html = [self.progress, self.curves, self.detail, self.panel.html, self.list, self.models]
        return [*html, self.stop, self.resume, *self.panel.actions, *self._unseen_outputs]

    @property
    def _unseen_outputs(self) -> list[Any]:
        return [self.timer, self._sent, self._on_screen]

    @property
    def outputs(self) -> list[Any]:
        """The components that `show` fills."""
        forms = [*self.localizer.outputs, *self.detector.outputs]
        columns = [self._localizer_column, self._detector_column]
        state = self._state_outputs
        return [self.number, self.what, *columns, *forms, self.estimate_timer, *state]

    def show(self, key: str | None, number: int | None, *, is_open: bool) -> list[Any]:
        """Everything of the tab for the current project and a training of it; see `outputs`.

        Where the tab is not open, what takes long is left to `look_again`.
        """
        if key is None:
            return self._nothing("Open a project first.")
        if is_open:
            return self._show(key, number, is_chosen=False, proposals=False, score=SCORE)
        forms = len([*self.localizer.outputs, *self.detector.outputs])
        timer = gr.Timer(active=False)
        return [number, *[gr.skip()] * (3 + forms), timer, *self._tick(key, number, {})]

    @property
    def inputs(self) -> list[Any]:
        """What `look_again` is told besides the project."""
        return [self.number, self._is_chosen, self.detector.proposals, self.detector.score]

    def look_again(
        self, key: str | None, number: int | None, is_chosen: bool, proposals: bool, score: float
    ) -> list[Any]:
        """`show` for a tab that is opened; what a person chose in it stays."""
        # A page opens its first tab before it has loaded, and this answer may be the later one.
        if key is None:
            return [gr.skip() for _ in self.outputs]
        return self._show(key, number, is_chosen=is_chosen, proposals=proposals, score=score)

    def _show(
        self, key: str, number: int | None, *, is_chosen: bool, proposals: bool, score: float
    ) -> list[Any]:
        try:
            project = self._workspace.get(key)
            found = self.detector.material(project, proposals=proposals, score=score)
            forms = [*self.localizer.show(project), *self.detector.show(project, found)]
        except AnnotatorError as error:
            return self._nothing(str(error))
        # Nobody has to choose where only one of them can be trained.
        fitting = LOCALIZER if found.problem() else DETECTOR
        what = [gr.skip()] * 3 if is_chosen else [gr.Radio(value=fitting), *_columns(fitting)]
        timer = gr.Timer(active=True)  # its first tick says whether it is needed
        return [number, *what, *forms, timer, *self._tick(key, number, {})]

    def _nothing(self, why: str) -> list[Any]:
        told = render.notice(why)
        forms = [*self.localizer.show_nothing(told), *self.detector.show_nothing(told)]
        what, timer = [gr.skip()] * 3, gr.Timer(active=False)
        return [None, *what, *forms, timer, *self._tick(None, None, {})]

    def _tick(self, key: str | None, number: int | None, sent: dict[str, str]) -> list[Any]:
        """The state of the shown training; only what differs from what the page shows."""
        if key is None:
            hidden = [gr.Button(visible=False)] * (2 + len(self.panel.actions))
            return [*[""] * 6, *hidden, gr.Timer(active=False), {}, None]
        try:
            seen = self._looks.look(key, number)
        except AnnotatorError as error:
            gr.Warning(str(error))
            kept = len(self._state_outputs) - len(self._unseen_outputs)
            return [*[gr.skip()] * kept, gr.Timer(active=False), gr.skip(), gr.skip()]
        html = [gr.skip() if sent.get(name) == text else text for name, text in seen.parts.items()]
        return [
            *html,
            *_process_buttons(seen.shown),
            *self.panel.buttons(seen),
            gr.Timer(active=seen.is_busy),
            seen.parts,
            None if seen.shown is None else (seen.shown.number, seen.in_use),
        ]

    # -- what is done ------------------------------------------------------------------------

    def _acting(self, act: Act) -> Callable[..., list[Any]]:
        """What a button does with the training that its page shows."""

        def react(
            key: str,
            number: int | None,
            sent: dict[str, str],
            on_screen: tuple[int, str] | None,
        ) -> list[Any]:
            try:
                if on_screen is not None:
                    act(self._workspace.get(key), *on_screen)
            except AnnotatorError as error:
                gr.Warning(str(error))
            return self._tick(key, number, sent)

        return react

    def _beginning(self, what: str) -> Callable[..., list[Any]]:
        """What the start button of a form does."""
        form = self.detector if what == DETECTOR else self.localizer

        def begin(key: str, sent: dict[str, str], *values: Any) -> list[Any]:
            try:
                project = self._workspace.get(key)
                self.detector.leave(project)  # both would only slow each other down
                number = form.begin(project, list(values))
            except AnnotatorError as error:
                return [render.notice(str(error)), *[gr.skip()] * (1 + len(self._state_outputs))]
            return ["", number, *self._tick(key, number, sent)]

        return begin

    def _choose(self, what: str) -> list[Any]:
        return [True, *_columns(what)]

    def _show_detector(self, key: str | None, proposals: bool, score: float) -> list[Any]:
        return self._detector_form(key, proposals, score, lambda project: None)

    def _keeping(self, keep: Callable[[Project, Any], None]) -> Callable[..., list[Any]]:
        """What a field does that is a setting of the project, not of one training."""

        def react(key: str | None, proposals: bool, score: float, value: Any) -> list[Any]:
            return self._detector_form(key, proposals, score, lambda project: keep(project, value))

        return react

    def _detector_form(
        self, key: str | None, proposals: bool, score: float, act: Callable[[Project], None]
    ) -> list[Any]:
        if key is None:
            return [gr.skip() for _ in self.detector.outputs]
        try:
            project = self._workspace.get(key)
            act(project)
            found = self.detector.material(project, proposals=proposals, score=score)
            return self.detector.show(project, found)
        except AnnotatorError as error:
            gr.Warning(str(error))
            return [gr.skip() for _ in self.detector.outputs]

    # -- what the trainers know --------------------------------------------------------------

    @property
    def preset_inputs(self) -> list[Any]:
        """What `ask_presets` is told."""
        return [self.what, *self.localizer.presets.inputs, *self.detector.presets.inputs]

    @property
    def preset_outputs(self) -> list[Any]:
        """What `ask_presets` fills."""
        return [*self.localizer.presets.outputs, *self.detector.presets.outputs]

    def ask_presets(self, what: str, *chosen: str) -> list[Any]:
        """Ask the trainer of what is chosen for its presets, once."""
        updates: list[Any] = []
        given = list(chosen)
        for name, form in ((LOCALIZER, self.localizer), (DETECTOR, self.detector)):
            model, preset = given[:2]
            del given[:2]
            fields = form.presets
            is_meant = name == what
            updates += fields.ask(model, preset) if is_meant else [gr.skip()] * len(fields.outputs)
        return updates

    # -- how long it would take --------------------------------------------------------------

    def _estimate(self, key: str | None, what: str, *values: Any) -> list[Any]:
        """What is known of the time; not while a training needs the machine."""
        text, is_pending = "", False
        try:
            if key is not None and what == DETECTOR and not self._looks.is_training(key):
                project = self._workspace.get(key)
                text, is_pending = self.detector.look_at_estimate(project, list(values))
            elif key is not None:
                self.detector.leave(self._workspace.get(key))
        except AnnotatorError as error:
            text = render.notice(str(error))
        return [text, gr.Timer(active=is_pending)]

    def leave(self, key: str | None) -> Any:
        """Another tab is shown: nobody waits for the estimate; see `estimate_timer`."""
        if key is not None:
            try:
                self.detector.leave(self._workspace.get(key))
            except AnnotatorError as error:
                gr.Warning(str(error))
        return gr.Timer(active=False)


def _columns(what: str) -> list[Any]:
    """The form of what is trained, and not the other one."""
    return [gr.Column(visible=what == LOCALIZER), gr.Column(visible=what == DETECTOR)]


def _process_buttons(shown: training.Training | None) -> list[Any]:
    """Stop and Resume, as they fit the shown training."""
    if shown is None:
        return [gr.Button(visible=False)] * 2
    stops = shown.status == training.STOPPING
    return [
        gr.Button(
            KILL if shown.can_be_killed else STOP,
            visible=shown.is_active,
            interactive=shown.can_be_killed or not stops,
        ),
        gr.Button(visible=shown.is_resumable),
    ]

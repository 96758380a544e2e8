"""The first screen: the projects, how proposing gets on in this one, and the way to a new one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from annotator import intake, jobs, listing, pipeline_options, runs
from annotator.pictures import thumbnail_address
from annotator.store import Project
from annotator.ui import render
from annotator.ui.pipeline_form import PipelineForm
from annotator.views import View
from annotator.workspace import Workspace, key_of
from engine import pipelines, pro2sam, segmenters
from engine.errors import AnnotatorError, OptionError
from engine.photos import photo_files

TAG_SOURCES = {"A CSV file": "csv", "Names of the folders": "folders", "No tags": "none"}
PROPOSE, RESUME = "Propose boxes and masks", "Resume"
TICK_SECONDS = 1.0
LOOK_SECONDS = 2.0  # who types /home/me/photos has typed / and /home on the way
SILENT_NAMES = ("images", "photos", "pictures", "img", "data")  # the folder above says more


class ProjectsTab:
    """Builds the tab inside the current `gr.Blocks` context and holds its components."""

    def __init__(self, workspace: Workspace, key: gr.State, *, actor: str) -> None:
        self._workspace = workspace
        self._actor = actor
        self.form = PipelineForm()
        with gr.Row(equal_height=False, elem_classes="t2-page"):
            with gr.Column(scale=3, min_width=420):
                self.current = gr.Column(visible=False, elem_classes="t2-panel")
                with self.current:
                    self._build_run_panel(key)
                gr.HTML('<h2 class="t2-title">Projects</h2>', padding=False)
                self.cards = gr.HTML(elem_id="projects", padding=False)
            with gr.Column(scale=2, min_width=360, elem_classes="t2-panel"):
                self._build_form()

    # -- proposing ---------------------------------------------------------------------------

    def _build_run_panel(self, key: gr.State) -> None:
        self.title = gr.HTML(padding=False)
        self.progress = gr.HTML(elem_id="run-progress", padding=False)
        with gr.Row():
            self.form.build_choice(scale=2)
            self.start = gr.Button(PROPOSE, variant="primary", elem_id="start-run", scale=3)
            self.stop = gr.Button("Stop", elem_id="stop-run", scale=1)
        self.form.build_options()
        self.timer = gr.Timer(TICK_SECONDS, active=False)
        self.run_outputs = [self.progress, self.start, self.stop, self.timer]
        self.inputs = [key, *self.form.components]
        hidden: dict[str, Any] = {"show_progress": "hidden"}
        self.start.click(self._start, self.inputs, self.run_outputs, **hidden)
        self.stop.click(self._stop, self.inputs, self.run_outputs, **hidden)
        self.timer.tick(self.run_state, self.inputs, self.run_outputs, **hidden)
        for field in self.form.components:  # `input` comes from a person, unlike `change`
            field.input(
                self.run_state, self.inputs, self.run_outputs, trigger_mode="always_last", **hidden
            )

    def _start(self, key: str, *chosen: Any) -> list[Any]:
        def begin(project: Project) -> None:
            pipeline, options = self._wanted(project, chosen)
            with project.write() as transaction:
                run = runs.resumable(transaction, pipeline=pipeline, options=options)
                run_id = run.id if run else None
                if run_id is None:
                    photos = runs.select_photos(
                        transaction, pipeline=pipeline, options=options, again=False
                    )
                    run_id = runs.start(
                        transaction, pipeline=pipeline, options=options, photos=photos
                    )
            jobs.start_worker(project, run_id)

        return self._then_state(key, begin, chosen)

    def _wanted(self, project: Project, chosen: Sequence[Any]) -> tuple[str, dict[str, Any]]:
        pipeline, options = self.form.read(chosen)
        return pipeline, pipeline_options.with_defaults(project, pipeline, options)

    def _stop(self, key: str, *chosen: Any) -> list[Any]:
        def stop(project: Project) -> None:
            with project.read() as view:
                newest = next(iter(runs.all_runs(view)), None)
            if newest is not None:
                runs.cancel(project, newest.id)

        return self._then_state(key, stop, chosen)

    def _then_state(
        self, key: str, act: Callable[[Project], None], chosen: Sequence[Any]
    ) -> list[Any]:
        try:
            act(self._workspace.get(key))
        except AnnotatorError as error:
            gr.Warning(str(error))
        return self.run_state(key, *chosen)

    def run_state(self, key: str | None, *chosen: Any) -> list[Any]:
        """The run panel as the store has it: progress, both buttons, whether to look again.

        ``chosen`` are the values of the form; without them it shows what the newest run used.
        """
        if key is None:
            return [gr.skip(), gr.skip(), gr.skip(), gr.Timer(active=False)]
        try:
            project = self._workspace.get(key)
            with project.read() as view:
                newest = next(iter(runs.all_runs(view)), None)
                left = listing.counts(view)["empty"]
                resumes = self._resumes(project, view, newest, chosen)
        except AnnotatorError as error:  # busy, or gone: say so, and do not ask every second
            idle = gr.Button(interactive=False)
            return [render.notice(str(error)), gr.Button(PROPOSE), idle, gr.Timer(active=False)]
        is_busy = newest is not None and newest.status in (runs.RUNNING, runs.WAITING)
        return [
            render.run_progress(newest, photos_left=left),
            gr.Button(RESUME if resumes and not is_busy else PROPOSE, interactive=not is_busy),
            gr.Button(interactive=is_busy),
            gr.Timer(active=is_busy),
        ]

    def _resumes(
        self, project: Project, view: View, newest: runs.Run | None, chosen: Sequence[Any]
    ) -> bool:
        """Whether starting now would go on with a run that was stopped."""
        if newest is None or not chosen:
            return newest is not None and newest.is_resumable
        try:
            pipeline, options = self._wanted(project, chosen)
        except OptionError:
            return False  # a value that is typed just now; starting with it says what is wrong
        return runs.resumable(view, pipeline=pipeline, options=options) is not None

    def _fill_form(self, key: str | None) -> list[Any]:
        """The form as the newest run had it, so that a reload changes nothing."""
        pipeline, options, names = pipelines.DEFAULT, dict[str, Any](), dict[str, list[str]]()
        try:
            if key is not None:
                project = self._workspace.get(key)
                names = _names(project)
                with project.read() as view:
                    newest = next(iter(runs.all_runs(view)), None)
                if newest is not None:
                    pipeline, options = newest.pipeline, newest.options
        except AnnotatorError:
            return self.form.filled(pipelines.DEFAULT, {}, {})  # `run_state` says what is wrong
        return self.form.filled(pipeline, options, names)

    # -- the list ----------------------------------------------------------------------------

    def show(self, key: str | None, name: str | None) -> list[Any]:
        """Everything of the tab for the current project and its name; see `outputs`."""
        title = f'<h2 class="t2-title">{render.escape(name or "")}</h2>'
        return [
            gr.Column(visible=key is not None),
            title,
            self._all_cards(key),
            *self.run_state(key),
            *self._fill_form(key),
        ]

    def look_again(self, key: str | None, *chosen: Any) -> list[Any]:
        """`show` for a tab that is opened again; what was chosen stays, there may be more names."""
        # A page opens its first tab before it has loaded, and this answer may be the later one.
        if key is None:
            return [gr.skip() for _ in self.outputs]
        try:
            offered = self.form.offered(_names(self._workspace.get(key)))
        except AnnotatorError:
            offered = [gr.skip() for _ in chosen]  # `run_state` says what is wrong
        here = gr.Column(visible=True)
        return [here, gr.skip(), self._all_cards(key), *self.run_state(key, *chosen), *offered]

    def _all_cards(self, key: str | None) -> str:
        return render.cards(
            [self._card(folder) for folder in self._workspace.folders()], current=key
        )

    @property
    def outputs(self) -> list[Any]:
        """The components that `show` fills."""
        return [
            *(self.current, self.title, self.cards),
            *self.run_outputs,
            *self.form.components,
        ]

    def _card(self, folder: Path) -> render.ProjectCard:
        key = key_of(folder)
        try:
            with self._workspace.get(key).read() as view:
                counts = listing.counts(view)
                first = listing.page(view, listing.Filter(), offset=0, limit=1)
                name = view.setting("name", folder.name)
        except AnnotatorError as error:
            return render.ProjectCard(key, folder.name, str(folder), 0, 0, 0, None, str(error))
        return render.ProjectCard(
            key=key,
            name=name,
            folder=str(folder),
            photos=counts["all"],
            todo=counts["todo"],
            done=counts["done"],
            cover=thumbnail_address(key, first[0].id, first[0].sha256) if first else None,
        )

    # -- a new project -----------------------------------------------------------------------

    def _build_form(self) -> None:
        gr.HTML('<h2 class="t2-title">New project</h2>', padding=False)
        folder = gr.Textbox(
            label="Folder of the photos", placeholder="/home/me/photos", elem_id="new-folder"
        )
        source = gr.Radio(list(TAG_SOURCES), value="A CSV file", label="Tags", elem_id="new-source")
        tags = gr.Textbox(
            label="Tags file",
            info="CSV with the header file,labels; labels joined by ;",
            placeholder="/home/me/tags.csv",
            elem_id="new-tags",
        )
        check = gr.HTML(elem_id="new-check", padding=False)
        home = gr.Textbox(
            label="Keep the project in",
            info="A new folder, the one shown if left empty; the photos stay where they are",
            elem_id="new-home",
        )
        create = gr.Button("Create project", variant="primary", elem_id="new-create")
        # Not where the counts stand: those of the last key may come after a refusal.
        refusal = gr.HTML(elem_id="new-refusal", padding=False)
        target = gr.Textbox(visible=False)
        form: list[Any] = [folder, source, tags]
        hidden: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
        # One event for all three: one answer at a time, and the last one is of what stands there.
        gr.on([field.change for field in form], self._check, form, check, **hidden)
        # Only shown, so that an answer that comes late replaces nothing that was typed meanwhile.
        folder.change(lambda text: gr.Textbox(placeholder=_home_for(text)), folder, home, **hidden)
        source.change(lambda chosen: gr.Textbox(visible=chosen == "A CSV file"), source, tags)
        created = create.click(
            self._create, [*form, home], [refusal, target], show_progress_on=check
        )
        created.success(None, target, None, js="(url) => { if (url) window.location.search = url }")

    def _check(self, folder: str, source: str, tags: str) -> str:
        if not folder.strip():
            return ""
        try:
            names, skipped = photo_files(_path(folder), seconds=LOOK_SECONDS)
            csv = _path(tags) if TAG_SOURCES[source] == "csv" and tags.strip() else None
            labels, problems = intake.read_tag_choice(
                names, tags_file=csv, from_folders=TAG_SOURCES[source] == "folders"
            )
        except AnnotatorError as error:
            return render.notice(str(error))
        return render.tag_check(
            photos=len(names),
            skipped=len(skipped),
            tagged=sum(bool(one) for one in labels.values()),
            classes=sorted({label for one in labels.values() for label in one}),
            problems=[f"line {problem.line}: {problem.text}" for problem in problems],
        )

    def _create(
        self,
        folder: str,
        source: str,
        tags: str,
        home: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio finds it by its default)
    ) -> tuple[str, str]:
        choice = TAG_SOURCES[source]
        project = None
        try:
            if not folder.strip():
                raise OptionError("give the folder of the photos")
            if choice == "csv" and not tags.strip():
                raise OptionError("give the tags file, or choose another source of tags")
            place = _path(home if home.strip() else _home_for(folder))
            project = Project.create(place, name=place.name)
            report = intake.add_photos(
                project,
                _path(folder),
                actor=self._actor,
                tags_file=_path(tags) if choice == "csv" else None,
                from_folders=choice == "folders",
                on_progress=lambda done, total: progress((done, total), unit="photos"),
            )
        except AnnotatorError as error:
            if project is not None:
                project.discard()
            return render.notice(str(error)), ""
        key = self._workspace.remember(project.folder)
        project.close()
        if report.refused:
            gr.Info(f"{len(report.refused)} files could not be opened; annotator status lists them")
        return "", f"?project={key}&tab=projects"


def _names(project: Project) -> dict[str, list[str]]:
    """What the options that name a model or a segmenter can be, whichever pipeline has them."""
    return {
        "localizer": pipeline_options.localizer_names(project),
        "detector": pipeline_options.detector_names(project),
        "classifier": pipeline_options.classifier_names(project),
        "segmenter": [pro2sam.AUTO, *segmenters.available()],
    }


def _path(text: str) -> Path:
    path = Path(text.strip().strip('"'))
    try:
        return path.expanduser()
    except RuntimeError:  # ~ and a name that nobody has (yet)
        return path


def _home_for(folder: str) -> str:
    if not folder.strip():
        return ""
    path = _path(folder)
    telling = path.parent.name if path.name.lower() in SILENT_NAMES else path.name
    name = re.sub(r"[^\w.-]+", "-", telling) or "project"
    return str(Path.home() / "tag2mask" / name)

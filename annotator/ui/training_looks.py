"""One look at a project's trainings: everything that the Train page shows of them, as HTML.

Whoever looks also sees to it that finished detectors are judged; see `annotator.judgements`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from annotator import judgements, models, promotion, training
from annotator import training_files as files
from annotator.judgements import Judging
from annotator.store import Project
from annotator.training import Training, Trainings
from annotator.training_kinds import DETECTOR
from annotator.ui import render_detector, render_training
from annotator.ui.render_detector import Sample
from annotator.workspace import Workspace

SAMPLES_SHOWN = 6
SAMPLE_TYPES = (".jpg", ".png")


@dataclass(frozen=True)
class Seen:
    """What a look found."""

    parts: dict[str, str]  # of the page, in its order
    shown: Training | None
    judging: Judging | None  # of the shown one
    in_use: str  # name of a detector
    before: str | None  # what a step back leads to; None where there is none
    is_busy: bool  # something will change by itself


class TrainingLooks:
    """Keeps the logs that it has read, so that a look each second is cheap."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._guard = threading.Lock()  # logs are read by the ticks of several pages
        self._trainings: dict[str, Trainings] = {}

    def look(self, key: str, number: int | None) -> Seen:
        """At the training of this number, or the newest one."""
        with self._guard:
            return self._look(key, self._of(key), number)

    def is_training(self, key: str) -> bool:
        """Whether a training of the project is at work."""
        with self._guard:
            return any(one.is_active for one in self._of(key).all())

    def _of(self, key: str) -> Trainings:
        project = self._workspace.get(key)
        trainings = self._trainings.get(key)
        if trainings is None or trainings.project is not project:
            trainings = self._trainings[key] = Trainings(project)
        return trainings

    def _look(self, key: str, trainings: Trainings, number: int | None) -> Seen:
        project = trainings.project
        found = trainings.all()
        judgements.see_to(project, found)
        shown = next((one for one in found if number in (None, one.number)), None)
        with project.read() as view:
            in_use, before = promotion.current(view), promotion.before(view)
        judging = None
        if shown is not None and shown.what == DETECTOR:
            judging = judgements.look(project, shown.name)
        number = shown.number if shown else None
        parts = {
            "progress": render_training.progress(shown),
            "curves": "" if shown is None else _curves(trainings, shown),
            "detail": "" if shown is None else _detail(key, trainings, shown),
            "judgement": render_detector.judgement(judging, in_use=in_use),
            "list": render_training.trainings(found, key=key, shown=number),
            "models": render_training.models(models.all_models(project), in_use=in_use),
        }
        is_busy = any(one.is_active for one in found) or bool(judging and judging.is_active)
        return Seen(parts, shown, judging, in_use, before, is_busy)


def _curves(trainings: Trainings, shown: Training) -> str:
    prior = training.area_prior(shown)
    return render_training.curves(trainings.log(shown.number), area_prior=prior)


def _detail(key: str, trainings: Trainings, shown: Training) -> str:
    if shown.what != DETECTOR:
        return ""
    log = trainings.log(shown.number)
    pictures = [
        Sample(
            render_detector.sample_address(key, shown.number, name, version=version),
            title=name.rpartition(".")[0],
        )
        for name, version in _newest(shown)
    ]
    table = render_detector.class_table(
        log.class_figures, shown.classes, is_of_taught=log.is_of_taught
    )
    return table + render_detector.samples(pictures)


def _newest(shown: Training) -> list[tuple[str, int]]:
    """Names of the newest sample pictures, and when each was written."""
    folder = shown.folder / files.SAMPLES
    found = [
        (path.name, path.stat().st_mtime_ns)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix in SAMPLE_TYPES and not path.name.startswith(".")
    ]
    newest = sorted(found, key=lambda one: (-one[1], one[0]))[:SAMPLES_SHOWN]
    return sorted(newest)


def sample_path(project: Project, number: int, name: str) -> str | None:
    """The file of a sample picture that is listed; None for any other name."""
    folder = files.numbered_folders(project).get(number)
    place = None if folder is None else folder / files.SAMPLES
    if place is None or not place.is_dir():
        return None
    listed = {path.name: path for path in place.iterdir() if path.suffix in SAMPLE_TYPES}
    return str(listed[name]) if name in listed and listed[name].is_file() else None

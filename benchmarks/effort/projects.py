"""Photos with truth into a real project, and proposals into it by a real run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator import pipeline_options, runs, suggest
from annotator.assist import Assistant
from annotator.intake import add_photos
from annotator.session import ReviewSession
from annotator.store import Project
from benchmarks.effort.person import ACTOR
from benchmarks.effort.truth import TruePhoto
from engine import pipelines, segmenters
from engine.options import as_dict, from_dict
from engine.segmenters.interface import Segmenter
from exports.tags import write_tags

FIRST_ID = 1  # of the photos of a new project


@dataclass(frozen=True)
class Proposer:
    """What proposes: a pipeline and its options, as the command line takes them."""

    pipeline: str
    options: Mapping[str, Any]

    def all_options(self, project: Project) -> dict[str, Any]:
        """With the defaults filled in, names of models as the project knows them."""
        kind = pipelines.PIPELINES[self.pipeline].options
        options = as_dict(from_dict(kind, dict(self.options)))
        return pipeline_options.with_defaults(project, self.pipeline, options)


def make_project(folder: Path, photos: Sequence[TruePhoto]) -> Project:
    """A project with these photos and tags; photo k of the sequence gets the id k + 1."""
    own = folder / "photos"
    own.mkdir(parents=True)
    tags = {}
    for number, photo in enumerate(photos):
        name = f"{number:05d}{photo.path.suffix}"
        shutil.copyfile(photo.path, own / name)
        tags[name] = photo.tags
    write_tags(folder / "tags.csv", tags)
    project = Project.create(folder / "project")
    add_photos(project, own, actor=ACTOR, tags_file=folder / "tags.csv")
    with project.read() as view:
        assert [photo.path for photo in view.photos()] == list(tags), "photos lost their order"
    return project


def propose(project: Project, proposer: Proposer, which: range) -> float:
    """Proposals for photos number ``which``; the seconds of the processor that the run took."""
    options = proposer.all_options(project)
    photos = [FIRST_ID + at for at in which]
    with project.write() as transaction:
        number = runs.start(transaction, pipeline=proposer.pipeline, options=options, photos=photos)
    started = time.process_time()
    run = suggest.work_on(project, number)
    if run.problems:
        with project.read() as view:
            raise RuntimeError(f"the run had problems: {runs.problems(view, number)}")
    return time.process_time() - started


def classical_segmenter() -> Segmenter:
    """That of all modes, whatever weights the machine has."""
    return segmenters.build("classical")


def session_on(project: Project) -> ReviewSession:
    """The review of this project, answering clicks by the segmenter without weights."""
    return ReviewSession(project, Assistant(classical_segmenter))

"""The ways of labelling that are compared: the same photos in the same order, a record of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from annotator.session import ReviewSession
from annotator.store import Project
from benchmarks.effort.person import Habits, PhotoRecord, SimulatedPerson
from benchmarks.effort.projects import FIRST_ID, Proposer, make_project, propose, session_on
from benchmarks.effort.retraining import Loop, LoopOptions
from benchmarks.effort.truth import TruePhoto

DRAW, CLICK, LOOP = "draw", "click", "loop"

WITHOUT_WEIGHTS = {
    "classical": Proposer("classical", {}),
    "pro2sam": Proposer("pro2sam", {"localizer": "saliency", "segmenter": "classical"}),
}
"""The pipelines that need no weights, by the name of their mode."""

MODES: dict[str, str] = {
    DRAW: "draws every box",
    CLICK: "clicks, without proposals",
    "classical": "proposals: classical",
    "pro2sam": "proposals: pro2sam with saliency",
    LOOP: "proposals with the loop",
}
"""The ways that are compared, and what the tables call them."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ModeRecord:
    """What one way of labelling took on a set."""

    name: str
    rounds: tuple[tuple[PhotoRecord, ...], ...]
    proposing: float = 0.0  # seconds of the processor
    training: float = 0.0  # seconds on the clock, judging included
    notes: tuple[dict[str, Any], ...] = field(default=())  # of each retraining

    @property
    def photos(self) -> list[PhotoRecord]:
        """Of all rounds."""
        return [photo for one in self.rounds for photo in one]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "rounds": [[photo.as_dict() for photo in one] for one in self.rounds],
            "seconds_proposing": round(self.proposing, 2),
            "seconds_training": round(self.training, 2),
            "seconds_answering": round(sum(photo.seconds for photo in self.photos), 2),
            "notes": list(self.notes),
        }


def in_rounds(count: int, rounds: int) -> list[range]:
    """The photos of each round: as many rounds as asked for, if there are so many photos."""
    size = -(-count // min(rounds, count))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def review(
    session: ReviewSession, habits: Habits, photos: Sequence[TruePhoto], which: range
) -> tuple[PhotoRecord, ...]:
    """What the person does to photos number ``which``."""
    person = SimulatedPerson(session, habits)
    return tuple(person.review(FIRST_ID + at, photos[at]) for at in which)


def without_loop(
    name: str,
    folder: Path,
    photos: Sequence[TruePhoto],
    *,
    rounds: int,
    habits: Habits,
    proposer: Proposer | None,
) -> ModeRecord:
    """All photos by proposals made beforehand, or by none where there is no proposer."""
    project = make_project(folder, photos)
    session = session_on(project)
    try:
        proposing = 0.0
        if proposer is not None:
            proposing = propose(project, proposer, range(len(photos)))
        done = tuple(
            review(session, habits, photos, which) for which in in_rounds(len(photos), rounds)
        )
        project.check_journal()
    finally:
        close(session, project)
    return ModeRecord(name, done, proposing)


def with_loop(
    folder: Path,
    photos: Sequence[TruePhoto],
    *,
    rounds: int,
    habits: Habits,
    options: LoopOptions,
    tell: Tell,
) -> ModeRecord:
    """Round by round: proposals by what is in use, review, a training that may change that."""
    project = make_project(folder, photos)
    session = session_on(project)
    try:
        loop = Loop(project, photos, habits, options)
        proposing = 0.0
        done: list[tuple[PhotoRecord, ...]] = []
        for which in in_rounds(len(photos), rounds):
            proposing += propose(project, loop.in_use, which)
            done.append(review(session, habits, photos, which))
            if which.stop < len(photos):
                tell(f"training after {which.stop} photos")
                loop.after_round(which.stop, [photo for part in done for photo in part])
        project.check_journal()
    finally:
        close(session, project)
    return ModeRecord(LOOP, tuple(done), proposing, loop.seconds, tuple(loop.notes))


def close(session: ReviewSession, project: Project) -> None:
    """Let go of the segmenter and the database."""
    session.assistant.close()
    project.close()


def labelled(
    name: str,
    folder: Path,
    photos: Sequence[TruePhoto],
    *,
    rounds: int,
    habits: Habits,
    options: LoopOptions,
    tell: Tell,
) -> ModeRecord:
    """A set labelled in the way of `MODES` that has this name, in a project below ``folder``."""
    if name == LOOP:
        return with_loop(folder, photos, rounds=rounds, habits=habits, options=options, tell=tell)
    if name == DRAW:
        habits = replace(habits, clicks=0)
    proposer = WITHOUT_WEIGHTS.get(name)
    return without_loop(name, folder, photos, rounds=rounds, habits=habits, proposer=proposer)

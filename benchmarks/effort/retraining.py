"""Between two rounds: a detector trained from what the person accepted, and whether to use it.

It is trained as `annotator train detector` does, from where the one before it ended. It is used if
on the photos that the project holds back, which no detector learns from, its proposals would have
cost the person fewer actions than those in use; the score from which on it proposes is chosen
there as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotator import holdback, models, pipeline_options, promotion, training
from annotator.store import Project
from annotator.training_options import DetectorTrainingOptions
from benchmarks.effort.expected import expected_actions, mean_of_mending
from benchmarks.effort.person import Habits, PhotoRecord
from benchmarks.effort.projects import FIRST_ID, Proposer
from benchmarks.effort.truth import TrueObject, TruePhoto, has_masks
from engine import photos as photo_files
from engine import pipelines
from engine.detectors.predictor import Detector
from engine.errors import JobError
from engine.geometry import rle_to_mask
from engine.metrics.detection import DetectedPhoto, ScoredBox, TrueBox, coco_scores
from engine.types import CURATED, Image, Instance

SCORES = (0.1, 0.3, 0.5, 0.7, 0.9)  # from which on a detector may propose
POLL_SECONDS = 0.25
START = Proposer("classical", {})  # before any detector is better


@dataclass(frozen=True)
class LoopOptions:
    """How a detector is trained between rounds; the project holds back its usual share."""

    training: DetectorTrainingOptions
    passed_on: tuple[str, ...] = ()  # flags of the trainer


@dataclass(frozen=True)
class Candidate:
    """A proposer, and what its proposals on the photos held back would cost a photo."""

    proposer: Proposer
    actions: float


@dataclass(eq=False)
class Loop:
    """What proposes in a project, round after round."""

    project: Project
    photos: Sequence[TruePhoto]
    habits: Habits
    options: LoopOptions
    in_use: Proposer = START
    newest: str = ""  # the model trained last, used or not
    seconds: float = 0.0  # of training and judging
    notes: list[dict[str, Any]] = field(default_factory=list)

    def after_round(self, reviewed: int, done: Sequence[PhotoRecord]) -> None:
        """Train on what is decided, judge, and perhaps change what proposes.

        ``reviewed`` photos from the first on are done; ``done`` is what they took.
        """
        started = time.perf_counter()
        name, facts = self._trained()
        mending = mean_of_mending(done)
        judges = self._judges(reviewed)
        present = self._cheapest([self.in_use], judges, mending)
        candidate = self._cheapest(self._of(name), judges, mending)
        is_better = candidate.actions < present.actions
        note = {
            **facts,
            "AP50 held back": self._average_precision(name, judges),
            "AP50 photos to come": self._average_precision(name, range(reviewed, len(self.photos))),
            "judges": len(judges),
            "actions by those in use": present.actions,
            "by the new": candidate.actions,
            "from score": candidate.proposer.options["min_score"],
            "used": "yes" if is_better else "no",
        }
        if is_better:
            reason = f"{candidate.actions:.2f} actions a photo instead of {present.actions:.2f}"
            promotion.promote(self.project, name, by=promotion.HAND, reason=reason)
            self.in_use = candidate.proposer
        taken = time.perf_counter() - started
        self.seconds += taken
        self.notes.append({**note, "seconds": round(taken, 1)})

    def _trained(self) -> tuple[str, dict[str, Any]]:
        """The name of a new model, and what it learned from; JobError where training failed."""
        number = training.start(
            self.project,
            self.options.training,
            weights=self.newest,
            passed_on=self.options.passed_on,
        )
        trainings = training.Trainings(self.project)
        while (one := trainings.get(number)).is_active:
            time.sleep(POLL_SECONDS)
        if one.status != training.DONE or one.message:
            raise JobError(f"training {number} is {one.status}: {one.message}")
        self.newest = one.name
        return one.name, {"instances": sum(one.classes.values()), "steps": one.step}

    def _of(self, name: str) -> list[Proposer]:
        """A detector that proposes from each score on."""
        return [
            Proposer("detector", {"detector": name, "min_score": score, "segmenter": "classical"})
            for score in SCORES
        ]

    def _judges(self, reviewed: int) -> dict[int, tuple[TrueObject, ...]]:
        """The reviewed photos that are held back, with what the person decided is on them."""
        with self.project.read() as view:
            found = {one.id - FIRST_ID: one.instances for one in holdback.parts(view).judges}
        return {
            at: tuple(_decided(one, self.photos[at]) for one in instances if one.status in CURATED)
            for at, instances in found.items()
            if at < reviewed
        }

    def _cheapest(
        self,
        proposers: Sequence[Proposer],
        judges: Mapping[int, tuple[TrueObject, ...]],
        mending: float,
    ) -> Candidate:
        """Of proposers that differ in `min_score` alone, the one that costs least."""
        lowest = proposers[0]
        options = pipeline_options.located(self.project, lowest.all_options(self.project))
        if lowest.pipeline == "detector" and not has_masks(self.photos):
            options["masks"] = "none"  # only boxes are compared, and masks take most of the time
        suggest = pipelines.build(lowest.pipeline, options).suggest
        seen = [
            (objects, suggest(load(self.photos[at]), tags=self.photos[at].tags).instances)
            for at, objects in judges.items()
        ]
        candidates = []
        for one in proposers:
            low = float(one.options.get("min_score", 0.0))
            costs = [
                expected_actions(
                    objects,
                    [instance for instance in found if (instance.score or 0.0) >= low],
                    habits=self.habits,
                    mending=mending,
                )
                for objects, found in seen
            ]
            candidates.append(Candidate(one, sum(costs) / len(costs) if costs else float("inf")))
        return min(candidates, key=lambda one: one.actions)

    def _average_precision(self, name: str, which: Iterable[int]) -> float | None:
        """AP50 of its boxes by the truth, in percent; None without photos."""
        detector = Detector(models.path_of(self.project, name), device="cpu")
        answers = [
            DetectedPhoto(
                truth=tuple(TrueBox(one.box, one.category) for one in photo.objects),
                detections=tuple(
                    ScoredBox(one.box, one.category, one.score)
                    for one in detector.detect(load(photo))
                ),
            )
            for photo in (self.photos[at] for at in which)
        ]
        found = coco_scores(answers).ap50 if answers else None
        return None if found is None else 100 * found


def _decided(instance: Instance, photo: TruePhoto) -> TrueObject:
    """As the person left it; with its mask where masks are what counts."""
    mask = None
    if has_masks([photo]) and instance.rle is not None:
        mask = rle_to_mask(instance.rle)
    return TrueObject(str(instance.category), instance.box, mask)


def load(photo: TruePhoto) -> Image:
    """Its pixels."""
    return photo_files.load(photo.path)

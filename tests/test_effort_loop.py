"""The loop of the bench of effort: what picks a proposer, and a training between two rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from annotator.store import Project
from annotator.training_options import DetectorTrainingOptions
from benchmarks.effort.__main__ import bench, parsed
from benchmarks.effort.expected import expected_actions, mean_of_mending
from benchmarks.effort.modes import with_loop
from benchmarks.effort.person import Habits, ObjectRecord, PhotoRecord
from benchmarks.effort.projects import Proposer
from benchmarks.effort.retraining import Candidate, Loop, LoopOptions
from benchmarks.effort.truth import TrueObject, photos_of
from benchmarks.synthetic import SceneOptions, class_names, make_set
from engine.detectors import build
from engine.detectors.saved import DetectorCard, save_detector
from engine.types import Box, Instance, Source, Status

SQUARE = (12.0, 16.0, 44.0, 48.0)


def proposal(box: Box = SQUARE) -> Instance:
    return Instance(
        box=box, category="cat", status=Status.PROPOSED, source=Source("classical"), score=0.5
    )


def test_good_and_wrong_proposals_cost_one_and_what_is_missing_costs_mending() -> None:
    objects = [TrueObject("cat", SQUARE), TrueObject("dog", (48.0, 50.0, 62.0, 62.0))]
    proposed = [proposal(), proposal((0.0, 0.0, 8.0, 8.0)), proposal((0.0, 20.0, 8.0, 28.0))]
    assert expected_actions(objects, proposed, habits=Habits(), mending=2.5) == 1 + 2 + 2.5
    assert expected_actions([], [], habits=Habits(), mending=2.5) == 0


def test_a_proposal_that_must_be_mended_is_not_rejected_as_well() -> None:
    half = proposal((12.0, 16.0, 30.0, 48.0))
    assert (
        expected_actions([TrueObject("cat", SQUARE)], [half], habits=Habits(), mending=3.5) == 3.5
    )


def test_mending_is_what_objects_took_that_were_not_good_at_once() -> None:
    at_once = ObjectRecord("cat", {"accept": 1}, "accept", 0.9, True, 0)
    clicked = ObjectRecord("cat", {"gallery": 1, "click": 3}, "click", 0.9, True, 1)
    photos = [PhotoRecord((at_once, clicked), 0, 0.0), PhotoRecord((at_once,), 4, 0.0)]
    assert mean_of_mending(photos) == 4.0
    assert mean_of_mending([PhotoRecord((at_once,), 0, 0.0)]) == 3.0


def detector_that_knows_nothing(path: Path) -> None:
    """Saved as a training would leave it."""
    network = {"backbone": "resnet18", "backbone_width": 8, "fpn_channels": 8, "head_width": 8}
    sizes = {"min_size": 48, "max_size": 64, "anchor_sizes": (8, 16, 24, 32, 48)}
    sizes |= {"test_proposals": 8}
    torch.manual_seed(0)
    module = build("fasterrcnn", num_classes=2, **network, **sizes)
    card = DetectorCard("fasterrcnn", {**network, **sizes}, class_names(2), {}, {})
    path.parent.mkdir(exist_ok=True)
    save_detector(path, module, card)


@pytest.mark.parametrize("is_dear", [False, True])
def test_a_detector_proposes_on_the_rest_only_where_it_would_have_cost_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_dear: bool
) -> None:
    make_set(tmp_path / "set", photos=4, options=SceneOptions(classes=2, size=48))
    photos = photos_of(tmp_path / "set", most=4, seed=0)
    kept: list[Loop] = []

    def trained(loop: Loop) -> tuple[str, dict[str, object]]:
        name = f"detector-{len(loop.notes)}"
        detector_that_knows_nothing(models_of(loop.project) / f"{name}.safetensors")
        kept.append(loop)
        return name, {"instances": 4, "steps": 1}

    def cheapest(
        loop: Loop, proposers: Sequence[Proposer], judges: object, mending: float
    ) -> Candidate:
        is_detector = proposers[0].pipeline == "detector"
        return Candidate(proposers[-1], 2.0 + (is_dear if is_detector else 0.5))

    monkeypatch.setattr(Loop, "_trained", trained)
    monkeypatch.setattr(Loop, "_cheapest", cheapest)
    record = with_loop(
        tmp_path / "loop",
        photos,
        rounds=2,
        habits=Habits(clicks=0),
        options=LoopOptions(DetectorTrainingOptions(model="fasterrcnn")),
        tell=lambda text: None,
    )
    assert [len(part) for part in record.rounds] == [2, 2]
    assert [note["used"] for note in record.notes] == ["no" if is_dear else "yes"]
    assert kept[0].in_use.pipeline == ("classical" if is_dear else "detector")
    # A detector that knows nothing proposes nothing from a score of 0.9 on: nothing is accepted.
    if not is_dear:
        ended = {thing.ended for photo in record.rounds[1] for thing in photo.objects}
        assert ended == {"draw"}


def models_of(project: Project) -> Path:
    return project.folder / "models"


@pytest.mark.slow
def test_the_loop_trains_judges_and_proposes_by_itself(tmp_path: Path) -> None:
    make_set(tmp_path / "set", photos=12, options=SceneOptions(classes=2, size=48))
    flags = [str(tmp_path / "set"), "--photos", "12", "--made-up", "0", "--rounds", "2"]
    ((text, results),) = bench(parsed([*flags, "--modes", "loop", "--steps", "4"]))
    (loop,) = results["sets"]["set"]["modes"]
    (note,) = loop["notes"]
    assert note["steps"] >= 4
    assert note["used"] in ("yes", "no")
    assert "What was trained" in text

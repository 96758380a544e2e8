"""How many actions a correct instance takes a simulated person, by several ways of labelling.

    python -m benchmarks.effort [SET ...] [--photos N] [--made-up N] [--json FILE]

SET is a folder in COCO layout (annotations.json and images/). The photos of each go through the
product itself: intake, runs of proposals, review, training. What an action is stands in
`person.COSTS`. After each round but the last a detector is trained on what was decided and
proposes on the rest, if it is better (`retraining`); detectors start from nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch

from annotator.training_options import DetectorTrainingOptions
from benchmarks.effort.modes import MODES, ModeRecord, Tell, labelled
from benchmarks.effort.person import COSTS, Habits
from benchmarks.effort.report import set_report
from benchmarks.effort.retraining import LoopOptions
from benchmarks.effort.truth import TruePhoto, has_masks, object_count, photos_of
from benchmarks.synthetic import SceneOptions, make_set
from engine.errors import AnnotatorError
from exports.whole_files import write_whole

MADE_UP = SceneOptions(classes=3, size=96, objects=3, clutter=2, occlusion=0.25)
PHOTO_SIDES = (128, 192)
STEPS_ON_PHOTOS, STEPS_ON_MADE_UP = 150, 350  # of each training


def main() -> None:
    """Read the flags, label every set in every way, and write the tables."""
    given = parsed()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        for text, results in bench(given):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            if given.json is not None:
                write_whole(given.json, json.dumps(results, indent=1) + "\n")
    except AnnotatorError as error:
        sys.exit(str(error))


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    habits = Habits()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.effort",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("sets", type=Path, nargs="*", metavar="SET")
    parser.add_argument("--photos", type=int, default=60, help="at most so many of each set")
    parser.add_argument("--made-up", type=int, default=100, help="made-up photos; 0 for none")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="which photos, in which order")
    parser.add_argument("--clicks", type=int, default=habits.clicks, help="before drawing")
    parser.add_argument("--presses", type=int, default=habits.presses, help="of the gallery key")
    parser.add_argument(
        "--steps", type=int, help="of each training of the loop; none: fewer on real photos"
    )
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES), help="ways of labelling"
    )
    parser.add_argument("--json", type=Path, help="every photo's record as well")
    given = parser.parse_args(argv)
    steps = 1 if given.steps is None else given.steps
    if min(given.photos, given.rounds, steps) < 1 or given.made_up < 0:
        parser.error("--photos, --rounds and --steps must be at least 1, --made-up at least 0")
    if not given.sets and not given.made_up:
        parser.error("give a set, or --made-up of 1 or more")
    return given


def bench(given: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """After each set: its tables, and everything so far as plain JSON."""
    started = time.perf_counter()
    habits = Habits(clicks=given.clicks, presses=given.presses)
    sets: dict[str, Any] = {}
    for one in _sets(given):
        records = _records(one, given, habits, tell=partial(_tell, started, one.name))
        measure = "masks" if has_masks(one.photos) else "boxes"
        sets[one.name] = {
            "photos": len(one.photos),
            "objects": object_count(one.photos),
            "measure": measure,
            "modes": [record.as_dict() for record in records],
        }
        seconds = round(time.perf_counter() - started, 1)
        results = {"habits": asdict(habits), "costs": dict(COSTS), "seconds": seconds, "sets": sets}
        yield set_report(one.name, measure, records), results


def _records(
    one: PhotoSet, given: argparse.Namespace, habits: Habits, *, tell: Tell
) -> list[ModeRecord]:
    """What each way of labelling took on a set."""
    records = []
    for name in given.modes:
        tell(name)
        with tempfile.TemporaryDirectory(prefix="effort-") as folder:
            record = labelled(
                name,
                Path(folder),
                one.photos,
                rounds=given.rounds,
                habits=habits,
                options=loop_options(one.steps, sides=one.sides),
                tell=tell,
            )
        records.append(record)
    return records


def loop_options(steps: int, *, sides: tuple[int, int]) -> LoopOptions:
    """The detector of the loop: the preset for the smallest machines, seeing this many pixels."""
    return LoopOptions(
        DetectorTrainingOptions(
            model="fasterrcnn", preset="tiny", epochs=1, seed=0, device="cpu", threads=1
        ),
        passed_on=(
            *("--least-steps", str(steps), "--validate-steps", str(steps), "--samples", "0"),
            *("--network-min-size", str(sides[0]), "--network-max-size", str(sides[1])),
        ),
    )


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """A name, the photos, and at how many pixels (short and long side) a detector sees them."""

    name: str
    photos: list[TruePhoto]
    sides: tuple[int, int]
    steps: int  # of each training


def _sets(given: argparse.Namespace) -> Iterator[PhotoSet]:
    for folder in given.sets:
        photos = photos_of(folder, most=given.photos, seed=given.seed)
        yield PhotoSet(folder.name, photos, PHOTO_SIDES, given.steps or STEPS_ON_PHOTOS)
    if given.made_up:
        with tempfile.TemporaryDirectory(prefix="made-up-") as folder:
            make_set(Path(folder), photos=given.made_up, seed=given.seed, options=MADE_UP)
            photos = photos_of(Path(folder), most=given.made_up, seed=given.seed)
            sides = (MADE_UP.size, MADE_UP.size)
            yield PhotoSet("made-up scenes", photos, sides, given.steps or STEPS_ON_MADE_UP)


def _tell(started: float, name: str, doing: str) -> None:
    sys.stderr.write(f"{time.perf_counter() - started:6.0f} s  {name}: {doing}\n")


if __name__ == "__main__":
    main()

"""How many actions a correct instance takes a simulated person, by several ways of labelling.

    python -m benchmarks.effort [SET ...] [--photos N] [--made-up N] [--json FILE]

SET is a folder in COCO layout (annotations.json and images/). The photos of each go through the
product itself: intake, runs of proposals, review. What an action is stands in `person.COSTS`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from benchmarks.effort.modes import modes_without_loop
from benchmarks.effort.person import COSTS, Habits
from benchmarks.effort.report import set_report
from benchmarks.effort.truth import TruePhoto, has_masks, object_count, photos_of
from benchmarks.synthetic import SceneOptions, make_set
from engine.errors import AnnotatorError
from exports.whole_files import write_whole

MADE_UP = SceneOptions(classes=4, size=128, objects=3)


def main() -> None:
    """Read the flags, label every set in every way, and write the tables."""
    given = parsed()
    cv2.setNumThreads(1)
    try:
        text, results = bench(given)
    except AnnotatorError as error:
        sys.exit(str(error))
    if given.json is not None:
        write_whole(given.json, json.dumps(results, indent=1) + "\n")
    sys.stdout.write(text)


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
    parser.add_argument("--made-up", type=int, default=120, help="made-up photos; 0 for none")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="which photos, in which order")
    parser.add_argument("--clicks", type=int, default=habits.clicks, help="before drawing")
    parser.add_argument("--presses", type=int, default=habits.presses, help="of the gallery key")
    parser.add_argument("--json", type=Path, help="every photo's record as well")
    given = parser.parse_args(argv)
    if given.photos < 1 or given.rounds < 1 or given.made_up < 0:
        parser.error("--photos and --rounds must be at least 1, --made-up at least 0")
    if not given.sets and not given.made_up:
        parser.error("give a set, or --made-up of 1 or more")
    return given


def bench(given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The tables, and everything as plain JSON."""
    started = time.perf_counter()
    habits = Habits(clicks=given.clicks, presses=given.presses)
    texts, sets = [], {}
    for name, photos in _sets(given):
        with tempfile.TemporaryDirectory(prefix="effort-") as folder:
            records = modes_without_loop(
                Path(folder),
                photos,
                rounds=given.rounds,
                habits=habits,
                tell=partial(_tell, started, name),
            )
        measure = "masks" if has_masks(photos) else "boxes"
        texts.append(set_report(name, measure, records))
        sets[name] = {
            "photos": len(photos),
            "objects": object_count(photos),
            "measure": measure,
            "modes": [one.as_dict() for one in records],
        }
    seconds = time.perf_counter() - started
    results = {
        "habits": asdict(habits),
        "costs": dict(COSTS),
        "seconds": round(seconds, 1),
        "sets": sets,
    }
    return "\n".join([*texts, f"{seconds / 60:.1f} minutes in all.\n"]), results


def _sets(given: argparse.Namespace) -> Iterator[tuple[str, list[TruePhoto]]]:
    for folder in given.sets:
        yield folder.name, photos_of(folder, most=given.photos, seed=given.seed)
    if given.made_up:
        with tempfile.TemporaryDirectory(prefix="made-up-") as folder:
            make_set(Path(folder), photos=given.made_up, seed=given.seed, options=MADE_UP)
            yield "made-up scenes", photos_of(Path(folder), most=given.made_up, seed=given.seed)


def _tell(started: float, name: str, doing: str) -> None:
    sys.stderr.write(f"{time.perf_counter() - started:6.0f} s  {name}: {doing}\n")


if __name__ == "__main__":
    main()

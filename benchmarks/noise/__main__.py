"""WeakSAM's tables 5 and 9 on made-up photos whose errors are known: a folder in, tables out.

    python -m benchmarks.noise OUT_FOLDER [--json FILE] [--thresholds] [--long] [--quick]

Trains small detectors on clean labels and on labels with planted errors, with and without RoI drop,
by each seed, and measures AP50 and how soon the queue of suspicious labels finds the errors. A
detector that is finished is not trained again, so a bench that was killed goes on. OUT_FOLDER then
holds tables.md. `--quick` only shows that all parts fit.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import cv2
import torch

from benchmarks.noise.judged import MEASURES, gain, judged, scored
from benchmarks.noise.photo_sets import (
    PHOTOS,
    make_errors,
    make_photos,
    planted_errors,
    training_data,
    true_images,
)
from benchmarks.noise.plan import (
    DROP,
    LONG,
    MAIN,
    NO_DROP,
    NO_DROP_LONG,
    OWN_PARTS,
    QUICK,
    STARTING_PARTS,
    STARTING_SEED,
    THRESHOLDS,
    Budget,
    Way,
    network_of,
    recipe_of,
    starting_recipe_of,
)
from benchmarks.noise.report import Results, report
from benchmarks.noise.suspicions import suspicions
from benchmarks.noise.trained import dropped_shares, seconds_of, trained
from benchmarks.noise.why import Losses, looked_at, summary
from engine.errors import AnnotatorError
from exports.detection_data import read_detection_data
from exports.whole_files import write_whole
from training.run_folder import MODEL


def main() -> None:
    """Read the flags, train what is not trained yet, measure, and write the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noise",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for photos, detectors and tables")
    parser.add_argument("--json", type=Path, help="where the numbers are written as well")
    parser.add_argument("--thresholds", action="store_true", help="other thresholds of drop, too")
    parser.add_argument("--long", action="store_true", help="trainings three times as long, too")
    parser.add_argument("--quick", action="store_true", help="tiny, in a minute; means nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    budget = QUICK if given.quick else Budget()
    ways = (*MAIN, *(THRESHOLDS if given.thresholds else ()), *(LONG if given.long else ()))
    try:
        results = bench(given.out, budget, ways=ways)
    except AnnotatorError as error:
        sys.exit(str(error))
    if given.json:
        write_whole(given.json, json.dumps(dataclasses.asdict(results), indent=2) + "\n")
    sys.stdout.write((given.out / "tables.md").read_text("utf-8"))


def bench(out: Path, budget: Budget, *, ways: Sequence[Way] = MAIN) -> Results:
    """All numbers; the tables are written to ``out``. The ways of `MAIN` are needed by all."""
    _claim(out, budget)
    photos, scenes = out / "photos", budget.scenes(OWN_PARTS)
    make_photos(
        photos,
        scenes,
        photos=budget.photos,
        seed=budget.seed,
        training=budget.training_photos,
    )
    for seed in budget.seeds:
        make_errors(photos, scenes, share=budget.share, seed=seed)
    start = _starting_detector(out, budget)
    runs: dict[str, dict[int, Path]] = {way.name: {} for way in ways}
    for seed in budget.seeds:
        for way in ways:
            runs[way.name][seed] = _training(out, budget, way, start, seed=seed)
    found = {
        name: {seed: judged(run / MODEL, photos, split="test") for seed, run in by_seed.items()}
        for name, by_seed in runs.items()
    }
    clean = read_detection_data(training_data(photos))
    errors = [planted_errors(photos, seed) for seed in budget.seeds]
    results = Results(
        budget=dataclasses.asdict(budget),
        photos=sum(image.split == "test" for image in true_images(photos)),
        labels=sum(len(photo.image.instances) for photo in clean.part("train")),
        planted=_mean(Counter(error.kind for error in one) for one in errors),
        seconds={name: fmean(map(seconds_of, runs[name].values())) for name in runs},
        scores={name: scored(by_seed) for name, by_seed in found.items()},
        gains={
            way.name: {
                measure: gain(found[way.against], found[way.name], measure) for measure in MEASURES
            }
            for way in ways
            if way.recipe["drop"] or not way.has_errors
        },
        dropped={
            way.name: _mean(map(dropped_shares, runs[way.name].values()))
            for way in ways
            if way.recipe["drop"]
        },
        suspicions={
            way.name: suspicions(runs[way.name], photos)
            for way in ways
            if way in (NO_DROP, DROP, *LONG)
        },
        losses={
            way.name: _losses(runs[way.name], photos)
            for way in ways
            if way in (NO_DROP, DROP, NO_DROP_LONG)
        },
    )
    write_whole(out / "tables.md", report(results))
    return results


def _claim(out: Path, budget: Budget) -> None:
    """A folder belongs to one budget: detectors of another must not be taken over."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(dataclasses.asdict(budget), indent=2) + "\n"
    path = out / "budget.json"
    if path.exists() and path.read_text("utf-8") != wanted:
        sys.exit(f"{path} is of another budget; give a new folder")
    write_whole(path, wanted)


def _starting_detector(out: Path, budget: Budget) -> Path:
    photos, seed = out / "photos-start", STARTING_SEED + budget.seed
    make_photos(photos, budget.scenes(STARTING_PARTS), photos=budget.starting_photos, seed=seed)
    return trained(
        out / "start",
        photos=photos / PHOTOS,
        data=training_data(photos),
        recipe=starting_recipe_of(budget),
        network=network_of(budget),
        seed=budget.seed,
    )


def _training(out: Path, budget: Budget, way: Way, start: Path, *, seed: int) -> Path:
    """The folder of a finished training."""
    photos, folder = out / "photos", out / f"{way.folder}-{seed}"
    trained(
        folder,
        photos=photos / PHOTOS,
        data=training_data(photos, seed if way.has_errors else None),
        recipe=recipe_of(budget, way),
        network=network_of(budget),
        seed=seed,
        weights=start,
    )
    return folder


def _losses(runs: Mapping[int, Path], photos: Path) -> dict[str, Losses]:
    """Of the RoIs of all seeds together."""
    return summary(
        [
            looked_at(
                run / MODEL, photos, training_data(photos, seed), planted_errors(photos, seed)
            )
            for seed, run in runs.items()
        ]
    )


def _mean(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of the values by name."""
    listed = list(several)
    return {name: fmean(one[name] for one in listed) for name in listed[0]}


if __name__ == "__main__":
    main()

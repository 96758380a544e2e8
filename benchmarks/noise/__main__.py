"""WeakSAM's tables 5 and 9 on made-up photos whose errors are known: a folder in, tables out.

    python -m benchmarks.noise OUT_FOLDER [--json FILE] [--short] [--thresholds] [--finished]

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
    MAIN,
    NO_DROP,
    NO_DROP_SHORT,
    OWN_PARTS,
    QUICK,
    SHORT,
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
from benchmarks.noise.trained import dropped_shares, is_finished, seconds_of, trained
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
    parser.add_argument("--short", action="store_true", help="trainings a third as long, too")
    parser.add_argument(
        "--finished", action="store_true", help="train nothing; tell of what is finished"
    )
    parser.add_argument("--quick", action="store_true", help="tiny, in a minute; means nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    budget = QUICK if given.quick else Budget()
    others = (*(SHORT if given.short else ()), *(THRESHOLDS if given.thresholds else ()))
    try:
        results = bench(given.out, budget, others=others, only_finished=given.finished)
    except AnnotatorError as error:
        sys.exit(str(error))
    if given.json:
        write_whole(given.json, json.dumps(dataclasses.asdict(results), indent=2) + "\n")
    sys.stdout.write((given.out / "tables.md").read_text("utf-8"))


def bench(
    out: Path, budget: Budget, *, others: Sequence[Way] = (), only_finished: bool = False
) -> Results:
    """All numbers of the ways of `MAIN` and these; the tables are written to ``out``.

    With ``only_finished`` of the trainings that are; errors with and without drop must be.
    """
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
    runs = _runs(out, budget, others, only_finished=only_finished)
    ways = [way for way in (*MAIN, *others) if way.name in runs]
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
            if way.against in found
        },
        dropped={
            way.name: _mean(map(dropped_shares, runs[way.name].values()))
            for way in ways
            if way.recipe["drop"]
        },
        suspicions={
            way.name: suspicions(runs[way.name], photos)
            for way in ways
            if way in (NO_DROP, DROP, *SHORT[:2])
        },
        losses={
            way.name: _losses(runs[way.name], photos)
            for way in ways
            if way in (NO_DROP, DROP, NO_DROP_SHORT)
        },
    )
    write_whole(out / "tables.md", report(results))
    return results


def _runs(
    out: Path, budget: Budget, others: Sequence[Way], *, only_finished: bool
) -> dict[str, dict[int, Path]]:
    """The folders of finished trainings by way and seed; the others are trained after `MAIN`."""
    start = _starting_detector(out, budget)
    runs: dict[str, dict[int, Path]] = {}
    for ways in (MAIN, others):
        for seed in budget.seeds:
            for way in ways:
                folder = out / f"{way.folder}-{seed}"
                if not only_finished:
                    _train(folder, budget, way, start, photos=out / "photos", seed=seed)
                if is_finished(folder):
                    runs.setdefault(way.name, {})[seed] = folder
    return runs


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


def _train(folder: Path, budget: Budget, way: Way, start: Path, *, photos: Path, seed: int) -> None:
    trained(
        folder,
        photos=photos / PHOTOS,
        data=training_data(photos, seed if way.has_errors else None),
        recipe=recipe_of(budget, way),
        network=network_of(budget),
        seed=seed,
        weights=start,
    )


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

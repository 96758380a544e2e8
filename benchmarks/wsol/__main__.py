"""Pro2SAM's tables 1 to 6 on made-up photos: a folder in, trained networks and tables out.

    python -m benchmarks.wsol OUT_FOLDER [--quick]

Trains eleven small networks on the CPU; one that is finished is not trained again, so a bench that
was killed goes on. OUT_FOLDER then holds tables.md and results.json. `--quick` only shows that all
parts fit.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.wsol.answers import Answers, Floats, answers_of
from benchmarks.wsol.choosing import BEST_MASK, DEAR, RULES, TRUE_MAP, chosen_masks
from benchmarks.wsol.fine_tuning import trained, training_summary
from benchmarks.wsol.measures import (
    Measures,
    chosen_threshold,
    measure_maps,
    measure_masks,
)
from benchmarks.wsol.photo_sets import TruePhoto, make_photos, true_photos
from benchmarks.wsol.plan import GTFORMER, QUICK, RUNS, Budget, Run
from benchmarks.wsol.report import (
    OF_GTFORMER,
    OF_TABLE_6,
    OWN_BOX,
    SELF_ATTENTION,
    STRETCHED,
    WHOLE_PHOTO,
    report,
)
from benchmarks.wsol.starting import starting_weights
from engine.errors import AnnotatorError
from exports.whole_files import write_whole

CHEAP = tuple(rule for rule in RULES if rule not in DEAR)
AGNOSTIC, CLASS_SPECIFIC = ("sat", GTFORMER), ("tscam", "cam")
MATCHED = {
    GTFORMER: tuple(RULES),
    **dict.fromkeys(("sat", *CLASS_SPECIFIC), CHEAP),
    **{name + STRETCHED: CHEAP for name in AGNOSTIC},
}
"""Whose maps choose masks, by which rules."""


def main() -> None:
    """Read the flags, train what is not trained yet, measure, and write the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wsol",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for photos, networks and tables")
    parser.add_argument("--quick", action="store_true", help="tiny, in a minute; means nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        sys.stdout.write(bench(given.out, QUICK if given.quick else Budget()))
    except AnnotatorError as error:
        sys.exit(str(error))


def bench(out: Path, budget: Budget, *, runs: Sequence[Run] = RUNS) -> str:
    """The tables as Markdown, also written to ``out``; the first four runs are needed by all."""
    _claim(out, budget)
    photos = out / "photos"
    if not (photos / "held-out.txt").exists():  # written last
        make_photos(photos, budget)
    weights = starting_weights(out / "start", budget)
    val, test = (true_photos(photos, split) for split in ("val", "test"))
    measures: dict[str, Measures] = {WHOLE_PHOTO: _whole_photo(test)}
    answers: dict[str, Answers] = {}
    summaries = {}
    for one in runs:
        checkpoint = trained(one, budget, weights, photos=photos, out=out / one.name)
        summaries[one.name] = training_summary(out / one.name)
        on_val, answers[one.name] = (answers_of(checkpoint, split) for split in (val, test))
        measures[one.name] = _of_maps(on_val, answers[one.name], val, test)
        if one.name == GTFORMER:
            on_val, on_test = (
                found.with_maps(found.attention) for found in (on_val, answers[one.name])
            )
            measures[SELF_ATTENTION] = _of_maps(on_val, on_test, val, test)
    measures |= _of_masks(answers, test, budget.dear_photos)
    few = slice(budget.dear_photos)
    measures[OF_TABLE_6 + OWN_BOX] = measure_maps(
        answers[GTFORMER].of(few), test[few], threshold=measures[GTFORMER].threshold or 0.0
    )
    counts = {"val": len(val), "test": len(test)}
    text = report(measures, budget=budget, photos=counts, training=summaries)
    results = {
        "budget": dataclasses.asdict(budget),
        "photos": counts,
        "training": summaries,
        "measures": {name: dataclasses.asdict(one) for name, one in measures.items()},
    }
    write_whole(out / "results.json", json.dumps(results, indent=2) + "\n")
    write_whole(out / "tables.md", text)
    return text


def _claim(out: Path, budget: Budget) -> None:
    """A folder belongs to one budget: networks of another must not be taken over."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(dataclasses.asdict(budget), indent=2) + "\n"
    path = out / "budget.json"
    if path.exists() and path.read_text("utf-8") != wanted:
        sys.exit(f"{path} is of another budget; give a new folder")
    write_whole(path, wanted)


def _of_maps(
    on_val: Answers, on_test: Answers, val: list[TruePhoto], test: list[TruePhoto]
) -> Measures:
    return measure_maps(on_test, test, threshold=chosen_threshold(on_val, val))


def _of_masks(
    answers: dict[str, Answers], test: list[TruePhoto], dear_photos: int
) -> dict[str, Measures]:
    """By "network / rule", and the limits; classes come from GTFormer's own head.

    For table 6, which has dear rules, once more on its own photos.
    """

    def tell(done: int) -> None:
        if done % 50 == 0:
            sys.stderr.write(f"masks chosen on {done} of {len(test)} photos\n")

    # A class-agnostic map is a share of foreground and taken as it is; stretched only to compare.
    maps = {name: answers[name].maps for name in AGNOSTIC}
    maps |= {name + STRETCHED: _stretched(answers[name].maps) for name in AGNOSTIC}
    maps |= {name: _stretched(answers[name].maps) for name in CLASS_SPECIFIC}
    chosen = chosen_masks(maps, test, rules_of=MATCHED, dear_photos=dear_photos, tell=tell)
    scores = answers[GTFORMER].scores
    measures = {
        name: measure_masks(scores, masks, test)
        for name, masks in chosen.items()
        if len(masks) == len(test)
    }
    count = len(test[:dear_photos])
    for name, masks in chosen.items():
        if name.startswith(OF_GTFORMER) or name in (TRUE_MAP, BEST_MASK):
            short = OF_TABLE_6 + name.removeprefix(OF_GTFORMER)
            measures[short] = measure_masks(scores[:count], masks[:count], test[:count])
    return measures


def _stretched(maps: Floats) -> Floats:
    """Each map to [0, 1]: class maps have no scale of their own."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    return np.asarray((maps - low) / np.maximum(span, 1e-6), dtype=np.float32)


def _whole_photo(test: list[TruePhoto]) -> Measures:
    """What saying nothing scores."""
    scores = np.zeros((len(test), 1 + max(photo.true_class for photo in test)), dtype=np.float32)
    return measure_masks(scores, [np.ones_like(photo.mask) for photo in test], test)


if __name__ == "__main__":
    main()

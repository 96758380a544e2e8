"""Fit the weights of `engine.judging` on photo sets with true boxes, and say what they are worth.

    python -m benchmarks.fit_judge FOLDER [FOLDER ...] --out engine/judge_weights.py

Every set weighs the same, every photo of a set too. Reported are the shares of photos whose chosen
candidate reaches a box IoU of 0.5, 0.7 and 0.9: with the weights of all sets, with those of the
other sets only (what a new kind of photo can expect), and for the best candidate there is.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.photo_sets import labeled_photos
from engine import judging
from engine.geometry import iou_boxes, mask_to_box
from engine.pipelines import ClassicalOptions, look_closer
from engine.types import Image

Floats = NDArray[np.float64]
RIDGE = 0.01
THRESHOLDS = (0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Judged:
    """The candidates of one photo: cues (n, c) and true IoU (n,)."""

    cues: Floats
    ious: Floats


def measure(image: Image, boxes: list[tuple[float, float, float, float]]) -> Judged:
    """Cues and best IoU with any true box, for every candidate of a photo."""
    cv2.setNumThreads(1)
    view = look_closer(image, ClassicalOptions())
    found = []
    for mask in view.masks:
        box = mask_to_box(mask)
        assert box is not None
        found.append([value / view.scale for value in box])
    ious = iou_boxes(found, boxes).max(axis=1)
    return Judged(judging.cues_of(view.image, view.maps, view.masks), ious)


def measure_set(folder: Path, split: str, every: int, pool: ProcessPoolExecutor) -> list[Judged]:
    """Every photo of a set that has an object."""
    waiting = [
        pool.submit(measure, image, [one.box for one in truth.instances])
        for image, truth in labeled_photos(folder, split=split, every=every)
        if truth.instances
    ]
    return [future.result() for future in waiting]


def fit(sets: list[list[Judged]]) -> tuple[Floats, Floats, Floats]:
    """Ridge regression of IoU on the cues: means, scales, weights with the constant last."""
    cues = np.concatenate([one.cues for judged in sets for one in judged])
    ious = np.concatenate([one.ious for judged in sets for one in judged])
    weight = np.concatenate(
        [
            np.full(len(one.ious), 1.0 / (len(one.ious) * len(judged) * len(sets)))
            for judged in sets
            for one in judged
        ]
    )
    means = np.average(cues, axis=0, weights=weight)
    scales = np.sqrt(np.average((cues - means) ** 2, axis=0, weights=weight)) + 1e-6
    scaled = np.c_[(cues - means) / scales, np.ones(len(cues))]
    system = scaled.T @ (scaled * weight[:, None]) + RIDGE * np.diag([*np.ones(cues.shape[1]), 0.0])
    return means, scales, np.linalg.solve(system, scaled.T @ (weight * ious))


def shares(judged: list[Judged], model: tuple[Floats, Floats, Floats] | None) -> str:
    """What choosing by the model gives; without one, the best candidate of each photo."""
    chosen = []
    for one in judged:
        if model is None:
            chosen.append(one.ious.max())
            continue
        means, scales, weights = model
        predicted = ((one.cues - means) / scales) @ weights[:-1] + weights[-1]
        chosen.append(one.ious[int(predicted.argmax())])
    parts = [f"{np.mean(np.array(chosen) >= threshold):.3f}" for threshold in THRESHOLDS]
    return " ".join([*parts, f"{np.mean(chosen):.3f}"])


def write(path: Path, model: tuple[Floats, Floats, Floats], names: list[str]) -> None:
    """The weights as a Python file, since they are few and reviewed like code."""
    lines = [
        '"""The numbers of `engine.judging`, written by `benchmarks/fit_judge.py`.',
        "",
        "One number a cue, in its order; fitted on the train splits of",
        f"{', '.join(names)}.",
        '"""',
        "",
        "import numpy as np",
        "",
    ]
    for name, values in zip(("MEANS", "SCALES", "WEIGHTS"), model, strict=True):
        lines += [f"{name} = np.array(", "    ["]
        lines += [f"        {value:.6g}," for value in values]
        lines += ["    ]", ")"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--split", default="train")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    names = [folder.name for folder in arguments.folders]
    with ProcessPoolExecutor(arguments.processes) as pool:
        sets = [
            measure_set(folder, arguments.split, arguments.every, pool)
            for folder in arguments.folders
        ]
    model = fit(sets)
    sys.stdout.write("IoU >= 0.5, 0.7, 0.9, mean\n")
    for index, (name, judged) in enumerate(zip(names, sets, strict=True)):
        others = fit(sets[:index] + sets[index + 1 :]) if len(sets) > 1 else model
        sys.stdout.write(
            f"{name:18} all {shares(judged, model)}  others {shares(judged, others)}  "
            f"best {shares(judged, None)}\n"
        )
    if arguments.out:
        write(arguments.out, model, names)


if __name__ == "__main__":
    main()

"""What finished trainings say of the labels that they learned from: run folders in, means out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from annotator.ranking import Record, read_records
from benchmarks.noise.orders import (
    RANDOM,
    Found,
    Order,
    mean_found,
    measured,
    orders_of,
    random_order,
)
from benchmarks.noise.photo_sets import planted_errors, training_data
from benchmarks.noise.trained import records_of
from exports.detection_data import read_detection_data

RIGHT = "right"


@dataclass(frozen=True)
class Suspicions:
    """Of one way of training, each number the mean of the seeds."""

    orders: Mapping[str, Found]
    by_kind: Mapping[str, Mapping[str, Found]]  # order -> kind of error
    noted: Mapping[str, Sequence[float]]  # kind of label -> drop share, median loss of each epoch


def suspicions(runs: Mapping[int, Path], photos: Path) -> Suspicions:
    """``runs`` are the folders of trainings on labels with the errors of these seeds."""
    several = [_of_run(run, photos, seed) for seed, run in runs.items()]
    first = several[0]
    return Suspicions(
        orders={name: mean_found([one.orders[name] for one in several]) for name in first.orders},
        by_kind={
            name: {kind: mean_found([one.by_kind[name][kind] for one in several]) for kind in kinds}
            for name, kinds in first.by_kind.items()
        },
        noted={
            kind: [
                fmean(values) for values in zip(*(one.noted[kind] for one in several), strict=True)
            ]
            for kind in first.noted
        },
    )


def _of_run(run: Path, photos: Path, seed: int) -> Suspicions:
    content = records_of(run)
    class_of = _classes(training_data(photos, seed))
    kind_of: dict[int, str] = {
        error.instance: error.kind
        for error in planted_errors(photos, seed)
        if error.instance in class_of
    }
    orders = orders_of(content, class_of=class_of)
    kinds = sorted(set(kind_of.values()))
    return Suspicions(
        orders={
            RANDOM: random_order(list(class_of), kind_of, seed=seed),
            **{name: measured(order, kind_of) for name, order in orders.items()},
        },
        by_kind={
            name: {kind: _alone(order, kind_of, kind) for kind in kinds}
            for name, order in orders.items()
        },
        noted=_noted(read_records(content), kind_of),
    )


def _alone(order: Order, kind_of: Mapping[int, str], kind: str) -> Found:
    """As if this kind of error was the only one: labels with another are passed over."""
    kept = [number for number in order if kind_of.get(number, kind) == kind]
    return measured(kept, [number for number in kept if number in kind_of])


def _classes(data: Path) -> dict[int, str]:
    """The class that each label that trains has, be it right or wrong."""
    return {
        one.id or 0: one.category or ""
        for photo in read_detection_data(data).part("train")
        for one in photo.image.instances
    }


def _noted(records: Mapping[int, Record], kind_of: Mapping[int, str]) -> dict[str, list[float]]:
    by_kind: dict[str, list[Record]] = {}
    for number, one in records.items():
        by_kind.setdefault(kind_of.get(number, RIGHT), []).append(one)
    epochs = sorted({epoch for one in records.values() for epoch in one.loss})
    return {
        kind: [
            fmean(one.dropped for one in several),
            *(median(one.loss[epoch] for one in several if epoch in one.loss) for epoch in epochs),
        ]
        for kind, several in sorted(by_kind.items())
    }

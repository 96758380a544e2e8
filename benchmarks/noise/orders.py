"""In which order to inspect labels, and how soon that finds the planted errors.

In: what a training left about each label (`instances.json`). Out: orders, most suspicious first,
and their precision and recall. A missing label has no place in any order, so it counts in none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from annotator.ranking import Record, rank_suspicious, read_records

Order = Sequence[int]  # ids of labels, the most suspicious first
Badness = Mapping[int, float]  # id -> how suspicious

INSPECTED = (0.1, 0.2, 0.3)
"""Shares of all labels after which recall is told."""

RANDOM, PLAIN_LOSS, LATE_LOSS = "random", "loss, mean of all epochs", "loss, later half"
DROP_SHARE, PRODUCT = "drop share", "the product's"
LEAST_LOSS = "loss, lowest third of all epochs"
OF_CLASS = "loss, later half, over its class's median"
HALF_OF_CLASS = "loss, lowest third, over the root of its class's median"
DRAWS = 200  # of the random order
NEXT_TO_NOTHING = 1e-6


@dataclass(frozen=True)
class Found:
    """How well an order finds the errors, all in [0, 1]."""

    precision: float  # among the first, as many as there are errors
    recall: tuple[float, ...]  # after each share of `INSPECTED`
    average_precision: float


def measured(order: Order, wrong: Collection[int]) -> Found:
    """What inspecting in this order finds; ValueError without an error to be found."""
    if not set(wrong) & set(order):
        raise ValueError("there is no error among these labels")
    hit = np.array([one in wrong for one in order], dtype=np.float64)
    found = hit.cumsum()
    total = found[-1]
    precisions = found / np.arange(1, len(hit) + 1)
    return Found(
        precision=float(precisions[int(total) - 1]),
        recall=tuple(float(recall_at(order, wrong, share)) for share in INSPECTED),
        average_precision=float((precisions * hit).sum() / total),
    )


def recall_at(order: Order, wrong: Collection[int], share: float) -> float:
    """Of the errors in the order, the share among its first ``share`` of labels."""
    inspected = order[: round(share * len(order))]
    return sum(one in wrong for one in inspected) / sum(one in wrong for one in order)


def random_order(ids: Sequence[int], wrong: Collection[int], *, seed: int) -> Found:
    """The mean over many random orders."""
    random = np.random.default_rng(seed)
    draws = [measured(list(random.permutation(ids)), wrong) for _ in range(DRAWS)]
    return mean_found(draws)


def mean_found(several: Sequence[Found]) -> Found:
    """Of each measure the mean."""
    return Found(
        precision=fmean(one.precision for one in several),
        recall=tuple(
            fmean(values) for values in zip(*(one.recall for one in several), strict=True)
        ),
        average_precision=fmean(one.average_precision for one in several),
    )


def orders_of(content: Any, *, class_of: Mapping[int, str]) -> dict[str, Order]:
    """Every order that is compared, by name; ``content`` is that of `instances.json`.

    Equals keep the order of their ids, which tells nothing.
    """
    records = read_records(content)
    late = {number: late_loss(one) for number, one in records.items()}
    least = {number: least_loss(one) for number, one in records.items()}
    return {
        PLAIN_LOSS: most_first({n: fmean(one.loss.values()) for n, one in records.items()}),
        LATE_LOSS: most_first(late),
        LEAST_LOSS: most_first(least),
        OF_CLASS: most_first(over_class(late, class_of)),
        HALF_OF_CLASS: most_first(over_class(least, class_of, power=0.5)),
        DROP_SHARE: most_first({number: one.dropped for number, one in records.items()}),
        PRODUCT: [number for number, _, _ in rank_suspicious(content)],
    }


def late_loss(record: Record) -> float:
    """Mean loss over the later half of the epochs that saw the label."""
    epochs = sorted(record.loss)
    return fmean(record.loss[epoch] for epoch in epochs[len(epochs) // 2 :])


def least_loss(record: Record) -> float:
    """Mean over the third of the epochs in which it is lowest.

    A right label is easy for a detector at least at times, when the drawn RoIs lie well; a wrong
    one is not before it is known by heart.
    """
    losses = sorted(record.loss.values())
    return fmean(losses[: max(len(losses) // 3, 1)])


def over_class(
    losses: Badness, class_of: Mapping[int, str], *, power: float = 1.0
) -> dict[int, float]:
    """Each loss over a power of the median loss of its class: what is hard for all is no error.

    A class may be hard because many of its labels are wrong, which a power below 1 allows for.
    """
    by_class: dict[str, list[float]] = {}
    for number, loss in losses.items():
        by_class.setdefault(class_of[number], []).append(loss)
    usual = {name: max(median(values), NEXT_TO_NOTHING) for name, values in by_class.items()}
    return {number: loss / usual[class_of[number]] ** power for number, loss in losses.items()}


def most_first(badness: Badness) -> list[int]:
    """The ids, the most suspicious first."""
    return sorted(badness, key=lambda number: (-badness[number], number))

"""The tables as Markdown: what was measured in, ours beside the published numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from benchmarks.noise.judged import Gain, Scored
from benchmarks.noise.orders import DROP_SHARE, INSPECTED
from benchmarks.noise.plan import BRIEFLY
from benchmarks.noise.suspicions import Suspicions
from benchmarks.noise.why import TAU_CLS, TAU_REG, Losses

Cells = Sequence[str]

PUBLISHED = {
    "errors, no drop": "70.7",
    "errors, drop 4 / 1": "71.8",
    "errors, drop 4 / 0.8": "71.0",
    "errors, drop 4 / 1.2": "71.3",
    "errors, drop 3 / 1": "71.2",
    "errors, drop 5 / 1": "71.1",
}
"""AP50 on VOC 2007 with labels that WeakSAM made: tables 5 and 9 of the paper."""


@dataclass(frozen=True)
class Results:
    """Everything that was measured, each by the name of a row."""

    budget: Mapping[str, Any]
    photos: int  # that judge
    labels: int  # that train, before any went missing
    planted: Mapping[str, float]  # kind -> how many, mean of the seeds
    seconds: Mapping[str, float]  # of a training, mean of the seeds
    scores: Mapping[str, Scored]
    gains: Mapping[str, Mapping[str, Gain]]  # by row and measure, over no drop on the same labels
    dropped: Mapping[str, Mapping[str, float]]  # shares of RoIs, "fg" and "bg"
    suspicions: Mapping[str, Suspicions]  # by training
    losses: Mapping[str, Mapping[str, Losses]]  # training -> kind of RoI, at the end


def report(results: Results) -> str:
    """Everything."""
    parts = [
        _about(results),
        _scores(results),
        _gains(results),
        _queue(results),
        _by_kind(results),
        _records(results),
        _losses(results),
    ]
    return "\n\n".join(parts) + "\n"


def _about(results: Results) -> str:
    budget, side = results.budget, results.budget["photo_size"]
    wrong = ", ".join(f"{count:.0f} {kind}" for kind, count in results.planted.items())
    return f"""\
# Detectors on labels with planted errors

`make bench-noise`, or `python -m benchmarks.noise OUT_FOLDER --short --thresholds`:
{budget["photos"]:,} made-up photos of {side} x {side} pixels with up to {budget["objects"]}
objects of {budget["classes"]} classes; {budget["training_photos"]} train, {results.photos} judge
by their clean truth. Of {results.labels} labels that train {100 * budget["share"]:.0f} % are wrong:
{wrong}. A training has {budget["epochs"]} epochs, a short
one {BRIEFLY["epochs"]}; the seed decides errors, weights and order."""


def _scores(results: Results) -> str:
    head = (
        *("Training", "AP50", "by seed", "AP", "AP75", "dropped, objects", "dropped, background"),
        "published",
    )
    rows = []
    for name, one in results.scores.items():
        dropped = results.dropped.get(name)
        rows.append(
            (
                *(name, _with_spread(one.ap50), " / ".join(f"{value:.1f}" for value in one.ap50)),
                *(f"{fmean(values):.1f}" for values in (one.ap, one.ap75)),
                *([_percent(dropped[part]) for part in ("fg", "bg")] if dropped else ("–", "–")),
                PUBLISHED.get(name, "–"),
            )
        )
    return _markdown("AP on clean truth (AP50: tables 5 and 9)", head, rows)


def _gains(results: Results) -> str:
    head = ("Training", "in", "gain", "95 % over seeds", "gain and 95 % over photos, seed by seed")
    rows = [
        (
            *(name, measure.upper(), f"{one.mean:+.1f}"),
            "–" if one.half_width is None else f"± {one.half_width:.1f}",
            ", ".join(
                f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
                for value, (low, high) in zip(one.by_seed, one.by_photos, strict=True)
            ),
        )
        for name, by_measure in results.gains.items()
        for measure, one in by_measure.items()
    ]
    return _markdown("Gains over no drop on labels with errors, as long", head, rows)


def _queue(results: Results) -> str:
    head = (
        *("Training", "Order", "precision at the number of errors"),
        *(f"recall at {_percent(share, 0)}" for share in INSPECTED),
        "average precision",
    )
    rows = [
        (
            training,
            order,
            *map(_percent, (found.precision, *found.recall, found.average_precision)),
        )
        for training, one in results.suspicions.items()
        for order, found in one.orders.items()
        if order != DROP_SHARE or training in results.dropped
    ]
    return _markdown("Suspicious labels: how soon the errors are found", head, rows)


def _by_kind(results: Results) -> str:
    kinds = list(next(iter(next(iter(results.suspicions.values())).by_kind.values())))
    head = (
        *("Training", "Order"),
        *(f"{kind}, {what}" for kind in kinds for what in ("recall at 20 %", "average precision")),
    )
    rows = [
        (
            *(training, order),
            *(
                _percent(value)
                for kind in kinds
                for value in (found[kind].recall[1], found[kind].average_precision)
            ),
        )
        for training, one in results.suspicions.items()
        for order, found in one.by_kind.items()
        if order != DROP_SHARE or training in results.dropped
    ]
    return _markdown("The same for each kind of error, as if it was the only one", head, rows)


def _records(results: Results) -> str:
    head = ("Training", "Label", "RoIs dropped", "median loss, epoch by epoch")
    rows = [
        (training, kind, _percent(values[0]), ", ".join(f"{value:.1f}" for value in values[1:]))
        for training, one in results.suspicions.items()
        for kind, values in one.noted.items()
    ]
    return _markdown("What a training notes of a label", head, rows)


def _losses(results: Results) -> str:
    head = (
        *("Training", "RoIs", "how many", "class loss, median"),
        *(f"above {tau:g}" for tau in TAU_CLS),
        *("box loss, median", *(f"above {tau:g}" for tau in TAU_REG), "over 4 / 1"),
    )
    rows = [
        (
            *(training, kind, f"{one.rois:,}", f"{one.classification[0]:.2f}"),
            *map(_percent, one.over_class),
            f"{one.box[0]:.2f}",
            *map(_percent, one.over_box),
            _percent(one.dropped),
        )
        for training, kinds in results.losses.items()
        for kind, one in kinds.items()
    ]
    return _markdown("Losses of RoIs after the training", head, rows)


def _with_spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _markdown(title: str, head: Cells, rows: Sequence[Cells]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])

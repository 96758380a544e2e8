"""What a detector training left about each label -> which labels are suspicious, worst first. Pure.

The two signals of `instances.json`: the mean share of a label's RoIs that the drop threw out
(WeakSAM §6.1), and the label's lowest losses against those of all others. Either alone misses
errors: the drop is a threshold, so what stays just below it counts nothing, and a loss alone
cannot tell hard from wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from engine.errors import FormatError

PRIOR_STEPS = 4.0
"""A label seen in few steps is drawn to the mean drop share of all by so many steps."""

HALF_AT = 3.0
"""A loss so many robust deviations above the median is as much evidence as half of the RoIs."""

TELLING_SHARE, TELLING_DEVIATIONS = 0.05, 1.0  # from here on a signal is worth a word
_DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations
_LEAST_SPREAD = 0.1  # of log losses: where all are alike, nobody stands out
_LEAST_LOSS = 1e-6


@dataclass(frozen=True)
class Record:
    """One label of a training: steps that saw it, mean drop share in [0, 1], loss by epoch."""

    seen: float
    dropped: float
    loss: Mapping[int, float]


def read_records(content: Any) -> dict[int, Record]:
    """The labels of an `instances.json`; FormatError where it is none.

    Labels that no step saw are left out: nothing is known of them.
    """
    try:
        entries = content["instances"]
        records = {
            int(name): Record(
                seen=float(entry["seen"]),
                dropped=float(entry["dropped"] or 0.0),
                loss={int(epoch): float(loss) for epoch, loss in entry["loss"] if loss is not None},
            )
            for name, entry in entries.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"this is no record of the labels of a training: {error!r}") from error
    for number, one in records.items():
        finite = all(map(math.isfinite, [one.seen, *one.loss.values()]))
        if not finite or not 0.0 <= one.dropped <= 1.0:
            raise FormatError(f"label {number}: shares lie in [0, 1] and losses are finite")
    return {number: one for number, one in records.items() if one.seen > 0}


def rank_suspicious(
    records: Mapping[str, Any], *, names: Mapping[int, str] | None = None
) -> list[tuple[int, float, str]]:
    """(instance id, badness in [0, 1], reason) of every label that was seen, worst first.

    ``records`` is the content of `instances.json`, ``names`` the classes for the reasons. Badness
    is 1 - (1 - d)(1 - l), as of two witnesses who may each be right alone: d is the drop share,
    shrunk to the mean where few steps saw the label; l = z / (z + 3), where z is by how many robust
    deviations the log of the label's lowest losses lies above the median label's.
    """
    known = read_records(records)
    if not known:
        return []
    total = sum(one.seen for one in known.values())
    usual = sum(one.seen * one.dropped for one in known.values()) / total
    lowest = _lowest_losses(known)
    ranked = []
    for number, one in known.items():
        share = (one.seen * one.dropped + PRIOR_STEPS * usual) / (one.seen + PRIOR_STEPS)
        deviations, ratio = lowest[number]
        excess = max(deviations, 0.0)
        badness = 1.0 - (1.0 - share) * (1.0 - excess / (excess + HALF_AT))
        name = (names or {}).get(number, "object")
        ranked.append((number, badness, _reason(name, one.dropped, deviations, ratio)))
    return sorted(ranked, key=lambda one: (-round(one[1], 9), one[0]))


def _lowest_losses(records: Mapping[int, Record]) -> dict[int, tuple[float, float]]:
    """For each label: deviations from the median log loss, and how many times the usual loss.

    A label's loss is the mean of the third of its epochs in which it is lowest: a right label is
    easy at least at times, when the drawn RoIs lie well, and a wrong one never is.
    """
    logs = {number: _log(_lowest_third(one)) for number, one in records.items() if one.loss}
    if not logs:
        return dict.fromkeys(records, (0.0, 1.0))
    middle = median(logs.values())
    spread = max(_DEVIATION * median(abs(value - middle) for value in logs.values()), _LEAST_SPREAD)
    found = dict.fromkeys(records, (0.0, 1.0))
    for number, value in logs.items():
        found[number] = ((value - middle) / spread, math.exp(value - middle))
    return found


def _lowest_third(record: Record) -> float:
    losses = sorted(record.loss.values())
    return fmean(losses[: math.ceil(len(losses) / 3)])


def _log(loss: float) -> float:
    return math.log(max(loss, _LEAST_LOSS))


def _reason(name: str, share: float, deviations: float, ratio: float) -> str:
    dropped = f"the detector dropped {share:.0%} of the RoIs of this {name}".replace("%", " %")
    if deviations < TELLING_DEVIATIONS:
        return dropped
    if share < TELLING_SHARE:
        return f"the detector's loss on this {name} stays {ratio:.1f} times the usual"
    return f"{dropped}, and its loss stays {ratio:.1f} times the usual"

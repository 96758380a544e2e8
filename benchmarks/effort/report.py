"""Records in, tables in Markdown out: actions for each correct instance, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from benchmarks.effort.modes import MODES, ModeRecord
from benchmarks.effort.person import COSTS, PhotoRecord

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percent


def actions_per_correct(photos: Sequence[PhotoRecord]) -> float:
    """All actions over all instances that are good in the end; nan where none is."""
    correct = sum(one.correct for one in photos)
    return sum(one.actions for one in photos) / correct if correct else float("nan")


def with_foresight(photos: Sequence[PhotoRecord]) -> float:
    """The same for a person who presses the gallery key only where it helps; nan where none is."""
    correct = sum(one.correct for one in photos)
    futile = sum(thing.futile_presses for one in photos for thing in one.objects)
    actions = sum(one.actions for one in photos) - COSTS["gallery"] * futile
    return actions / correct if correct else float("nan")


def interval(photos: Sequence[PhotoRecord], *, seed: int = 0) -> tuple[float, float]:
    """95 % of `actions_per_correct` with photos drawn again and again, with replacement."""
    actions = np.array([one.actions for one in photos], dtype=float)
    correct = np.array([one.correct for one in photos], dtype=float)
    drawn = np.random.default_rng(seed).integers(0, len(photos), (RESAMPLES, len(photos)))
    sums = correct[drawn].sum(axis=1)
    ratios = actions[drawn].sum(axis=1)[sums > 0] / sums[sums > 0]
    if not ratios.size:
        return float("nan"), float("nan")
    low, high = np.percentile(ratios, INTERVAL)
    return float(low), float(high)


def set_report(title: str, measure: str, records: Sequence[ModeRecord]) -> str:
    """The tables of one set; ``measure`` says what is compared with the truth."""
    count, objects = len(records[0].photos), sum(len(one.objects) for one in records[0].photos)
    parts = [
        f"### {title}",
        f"{count} photos, {objects} objects, judged by their {measure}.",
        _by_round(records),
        _by_ending(records),
    ]
    parts += [_of_loop(one) for one in records if one.notes]
    return "\n\n".join(parts) + "\n"


def _by_round(records: Sequence[ModeRecord]) -> str:
    rounds = max(len(one.rounds) for one in records)
    head = [
        "Actions for a correct instance",
        *(f"round {number}" for number in range(1, rounds + 1)),
        "all photos (95 %)",
        "without futile G",
        "correct",
        "processor, s a photo",
    ]
    rows = []
    for one in records:
        low, high = interval(one.photos)
        objects = sum(len(photo.objects) for photo in one.photos)
        correct = sum(photo.correct for photo in one.photos)
        answering = sum(photo.seconds for photo in one.photos)
        seconds = (one.proposing + answering) / len(one.photos)
        rows.append(
            [
                MODES[one.name],
                *(f"{actions_per_correct(part):.2f}" for part in one.rounds),
                f"**{actions_per_correct(one.photos):.2f}** ({low:.2f} to {high:.2f})",
                f"{with_foresight(one.photos):.2f}",
                f"{100 * correct / objects:.0f} %",
                f"{seconds:.1f}",
            ]
        )
    return _markdown(head, rows)


ENDINGS = {
    "accept": "accepted",
    "class": "class given",
    "gallery": "gallery key",
    "click": "clicks",
    "draw": "drawn",
}


def _by_ending(records: Sequence[ModeRecord]) -> str:
    head = ["Percent of objects done by", *ENDINGS.values(), "rejected a photo"]
    rows = []
    for one in records:
        objects = [thing for photo in one.photos for thing in photo.objects]
        endings = Counter(thing.ended for thing in objects)
        rejected = sum(photo.rejected for photo in one.photos) / len(one.photos)
        rows.append(
            [
                MODES[one.name],
                *(f"{100 * endings[kind] / len(objects):.0f}" for kind in ENDINGS),
                f"{rejected:.2f}",
            ]
        )
    return _markdown(head, rows)


def _of_loop(record: ModeRecord) -> str:
    keys = list(dict.fromkeys(key for note in record.notes for key in note))
    rows = [
        [str(number), *(_shown(note.get(key)) for key in keys)]
        for number, note in enumerate(record.notes, start=1)
    ]
    return "What was trained after each round of the loop:\n\n" + _markdown(
        ["after round", *keys], rows
    )


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

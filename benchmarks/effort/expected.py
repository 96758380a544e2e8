"""What proposals would cost a person on photos that they have decided; picks what proposes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.effort.person import COSTS, Habits, ObjectRecord, PhotoRecord, assigned
from benchmarks.effort.truth import TrueObject, nearness
from engine.types import Instance

AT_FIRST_SIGHT = frozenset({"accept", "class"})


def expected_actions(
    objects: Sequence[TrueObject],
    proposed: Sequence[Instance],
    *,
    habits: Habits,
    mending: float,
) -> float:
    """One for each proposal, good or wrong, and ``mending`` for each object without a good one."""
    pairs, left = assigned(objects, proposed, habits)
    actions = float(COSTS["reject"] * len(left))
    for truth, instance in pairs:
        if instance is not None and nearness(instance, truth) >= habits.good:
            actions += COSTS["accept" if instance.category == truth.category else "class"]
        else:
            actions += mending
    return actions


def mean_of_mending(done: Sequence[PhotoRecord]) -> float:
    """What an object took that was not good at first sight; a click and a box without any yet."""
    taken = [one.actions for photo in done for one in photo.objects if not _is_at_once(one)]
    return sum(taken) / len(taken) if taken else float(COSTS["click"] + COSTS["draw"])


def _is_at_once(record: ObjectRecord) -> bool:
    return set(record.counts) <= AT_FIRST_SIGHT

"""The order in which photos come to review, and why one comes now.

    plain         as they were added
    uncertainty   the most doubtful proposal first, by the scores and one's own decisions
    disagreement  where two pipelines proposed most differently
    suspicious    the worst open finding first (`annotator.qa`)

An order is worked out at once and kept (`queue_place`) until it is asked for anew: what a person
decides on the way must not shuffle what comes next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sqlalchemy import delete, insert, select

from annotator import qa, schema
from annotator.comparing import joined_name
from annotator.findings import DISAGREEMENT, Finding
from annotator.listing import DISAGREEING, PLAIN, SUSPECT, UNCERTAIN
from annotator.store import Project
from annotator.thresholds import Decisions, Estimate, Thresholds, made_by
from annotator.views import View
from engine.types import Status

Priority = tuple[float, str]  # larger comes first; why


def renew(project: Project, order: str, decisions: Decisions) -> None:
    """Work an order out from how the project stands now; nothing to do for `PLAIN`."""
    if order == PLAIN:
        return
    if order == SUSPECT:
        qa.take_in_training(project)
    with project.read() as view:
        priorities = _priorities(view, order, decisions)
    ranked = sorted(priorities.items(), key=lambda one: (-round(one[1][0], 9), one[0]))
    table = schema.queue_place
    with project.write() as transaction:
        transaction.connection.execute(delete(table).where(table.c.order_name == order))
        rows = [
            {"order_name": order, "image_id": image_id, "place": place, "reason": reason}
            for place, (image_id, (_, reason)) in enumerate(ranked)
        ]
        if rows:
            transaction.connection.execute(insert(table), rows)


def why(view: View, order: str, image_id: int) -> str:
    """Why the photo has its place in the order, in a sentence; empty where there is no reason."""
    table = schema.queue_place
    query = select(table.c.reason).where(table.c.order_name == order, table.c.image_id == image_id)
    return view.connection.execute(query).scalar() or ""


def _priorities(view: View, order: str, decisions: Decisions) -> dict[int, Priority]:
    if order == UNCERTAIN:
        return _doubts(view, decisions.thresholds(view))
    kinds = [DISAGREEMENT] if order == DISAGREEING else qa.SUSPICIOUS
    return _worst(qa.open_findings(view, kinds=kinds))


def _worst(found: Iterable[Finding]) -> dict[int, Priority]:
    """The worst finding of each photo; they come worst first."""
    worst: dict[int, Priority] = {}
    for one in found:
        worst.setdefault(one.image_id, (one.badness, one.reason))
    return worst


def _doubts(view: View, thresholds: Thresholds) -> dict[int, Priority]:
    """The most doubtful proposal of each photo: that with the largest entropy of being right."""
    table, names = schema.instance, view.category_names()
    query = (
        select(table.c.image_id, table.c.category_id, table.c.score, *made_by(table))
        .where(table.c.status == Status.PROPOSED.value)
        .order_by(table.c.id)
    )
    doubts: dict[int, Priority] = {}
    for row in view.connection.execute(query):
        score = 0.5 if row.score is None else row.score  # no score, no opinion
        source = joined_name(row.pipeline, row.checkpoint)
        known = thresholds.estimate(row.category_id, source, score)
        doubt = entropy(score if known is None else known.right)
        if row.image_id not in doubts or doubt > doubts[row.image_id][0]:
            name = names.get(row.category_id, "object without a class")
            doubts[row.image_id] = (doubt, _doubt_reason(name, row.score, known))
    return doubts


def entropy(share: float) -> float:
    """Of an answer that is yes with this probability, in bits: 1 at a half, 0 where it is sure."""
    sure = (share, 1.0 - share)
    return -sum(one * math.log2(one) for one in sure if one > 0.0)


def _doubt_reason(name: str, score: float | None, known: Estimate | None) -> str:
    if score is None:
        return f"most doubtful: {name}, proposed without a score"
    if known is None:
        return f"most doubtful: {name} with score {score:.2f}"
    share = round(100 * known.right)
    return f"most doubtful: {name} with score {score:.2f}; of such {share} % were right so far"

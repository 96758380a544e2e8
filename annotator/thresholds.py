"""One's own decisions -> how often a proposal with a score was right, by class and source.

A proposal counts as right when it was accepted as it was, or edited so that its class stayed and
its box overlaps the proposed one by an IoU of at least .5; as wrong when it was rejected, or edited
further than that.

What was accepted above a score unseen counts as nothing as it stands: it would vouch for itself.
Nor does it count when somebody goes over the photos for wrong ones and takes those away: then only
the wrong ones were looked for. It counts, as right or as wrong, where a person went on to decide on
a photo what had been left undecided there, and where an object was opened again and decided. So the
estimate assumes two things: that whoever decides on the rest of a photo also looks at what was
accepted on it, and that which photos have such a rest says nothing about whether the surer
proposals on them are right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv
from sqlalchemy import ColumnElement, Table, select

from annotator import schema
from annotator.comparing import joined_name
from annotator.journal import SUGGEST
from annotator.merging import MARK
from annotator.unseen import Unseen
from annotator.views import View
from engine.geometry import iou_boxes
from engine.types import Box, Status

STILL_RIGHT_IOU = 0.5
TOO_FEW = 20
"""Decisions below which nothing is told."""

GROUP, GROUPS = 10, 12  # decisions of one step of the curve at least; steps at most
PRIOR = 2.0  # decisions' worth of the overall share in each step
OUTSIDE = 0.05  # on either side of the interval

REST = 20.0  # times as long as working out took, nothing is worked out again
AT_ONCE = 500  # rows a question: databases limit how many numbers one may name

IMPORT = "import"  # kind of an event

Values = NDArray[np.float64]
Key = tuple[int | None, str]  # category (None for all of them) and source
Born = tuple[int | None, Box]  # class and box as they were proposed


@dataclass(frozen=True)
class Estimate:
    """A share of right proposals, its 90 % interval, and how many decisions tell it."""

    right: float
    low: float
    high: float
    decided: int


@dataclass(frozen=True)
class Curve:
    """Share of right proposals over the score: never falls, lies in [0, 1], has an interval."""

    scores: tuple[float, ...]  # ascending knots
    right: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    decided: int

    def at(self, score: float) -> Estimate:
        """For one score; beyond the decided ones as at the nearest of them."""
        after = bisect_right(self.scores, score)
        if after in (0, len(self.scores)):
            edge = max(after - 1, 0)
            return Estimate(self.right[edge], self.low[edge], self.high[edge], self.decided)
        x0, x1 = self.scores[after - 1], self.scores[after]
        along = (score - x0) / (x1 - x0)
        right, low, high = (
            values[after - 1] + along * (values[after] - values[after - 1])
            for values in (self.right, self.low, self.high)
        )
        return Estimate(right, low, high, self.decided)


@dataclass(frozen=True)
class Decision:
    """What became of one proposal."""

    category_id: int
    source: str
    score: float
    is_right: bool


# -- the fit -------------------------------------------------------------------------------------


def fit(scores: Sequence[float], is_right: Sequence[bool]) -> Curve | None:
    """A monotone, smoothed curve through decisions; None where they are too few to tell.

    Decisions are put into groups of neighbouring scores. A group of n with k right ones stands for
    (k + 2 r) / (n + 2), r being the share of all; neighbours that fall are pooled until none does
    (isotonic regression). The interval is that of the beta distribution of the pooled counts.
    """
    if len(scores) < TOO_FEW:
        return None
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")
    values, outcomes = np.asarray(scores, np.float64)[order], np.asarray(is_right, bool)[order]
    overall = (outcomes.sum() + 1.0) / (len(outcomes) + 2.0)
    blocks: list[_Block] = []
    for part in _groups(values):
        blocks.append(
            _Block(values[part][0], values[part][-1], len(values[part]), outcomes[part].sum())
        )
        while len(blocks) > 1 and blocks[-2].share(overall) >= blocks[-1].share(overall):
            last = blocks.pop()
            blocks[-1] = blocks[-1].with_next(last)
    shares = np.array([block.share(overall) for block in blocks])
    low, high = (
        np.array([block.quantile(overall, at) for block in blocks]) for at in (OUTSIDE, 1 - OUTSIDE)
    )
    low = np.maximum.accumulate(np.minimum(low, shares))
    high = np.minimum.accumulate(np.maximum(high, shares)[::-1])[::-1]
    # Flat within a block, straight between blocks.
    knots = [float(edge) for block in blocks for edge in (block.first, block.last)]
    ends = [tuple(np.repeat(values, 2).tolist()) for values in (shares, low, high)]
    return Curve(tuple(knots), ends[0], ends[1], ends[2], len(scores))


@dataclass(frozen=True)
class _Block:
    """Neighbouring decisions: their scores from first to last, how many, how many were right."""

    first: float
    last: float
    decided: int
    right: int

    def with_next(self, other: _Block) -> _Block:
        right = self.right + other.right
        return _Block(self.first, other.last, self.decided + other.decided, right)

    def share(self, overall: float) -> float:
        return float((self.right + PRIOR * overall) / (self.decided + PRIOR))

    def quantile(self, overall: float, at: float) -> float:
        right = self.right + PRIOR * overall
        wrong = self.decided - self.right + PRIOR * (1.0 - overall)
        return float(betaincinv(right, wrong, at))


def _groups(values: Values) -> Iterable[slice]:
    """Stretches of ascending scores, of about the same size; equal scores stay together."""
    size = max(GROUP, -(-len(values) // GROUPS))
    start = 0
    while start < len(values):
        end = start + size
        if len(values) - end < size:
            end = len(values)
        else:
            end = int(np.searchsorted(values, values[end - 1], side="right"))
        yield slice(start, end)
        start = end


# -- by class and source -------------------------------------------------------------------------


class Thresholds:
    """What a project's decisions tell about its proposals."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decided: dict[Key, int] = {}
        gathered: dict[Key, list[Decision]] = {}
        for one in decisions:
            keys: tuple[Key, Key] = ((one.category_id, one.source), (None, one.source))
            for key in keys:
                gathered.setdefault(key, []).append(one)
        self.curves: dict[Key, Curve] = {}
        for key, those in gathered.items():
            self.decided[key] = len(those)
            curve = fit([one.score for one in those], [one.is_right for one in those])
            if curve is not None:
                self.curves[key] = curve

    def estimate(self, category_id: int | None, source: str, score: float) -> Estimate | None:
        """For a proposal of this class and source, with too few of the class for all classes.

        None where those are too few to tell as well.
        """
        curve = self.curves.get((category_id, source)) or self.curves.get((None, source))
        return None if curve is None else curve.at(score)


class Decisions:
    """Follows what is decided in a project: everything is read once, then only what changed."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._decided: dict[int, Decision] = {}  # by instance
        self._unseen = Unseen()
        self._births: dict[int, Born | None] = {}
        self._taken_in = 0  # the newest event that these know of
        self._known: Thresholds | None = None
        self._known_at = 0  # the newest event when `_known` was worked out
        self._rest_until = 0.0

    def thresholds(self, view: View) -> Thresholds:
        """As everything is decided now, or as it was a moment ago.

        Working it out anew takes at most one part of `REST` of the time: a project so large that it
        takes a second is looked at every 20 seconds, a small one at each call.
        """
        with self._lock:
            newest, began = view.newest_event(), self._clock()
            is_new = self._known is None or newest != self._known_at
            if self._known is None or (is_new and began >= self._rest_until):
                self._take_in(view)
                self._known = Thresholds(list(self._decided.values()))
                self._known_at = newest
                ended = self._clock()
                self._rest_until = ended + REST * (ended - began)
            return self._known

    def read(self, view: View) -> list[Decision]:
        """Every decision about a proposal with a score, in the order of the objects."""
        with self._lock:
            self._take_in(view)
            return [self._decided[one] for one in sorted(self._decided)]

    def _take_in(self, view: View) -> None:
        newest, since = view.newest_event(), self._taken_in
        if newest <= since:
            return
        unlooked = set(self._unseen.unlooked)
        self._unseen.follow(view)
        if not since:
            self._decided = self._decisions(view, _decided_rows(view, ()))
        else:
            touched = sorted({*_touched(view, since=since), *unlooked ^ self._unseen.unlooked})
            for one in touched:
                self._decided.pop(one, None)
            for start in range(0, len(touched), AT_ONCE):
                part = schema.instance.c.id.in_(touched[start : start + AT_ONCE])
                self._decided |= self._decisions(view, _decided_rows(view, (part,)))
        self._taken_in = newest

    def _decisions(self, view: View, rows: Sequence[Any]) -> dict[int, Decision]:
        # An import can bring what is decided already.
        unclear = {row.id: row.image_id for row in rows if row.edited or row.mark is not None}
        self._look_up(view, unclear)
        decisions = {}
        for row in rows:
            now = (row.category_id, (row.x0, row.y0, row.x1, row.y1))
            born = self._births[row.id] if row.id in unclear else now
            # No birth in the journal as a proposal: nobody decided it here.
            if born is None or born[0] is None:
                continue
            if row.id in self._unseen.unlooked:
                continue
            is_same = not row.edited or _is_still_it(now, born)
            right = row.status != Status.REJECTED.value and is_same
            source = joined_name(row.pipeline, row.checkpoint)
            decisions[row.id] = Decision(born[0], source, row.score, right)
        return decisions

    def _look_up(self, view: View, wanted: Mapping[int, int]) -> None:
        """As what these instances (id -> photo) were proposed."""
        missing = {one: image_id for one, image_id in wanted.items() if one not in self._births}
        if not missing:
            return
        table, images = schema.journal, set(missing.values())
        query = select(table.c.image_id, table.c.changes).where(table.c.kind.in_([SUGGEST, IMPORT]))
        if len(images) < 1000:
            query = query.where(table.c.image_id.in_(images))
        self._births |= dict.fromkeys(missing)
        for row in view.connection.execute(query):
            if row.image_id not in images:
                continue
            for change in row.changes:
                born = change["after"]
                is_born = change["table"] == "instance" and change["before"] is None
                if is_born and change["id"] in missing and born["status"] == Status.PROPOSED.value:
                    box = (born["x0"], born["y0"], born["x1"], born["y1"])
                    self._births[change["id"]] = (born["category_id"], box)


def _decided_rows(view: View, conditions: Sequence[ColumnElement[bool]]) -> Sequence[Any]:
    """The proposals with a score that are decided, without their masks."""
    table = schema.instance
    columns = [table.c[name] for name in ("id", "image_id", "score", "status", "edited")]
    mark = table.c.source["options"][MARK].as_string().label("mark")
    return view.connection.execute(
        select(*columns, *place_of(table), *made_by(table), mark)
        .where(table.c.score.is_not(None), table.c.status != Status.PROPOSED.value, *conditions)
        .order_by(table.c.id)
    ).all()


def _touched(view: View, *, since: int) -> set[int]:
    """The instances that events after this one were about; a run touches nothing decided."""
    table = schema.journal
    rows = view.connection.execute(
        select(table.c.changes).where(table.c.id > since, table.c.kind != SUGGEST)
    )
    return {change["id"] for row in rows for change in row.changes if change["table"] == "instance"}


def made_by(table: Table) -> tuple[Any, Any]:
    """Pipeline and checkpoint of instances as columns, without reading the rest of the source."""
    return (
        table.c.source["pipeline"].as_string().label("pipeline"),
        table.c.source["checkpoint"].as_string().label("checkpoint"),
    )


def place_of(table: Table) -> list[Any]:
    """Class and box of instances as columns."""
    return [table.c[name] for name in ("category_id", "x0", "y0", "x1", "y1")]


def _is_still_it(now: Born, born: Born) -> bool:
    return now[0] == born[0] and float(iou_boxes([now[1]], [born[1]])[0, 0]) >= STILL_RIGHT_IOU

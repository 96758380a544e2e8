"""The review screen's questions about scores and findings: fields in, JSON out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

from annotator import accepting
from annotator.accepting import Choice
from annotator.findings import Finding
from annotator.listing import PLAIN, Filter
from annotator.pictures import thumbnail_address
from annotator.store import Project
from annotator.thresholds import TOO_FEW, Curve, Decisions
from annotator.ui.fields import Fields
from annotator.views import View
from annotator.workspace import key_of

Answer = dict[str, Any]


def filter_of(fields: Fields) -> Filter:
    """Which photos the page shows, and in which order."""
    inner = fields.optional_mapping("filter")
    status, order = inner.text("status", "all"), inner.text("order", PLAIN)
    return Filter(status, inner.optional_whole("cls"), order)


def described(finding: Finding) -> Answer:
    """A finding as the page shows it; ``id`` is that of the object, None where there is none."""
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "state": finding.state,
        "id": finding.instance_id,
        "cls": finding.category_id,
        "box": None if finding.box is None else list(finding.box),
        "badness": round(finding.badness, 3),
        "reason": finding.reason,
    }


class Quality:
    """Answers for every project; keeps what it has looked up of their decisions."""

    def __init__(self, *, actor: str, root: str) -> None:
        self._actor = actor
        self._root = root
        self._decisions: WeakKeyDictionary[Project, Decisions] = WeakKeyDictionary()

    def decisions_of(self, project: Project) -> Decisions:
        """The reader of the project's decisions."""
        return self._decisions.setdefault(project, Decisions())

    def thresholds(self, project: Project) -> Answer:
        """By class (null for all) and source: the curve, or only how few decisions there are.

        And what was accepted at once last, which can be taken back.
        """
        with project.read() as view:
            known, last = self.decisions_of(project).thresholds(view), _last(view)
        return {
            "last": last,
            "too_few": TOO_FEW,
            "curves": [
                {
                    "cls": category_id,
                    "source": source,
                    "decided": decided,
                    "knots": _knots(known.curves.get((category_id, source))),
                }
                for (category_id, source), decided in known.decided.items()
            ],
        }

    def preview(self, project: Project, fields: Fields) -> Answer:
        """What accepting above a score would do."""
        with project.read() as view:
            known = self.decisions_of(project).thresholds(view)
            shown, last = accepting.preview(view, _choice(fields), known), _last(view)
            versions = {one.image_id: view.photo(one.image_id).sha256 for one in shown.examples}
        key = key_of(project.folder)
        return {
            "last": last,
            "fingerprint": shown.fingerprint,
            "objects": shown.objects,
            "photos": shown.photos,
            "known": shown.known,
            "expected": None if shown.expected is None else asdict(shown.expected),
            "examples": [
                {
                    "photo": one.image_id,
                    "id": one.instance_id,
                    "name": one.category,
                    "score": one.score,
                    "box": one.box_share,
                    "thumb": self._root
                    + "/"
                    + thumbnail_address(key, one.image_id, versions[one.image_id]),
                }
                for one in shown.examples
            ],
        }

    def accept(self, project: Project, fields: Fields) -> Answer:
        """Accept them, if they are still those that the person was shown."""
        fingerprint = fields.text("fingerprint")
        done = accepting.accept_above(
            project, _choice(fields), actor=self._actor, fingerprint=fingerprint
        )
        return asdict(done)

    def take_back(self, project: Project, fields: Fields) -> Answer:
        """Undo such a batch."""
        return asdict(accepting.take_back(project, actor=self._actor, batch=fields.text("batch")))


def _last(view: View) -> Answer | None:
    batch = accepting.last_batch(view)
    return None if batch is None else asdict(batch)


def _knots(curve: Curve | None) -> list[tuple[float, float, float, float]] | None:
    if curve is None:
        return None
    return list(zip(curve.scores, curve.right, curve.low, curve.high, strict=True))


def _choice(fields: Fields) -> Choice:
    return Choice(
        min_score=fields.number("min_score", low=0, high=1),
        category_id=fields.optional_whole("cls"),
        source=fields.optional_text("source"),
        photos=filter_of(fields),
    )

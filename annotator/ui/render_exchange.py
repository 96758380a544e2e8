"""What left a project and what came in as HTML: reports in, escaped markup out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from annotator.exporting import ExportReport, Plan
from annotator.importing import ImportReport
from annotator.intake import IntakeReport
from annotator.labelstudio.push import PushReport
from annotator.labelstudio.reporting import pull_lines, push_lines
from annotator.labelstudio.transfers import Standing
from annotator.ui.render import count, notice

LISTED = 8  # oddities that are shown before the rest is only counted


def holds(text: str) -> str:
    """What comes back from a file of the chosen format."""
    return f'<p class="t2-path">Holds {escape(text)}.</p>'


def plan(planned: Plan) -> str:
    """What an export would write and lose."""
    facts = planned.as_dict()
    lines = [
        '<div class="t2-export"><strong>Nothing is written yet</strong>',
        f"<p>{count(facts['instances'], 'instance')} on {facts['photos_with_instances']} of"
        f" {count(facts['photos'], 'photo')} would be written</p>",
        *_warnings(planned.lines()),
    ]
    if not planned.lines():
        lines.append("<p>Nothing would be lost.</p>")
    return "".join(lines) + "</div>"


def export_result(report: ExportReport, *, download: Path, link: str) -> str:
    """What was written and what reading it back found."""
    verified, facts = report.verified, report.plan.as_dict()
    mark = "✓ Verified" if verified.ok else "✗ Differences"
    lines = [
        f'<div class="t2-export" data-ok="{str(verified.ok).lower()}">',
        f"<strong>{mark}</strong>",
        f"<p>{count(facts['instances'], 'instance')} on {facts['photos_with_instances']} of"
        f" {count(facts['photos'], 'photo')} · {escape(', '.join(facts['statuses']))}</p>",
        f"<p>Read back by {escape(verified.reader)}: {escape(verified.summary())}</p>",
        *_warnings(report.plan.lines()),
        f'<p class="t2-path">{escape(str(download))}</p>',
        f'<a class="t2-button" href="{escape(link)}" download>Download</a>',
    ]
    return "".join(lines) + "</div>"


def import_result(report: ImportReport) -> str:
    """What came in, and what was left out and why."""
    mark = "✓ Imported" if report.is_complete else "✓ Imported, not all of it"
    lines = [
        f'<div class="t2-export" data-ok="true" data-added="{report.added}">',
        f"<strong>{mark}</strong>",
        *(f"<p>{escape(line)}</p>" for line in report.summary().split("\n")),
        *_warnings(report.oddities()),
    ]
    return "".join(lines) + "</div>"


def tags_result(report: IntakeReport) -> str:
    """What a file of tags did, and which of its lines were odd."""
    mark = "✓ Tagged" if not report.tag_problems else "✓ Tagged, not all of it"
    lines = [
        f'<div class="t2-export" data-ok="true" data-tagged="{report.tagged}">',
        f"<strong>{mark}</strong>",
        f"<p>{count(report.tagged, 'photo')} got tags, {report.untagged} have none;"
        f" {count(report.classes, 'class')} in the project</p>",
        *_warnings([f"line {one.line}: {one.text}" for one in report.tag_problems]),
    ]
    return "".join(lines) + "</div>"


def transfer(standing: Standing) -> str:
    """How far a push or a pull is; at its end what it did, and every conflict."""
    if standing.is_running:
        share = 100 * standing.done / standing.total if standing.total else 0
        title = "Stopping after this step" if standing.is_stopping else standing.what.capitalize()
        lines = [
            f'<div class="t2-run" data-status="running"><strong>{escape(title)} …</strong>',
            f'<div class="t2-bar" role="progressbar" aria-valuenow="{share:.0f}" aria-valuemin="0"'
            f' aria-valuemax="100"><i style="width:{share:.1f}%"></i></div>',
        ]
        if standing.total:
            lines.append(f"<p>{standing.done} of {count(standing.total, 'photo')}</p>")
        return "".join([*lines, *_warnings(standing.notes)]) + "</div>"
    if standing.report is None:
        return notice(standing.error)
    report = standing.report
    told = push_lines(report) if isinstance(report, PushReport) else pull_lines(report)
    mark = "✓ In step" if report.is_complete else "✓ Done, not all of it"
    lines = [
        f'<div class="t2-export" data-ok="true"><strong>{mark}</strong>',
        f"<p>{escape(told[0])}</p>",
        *_warnings([*standing.notes, *told[1:]], listed=len(told) + len(standing.notes)),
    ]
    return "".join(lines) + "</div>"


def _warnings(texts: Sequence[str], *, listed: int = LISTED) -> list[str]:
    shown = [f'<p class="t2-warn">{escape(text)}</p>' for text in texts[:listed]]
    more = len(texts) - listed
    return shown + ([f'<p class="t2-warn">… and {more} more</p>'] if more > 0 else [])

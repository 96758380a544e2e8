"""What a push or a pull did, as lines for a person: first what was done, then what was not."""

from __future__ import annotations

from annotator.answers import first
from annotator.labelstudio.pull import PullReport
from annotator.labelstudio.push import PushReport


def push_lines(report: PushReport) -> list[str]:
    """What was sent, and what waits or was left out."""
    verb = "made" if report.made else "brought in step"
    lines = [
        f"project {report.title!r} at {report.url}/projects/{report.remote_project} {verb}: "
        f"{report.sent} photos sent, {report.updated} updated, {report.unchanged} as they were"
    ]
    if report.config_added:
        lines.append("added to the label config: " + ", ".join(report.config_added))
    if report.waiting:
        count = len(report.waiting)
        lines.append(
            f"{count} photos were annotated there meanwhile; fetch that back (pull) first:"
        )
        lines += first([f"  {name}" for name in report.waiting])
    if report.twice:
        lines.append(f"{len(report.twice)} photos have more than one task there; the oldest counts")
        lines += first([f"  {name}" for name in report.twice])
    lines += first([f"left out {text}" for text in report.left_out])
    lines += map(str, report.losses)
    if report.unclassed:
        lines.append(f"left out: {report.unclassed} instances that have no class yet")
    return lines


def pull_lines(report: PullReport) -> list[str]:
    """What was taken over, and what was not and why."""
    lines = [
        f"project {report.title!r} at {report.url}: {report.tasks} tasks, {report.read} read; "
        f"{report.photos} photos changed here: {report.accepted} accepted, {report.changed} "
        f"changed, {report.added} new, {report.rejected} taken away"
    ]
    if report.skipped or report.drafts or report.foreign:
        lines.append(
            f"not taken: {report.skipped} tasks skipped there, {report.drafts} with a draft, "
            f"{report.foreign} of other projects"
        )
    if report.twice:
        lines.append(f"{len(report.twice)} photos have more than one task there; the oldest counts")
        lines += first([f"  {name}" for name in report.twice])
    lines += first([f"deleted there, kept here: {text}" for text in report.deleted])
    lines += first([f"set aside: {text}" for text in report.set_aside])
    lines += first([f"conflict: {text}" for text in report.conflicts])
    lines += first([f"problem: {text}" for text in report.problems])
    return lines

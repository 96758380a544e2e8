"""Pieces of pages as HTML: facts in, escaped markup out. No state, no callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from annotator.runs import CHECK, DONE, RUNNING, WAITING, Run

BRAND = """<div class="t2-brand"><span class="t2-mark" aria-hidden="true"></span>
<strong>Tag2Mask</strong>{project}</div>"""


@dataclass(frozen=True)
class ProjectCard:
    """A project as the first screen shows it."""

    key: str
    name: str
    folder: str
    photos: int
    todo: int
    done: int
    cover: str | None  # the address of a thumbnail
    problem: str = ""  # why it cannot be opened


def count(number: int, thing: str) -> str:
    """ "1 photo", "2 photos", "1 class", "2 classes"."""
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number} {thing}{ending}"


def header(project_name: str | None) -> str:
    """The line at the top of every page."""
    shown = f'<span class="t2-where">{escape(project_name)}</span>' if project_name else ""
    return BRAND.format(project=shown)


def cards(projects: list[ProjectCard], *, current: str | None) -> str:
    """The list of projects, each one a link."""
    if not projects:
        return (
            '<div class="t2-empty"><strong>No project yet</strong><p>Give the folder of your photos'
            " on the right, and what is in them as tags.</p></div>"
        )
    return '<div class="t2-cards">' + "".join(_card(one, current) for one in projects) + "</div>"


def _card(project: ProjectCard, current: str | None) -> str:
    if project.problem:
        return (
            f'<div class="t2-card t2-broken"><div class="t2-cover"></div><div class="t2-facts">'
            f"<strong>{escape(project.name)}</strong><span>{escape(project.problem)}</span></div></div>"
        )
    cover = (
        f'<img class="t2-cover" src="{escape(project.cover)}" alt="">'
        if project.cover
        else '<div class="t2-cover"></div>'
    )
    here = ' aria-current="true"' if project.key == current else ""
    decided = 0 if project.photos == 0 else round(100 * project.done / project.photos)
    return (
        f'<a class="t2-card" href="?project={project.key}"{here}>{cover}<div class="t2-facts">'
        f"<strong>{escape(project.name)}</strong>"
        f"<span>{count(project.photos, 'photo')} · {project.todo} to review ·"
        f" {project.done} done</span>"
        f'<div class="t2-bar" role="img" aria-label="{decided} percent done">'
        f'<i style="width:{decided}%"></i></div>'
        f'<span class="t2-path">{escape(project.folder)}</span></div></a>'
    )


def run_progress(run: Run | None, *, photos_left: int) -> str:
    """How the newest run stands, in words and as a bar."""
    if run is None:
        return (
            '<div class="t2-run"><strong>Nothing proposed yet</strong>'
            f"<p>{photos_left} photos wait for proposals. Reviewing can begin as soon as the first"
            " ones are there.</p></div>"
        )
    share = 0 if run.total == 0 else 100 * run.done / run.total
    rate = f" · {run.seconds / run.done:.1f} s a photo" if run.done else ""
    titles = {
        WAITING: "Starting",
        RUNNING: "Proposing",
        DONE: "Proposals are ready",
        "cancelled": "Stopped",
        "interrupted": "Interrupted: resume goes on where it stopped",
        "failed": "Failed",
    }
    made = "proposal"
    if run.kind == CHECK:
        titles |= {RUNNING: "Checking what was decided", DONE: "What was decided is checked"}
        made = "finding"
    lines = [
        f'<div class="t2-run" data-status="{run.status}"><strong>{titles[run.status]}</strong>',
        f'<div class="t2-bar" role="progressbar" aria-valuenow="{share:.0f}" aria-valuemin="0"'
        f' aria-valuemax="100"><i style="width:{share:.1f}%"></i></div>',
        f"<p>{run.done} of {count(run.total, 'photo')} · {count(run.instances, made)}{rate}"
        f" · pipeline {escape(run.pipeline)}</p>",
    ]
    if run.problems:
        lines.append(
            f'<p class="t2-warn">{run.problems} photos got nothing; see annotator status</p>'
        )
    if run.message:
        lines.append(f'<p class="t2-warn">{escape(run.message)}</p>')
    return "".join(lines) + "</div>"


def tag_check(
    *, photos: int, skipped: int, tagged: int, classes: list[str], problems: list[str]
) -> str:
    """What the folder and the tags hold, before a project is made of them."""
    shown = ", ".join(escape(name) for name in classes[:12])
    more = f" and {len(classes) - 12} more" if len(classes) > 12 else ""
    lines = [
        '<div class="t2-check">',
        f"<strong>{count(photos, 'photo')}, {tagged} tagged</strong>",
        f"<p>{count(len(classes), 'class')}{': ' if classes else ''}{shown}{more}</p>",
    ]
    if skipped:
        lines.append(f'<p class="t2-warn">{skipped} files cannot be photos and are left out</p>')
    if problems:
        lines.append('<ul class="t2-warn">')
        lines += [f"<li>{escape(problem)}</li>" for problem in problems[:8]]
        if len(problems) > 8:
            lines.append(f"<li>… and {len(problems) - 8} more</li>")
        lines.append("</ul>")
    return "".join(lines) + "</div>"


def notice(text: str, *, kind: str = "warn") -> str:
    """A sentence that needs attention."""
    return f'<div class="t2-notice t2-{kind}">{escape(text)}</div>'

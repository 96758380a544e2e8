"""A project and a server, both ways, by what a person types: the path of command line and app.

In: address, token, title and how the photos get there. Out: the report of a push or a pull.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from annotator.labelstudio.addresses import UPLOAD, photo_source
from annotator.labelstudio.client import TESTED, Client, Waiting
from annotator.labelstudio.merging import Side
from annotator.labelstudio.pull import PullChoices, PullReport, pull
from annotator.labelstudio.push import OnProgress, PushChoices, PushReport, push
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from engine.errors import OptionError
from exports.choices import Choices, Selection, select
from exports.label_studio import LabelStudioOptions

OnNote = Callable[[str], None]
"""Told what a person should know although everything goes on."""


@dataclass(frozen=True, kw_only=True)
class There:
    """Which project of which server, and how to get in."""

    url: str
    token: str = field(repr=False)  # kept in memory only
    title: str = ""  # of the project there; the name of ours where it is empty
    photos: str = UPLOAD
    document_root: Path | None = None


def send(
    project: Project,
    there: There,
    choices: Choices,
    options: LabelStudioOptions,
    *,
    on_progress: OnProgress,
    on_note: OnNote,
) -> PushReport:
    """Send what is new or changed; AnnotatorErrors as `push`."""
    with _connected(there, on_note) as remote:
        source = photo_source(project, there.photos, document_root=there.document_root)
        wanted = PushChoices(title=title_of(project, there), options=options)
        selection = selected(project, choices)
        return push(project, remote, selection, wanted, source, on_progress=on_progress)


def fetch(
    project: Project,
    there: There,
    *,
    actor: str,
    prefer: Side = "here",
    add_classes: bool = False,
    on_progress: OnProgress,
    on_note: OnNote,
) -> PullReport:
    """Take over what people did there; AnnotatorErrors as `pull`."""
    with _connected(there, on_note) as remote:
        wanted = PullChoices(
            title=title_of(project, there), actor=actor, prefer=prefer, add_classes=add_classes
        )
        return pull(project, remote, wanted, on_progress=on_progress)


@contextmanager
def _connected(there: There, on_note: OnNote) -> Iterator[Remote]:
    """The server, once it is known to be one and to take the token."""
    if not there.url:
        raise OptionError("say where Label Studio is, like http://localhost:8080")
    with Client(there.url, there.token, Waiting()) as client:
        version, _ = client.check()
        if not version.startswith(TESTED):
            on_note(f"this is Label Studio {version}; tried was {TESTED}x only")
        yield Remote(client)


def title_of(project: Project, there: There) -> str:
    """What the project there is called."""
    if there.title:
        return there.title
    with project.read() as view:
        return str(view.setting("name", "")) or project.folder.name


def selected(project: Project, choices: Choices) -> Selection:
    """What of the project was chosen."""
    with project.read() as view:
        categories = list(view.category_names().items())
        return select(view.labeled(choices.statuses), categories, choices)

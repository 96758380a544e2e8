"""Which project there is meant, and what is known of it here."""

from __future__ import annotations

from annotator.labelstudio.client import Missing
from annotator.labelstudio.journal import SyncJournal, known_projects
from annotator.labelstudio.remote import Remote, RemoteProject, checked_title
from annotator.store import Project
from engine.errors import OptionError


def find_target(project: Project, remote: Remote, *, key: str, title: str) -> RemoteProject | None:
    """The project there: the one that was pushed to under this title, else one called so.

    OptionError where several could be meant.
    """
    title = checked_title(title)
    known = known_projects(project.folder, url=remote.client.url, project=key, title=title)
    for number, made in known:
        try:
            there = remote.project(number)
        except Missing:
            continue  # deleted there
        # A server that begins anew counts from one again: the number may be another project's.
        if there.created == made or (made is None and there.title == title):
            return there
    found = remote.projects(title)
    if len(found) > 1:
        numbers = ", ".join(str(one.id) for one in found)
        raise OptionError(
            f"{remote.client.url} has {len(found)} projects called {title!r} (numbers {numbers}); "
            "rename all but one, or give the title of another"
        )
    return found[0] if found else None


def journal_of(
    project: Project, remote: Remote, target: RemoteProject, *, key: str, title: str
) -> SyncJournal:
    """What is known of this project there; use it as a context."""
    return SyncJournal(
        project.folder,
        url=remote.client.url,
        project=key,
        remote_project=target.id,
        title=checked_title(title),
        remote_title=target.title,
        created=target.created,
    )

"""What we ask of a Label Studio server, call by call, as measured with 1.23.2."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotator.labelstudio.client import Client, LabelStudioError, Missing, Upload
from engine.errors import OptionError

PAGE = 1000  # tasks; the server is no faster with fewer
ASKED_AT_ONCE = 100  # ids in one address, which may be 4,000 characters long
MOST_FILES = 100  # of one upload; 101 are an error of the server
FIRST_PAGE = 20  # whole tasks; then as many as the server gives within reason
QUICK, SLOW = 3.0, 10.0  # seconds of an answer: more at once below, fewer above
TITLE = (3, 50)  # shortest and longest
_UPLOADED = re.compile(r"[0-9a-f]{8}-(\d+)-")


@dataclass(frozen=True)
class RemoteProject:
    """A project there."""

    id: int
    title: str
    label_config: str
    created: str  # when it was made; no other project of this number has the same


@dataclass(frozen=True)
class RemoteTask:
    """A task there, without what is drawn on it."""

    id: int
    data: Mapping[str, Any]
    updated_at: str
    annotations: int
    skipped: int
    has_draft: bool

    @property
    def ext_id(self) -> str:
        """Ours, or empty."""
        return str(self.data.get("ext_id", ""))


def checked_title(title: str) -> str:
    """The title of a project as the server takes it; OptionError where it does not."""
    title = " ".join(title.split())
    if not TITLE[0] <= len(title) <= TITLE[1]:
        raise OptionError(
            f"the title {title!r} has {len(title)} characters; Label Studio takes {TITLE[0]} to "
            f"{TITLE[1]}: give the project there another one"
        )
    return title


class Remote:
    """The calls on one server."""

    def __init__(self, client: Client) -> None:
        self.client = client

    # -- projects ----------------------------------------------------------------------------

    def projects(self, title: str) -> list[RemoteProject]:
        """All of exactly this title; titles are not unique there."""
        found, page = [], 1
        while True:
            answer = self.client.get(
                "/api/projects/", title=title, page=page, page_size=100, include="id,title"
            )
            found += [one["id"] for one in answer["results"] if one["title"] == title]
            if not answer.get("next"):
                return [self.project(number) for number in found]
            page += 1

    def project(self, number: int) -> RemoteProject:
        """One project; Missing where there is none (any more)."""
        answer = self.client.get(f"/api/projects/{number}/")
        return _project(answer)

    def create_project(self, title: str, label_config: str) -> RemoteProject:
        """A new one, with what it needs for predictions to be seen."""
        body = {"title": title, "label_config": label_config, "show_collab_predictions": True}
        number = int(self.client.post("/api/projects/", body)["id"])
        return self.project(number)  # whatever the answer leaves out

    def ensure_view(self, project: int) -> None:
        """Make a view if there is none: without one the editor opens empty on its first visit."""
        if not self.client.get("/api/dm/views/", project=project):
            self.client.post("/api/dm/views/", {"project": project, "data": {"title": "Default"}})

    def set_config(self, project: int, label_config: str) -> None:
        """Give it this label config; asks first whether that is good for what is there."""
        body = {"label_config": label_config}
        self.client.post(f"/api/projects/{project}/validate/", body)
        self.client.patch(f"/api/projects/{project}/", body)

    # -- tasks -------------------------------------------------------------------------------

    def tasks(self, project: int) -> Iterator[RemoteTask]:
        """Every task, page by page."""
        page = 1
        while True:
            try:
                answer = self.client.get(
                    "/api/tasks/",
                    project=project,
                    fields="all",
                    include="id,data,updated_at,total_annotations,cancelled_annotations,"
                    "draft_exists",
                    page=page,
                    page_size=PAGE,
                )
            except Missing:  # a page behind the last one
                if page == 1:
                    raise
                return
            for task in answer["tasks"]:
                yield RemoteTask(
                    id=int(task["id"]),
                    data=task.get("data") or {},
                    updated_at=str(task.get("updated_at", "")),
                    annotations=int(task.get("total_annotations") or 0),
                    skipped=int(task.get("cancelled_annotations") or 0),
                    has_draft=bool(task.get("draft_exists")),
                )
            if page * PAGE >= int(answer["total"]):
                return
            page += 1

    def task_ids(self, project: int, ext_ids: Sequence[str]) -> dict[str, list[int]]:
        """The tasks of these ``ext_id``, lowest first; those that are not there are left out."""
        found: dict[str, list[int]] = {}
        for start in range(0, len(ext_ids), ASKED_AT_ONCE):
            chosen = list(ext_ids[start : start + ASKED_AT_ONCE])
            condition = {
                "filter": "filter:tasks:data.ext_id",
                "operator": "in_list",
                "type": "String",
                "value": chosen,
            }
            query = json.dumps({"filters": {"conjunction": "and", "items": [condition]}})
            answer = self.client.get(
                "/api/tasks/", project=project, query=query, include="id,data", page_size=PAGE
            )
            for task in answer["tasks"]:
                ext_id = task["data"].get("ext_id")
                if ext_id in chosen:  # an unknown filter would give everything
                    found.setdefault(ext_id, []).append(int(task["id"]))
        return {ext_id: sorted(ids) for ext_id, ids in found.items()}

    def whole_tasks(self, project: int, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """``id`` and ``annotations`` of these tasks, in order, many in one answer.

        Those that were deleted there meanwhile are left out.
        """
        start, size = 0, FIRST_PAGE
        while start < len(numbers):
            chosen = numbers[start : start + size]
            since = time.monotonic()
            found = self._page_of(project, chosen)
            seconds = time.monotonic() - since
            for number in chosen:
                # One that is not there, and all of a server that does not know such a question.
                task = found.get(number) or self._task_or_none(number)
                if task is not None:
                    yield task
            start += size
            if seconds < QUICK:
                size = min(2 * size, ASKED_AT_ONCE)
            elif seconds > SLOW:
                size = max(size // 2, 1)

    def _page_of(self, project: int, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        query = {"selectedItems": {"all": False, "included": list(numbers)}}
        answer = self.client.get(
            "/api/tasks/",
            project=project,
            query=json.dumps(query),
            fields="all",  # else there are no annotations
            # Of the task and of its annotations alike; without predictions, half the work.
            include="id,annotations,result,was_cancelled,updated_at,import_id,parent_prediction,"
            "parent_annotation",
            resolve_uri="false",
            page_size=len(numbers),
        )
        return {
            int(task["id"]): task
            for task in answer["tasks"]
            if all("result" in one for one in task["annotations"])
        }

    def _task_or_none(self, number: int) -> dict[str, Any] | None:
        try:
            return self.task(number)
        except Missing:
            return None

    def task(self, number: int) -> dict[str, Any]:
        """One task with its annotations, predictions and drafts."""
        answer: dict[str, Any] = self.client.get(f"/api/tasks/{number}/")
        return answer

    def import_tasks(self, project: int, body: bytes, *, count: int) -> list[int]:
        """A JSON list of so many tasks, all of them or none; their ids, in order."""
        path = f"/api/projects/{project}/import"
        answer = self.client.post(path, body, return_task_ids="true")
        ids = [int(number) for number in answer.get("task_ids") or ()]
        if len(ids) != count:
            raise LabelStudioError(f"{count} tasks were sent, Label Studio took {len(ids)}")
        return ids

    def set_data(self, task: int, data: Mapping[str, Any]) -> None:
        """Replace the data of a task."""
        self.client.patch(f"/api/tasks/{task}/", {"data": dict(data)})

    # -- what is drawn -----------------------------------------------------------------------

    def prediction_or_none(self, number: int) -> dict[str, Any] | None:
        """One prediction; None where there is none (any more)."""
        try:
            answer: dict[str, Any] = self.client.get(f"/api/predictions/{number}/")
        except Missing:
            return None
        return answer

    def add_prediction(self, project: int, task: int, prediction: Mapping[str, Any]) -> int:
        """One more prediction; its number."""
        body = {**prediction, "task": task, "project": project}
        return int(self.client.post("/api/predictions/", body)["id"])

    def delete_prediction(self, number: int) -> None:
        """Take a prediction away."""
        self.client.delete(f"/api/predictions/{number}/")

    def annotation_or_none(self, number: int) -> dict[str, Any] | None:
        """One annotation; None where there is none (any more)."""
        try:
            answer: dict[str, Any] = self.client.get(f"/api/annotations/{number}/")
        except Missing:
            return None
        return answer

    def add_annotation(self, task: int, annotation: Mapping[str, Any]) -> int:
        """One more annotation; its number."""
        return int(self.client.post(f"/api/tasks/{task}/annotations/", dict(annotation))["id"])

    def set_annotation(self, number: int, result: Sequence[Any]) -> None:
        """Replace what an annotation holds."""
        self.client.patch(f"/api/annotations/{number}/", {"result": list(result)})

    # -- photos ------------------------------------------------------------------------------

    def upload(self, project: int, files: Mapping[int, Upload]) -> dict[int, str]:
        """Photo id -> address of its file there; at most `MOST_FILES`, named ``ID-…`` each."""
        answer = self.client.upload(
            f"/api/projects/{project}/import", list(files.values()), commit_to_project="false"
        )
        ids = answer.get("file_upload_ids") or []
        stored = self.client.get(f"/api/projects/{project}/file-uploads", ids=json.dumps(ids))
        addresses: dict[int, str] = {}
        for one in stored:
            path = str(one["file"])
            match = _UPLOADED.match(path.rpartition("/")[2])
            if match is not None and one["id"] in ids:
                addresses[int(match.group(1))] = f"/data/{path}"
        lost = files.keys() - addresses.keys()
        if lost:
            name = files[min(lost)][0]
            raise LabelStudioError(f"the photo {name!r} was sent, and is not there")
        return addresses

    def add_local_storage(self, project: int, folder: str) -> None:
        """Let the server hand out photos of a folder that it sees itself."""
        present = self.client.get("/api/storages/localfiles", project=project)
        if not any(one.get("path") == folder for one in present):
            body = {"project": project, "path": folder, "title": "photos", "use_blob_urls": True}
            self.client.post("/api/storages/localfiles", body)


def _project(answer: Mapping[str, Any]) -> RemoteProject:
    return RemoteProject(
        id=int(answer["id"]),
        title=str(answer["title"]),
        label_config=str(answer["label_config"]),
        created=str(answer.get("created_at", "")),
    )

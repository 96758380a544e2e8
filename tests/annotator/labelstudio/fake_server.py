"""A Label Studio in memory on a local socket: its calls as measured with 1.23.2, and its failures.

It keeps what it is sent as the real one does: a batch whole or not at all, duplicates without a
murmur, an answer that is lost although the work was done.
"""

from __future__ import annotations

import contextlib
import copy
import email
import itertools
import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LEGACY = "0123456789abcdef"
PERSONAL = "header.payload.signature"
LONGEST = 240.0  # seconds that anything is withheld


@dataclass
class Failure:
    """What goes wrong with the next requests that fit."""

    method: str
    path: str  # searched for as a pattern
    # A status, "drop" (no answer), "stall" (none until they hang up), "hold" (until released).
    how: int | str
    times: int = 1
    skip: int = 0  # so many fitting requests go well first
    is_done: bool = False  # the request is carried out all the same


@dataclass
class State:
    """Everything the server knows."""

    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    storages: list[dict[str, Any]] = field(default_factory=list)
    uploads: dict[int, dict[str, Any]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)


class Refused(Exception):
    """A status and what stands in the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class FakeLabelStudio:
    """Start it with `with`; `url` is its address."""

    def __init__(self) -> None:
        self.state = State()
        self.failures: list[Failure] = []
        self.requests: list[str] = []
        self.access_tokens: set[str] = set()
        self.release = "1.23.2"
        self.knows_queries = True
        self.released = threading.Event()
        self._ids = itertools.count(1)
        self._clock = itertools.count(1)
        self._lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Listener(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeLabelStudio:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, method: str, path: str, how: int | str, **more: Any) -> None:
        """Let something go wrong."""
        self.failures.append(Failure(method, path, how, **more))

    def next_failure(self, method: str, path: str) -> Failure | None:
        """What will go wrong with such a request, if anything."""
        for failure in self.failures:
            if failure.method == method and re.search(failure.path, path):
                return None if failure.skip else failure
        return None

    # -- what people do there ----------------------------------------------------------------

    def task_of(self, file_name: str) -> dict[str, Any]:
        """The task of this photo."""
        (task,) = [one for one in self.tasks if one["data"]["file_name"] == file_name]
        return task

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """All tasks."""
        return list(self.state.tasks.values())

    def submit(self, task: dict[str, Any], result: list[Any], **more: Any) -> dict[str, Any]:
        """A person presses Submit."""
        annotation = {"id": next(self._ids), "import_id": None, "was_cancelled": False}
        annotation |= {"parent_prediction": None, **more, "result": copy.deepcopy(result)}
        annotation["updated_at"] = task["updated_at"] = self.now()
        task["annotations"].append(annotation)
        return annotation

    def edit(self, task: dict[str, Any], annotation: dict[str, Any], result: list[Any]) -> None:
        """A person presses Update."""
        annotation["result"] = copy.deepcopy(result)
        annotation["updated_at"] = task["updated_at"] = self.now()

    def now(self) -> str:
        """Later each time."""
        return f"2026-11-21T00:00:00.{next(self._clock):06}Z"

    # -- requests ----------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """What the server answers, after doing it."""
        for pattern, verb, act in self._routes():
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                with self._lock:
                    return act(query, body, *map(int, match.groups()))
        raise Refused(404, "Not Found")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("/api/version", "GET", lambda q, b: {"release": self.release}),
            ("/api/current-user/whoami", "GET", lambda q, b: {"email": "ci@example.org"}),
            ("/api/projects/", "GET", self._list_projects),
            ("/api/projects/", "POST", self._add_project),
            (r"/api/projects/(\d+)/", "GET", lambda q, b, n: self._get("projects", n)),
            (r"/api/projects/(\d+)/", "PATCH", lambda q, b, n: self._get("projects", n).update(b)),
            (r"/api/projects/(\d+)/validate/", "POST", lambda q, b, n: {}),
            (r"/api/projects/(\d+)/import", "POST", self._import),
            (r"/api/projects/(\d+)/file-uploads", "GET", self._file_uploads),
            ("/api/dm/views/", "GET", lambda q, b: self.state.views),
            ("/api/dm/views/", "POST", lambda q, b: self.state.views.append(b)),
            ("/api/storages/localfiles", "GET", lambda q, b: self.state.storages),
            ("/api/storages/localfiles", "POST", lambda q, b: self.state.storages.append(b)),
            ("/api/tasks/", "GET", self._list_tasks),
            (r"/api/tasks/(\d+)/", "GET", lambda q, b, n: self._get("tasks", n)),
            (r"/api/tasks/(\d+)/", "PATCH", lambda q, b, n: self._get("tasks", n).update(b)),
            (r"/api/tasks/(\d+)/annotations/", "POST", self._add_annotation),
            (r"/api/annotations/(\d+)/", "GET", lambda q, b, n: self._inside("annotations", n)),
            (r"/api/annotations/(\d+)/", "PATCH", self._set_annotation),
            (r"/api/predictions/(\d+)/", "GET", lambda q, b, n: self._inside("predictions", n)),
            ("/api/predictions/", "POST", self._add_prediction),
            (r"/api/predictions/(\d+)/", "DELETE", self._delete_prediction),
        ]

    def _get(self, kind: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] | None = getattr(self.state, kind).get(number)
        if found is None:
            raise Refused(404, f"No {kind} matches the given query.")
        return found

    def _inside(self, kind: str, number: int) -> dict[str, Any]:
        """What belongs to some task."""
        for task in self.tasks:
            for one in task[kind]:
                if one["id"] == number:
                    return dict(one)
        raise Refused(404, f"No {kind} matches the given query.")

    def _list_projects(self, query: dict[str, str], body: Any) -> Any:
        found = [one for one in self.state.projects.values() if query["title"] in one["title"]]
        return {"results": found, "next": None}

    def _add_project(self, query: dict[str, str], body: Any) -> Any:
        if not 3 <= len(body["title"]) <= 50:
            raise Refused(400, "Validation error")
        number = next(self._ids)
        self.state.projects[number] = {**body, "id": number, "created_at": self.now()}
        return self.state.projects[number]

    def _import(self, query: dict[str, str], body: Any, project: int) -> Any:
        if query.get("commit_to_project") == "false":
            return self._upload(body, project)
        ids = []
        for one in body:
            number = next(self._ids)
            for kind in ("annotations", "predictions"):
                one[kind] = [
                    {**each, "import_id": each.get("id"), "id": next(self._ids), "task": number}
                    for each in one.get(kind, ())
                ]
                for each in one[kind]:
                    each["updated_at"] = self.now()
            task = {**one, "id": number, "project": project, "updated_at": self.now(), "drafts": []}
            self.state.tasks[number] = task
            ids.append(number)
        return {"task_ids": ids, "task_count": len(ids)}

    def _upload(self, files: list[tuple[str, bytes]], project: int) -> Any:
        if len(files) > 100:
            raise Refused(500, "too many files")
        ids = []
        for name, content in files:
            number = next(self._ids)
            path = f"upload/{project}/{number:08x}-{name}"
            self.state.uploads[number] = {"id": number, "file": path}
            self.state.contents[number] = content
            ids.append(number)
        return {"file_upload_ids": ids, "task_count": len(ids)}

    def _file_uploads(self, query: dict[str, str], body: Any, project: int) -> Any:
        return [self.state.uploads[number] for number in json.loads(query["ids"])]

    def _list_tasks(self, query: dict[str, str], body: Any) -> Any:
        found = [one for one in self.tasks if one["project"] == int(query["project"])]
        chosen = json.loads(query.get("query", "{}")) if self.knows_queries else {}
        if "filters" in chosen:
            (item,) = chosen["filters"]["items"]
            found = [one for one in found if one["data"].get("ext_id") in item["value"]]
        if "selectedItems" in chosen:
            found = [one for one in found if one["id"] in chosen["selectedItems"]["included"]]
        size, page = int(query["page_size"]), int(query.get("page", 1))
        part = found[(page - 1) * size : page * size]
        if page > 1 and not part:
            raise Refused(404, "Invalid page.")
        asked = query["include"].split(",")
        rows = []
        for one in part:
            row = {
                **one,
                "total_annotations": sum(not a["was_cancelled"] for a in one["annotations"]),
                "cancelled_annotations": sum(a["was_cancelled"] for a in one["annotations"]),
            }
            if query.get("fields") == "all":
                row["draft_exists"] = bool(one["drafts"])
                # The same list of fields goes for what is in a task.
                row["annotations"] = [_only(asked, each) for each in one["annotations"]]
            else:
                del row["annotations"]
            rows.append(_only(asked, row))
        return {"tasks": rows, "total": len(found)}

    def _add_annotation(self, query: dict[str, str], body: Any, number: int) -> Any:
        task = self._get("tasks", number)
        fields = {key: value for key, value in body.items() if key not in ("id", "result")}
        return self.submit(task, body["result"], **fields)

    def _set_annotation(self, query: dict[str, str], body: Any, number: int) -> Any:
        for task in self.tasks:
            for annotation in task["annotations"]:
                if annotation["id"] == number:
                    self.edit(task, annotation, body["result"])
                    return annotation
        raise Refused(404, "No Annotation matches the given query.")

    def _add_prediction(self, query: dict[str, str], body: Any) -> Any:
        assert body["project"] in self.state.projects
        prediction = {**body, "id": next(self._ids)}
        self._get("tasks", body["task"])["predictions"].append(prediction)
        return prediction

    def _delete_prediction(self, query: dict[str, str], body: Any, number: int) -> None:
        for task in self.tasks:
            task["predictions"] = [one for one in task["predictions"] if one["id"] != number]

    # -- who may -----------------------------------------------------------------------------

    def authorize(self, path: str, header: str | None, body: Any) -> Any:
        """None, or the answer to a personal token; Refused for strangers."""
        if path == "/api/token/refresh/":
            if body["refresh"] != PERSONAL:
                raise Refused(401, "Token is invalid or expired")
            token = f"access-{next(self._ids)}"
            self.access_tokens.add(token)
            return {"access": token}
        kind, _, token = (header or "").partition(" ")
        good = token == LEGACY if kind == "Token" else token in self.access_tokens
        if not good:
            raise Refused(401, "Invalid token.")
        return None


def _only(fields: list[str], row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in fields}


class _Listener(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about; no traceback for it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeLabelStudio
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_GET

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self._body()
        self.fake.requests.append(f"{self.command} {parts.path}")
        failure = self._failure(parts.path)
        if failure is not None and not failure.is_done:
            return self._fail(failure)
        try:
            answer = self.fake.authorize(parts.path, self.headers.get("Authorization"), body)
            if answer is None:
                answer = self.fake.answer(self.command, parts.path, query, body)
            status = 200
        except Refused as error:
            status, answer = error.status, {"status_code": error.status, "detail": error.detail}
        if failure is not None:
            return self._fail(failure)
        return self._send(status, answer)

    def _body(self) -> Any:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart"):
            return json.loads(content) if content else None
        message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
        parts: Any = message.get_payload()
        return [(part.get_filename(), part.get_payload(decode=True)) for part in parts]

    def _failure(self, path: str) -> Failure | None:
        for failure in self.fake.failures:
            if failure.method == self.command and re.search(failure.path, path):
                if failure.skip:
                    failure.skip -= 1
                    continue
                failure.times -= 1
                if not failure.times:
                    self.fake.failures.remove(failure)
                return failure
        return None

    def _fail(self, failure: Failure) -> None:
        if failure.how == "stall":
            self.connection.settimeout(LONGEST)
            with contextlib.suppress(ConnectionError):
                self.connection.recv(1, socket.MSG_PEEK)
        if failure.how == "hold":
            self.fake.released.wait(LONGEST)
        if isinstance(failure.how, str):
            self.close_connection = True
            return
        self._send(failure.how, {"detail": "broken on purpose"})

    def _send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

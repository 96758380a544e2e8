"""The web server: Gradio's pages, and the routes for photos and finished exports.

Photos go out by the number of a photo in a project that is on the list, never by a path, so
nothing outside of a project can be asked for.
"""

from __future__ import annotations

import logging
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator import pictures
from annotator.assist import Assistant, build_segmenter
from annotator.exporting import EXPORTS
from annotator.listening import HOST_NAMES, listen, names_for, require_free
from annotator.session import ReviewSession
from annotator.store import Project
from annotator.ui.blocks import build_blocks
from annotator.ui.look import CSS, theme
from annotator.ui.operations import Operations
from annotator.ui.training_looks import sample_path
from annotator.views import Photo
from annotator.workspace import Workspace
from engine.errors import AnnotatorError
from engine.segmenters.embeddings import EmbeddingStore

logger = logging.getLogger(__name__)

EXPORT_TYPES = {".json": "application/json", ".csv": "text/csv", ".zip": "application/zip"}
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
PASSING = {**HEADERS, "Cache-Control": "no-store"}  # exports, and errors: a photo can come back


def build_app(workspace: Workspace, *, actor: str, hosts: tuple[str, ...] = HOST_NAMES) -> FastAPI:
    """The whole app for the projects of the workspace; answers only to these host names."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A page elsewhere can point its own name at this machine; it cannot forge the Host header.
    allowed = ["*"] if "*" in hosts else list(hosts)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed)
    app.add_middleware(_OwnPagesOnly)
    app.add_middleware(_NeverFramed)
    assistant = Assistant(build_segmenter, store=EmbeddingStore())
    sessions = _Sessions(assistant)
    operations = Operations(workspace, sessions.of, actor=actor)
    _add_routes(app, workspace)
    blocks = build_blocks(workspace, operations, actor=actor)
    app.router.on_shutdown.append(assistant.close)
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        css=CSS,
        footer_links=[],
        show_error=False,
        run_history=False,
        ssr_mode=False,
    )


class _OwnPagesOnly:
    """Refuses what a page of another site sends through the browser, which names it as Origin.

    Without this any page could change annotations: a POST of plain text is sent unasked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or origin.partition("://")[2] == headers.get("host"):
            await self._app(scope, receive, send)
        else:
            refusal = PlainTextResponse("only our own pages may ask", 403, headers=PASSING)
            await refusal(scope, receive, send)


class _NeverFramed:
    """Says with every answer that no page of another site may show it inside of itself.

    There somebody could be led to click on what they do not see.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Frame-Options"] = "SAMEORIGIN"
                headers["Content-Security-Policy"] = "frame-ancestors 'self'"
            await send(message)

        await self._app(scope, receive, send_marked)


class _Sessions:
    """One review session a project, made when it is first needed."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self._sessions: dict[Path, ReviewSession] = {}
        self._guard = threading.Lock()

    def of(self, project: Project) -> ReviewSession:
        with self._guard:
            session = self._sessions.get(project.folder)
            if session is None or session.project is not project:
                session = ReviewSession(project, self._assistant)
                self._sessions[project.folder] = session
            return session


def _add_routes(app: FastAPI, workspace: Workspace) -> None:
    Maker = Callable[[Project, Photo], tuple[Path, str]]

    def send(make: Maker, key: str, image_id: int) -> Response:
        try:
            project = workspace.get(key)
            with project.read() as view:
                photo = view.photo(image_id)
            path, media_type = make(project, photo)
        except AnnotatorError as error:
            return PlainTextResponse(str(error), status_code=404, headers=PASSING)
        return FileResponse(path, media_type=media_type, headers=HEADERS)

    @app.get("/picture/{key}/{image_id}")
    def picture(key: str, image_id: int) -> Response:
        return send(pictures.picture, key, image_id)

    @app.get("/thumbnail/{key}/{image_id}")
    def thumbnail(key: str, image_id: int) -> Response:
        return send(pictures.thumbnail, key, image_id)

    @app.get("/sample/{key}/{number}/{name}")
    def sample(key: str, number: int, name: str) -> Response:
        try:
            path = sample_path(workspace.get(key), number, name)
        except AnnotatorError as error:
            return PlainTextResponse(str(error), status_code=404, headers=PASSING)
        if path is None:
            return PlainTextResponse("no such sample", status_code=404, headers=PASSING)
        return FileResponse(path, headers=HEADERS)

    @app.get("/export/{key}/{name}")
    def export(key: str, name: str) -> Response:
        try:
            folder = workspace.get(key).folder / EXPORTS
        except AnnotatorError as error:
            return PlainTextResponse(str(error), status_code=404, headers=PASSING)
        files = folder.iterdir() if folder.is_dir() else ()
        listed = {path.name: path for path in files if path.suffix in EXPORT_TYPES}
        if name not in listed:
            return PlainTextResponse("no such export", status_code=404, headers=PASSING)
        return FileResponse(
            listed[name],
            media_type=EXPORT_TYPES[listed[name].suffix],
            filename=name,
            headers=PASSING,
        )


def serve(*, host: str, port: int, open_browser: bool, actor: str, address: str = "") -> None:
    """Run the server until Ctrl-C; ``address`` is what follows the host in the opened page."""
    require_free(host, port)
    workspace = Workspace()
    app = build_app(workspace, actor=actor, hosts=names_for(host))
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/{address}"
    if open_browser:
        threading.Timer(1.0, webbrowser.open, [url]).start()
    logger.warning("Tag2Mask is at %s  (Ctrl-C stops it; everything is saved)", url)
    try:
        listen(app, host=host, port=port)
    finally:
        workspace.close()

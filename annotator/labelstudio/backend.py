"""A backend for Label Studio: it asks with tasks or with a click, we answer with regions.

The protocol of 1.23.2, not the package label-studio-ml, which has not been published since 2023:
/health within 1 s, /setup within 3 s (so neither loads a model), /predict within 100 s for all
tasks at once, with one result a task in their order. Only photos of the project are looked at,
known by the ``ext_id`` that a push gave their tasks; no address is ever fetched.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Body, FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from annotator import shaping
from annotator.assist import Assistant, build_segmenter
from annotator.labelstudio import contents
from annotator.labelstudio.journal import digest
from annotator.listening import HOST_NAMES, listen, names_for, require_free
from annotator.store import Project
from annotator.views import Photo
from engine import photos, pipelines
from engine.errors import AnnotatorError, FormatError
from engine.segmenters.embeddings import EmbeddingStore
from engine.types import Instance, LabeledImage, Prompts, RankedMask, Status
from exports.label_studio import (
    BITMASK,
    BRUSH,
    OURS,
    RECTANGLE,
    SUGGESTED,
    Controls,
    LabelStudioOptions,
    Region,
    TaskChoices,
    predictions_of,
    region_of_mask,
)
from exports.label_studio_config import fitted_config, labels_of

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 60.0  # of one /predict; photos left then get what is known, which may be nothing
KEYPOINT = "keypointlabels"
CONTAINER = "host.docker.internal"  # this machine, for a Label Studio in a container on it
NOTHING: dict[str, Any] = {"result": [], "score": 0.0}


@dataclass(frozen=True)
class _Asked:
    """What the label config of a request can show."""

    choices: TaskChoices
    labels: frozenset[str]
    has_mask: bool


class Backend:
    """Answers for one project. The pipeline and the segmenter are built at their first use."""

    def __init__(
        self,
        project: Project,
        assistant: Assistant,
        *,
        pipeline: str = pipelines.DEFAULT,
        budget: float = BUDGET_SECONDS,
    ) -> None:
        self._project = project
        self._assistant = assistant
        self._name = pipeline
        self._pipeline: pipelines.Pipeline | None = None
        self._budget = budget
        self._turn = threading.Lock()  # a pipeline works on one photo at a time
        self._key = contents.key_of(project)

    @property
    def version(self) -> str:
        """How our answers are signed."""
        return f"{OURS}/{self._name}"

    def predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to /predict: a result for each task, whatever is wrong with one of them."""
        tasks = request.get("tasks")
        if not isinstance(tasks, list):
            raise FormatError("a request to predict has no list of tasks")
        asked = _asked(str(request.get("label_config", "")))
        parameters = request.get("params")
        context = parameters.get("context") if isinstance(parameters, Mapping) else None
        drawn = context.get("result") if isinstance(context, Mapping) else None
        deadline = time.monotonic() + self._budget
        results = []
        for task in tasks:
            try:
                photo = self._photo(task)
                if drawn:
                    results.append(self._answer_prompts(photo, drawn, asked))
                else:
                    results.append(self._proposals(photo, asked, deadline))
            except AnnotatorError as error:
                logger.warning("a task of Label Studio gets no answer: %s", error)
                results.append({**NOTHING, "model_version": self.version})
        return {"results": results}

    def _photo(self, task: Any) -> Photo:
        data = task.get("data") if isinstance(task, Mapping) else None
        ext_id = str(data.get("ext_id", "")) if isinstance(data, Mapping) else ""
        image_id = contents.image_id_of(self._key, ext_id)
        if image_id is None:
            raise FormatError(f"{ext_id!r} is no photo of this project; push the project first")
        with self._project.read() as view:
            return view.photo(image_id)

    def _proposals(self, photo: Photo, asked: _Asked, deadline: float) -> dict[str, Any]:
        """What the project has for the photo; where that is nothing, what the pipeline finds."""
        with self._project.read() as view:
            found = [one for one in view.instances(photo.id) if one.status is Status.PROPOSED]
            tags = view.tags(photo.id)
        if not found and time.monotonic() < deadline:
            with self._turn:
                if self._pipeline is None:
                    self._pipeline = pipelines.build(self._name, {})
                image = photos.load(self._project.photo_path(photo))
                suggestion = self._pipeline.suggest(image, tags=tags)
            # Ids for their regions, until these get names of their own: they are not in the store.
            found = [replace(one, id=-number) for number, one in enumerate(suggestion.instances, 1)]
        known = tuple(one for one in found if one.category in asked.labels)
        image_there = LabeledImage(
            id=photo.id,
            file_name=photo.file_name,
            width=photo.width,
            height=photo.height,
            instances=known,
        )
        predictions = predictions_of(image_there, asked.choices)
        scores = [one.score for one in known if one.score is not None]
        return {
            "result": [_named(region, known) for one in predictions for region in one["result"]],
            "score": sum(scores) / len(scores) if scores else 0.0,
            "model_version": self.version,
        }

    def _answer_prompts(self, photo: Photo, drawn: Sequence[Any], asked: _Asked) -> dict[str, Any]:
        """The mask under the clicks or in the box that a person just drew there."""
        if not asked.has_mask:
            raise FormatError("the label config has no control for masks")
        prompts, label = _prompts(drawn, photo)
        with self._assistant.on(self._project, photo) as segmenter:
            answers: list[RankedMask] = shaping.answers(segmenter, prompts)
            name = segmenter.name
        if not answers:
            return {**NOTHING, "model_version": name}
        best = answers[0]
        region = region_of_mask(
            f"{SUGGESTED}{uuid.uuid4().hex[:10]}", label, best.rle, asked.choices
        )
        return {
            "result": [{**region, "score": best.score}],
            "score": best.score,
            "model_version": f"{OURS}/{name}",
        }


def _named(region: Region, instances: Sequence[Instance]) -> Region:
    """The region as it is; that of an instance which is not in the store under a name of its own.

    The name is the same for the same instance, however often it is asked for, and is never taken
    for the id of a stored one.
    """
    provenance = region["meta"][OURS]
    if provenance["id"] > 0:
        return region
    (instance,) = (one for one in instances if one.id == provenance["id"])
    shape = [instance.category, list(instance.box), instance.rle and instance.rle.counts]
    name = region["id"].replace(str(instance.id), f"{SUGGESTED}{digest(shape)[:10]}", 1)
    return {**region, "id": name, "meta": {OURS: {**provenance, "id": None}}}


def _asked(config: str) -> _Asked:
    """The controls of the config, as far as we can fill them."""
    names = {}
    picture = Controls()
    for kind in (RECTANGLE, BRUSH, BITMASK):
        fitted = fitted_config(config, (), (kind,))
        if not fitted.added:
            names[kind] = fitted.controls.of(kind)
        picture = fitted.controls
    has_mask = BRUSH in names or BITMASK in names
    if not names:
        raise FormatError("the label config has neither boxes nor masks")
    masks: Any = "brush" if BRUSH in names else ("bitmask" if BITMASK in names else "none")
    controls = Controls(picture.image, picture.value, tuple(names.items()))
    options = LabelStudioOptions(masks, RECTANGLE in names)
    return _Asked(TaskChoices(options, controls), frozenset(labels_of(config)), has_mask)


def _prompts(drawn: Sequence[Any], photo: Photo) -> tuple[Prompts, str]:
    """Clicks and box of a person, in pixels, and the label they chose; FormatError for neither."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    box, label = None, ""
    for one in drawn:
        value = one.get("value") if isinstance(one, Mapping) else None
        if not isinstance(value, Mapping):
            continue
        try:
            x = float(value["x"]) * photo.width / 100
            y = float(value["y"]) * photo.height / 100
            kind = str(one.get("type"))
            if kind == KEYPOINT:
                points.append((min(x, photo.width - 1e-3), min(y, photo.height - 1e-3)))
                labels.append(int(bool(one.get("is_positive", 1))))
            elif kind == RECTANGLE:
                width = float(value["width"]) * photo.width / 100
                height = float(value["height"]) * photo.height / 100
                box = shaping.clipped(
                    (x, y, x + width, y + height), width=photo.width, height=photo.height
                )
            label = str(value.get(kind, [label])[0])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"a click or box that cannot be read ({error!r})") from error
    if box is None and not points:
        raise FormatError("neither a click nor a box was drawn")
    return Prompts(points=tuple(points), labels=tuple(labels), box=box), label


# -- the server ----------------------------------------------------------------------------------


def build_backend_app(
    backend: Backend, *, hosts: tuple[str, ...] = (*HOST_NAMES, CONTAINER)
) -> FastAPI:
    """The routes; answers only to these host names."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["*"] if "*" in hosts else list(hosts))

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "UP", "model_class": "Tag2Mask"}

    @app.post("/setup")
    def setup() -> dict[str, Any]:
        # What comes along holds the token of whoever made the project: it is not even read.
        return {"model_version": backend.version}

    @app.get("/versions")
    def versions() -> dict[str, Any]:
        return {"versions": [backend.version]}

    @app.post("/webhook")
    def webhook() -> dict[str, Any]:
        return {}

    @app.post("/predict")
    def predict(request: dict[str, Any] = Body(...)) -> Any:  # noqa: B008 - how FastAPI is told
        try:
            return backend.predict(request)
        except AnnotatorError as error:
            logger.warning("Label Studio gets no answer: %s", error)
            count = len(request.get("tasks") or ())
            return {"results": [{**NOTHING, "model_version": backend.version}] * count}

    return app


def serve_backend(project: Project, *, host: str, port: int) -> None:
    """Run it until Ctrl-C; OptionError where the port is taken."""
    require_free(host, port)
    assistant = Assistant(build_segmenter, store=EmbeddingStore())
    app = build_backend_app(Backend(project, assistant), hosts=(*names_for(host), CONTAINER))
    logger.warning("a backend for Label Studio is at http://%s:%s  (Ctrl-C stops it)", host, port)
    try:
        listen(app, host=host, port=port)
    finally:
        assistant.close()

"""The segmenter of the running app: built late, one photo at a time, the last few kept prepared.

Preparing a photo (superpixels, or SAM's embedding) takes a moment, a click afterwards
milliseconds; so the photo on screen and its neighbours are prepared before anybody clicks. What
takes seconds is kept on the disk as well, and a process of its own (`ahead`) works for the
neighbours.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from annotator.ahead import PreparingProcess, Wish
from annotator.pictures import as_added
from annotator.store import Project
from annotator.views import Photo
from engine import segmenters
from engine.errors import AnnotatorError
from engine.gallery import Gallery
from engine.segmenters.cached import CachedPreparation
from engine.segmenters.embeddings import EmbeddingStore
from engine.segmenters.interface import Segmenter
from engine.types import Image

logger = logging.getLogger(__name__)

KEPT = 4  # prepared photos: the one on screen, both neighbours and one more
KEPT_GALLERIES = 2  # the photo on screen and the one before; 10 MB each
QUICK_GALLERIES = frozenset({"classical"})
"""Whose gallery a person can wait for: half a second. A SAM takes a minute on a CPU."""


def build_segmenter() -> Segmenter:
    """The segmenter for clicks; a function of its own, so that another process can call it."""
    return segmenters.build_best()


@dataclass(frozen=True, eq=False)
class _Plan:
    """What to prepare, the photo on screen first."""

    project: Project | None = None
    photos: tuple[Photo, ...] = ()

    def near(self, kept: int) -> tuple[Photo, ...]:
        """Those to have in memory; one place is for the photo that the person came from."""
        return self.photos[: max(kept - 1, 1)]


class Assistant:
    """Hands out a segmenter with a photo set; safe to call from many threads.

    ``build`` makes the segmenter at the first use, so that starting the app loads no model. With a
    ``store`` photos of slow segmenters are kept on the disk; ``build`` must then be a function
    that another process can import.
    """

    def __init__(
        self,
        build: Callable[[], Segmenter],
        *,
        kept: int = KEPT,
        store: EmbeddingStore | None = None,
    ) -> None:
        self._build = build
        self._kept = kept
        self._store = store
        self._segmenter: Segmenter | None = None
        self._preparation: CachedPreparation | None = None
        self._process: PreparingProcess | None = None
        self._prepared: OrderedDict[str, Future[Any]] = OrderedDict()
        self._galleries: OrderedDict[str, Gallery] = OrderedDict()
        self._guard = threading.Lock()  # for the fields above
        self._turn = threading.Lock()  # a segmenter holds one photo at a time
        self._plan = _Plan()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        if store is not None:
            self._ahead.submit(store.clean)

    @contextmanager
    def on(self, project: Project, photo: Photo) -> Iterator[Segmenter]:
        """The segmenter with this photo set, inside the block; PhotoError as `as_added`."""
        prepared = self._prepare(project, photo)
        with self._turn:
            segmenter = self._get()
            segmenter.set_prepared(prepared)
            yield segmenter

    def gallery(self, project: Project, photo: Photo) -> Gallery | None:
        """Everything on this photo that may be an object; None where that would take too long.

        PhotoError as `as_added`.
        """
        segmenter = self._get()
        if segmenter.name not in QUICK_GALLERIES:
            return None
        with self._turn:  # a second press that comes while the first is at it finds it ready
            with self._guard:
                found = self._galleries.get(photo.sha256)
            if found is None:
                found = segmenter.gallery(_picture(project, photo))
            with self._guard:
                self._galleries[photo.sha256] = found
                self._galleries.move_to_end(photo.sha256)
                while len(self._galleries) > KEPT_GALLERIES:
                    self._galleries.popitem(last=False)
        return found

    def prefetch(self, project: Project, wanted: Sequence[Photo]) -> None:
        """Prepare these photos in the background: the one on screen, then in review order.

        Whoever steps on wants the new neighbours, so this takes the place of earlier calls.
        """
        plan = self._plan = _Plan(project, tuple(wanted))
        is_shared = self._share(plan)
        self._ahead.submit(self._follow, plan, is_shared)

    def close(self) -> None:
        """Finish what is being prepared here, end the process that does, and start nothing more."""
        self._plan = _Plan()
        self._ahead.shutdown(wait=True, cancel_futures=True)
        if self._process is not None:
            self._process.close()

    def _get(self) -> Segmenter:
        with self._guard:
            if self._segmenter is None:
                segmenter = self._build()
                self._preparation = CachedPreparation(segmenter, self._store)
                if self._preparation.is_slow and self._store is not None:
                    self._process = PreparingProcess(
                        partial(_prepare_into, self._store, self._build),
                        fingerprint=self._preparation.fingerprint,
                        on_ready=self._take,
                    )
                self._segmenter = segmenter
            return self._segmenter

    def _follow(self, plan: _Plan, is_shared: bool) -> None:
        if plan is not self._plan or plan.project is None:
            return
        try:
            self._get()
        except AnnotatorError as error:
            logger.info("nothing is prepared ahead: %s", error)
            return
        if not is_shared:
            is_shared = self._share(plan)  # the segmenter may be here only since now
        for photo in plan.photos[:1] if is_shared else plan.near(self._kept):
            if plan is not self._plan:
                return
            self._prepare_ahead(plan.project, photo)

    def _share(self, plan: _Plan) -> bool:
        """Whether the process took over all photos but the one on screen."""
        if self._process is None or plan.project is None:
            return False
        with self._guard:
            here = set(self._prepared)
        wishes = [
            Wish(
                photo.sha256,
                plan.project.photo_path(photo),
                size=(photo.width, photo.height),
            )
            for photo in plan.photos[1:]
            if photo.sha256 not in here
        ]
        return self._process.wish(wishes)

    def _take(self, photo: str, key: str) -> None:
        """Keep at hand what the process has prepared, if it is near what is on screen."""
        near = self._plan.near(self._kept)
        if self._preparation is None or photo not in {one.sha256 for one in near}:
            return
        prepared = self._preparation.recall(key)
        with self._guard:
            if prepared is not None and photo not in self._prepared:
                future = self._prepared[photo] = Future()
                future.set_result(prepared)
                self._trim()

    def _prepare_ahead(self, project: Project, photo: Photo) -> None:
        try:
            self._prepare(project, photo)
        except AnnotatorError as error:
            # Nobody asked for this photo yet; whoever does is told.
            logger.info("not prepared ahead: %s", error)

    def _prepare(self, project: Project, photo: Photo) -> Any:
        self._get()
        with self._guard:
            future = self._prepared.get(photo.sha256)
            is_ours = future is None
            if future is None:
                future = self._prepared[photo.sha256] = Future()
            self._prepared.move_to_end(photo.sha256)
            self._trim()
        if not is_ours:
            return future.result()
        try:
            prepared = self._computed(project, photo)
        except BaseException as error:
            # Those who wait for this photo get the error; the next to ask tries again.
            with self._guard:
                self._prepared.pop(photo.sha256, None)
            future.set_exception(error)
            raise
        future.set_result(prepared)
        return prepared

    def _trim(self) -> None:
        while len(self._prepared) > self._kept:
            self._prepared.popitem(last=False)

    def _computed(self, project: Project, photo: Photo) -> Any:
        assert self._preparation is not None
        if self._process is not None:
            key = self._process.result_of(photo.sha256)
            known = None if key is None else self._preparation.recall(key)
            if known is not None:
                return known
        return self._preparation.prepare(_picture(project, photo))


def _picture(project: Project, photo: Photo) -> Image:
    return as_added(project.photo_path(photo), width=photo.width, height=photo.height)


def _prepare_into(store: EmbeddingStore, build: Callable[[], Segmenter]) -> CachedPreparation:
    """In the other process."""
    return CachedPreparation(build(), store)

"""The segmenter of the running app: built late, one photo at a time, the last few kept prepared.

Preparing a photo (superpixels, or SAM's embedding) takes a moment, a click afterwards
milliseconds; so the photo on screen and its neighbours are prepared before anybody clicks.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from annotator.store import Project
from annotator.views import Photo
from engine import checkpoints, photos, segmenters
from engine.errors import AnnotatorError
from engine.gallery import Gallery
from engine.segmenters.interface import Segmenter

logger = logging.getLogger(__name__)

KEPT = 4  # prepared photos: the one on screen, both neighbours and one more
KEPT_GALLERIES = 2  # the photo on screen and the one before; 10 MB each
QUICK_GALLERIES = frozenset({"classical"})
"""Whose gallery a person can wait for: half a second. A SAM takes a minute on a CPU."""


def build_segmenter() -> Segmenter:
    """The best segmenter for clicks on this machine, out of those whose weights are here.

    On a GPU the largest SAM. On a CPU the smallest: ViT-H encodes a photo in half a minute there.
    """
    sams = [name for name in segmenters.available() if name in checkpoints.WEIGHTS]
    if not sams:
        return segmenters.build("classical")
    import torch  # seconds to import, and only SAM needs it

    if torch.cuda.is_available():
        return segmenters.build(sams[-1], device="cuda")
    return segmenters.build(sams[0])


class Assistant:
    """Hands out a segmenter with a photo set; safe to call from many threads.

    ``build`` makes the segmenter at the first use, so that starting the app loads no model.
    """

    def __init__(self, build: Callable[[], Segmenter], *, kept: int = KEPT) -> None:
        self._build = build
        self._kept = kept
        self._segmenter: Segmenter | None = None
        self._prepared: OrderedDict[str, Future[Any]] = OrderedDict()
        self._galleries: OrderedDict[str, Gallery] = OrderedDict()
        self._guard = threading.Lock()  # for the three fields above
        self._turn = threading.Lock()  # a segmenter holds one photo at a time
        self._planned: list[Future[None]] = []
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="prepare")

    @contextmanager
    def on(self, project: Project, photo: Photo) -> Iterator[Segmenter]:
        """The segmenter with this photo set, inside the block; PhotoError as `photos.load`."""
        prepared = self._prepare(project, photo)
        with self._turn:
            segmenter = self._get()
            segmenter.set_prepared(prepared)
            yield segmenter

    def gallery(self, project: Project, photo: Photo) -> Gallery | None:
        """Everything on this photo that may be an object; None where that would take too long.

        PhotoError as `photos.load`.
        """
        segmenter = self._get()
        if segmenter.name not in QUICK_GALLERIES:
            return None
        with self._turn:  # a second press that comes while the first is at it finds it ready
            with self._guard:
                found = self._galleries.get(photo.sha256)
            if found is None:
                found = segmenter.gallery(photos.load(project.photo_path(photo)))
            with self._guard:
                self._galleries[photo.sha256] = found
                self._galleries.move_to_end(photo.sha256)
                while len(self._galleries) > KEPT_GALLERIES:
                    self._galleries.popitem(last=False)
        return found

    def prefetch(self, project: Project, wanted: Sequence[Photo]) -> None:
        """Prepare these photos in the background, first one first."""
        # Whoever steps on wants the new neighbours, not those of every photo passed by.
        for task in self._planned:
            task.cancel()
        self._planned = [
            self._ahead.submit(self._prepare_ahead, project, photo) for photo in wanted
        ]

    def close(self) -> None:
        """Finish what is being prepared and start nothing more."""
        self._ahead.shutdown(wait=True, cancel_futures=True)

    def _get(self) -> Segmenter:
        with self._guard:
            if self._segmenter is None:
                self._segmenter = self._build()
            return self._segmenter

    def _prepare_ahead(self, project: Project, photo: Photo) -> None:
        try:
            self._prepare(project, photo)
        except AnnotatorError as error:
            # Nobody asked for this photo yet; whoever does is told.
            logger.info("not prepared ahead: %s", error)

    def _prepare(self, project: Project, photo: Photo) -> Any:
        segmenter = self._get()
        with self._guard:
            future = self._prepared.get(photo.sha256)
            is_ours = future is None
            if future is None:
                future = self._prepared[photo.sha256] = Future()
            self._prepared.move_to_end(photo.sha256)
            while len(self._prepared) > self._kept:
                self._prepared.popitem(last=False)
        if not is_ours:
            return future.result()
        try:
            prepared = segmenter.prepare(photos.load(project.photo_path(photo)))
        except BaseException as error:
            # Those who wait for this photo get the error; the next to ask tries again.
            with self._guard:
                self._prepared.pop(photo.sha256, None)
            future.set_exception(error)
            raise
        future.set_result(prepared)
        return prepared

"""`Segmenter.prepare` with the disk in between: photo in, what `set_prepared` takes out.

Which segmenters gain from it: SAM on a CPU takes seconds a photo and reads its embedding in
milliseconds. The classical one takes 0.1-0.2 s and needs the photo in any case, so it stays as it
is, and so does everything else.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any, Protocol

import numpy as np

from engine.segmenters.embeddings import Arrays, EmbeddingStore
from engine.segmenters.interface import Segmenter
from engine.types import Image

logger = logging.getLogger(__name__)


class Codec(Protocol):
    """How a segmenter's prepared photo becomes arrays."""

    @property
    def is_slow(self) -> bool:
        """Whether preparing takes so long that another process should do it ahead."""

    def fingerprint(self) -> str:
        """Hexadecimal digits that change with everything that prepared photos depend on."""

    def pack(self, prepared: Any) -> Arrays | None:
        """The arrays to keep, or None where this photo cannot be kept."""

    def unpack(self, arrays: Arrays) -> Any:
        """For `Segmenter.set_prepared`; LookupError or ValueError for arrays of another kind."""


def codec_of(segmenter: Segmenter) -> Codec | None:
    """None where nothing is worth keeping; loads torch only where the segmenter has."""
    if not hasattr(segmenter, "network"):
        return None
    from engine.segmenters.sam import SamSegmenter
    from engine.segmenters.sam_embeddings import SamCodec

    return SamCodec(segmenter) if isinstance(segmenter, SamSegmenter) else None


def photo_key(image: Image) -> str:
    """SHA-256 of the pixels that the segmenter sees; 20 ms for 12 megapixels.

    Not of the file: a photo changed since it was added, or decoded otherwise by a new version,
    is another photo, and a copy with other EXIF data is the same one.
    """
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class CachedPreparation:
    """A segmenter's `prepare` that looks on the disk first and leaves there what it computed.

    What it returns has gone through the precision of the disk in either case, so an answer does
    not depend on whether somebody looked at the photo before. For exact results call the
    segmenter itself, or `leave`. Without a store, with one of no size, and for segmenters that
    gain nothing from it, it is the segmenter's own `prepare`.
    """

    def __init__(self, segmenter: Segmenter, store: EmbeddingStore | None) -> None:
        self._segmenter = segmenter
        codec = codec_of(segmenter) if store is not None and store.limit_bytes > 0 else None
        self._codec = codec
        self._store = store
        self.fingerprint = "" if codec is None else codec.fingerprint()
        """Of the segmenter; empty where nothing is kept."""
        self.is_slow = codec is not None and codec.is_slow
        """Whether photos should be prepared ahead in another process, through the store."""

    def prepare(self, image: Image) -> Any:
        """For `set_prepared`: from the disk, or computed and then kept."""
        if self._codec is None:
            return self._segmenter.prepare(image)
        key = photo_key(image)
        known = self.recall(key)
        return self._computed(image, key) if known is None else known

    def recall(self, key: str) -> Any | None:
        """What the disk has under the `photo_key`, or None."""
        if self._codec is None or self._store is None:
            return None
        arrays = self._store.get(key, self.fingerprint)
        if arrays is None:
            return None
        try:
            return self._codec.unpack(arrays)
        except (LookupError, ValueError) as error:
            logger.warning("what is cached of a photo is ignored: %s", error)
            return None

    def leave(self, image: Image, prepared: Any) -> None:
        """Keep what the segmenter itself prepared of this photo, for those who come later."""
        if self._codec is not None:
            self._kept(prepared, photo_key(image))

    def _computed(self, image: Image, key: str) -> Any:
        return self._kept(self._segmenter.prepare(image), key)

    def _kept(self, prepared: Any, key: str) -> Any:
        """What the disk will give back of it, or the photo itself where it cannot be kept."""
        assert self._codec is not None
        assert self._store is not None
        arrays = self._codec.pack(prepared)
        if arrays is None:
            return prepared
        self._store.put(key, self.fingerprint, arrays)
        return self._codec.unpack(arrays)

"""What was in the photos when a training began, so that it goes on with the same ones.

A photo that is gone, or that no longer opens, ends no training: the others go on teaching. One that
has become another photo does, because half of the training would be of something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.errors import JobError
from training.photo_cache import PhotoCache

DIGITS = 16  # of the hash: they are saved with every state, one for each photo


class PhotoContents:
    """Hashes by name, part of the state of a training."""

    def __init__(self, caches: Sequence[PhotoCache[Any]]) -> None:
        self._now = {
            name: sha256[:DIGITS]
            for cache in caches
            for name, sha256 in zip(cache.file_names, cache.sha256, strict=True)
        }
        self._reasons = {name: reason for cache in caches for name, reason in cache.unreadable}
        self._begun: dict[str, str] = {}

    @property
    def gone(self) -> dict[str, str]:
        """Names and reasons of those that the training has seen and that do not open now."""
        return {name: one for name, one in self._reasons.items() if name in self._begun}

    def state_dict(self) -> dict[str, Any]:
        """Of all photos that were ever seen."""
        return {"sha256": {**self._now, **self._begun}}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """JobError where a photo is another one than it was."""
        self._begun = dict(state["sha256"])
        changed = [name for name, one in self._now.items() if self._begun.get(name, one) != one]
        if changed:
            others = f" and {len(changed) - 1} more have" if len(changed) > 1 else " has"
            raise JobError(
                f"cannot go on: photo {changed[0]!r}{others} changed since the training began;"
                " put back what was there, or start in a new folder"
            )

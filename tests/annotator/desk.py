"""What the tests of the preparing process and that process share; loads no torch."""

from __future__ import annotations

import fcntl
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from annotator.ahead import PreparingProcess, Wish
from engine.segmenters.cached import photo_key
from engine.segmenters.embeddings import EmbeddingStore
from engine.types import Image
from tests.conftest import save_scene

SLOW_WIDTH = 200  # pixels: photos of this width take long
PATIENT = 240.0  # seconds; the process waits for every other program on the machine


class MeanColours:
    """Keeps the mean colour of a photo; takes its time for photos of one width."""

    fingerprint = "a" * 32

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store

    def recall(self, key: str) -> object | None:
        return self._store.get(key, self.fingerprint)

    def prepare(self, image: Image) -> object:
        time.sleep(600.0 if image.shape[1] == SLOW_WIDTH else 0.1)
        colours = {"mean": image.mean(axis=(0, 1))}
        self._store.put(photo_key(image), self.fingerprint, colours)
        return colours


class Desk:
    """A process, its store, and what it said, in the order in which it said it."""

    def __init__(self, folder: Path, *, fingerprint: str = MeanColours.fingerprint) -> None:
        self.folder = folder
        self.store = EmbeddingStore(folder / "embeddings", spare_bytes=0)
        self.ready: list[str] = []
        self.keys: dict[str, str] = {}
        self.process = PreparingProcess(
            partial(MeanColours, self.store), fingerprint=fingerprint, on_ready=self._note
        )

    def _note(self, photo: str, key: str) -> None:
        self.ready.append(photo)
        self.keys[photo] = key

    def wish(self, name: str, *, width: int = 120) -> Wish:
        """For a photo of that name, made on the spot."""
        path = self.photo(name)
        if not path.exists():
            save_scene(path, seed=len(list(self.folder.iterdir())), width=width)
        return Wish(name, path)

    def photo(self, name: str) -> Path:
        """Where that photo lies."""
        return self.folder / f"{name}.png"

    def has_heard(self) -> bool:
        """Whether the process has taken in everything that was sent to it."""
        connection = self.process._connection
        assert connection is not None
        unread = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        return unread == bytes(4)

    def has_in_hand(self, name: str) -> bool:
        """Whether the process has begun with that photo and is not done."""
        in_hand = self.process._in_hand
        return in_hand is not None and in_hand[0] == name

    def kept_mean(self, name: str) -> np.ndarray:
        """What the process found out about the photo."""
        arrays = self.store.get(self.keys[name], MeanColours.fingerprint)
        assert arrays is not None
        return arrays["mean"]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    latest = time.monotonic() + PATIENT
    while not is_so():
        assert time.monotonic() < latest, "it never happened"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"

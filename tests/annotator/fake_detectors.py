"""Detectors that see what a test says, and files that only claim to be one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from annotator import judging, models
from annotator import training_files as files
from annotator.ancestry import FINGERPRINT
from annotator.judging import Detect
from annotator.store import Project
from engine.types import Box, Image
from tests.annotator.reviewed import EGG

NOWHERE: Box = (0.0, 0.0, 10.0, 10.0)


def add_model(
    project: Project,
    name: str,
    *,
    arch: str = "fasterrcnn",
    weight: float = 0.0,
    is_known: bool = True,
) -> Path:
    """A file that says it is a detector; nothing but its card is ever read.

    Where it ``is_known``, a training of the project made it, of which no photo is known.
    """
    card = {"kind": "detector", "arch": arch, "options": {}, "classes": ["egg"]}
    path = project.subfolder(models.MODELS) / f"{name}.safetensors"
    weights = {"weight": np.full(2, weight, np.float32)}
    save_file(
        weights, path, metadata={"tag2mask": json.dumps({**card, "metrics": {}, "training": {}})}
    )
    if is_known:
        with project.write():
            _, folder = files.new_folder(project, arch)
        (folder / "data.json").write_text('{"images": []}', encoding="utf-8")
        files.write_note(folder, files.REQUEST, {"what": "detector", "name": name})
        files.write_note(folder, files.KEPT, {FINGERPRINT: models.fingerprint(path)})
    return path


class Seer:
    """Finds one egg on each photo: where it is, or on so many photos somewhere else."""

    def __init__(self, *, misses: int = 0, score: float = 0.9, category: str = "egg") -> None:
        self.misses, self.score, self.category = misses, score, category

    def __call__(self, image: Image) -> Sequence[judging.Detection]:
        box = NOWHERE if self.misses > 0 else EGG
        self.misses -= 1
        return [FakeDetection(box, self.category, self.score)]


class FakeDetection:
    def __init__(self, box: Box, category: str, score: float) -> None:
        self.box, self.category, self.score = box, category, score


def seers(**known: Seer) -> Callable[[Path], Detect]:
    """Loads by the name of the file."""
    return lambda path: known[path.stem]

"""Small photo sets and trainings that take a second, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from exports.tags import write_tags
from training.settings import Machine, Settings, settings_for

PATIENCE = 900  # seconds for a process on a machine that has much else to do
ROOT = Path(__file__).parent.parent.parent
TINY = {"embed_dim": 12, "depth": 3, "heads": 2, "patch_size": 16}
RECIPE = {"epochs": 3, "batch": 4, "image_size": 32, "resize": 36, "learning_rate": 1e-3}
MACHINE = {"threads": 1, "workers": 1, "device": "cpu", "log_steps": 1, "save_seconds": 0.0}


def make_photos(folder: Path, tags: Mapping[str, Sequence[str]], *, side: int = 40) -> Path:
    """A photo for each name, noise with a bright square; the tags file lies beside the folder."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(tags):
        pixels = generator.integers(0, 90, (side, side, 3), dtype=np.uint8)
        pixels[8:24, 8:24] = 120 + number % 7 * 20
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    write_tags(folder.parent / "tags.csv", tags)
    return folder


def sixteen_photos(folder: Path) -> Path:
    """Of two classes in turn, one tag each; four steps of four make an epoch."""
    return make_photos(folder, {f"{n:02d}.png": ("ab"[n % 2],) for n in range(16)})


def tiny(
    photos: Path,
    out: Path,
    *,
    model: str = "gtformer",
    recipe: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    **others: Any,
) -> Settings:
    """All photos train unless ``val_share`` says otherwise; two blocks gate."""
    small = {"backbone": "small", "width": 4} if model == "cam" else TINY
    return settings_for(
        model,
        "small",
        photos=photos,
        tags=photos.parent / "tags.csv",
        out=out,
        recipe={**RECIPE, **(recipe or {})},
        network={**small, **(network or {})},
        machine=Machine(**{**MACHINE, **(machine or {})}),
        **{"val_share": 0.0, **others},
    )


def flags(photos: Path, out: Path, *more: str) -> list[str]:
    """The same training as `tiny` on the command line."""
    options = {**RECIPE, **MACHINE, **{f"network_{name}": one for name, one in TINY.items()}}
    return [
        *("--photos", str(photos), "--tags", str(photos.parent / "tags.csv"), "--out", str(out)),
        *("--model", "gtformer", "--preset", "small", "--val-share", "0"),
        *(
            text
            for name, value in options.items()
            for text in (f"--{name.replace('_', '-')}", str(value))
        ),
        *more,
    ]


def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """A Python process in the checkout; its stderr can be read."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )

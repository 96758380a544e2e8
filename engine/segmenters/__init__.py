"""Masks from prompts: photo and clicks, box or mask in, ranked masks out, behind one interface.

`SEGMENTERS` names them all; `build` makes one; `best_here` says which one can run now.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from engine import checkpoints
from engine.devices import AUTO, chosen_device
from engine.errors import OptionError
from engine.segmenters.interface import Segmenter

Builder = Callable[[Path | None, str], Segmenter]
"""Checkpoint (None: the file in the cache folder) and device in, segmenter out."""


def _build_classical(checkpoint: Path | None, device: str) -> Segmenter:
    from engine.segmenters.classical import ClassicalSegmenter

    return ClassicalSegmenter()


def _build_sam(name: str, checkpoint: Path | None, device: str) -> Segmenter:
    # Inside, because torch takes seconds to import and most of the program does without.
    from engine.segmenters.sam import load_sam

    path = checkpoint or checkpoints.path_of(name)
    return load_sam(path, arch=checkpoints.weights_of(name).arch, name=name, device=device)


SEGMENTERS: dict[str, Builder] = {
    "classical": _build_classical,
    "sam_vit_b": partial(_build_sam, "sam_vit_b"),
    "sam_vit_l": partial(_build_sam, "sam_vit_l"),
    "sam_vit_h": partial(_build_sam, "sam_vit_h"),
}


def build(name: str, *, checkpoint: Path | None = None, device: str = "cpu") -> Segmenter:
    """The segmenter of that name. Never downloads.

    OptionError for an unknown name; WeightsError where its checkpoint is missing or broken.
    """
    if name not in SEGMENTERS:
        raise OptionError(
            f"There is no segmenter called {name!r}; there are {', '.join(SEGMENTERS)}."
        )
    return SEGMENTERS[name](checkpoint, device)


def build_best(*, device: str = AUTO) -> Segmenter:
    """The best segmenter on this machine out of those whose weights are here.

    On a GPU the largest SAM. On a CPU the smallest: ViT-H encodes a photo in half a minute there.
    """
    sams = [name for name in available() if name in checkpoints.WEIGHTS]
    if not sams:
        return build("classical")
    where = chosen_device(device)
    return build(sams[0] if where == "cpu" else sams[-1], device=where)


def available(folder: Path | None = None) -> list[str]:
    """The names that can be built now: classical always, the others where their weights are."""
    return [
        name
        for name in SEGMENTERS
        if name not in checkpoints.WEIGHTS or checkpoints.is_here(name, folder)
    ]


def best_here(folder: Path | None = None) -> str:
    """The largest SAM whose weights are here, else classical."""
    return available(folder)[-1]

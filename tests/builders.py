"""Instances, photos and masks for tests; what a test does not care for is filled in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from engine.geometry import mask_to_box, mask_to_rle
from engine.types import PERSON, Instance, LabeledImage, Mask, Status

# A busy machine is no defect: only the results count, pytest-timeout stops what hangs.


def make_mask(*boxes: tuple[int, int, int, int], height: int = 30, width: int = 40) -> Mask:
    """True inside the half-open boxes x0, y0, x1, y1."""
    mask = np.zeros((height, width), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def make_instance(mask: Mask | None = None, **fields: Any) -> Instance:
    """An accepted cat; with a mask, its box is the mask's."""
    if mask is not None:
        fields = {"rle": mask_to_rle(mask), "box": mask_to_box(mask), **fields}
    given = {"box": (2.0, 3.0, 12.0, 9.0), "category": "cat", "status": Status.ACCEPTED}
    return Instance(**{**given, "source": PERSON, **fields})


def make_image(*instances: Instance, **fields: Any) -> LabeledImage:
    """A photo of 40 x 30 pixels."""
    given = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
    return LabeledImage(**{**given, **fields}, instances=instances)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file; kind is Pillow's name of the format."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def saved(folder: Path, content: bytes, name: str = "photo") -> Path:
    """A file of this content; folders of its name are made."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def masks(longest_side: int = 16) -> st.SearchStrategy[Mask]:
    """Any bool mask from 1 x 1 up, empty and full ones too."""
    shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=longest_side)
    return arrays.arrays(np.bool_, shapes)


def masks_with_pixels(longest_side: int = 16) -> st.SearchStrategy[Mask]:
    """Any bool mask with at least one pixel."""
    return masks(longest_side).filter(lambda mask: bool(mask.any()))

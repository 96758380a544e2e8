"""What a network sees of a photo (WSOL recipes, §1.1 of Pro2SAM's code): uint8 in, views out.

Training: resize both sides to a fixed size, random crop, random flip. Test: resize straight to the
input size, or resize and cut the centre. Photos and views are (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.localizers.views import resized
from engine.types import Image

EvaluationView = Literal["direct", "crop"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training views are made of photos that were resized to a square already."""

    image_size: int  # side of the view
    flip: float = 0.5  # probability of a mirrored view
    smallest_crop: float = 1.0  # below 1: a crop of this share of the area up to all, then resized
    colour: float = 0.0  # how far brightness, contrast and saturation may leave 1, up or down


def training_view(
    photo: Image, augmentation: Augmentation, generator: np.random.Generator
) -> Image:
    """One random view (side, side, 3) of a resized photo; the generator alone decides which."""
    side = augmentation.image_size
    if augmentation.smallest_crop < 1.0:
        view = _random_part(photo, side, augmentation.smallest_crop, generator)
    else:
        top, left = (int(generator.integers(length - side + 1)) for length in photo.shape[:2])
        view = photo[top : top + side, left : left + side]
    if generator.random() < augmentation.flip:
        view = view[:, ::-1]
    if augmentation.colour > 0.0:
        view = other_colours(view, augmentation.colour, generator)
    return np.ascontiguousarray(view)


def evaluation_view(image: Image, *, image_size: int, resize: int, view: EvaluationView) -> Image:
    """The one view that is judged: the whole photo, or the centre of it after ``resize``."""
    if view == "direct":
        return resized(image, image_size)
    start = (resize - image_size) // 2
    return resized(image, resize)[start : start + image_size, start : start + image_size]


def _random_part(photo: Image, side: int, smallest: float, generator: np.random.Generator) -> Image:
    """A part of between ``smallest`` and all of the area, 3:4 to 4:3, resized to the side."""
    height, width = photo.shape[:2]
    area = generator.uniform(smallest, 1.0) * height * width
    ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
    part_height = min(height, max(1, round(np.sqrt(area / ratio))))
    part_width = min(width, max(1, round(np.sqrt(area * ratio))))
    top = int(generator.integers(height - part_height + 1))
    left = int(generator.integers(width - part_width + 1))
    part = photo[top : top + part_height, left : left + part_width]
    shrinks = part_height > side or part_width > side
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(part, (side, side), interpolation=way)  # type: ignore[return-value]


def other_colours(photo: Image, amount: float, generator: np.random.Generator) -> Image:
    """Brightness, contrast and saturation times something between 1 - amount and 1 + amount."""
    brightness, contrast, saturation = generator.uniform(1.0 - amount, 1.0 + amount, 3)
    values: NDArray[np.float32] = photo.astype(np.float32) * np.float32(brightness)
    middle = values.mean(dtype=np.float32)
    values = (values - middle) * np.float32(contrast) + middle
    grey = values.mean(axis=2, keepdims=True)
    values = (values - grey) * np.float32(saturation) + grey
    return np.clip(values, 0.0, 255.0).astype(np.uint8)

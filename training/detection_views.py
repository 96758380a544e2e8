"""What a detector sees of a photo while it learns: pixels and instances in, tensors out.

Photos are kept no larger than the network looks at them; boxes and masks are scaled with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.detectors.fitting import fitted, fitted_size
from engine.errors import PhotoError
from engine.geometry import clip_box, mask_to_rle, rle_to_mask
from engine.types import CURATED, Box, Image, Instance, LabeledImage, Mask, Rle, Status
from exports.detection_data import DetectionPhoto
from training.known_background import Target
from training.transforms import other_colours

SMALLEST = 0.5  # side in pixels of the kept photo below which a box teaches nothing


@dataclass(frozen=True)
class Fitted:
    """The whole photo at its fitted size, in the upper left of a square."""

    min_size: int
    max_size: int
    sizes: Mapping[str, tuple[int, int]]  # (width, height) that the objects were drawn on

    @property
    def side(self) -> int:
        """Of the kept square in pixels."""
        return self.max_size

    @property
    def described(self) -> list[Any]:
        """What decides the pixels."""
        return ["fitted", self.min_size, self.max_size]

    def of(self, photo: Image, *, file_name: str) -> Image:
        """The kept square; PhotoError where the photo has another size than its objects say."""
        height, width = photo.shape[:2]
        stated = self.sizes[file_name]
        if (width, height) != stated:
            raise PhotoError(
                f"photo {file_name!r} has {width} x {height} pixels, but its objects were marked on"
                f" {stated[0]} x {stated[1]}; add the photo anew"
            )
        small = fitted(photo, min_size=self.min_size, max_size=self.max_size)
        square = np.zeros((self.side, self.side, 3), dtype=np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        return square

    def size_of(self, image: LabeledImage) -> tuple[int, int]:
        """(width, height) of a photo in its square."""
        sides = {"min_size": self.min_size, "max_size": self.max_size}
        return fitted_size(image.width, image.height, **sides)


@dataclass(frozen=True, eq=False)
class Example:
    """One photo as a step sees it."""

    photo: Tensor  # (3, h, w) uint8
    target: Target


class MaskStore:
    """Masks at the size of the kept photos, each made once and kept packed."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, tuple[int, int]], Rle] = {}

    def mask(self, instance: Instance, size: tuple[int, int]) -> Mask | None:
        """(h, w) for a ``size`` of (width, height); None without a mask, or where it vanishes."""
        if instance.rle is None or instance.id is None:
            return None
        key = (instance.id, size)
        if key not in self._kept:
            whole = rle_to_mask(instance.rle).astype(np.float32)
            small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
            self._kept[key] = mask_to_rle(small >= 0.5)
        mask = rle_to_mask(self._kept[key])
        return mask if mask.any() else None


def example(
    pixels: Image,
    photo: DetectionPhoto,
    number_of: Mapping[str, int],
    *,
    masks: MaskStore | None = None,
) -> Example:
    """The photo as it is, with its target; ``masks`` where the network draws some.

    ``pixels`` (h, w, 3) are those of the kept photo. ``number_of`` counts classes from 1.
    """
    height, width = pixels.shape[:2]
    scale = (width / photo.image.width, height / photo.image.height)
    boxes, refused, own = [], [], []
    for instance in photo.image.instances:
        box = _scaled(instance.box, scale, width=width, height=height)
        if box is None or instance.category is None:
            continue
        if instance.status is Status.REJECTED:
            refused.append((box, number_of[instance.category]))
        else:
            boxes.append(box)
            own.append(instance)
    shares = torch.tensor([box for box, _ in refused], dtype=torch.float32).reshape(-1, 4)
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([number_of[str(one.category)] for one in own], dtype=torch.int64),
        "ids": torch.tensor([one.id or 0 for one in own], dtype=torch.int64),
        "curated": torch.tensor([one.status in CURATED for one in own], dtype=torch.bool),
        "refused_boxes": shares / torch.tensor([width, height, width, height]),
        "refused_labels": torch.tensor([number for _, number in refused], dtype=torch.int64),
        "complete": torch.tensor(photo.complete),
    }
    if masks is not None:
        found = [masks.mask(one, (width, height)) for one in own]
        drawn = [np.zeros((height, width), bool) if one is None else one for one in found]
        stacked: NDArray[np.uint8] = np.array(drawn, dtype=np.uint8).reshape(-1, height, width)
        target["masks"] = torch.from_numpy(stacked)
        target["has_mask"] = torch.tensor([one is not None for one in found], dtype=torch.bool)
    return Example(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), target)


def varied(seen: Example, *, flip: float, colour: float, generator: np.random.Generator) -> Example:
    """One random view: mirrored with the probability ``flip``, in other colours."""
    photo, target = seen.photo, dict(seen.target)
    if generator.random() < flip:
        photo = photo.flip(2)
        target["boxes"] = _mirrored(target["boxes"], float(photo.shape[2]))
        target["refused_boxes"] = _mirrored(target["refused_boxes"], 1.0)
        if "masks" in target:
            target["masks"] = target["masks"].flip(2)
    if colour > 0.0:
        pixels = other_colours(photo.permute(1, 2, 0).numpy(), colour, generator)
        photo = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return Example(photo, target)


def _mirrored(boxes: Tensor, width: float) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack((width - x1, y0, width - x0, y1), dim=1)


def _scaled(box: Box, scale: tuple[float, float], *, width: int, height: int) -> Box | None:
    """The box on the kept photo; None where too little of it is left there."""
    x, y = scale
    inside = clip_box((box[0] * x, box[1] * y, box[2] * x, box[3] * y), width=width, height=height)
    if inside is None or min(inside[2] - inside[0], inside[3] - inside[1]) < SMALLEST:
        return None
    return inside

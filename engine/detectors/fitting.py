"""Photos made no larger than a detector looks at them, without the speckle of plain sampling.

torchvision resizes by bilinear sampling alone, which takes single pixels of a large photo. What is
detected on, and what a training is validated on, goes through here first, so both see the same
picture. Photos that train do too, at the largest of their scales; torchvision makes the others.
"""

from __future__ import annotations

import cv2

from engine.types import Image


def fitted_size(width: int, height: int, *, min_size: int, max_size: int) -> tuple[int, int]:
    """(width, height) at which the short side is ``min_size`` or the long one ``max_size``.

    Smaller photos keep their size: enlarging is left to the network.
    """
    scale = min(1.0, min_size / min(width, height), max_size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fitted(image: Image, *, min_size: int, max_size: int) -> Image:
    """The photo at its `fitted_size`; the same array where nothing is to be done."""
    height, width = image.shape[:2]
    size = fitted_size(width, height, min_size=min_size, max_size=max_size)
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

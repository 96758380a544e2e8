"""Made-up photos with known objects, for the segmenters."""

from __future__ import annotations

import numpy as np

from engine.types import Image, Mask


def ellipse(
    *, centre_xy: tuple[float, float], radii_xy: tuple[float, float], height: int, width: int
) -> Mask:
    """True on the pixels whose centres lie in the ellipse."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y = centre_xy
    return ((columns - x) / radii_xy[0]) ** 2 + ((rows - y) / radii_xy[1]) ** 2 < 1


def two_fruits(*, height: int = 150, width: int = 200, seed: int = 0) -> tuple[Image, Mask, Mask]:
    """Two orange ellipses far apart on a noisy green ground: photo, left one, right one."""
    generator = np.random.default_rng(seed)
    left = ellipse(
        centre_xy=(0.25 * width, 0.5 * height),
        radii_xy=(0.15 * width, 0.3 * height),
        height=height,
        width=width,
    )
    right = ellipse(
        centre_xy=(0.75 * width, 0.5 * height),
        radii_xy=(0.15 * width, 0.3 * height),
        height=height,
        width=width,
    )
    image = np.full((height, width, 3), (60, 110, 50))
    image[left] = (220, 140, 40)
    image[right] = (210, 120, 50)
    noise = generator.normal(0.0, 8.0, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), left, right

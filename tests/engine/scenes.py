"""Made-up photos with known objects, and odd ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from _pytest.mark import ParameterSet

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


def on_texture(*, seed: int, height: int = 120, width: int = 160) -> tuple[Image, Mask]:
    """A red ellipse near the middle of a cloudy green ground: photo, ellipse."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0.0, 18.0, (height // 6, width // 6, 3)).astype(np.float32)
    clouds = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = generator.uniform(0.35, 0.65, 2)
    wide, high = generator.uniform(0.15, 0.28, 2)
    inside = ellipse(
        centre_xy=(x * width, y * height),
        radii_xy=(wide * width, high * height),
        height=height,
        width=width,
    )
    image = np.array([90, 120, 80]) + clouds
    image[inside] = np.array([200, 90, 60]) + 0.7 * clouds[inside]
    noise = generator.normal(0.0, 5.0, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), inside


def odd_photos() -> list[ParameterSet]:
    """Photos at the edge of what a photo is, as pytest parameters."""
    generator = np.random.default_rng(0)

    def noise(height: int, width: int) -> Image:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)

    squares = np.indices((60, 80)) // 8 % 2 * 255
    photos = {
        "1x1": noise(1, 1),
        "1x9": noise(1, 9),
        "2x2": noise(2, 2),
        "3x3": noise(3, 3),
        "3x2500": noise(3, 2500),
        "2500x4": noise(2500, 4),
        "black": np.zeros((60, 80, 3), dtype=np.uint8),
        "white": np.full((60, 80, 3), 255, dtype=np.uint8),
        "checkerboard": np.abs(squares[0] - squares[1])[..., None].repeat(3, 2).astype(np.uint8),
        "noise": noise(60, 80),
        "grey noise": noise(60, 80)[..., :1].repeat(3, 2),
        "gradient": np.arange(80, dtype=np.uint8)[None, :, None].repeat(60, 0).repeat(3, 2),
    }
    return [pytest.param(image, id=name) for name, image in photos.items()]

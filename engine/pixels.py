"""Any mode of Pillow comes in, 8-bit RGB comes out; `engine.photos` opens the files.

* Transparent parts show white, the page that cut-outs and drawings were made for; black would
  swallow dark objects, and what lies under alpha 0 is arbitrary.
* Whole numbers above 8 bits are scaled from the smallest of the depths 8, 10, 12, 14 and 16 that
  holds the brightest pixel, so that photos of one camera mostly keep one scale. Numbers that fit
  none of them, and negative ones, are stretched from their lowest to their highest.
* Floats in [0, 1] are multiplied by 255, others stretched over the finite ones; NaN becomes black
  and infinities the ends.
* Colour profiles are ignored; CMYK is converted as Pillow does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

MANY_BITS = frozenset(("F", "I", "I;16", "I;16L", "I;16B", "I;16N"))
"""Modes that lose depth on the way."""

_SENSOR_BITS = (8, 10, 12, 14, 16)


def as_rgb(image: Pillow.Image) -> Pillow.Image:
    """The picture in mode RGB; ValueError where Pillow cannot convert its mode."""
    if image.mode in MANY_BITS:
        values = np.asarray(image)
        to_8_bit = _floats_to_8_bit if image.mode == "F" else _integers_to_8_bit
        return Pillow.fromarray(to_8_bit(values)).convert("RGB")
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Pillow.new("RGBA", layer.size, "white")
        return Pillow.alpha_composite(page, layer).convert("RGB")
    return image.convert("RGB")


def _lab_to_rgb(image: Pillow.Image) -> Pillow.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # only in-place conversions return nothing
    return converted


def _integers_to_8_bit(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    lowest, highest = int(values.min()), int(values.max())
    depths = [bits for bits in _SENSOR_BITS if highest < 2**bits]
    if lowest < 0 or not depths:
        return _stretched(values, lowest, highest)
    return _stretched(values, 0, 2 ** depths[0] - 1)


def _floats_to_8_bit(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    if finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1):
        lowest, highest = 0.0, 1.0
    else:
        lowest, highest = float(finite.min()), float(finite.max())
    # Infinities are clipped to the ends below; NaN has no place on the scale.
    return _stretched(
        np.nan_to_num(values, nan=lowest, posinf=highest, neginf=lowest), lowest, highest
    )


def _stretched(values: NDArray, lowest: float, highest: float) -> NDArray[np.uint8]:
    """From [lowest, highest] to [0, 255]; all black where the two are equal."""
    span = highest - lowest
    if span <= 0:
        return np.zeros(values.shape, dtype=np.uint8)
    scaled = (values.astype(np.float64) - lowest) * 255.0 / span
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)

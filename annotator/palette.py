"""A colour for every class: far apart for the first twenty, still different ever after."""

from __future__ import annotations

import colorsys

# Twenty colours that people tell apart on photos, light and dark, strongest first (after Sasha
# Trubetskoy's list of distinct colours; greys and near-whites left out).
_FIRST = (
    (255, 159, 28),
    (67, 170, 255),
    (60, 200, 90),
    (240, 80, 230),
    (255, 225, 25),
    (230, 60, 75),
    (70, 240, 240),
    (145, 90, 230),
    (191, 239, 69),
    (250, 150, 190),
    (0, 150, 150),
    (170, 110, 40),
    (128, 150, 255),
    (170, 255, 195),
    (200, 40, 140),
    (128, 128, 0),
    (255, 190, 130),
    (0, 110, 200),
    (190, 140, 255),
    (160, 0, 30),
)
_GOLDEN = 0.618033988749895  # turns of the hue circle; never comes near an earlier hue soon


def colour(index: int) -> tuple[int, int, int]:
    """RGB, each 0 to 255, of the class at this place (from 0) in the project's order."""
    if index < len(_FIRST):
        return _FIRST[index]
    hue = (index * _GOLDEN) % 1.0
    saturation = (0.9, 0.65, 0.45)[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)

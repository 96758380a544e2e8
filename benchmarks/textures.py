"""Surfaces of two tones: the name of a pattern and how coarse it is in, an RGB surface out.

Nothing here depends on whether it is for an object, for clutter or for the background: both tones
come from the same distribution everywhere, and which of the two is the lighter is a coin's toss.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BASE = (80.0, 176.0)  # grey values of each channel of the middle tone
_CONTRAST = (32.0, 58.0)  # of either tone from the middle, in each channel


def painted(
    random: np.random.Generator, shape: tuple[int, ...], texture: str, unit: float
) -> Floats:
    """(h, w, 3): a surface of the texture, turned at random; ``unit`` is the size of the thing.

    Values lie around 5 to 250; the pattern repeats three to four times on ``unit`` pixels.
    """
    base = random.uniform(*_BASE, 3)
    contrast = random.uniform(*_CONTRAST) * random.choice((-1.0, 1.0))
    tint = random.uniform(0.7, 1.3, 3)
    period = max(unit / random.uniform(3.0, 4.5), 4.0)
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0.0 : shape[0], 0.0 : shape[1]]
    offset = random.uniform(0, 1, 2)
    u = (np.cos(angle) * x + np.sin(angle) * y) / period + offset[0]
    v = (np.cos(angle) * y - np.sin(angle) * x) / period + offset[1]
    pattern = {**TEXTURES, **_PATTERNLESS}[texture](u, v, random)  # in [-1, 1]
    return np.asarray(base + contrast * pattern[..., None] * tint)


def smooth_noise(random: np.random.Generator, side: int, *, cells: int) -> Floats:
    """(side, side) in about [-1, 1]: random values on a coarse grid with smooth ways between."""
    coarse = random.uniform(-1, 1, (cells + 2, cells + 2))
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


def _two_tones(on: NDArray[np.bool_]) -> Floats:
    return np.where(on, 1.0, -1.0)


def _stripes(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return _two_tones(u % 1 < 0.5)


def _checks(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return _two_tones((u % 1 < 0.5) ^ (v % 1 < 0.5))


def _dots(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return _two_tones(np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.33)


def _mesh(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return _two_tones((u % 1 < 0.28) | (v % 1 < 0.28))


def _zigzag(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return _two_tones((u + np.abs(v % 1 - 0.5)) % 1 < 0.5)


def _dashes(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    shifted = v + 0.5 * (np.floor(u) % 2)
    return _two_tones((u % 1 < 0.42) & (shifted % 1 < 0.62))


def _plain(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return np.zeros(u.shape)


def _gradient(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    return np.asarray((u - u.min()) / (np.ptp(u) or 1.0) * 2 - 1)


def _blotches(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    coarse = smooth_noise(random, max(u.shape), cells=7)[: u.shape[0], : u.shape[1]]
    return np.clip(2.0 * coarse, -1, 1)


def _speckles(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    grains = random.normal(0.0, 1.0, u.shape)
    return np.clip(cv2.GaussianBlur(grains, (0, 0), 1.2) * 2.5, -1, 1)


_Pattern = Callable[[Floats, Floats, np.random.Generator], Floats]

TEXTURES: dict[str, _Pattern] = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "mesh": _mesh,
    "zigzag": _zigzag,
    "dashes": _dashes,
}
"""Those of the classes."""

_PATTERNLESS: dict[str, _Pattern] = {
    "plain": _plain,
    "gradient": _gradient,
    "blotches": _blotches,
    "speckles": _speckles,
}

CLUTTER_TEXTURES = tuple(_PATTERNLESS)
"""Those of what belongs to no class: background, clutter, and what lies across objects."""

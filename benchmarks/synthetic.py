"""Made-up photos whose truth is exact: how many, how large and a seed in, a photo set out.

    python -m benchmarks.synthetic FOLDER [--photos 2000] [--classes 12] [--size 128] [--seed 0]

A class is a shape together with a texture: each shape and each texture belongs to two classes, so
neither tells the class alone. Every surface (object, clutter, background) takes its two tones from
the same distribution, so colour tells nothing. `benchmarks.textures` draws the surfaces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from benchmarks.textures import CLUTTER_TEXTURES, TEXTURES, Floats, painted, smooth_noise
from engine.geometry import mask_to_box, mask_to_rle
from engine.types import Image, Instance, LabeledImage, Mask, Source, Status
from exports.coco import write_coco
from exports.tags import write_tags

SHAPES = ("disc", "triangle", "cross", "star", "bar", "crescent")
LARGEST_CLASS_COUNT = 2 * len(SHAPES)
SPLITS = (("train", 0.75), ("val", 0.1), ("test", 0.15))
"""Each split's name and share. Thresholds are chosen on "val", results are told of "test"."""

_MADE_ON = "2000-01-01T00:00:00+00:00"  # the same file from the same seed on any day


@dataclass(frozen=True)
class SceneOptions:
    """What a made-up photo of ``size`` x ``size`` pixels shows."""

    classes: int = 12  # 1 to `LARGEST_CLASS_COUNT`
    size: int = 128  # pixels of a side, at least 24
    objects: int = 1  # at most so many objects, of different classes: above 1 photos get many tags
    radius: tuple[float, float] = (0.24, 0.42)  # of an object, in sides of the photo
    clutter: int = 3  # at most so many shapes of no class behind the objects
    occlusion: float = 0.5  # chance that something thin lies across an object
    noise: float = 5.0  # standard deviation of the noise of each pixel, in grey values
    own_parts: int | None = None  # else `class_parts` with this: easier, and at most 6 classes

    def __post_init__(self) -> None:
        most = LARGEST_CLASS_COUNT if self.own_parts is None else len(SHAPES)
        if not 1 <= self.classes <= most:
            raise ValueError(f"classes must be 1 to {most}, got {self.classes}")
        if self.size < 24:
            raise ValueError(f"size must be at least 24 pixels, got {self.size}")
        if not 1 <= self.objects <= self.classes:
            raise ValueError(f"objects must be 1 to the number of classes, got {self.objects}")


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo, and the class and visible pixels of every object on it."""

    image: Image
    objects: tuple[tuple[str, Mask], ...]


def class_parts(classes: int, own: int | None = None) -> tuple[tuple[str, str], ...]:
    """(shape, texture) of every class; its name is the two with a dash between.

    The first half pairs shape k with texture k, the second with the texture after it. With ``own``
    no two classes share either: shape k has the texture that is so many after the k-th.
    """
    if own is not None:
        textures = tuple(TEXTURES)
        return tuple((SHAPES[k], textures[(k + own) % len(textures)]) for k in range(classes))
    half = (classes + 1) // 2
    textures = tuple(TEXTURES)[: max(half, 2)]
    places = [(k % half, k // half) for k in range(classes)]
    return tuple((SHAPES[k], textures[(k + shift) % len(textures)]) for k, shift in places)


def class_names(classes: int, own: int | None = None) -> tuple[str, ...]:
    """Names of the classes, in their order."""
    return tuple(f"{shape}-{texture}" for shape, texture in class_parts(classes, own))


def make_scene(options: SceneOptions, *, seed: Sequence[int], category: int = 0) -> Scene:
    """One photo of the class number ``category``; the same for the same arguments.

    With ``options.objects`` above 1 there may be others of other classes; none covers another.
    """
    random = np.random.default_rng(seed)
    side = options.size
    canvas = painted(random, (side, side), str(random.choice(CLUTTER_TEXTURES)), 0.35 * side)
    canvas += 25.0 * smooth_noise(random, side, cells=3)[..., None]
    for _ in range(int(random.integers(0, options.clutter + 1))):
        _paint(canvas, _clutter_mask(random, side), random, str(random.choice(CLUTTER_TEXTURES)))
    parts = class_parts(options.classes, options.own_parts)
    names = class_names(options.classes, options.own_parts)
    others = [k for k in range(options.classes) if k != category]
    count = int(random.integers(1, options.objects + 1))
    placed: list[tuple[str, Mask]] = []
    for k in (category, *random.permutation(others)[: count - 1]):
        shape, texture = parts[k]
        mask = _free_place(random, options, shape, placed, crowd=count)
        if mask is not None:
            _paint(canvas, mask, random, texture)
            placed.append((names[k], mask))
    if random.random() < options.occlusion:
        strip = _strip_across(random, placed[0][1])
        _paint(canvas, strip, random, str(random.choice(CLUTTER_TEXTURES)))
        placed = [(name, mask & ~strip) for name, mask in placed]
    light = 1.0 + 0.15 * smooth_noise(random, side, cells=2)[..., None]
    canvas = canvas * light + random.normal(0.0, options.noise, canvas.shape)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Scene(image, tuple((name, mask) for name, mask in placed if mask.any()))


def make_set(
    folder: Path,
    *,
    photos: int,
    classes: int = 12,
    size: int = 128,
    seed: int = 0,
    options: SceneOptions | None = None,
) -> tuple[LabeledImage, ...]:
    """Write ``images/``, ``tags.csv`` and ``annotations.json`` (COCO with ``split``).

    Classes take turns, and every split has its share of each. Photo k depends on seed and k alone,
    not on how many there are. ``options`` replaces ``classes`` and ``size``.
    """
    options = options or SceneOptions(classes=classes, size=size)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = class_names(options.classes, options.own_parts)
    images = []
    for number in range(1, photos + 1):
        category = (number - 1) % options.classes
        scene = make_scene(options, seed=(seed, number), category=category)
        file_name = f"{number:05d}.png"
        Pillow.fromarray(scene.image).save(folder / "images" / file_name)
        instances = tuple(_instance(name, mask) for name, mask in scene.objects)
        images.append(
            LabeledImage(
                id=number,
                file_name=file_name,
                width=options.size,
                height=options.size,
                tags=tuple(dict.fromkeys(instance.category or "" for instance in instances)),
                instances=instances,
                split=_split((number - 1) // options.classes),
            )
        )
    write_tags(folder / "tags.csv", {image.file_name: image.tags for image in images})
    write_coco(
        folder / "annotations.json",
        images,
        categories=list(enumerate(names, start=1)),
        date_created=_MADE_ON,
        description=f"made up by benchmarks.synthetic, seed {seed}",
    )
    return tuple(images)


def _split(turn: int) -> str:
    """The split of the photos of one turn through the classes: spread evenly by the golden ratio.

    So that the first hundred photos already have nearly the shares of `SPLITS`.
    """
    place = (turn * 0.6180339887498949) % 1.0
    for name, share in SPLITS:
        if place < share:
            return name
        place -= share
    return SPLITS[-1][0]


def _instance(name: str, mask: Mask) -> Instance:
    box = mask_to_box(mask)
    assert box is not None, "an object without a visible pixel"
    return Instance(
        box=box,
        category=name,
        status=Status.DRAWN,
        source=Source("synthetic"),
        rle=mask_to_rle(mask),
    )


def _paint(canvas: Floats, mask: Mask, random: np.random.Generator, texture: str) -> None:
    """Cover the mask's pixels by a texture as coarse as the mask is large."""
    unit = max(np.sqrt(mask.sum()), 8.0)
    canvas[mask] = painted(random, mask.shape, texture, unit)[mask]


def _free_place(
    random: np.random.Generator,
    options: SceneOptions,
    shape: str,
    placed: list[tuple[str, Mask]],
    *,
    crowd: int,
) -> Mask | None:
    """A mask of the shape inside the photo, clear of the others; None where no room was found."""
    taken = np.zeros((options.size, options.size), dtype=bool)
    for _, mask in placed:
        taken |= mask
    for _ in range(40):
        radius = random.uniform(*options.radius) * options.size / np.sqrt(crowd)
        mask = shape_mask(shape, random, side=options.size, radius=radius)
        if not (mask & taken).any():
            return mask
    return None


def shape_mask(shape: str, random: np.random.Generator, *, side: int, radius: float) -> Mask:
    """A shape of that radius somewhere inside a square photo, turned and stretched at random."""
    centre = random.uniform(radius, side - radius, 2)
    angle, stretch = random.uniform(0, 2 * np.pi), random.uniform(0.8, 1.0)
    y, x = np.mgrid[0.5:side, 0.5:side]
    y, x = (y - centre[1]) / radius, (x - centre[0]) / radius
    u = np.cos(angle) * x + np.sin(angle) * y
    v = (np.cos(angle) * y - np.sin(angle) * x) / stretch
    return np.asarray(_inside(shape, u, v) & (u**2 + v**2 <= 1.0))


def _inside(shape: str, u: Floats, v: Floats) -> Mask:
    """Which points of the unit disc belong to the shape."""
    if shape == "disc":
        return np.ones(u.shape, dtype=bool)
    if shape == "bar":
        return np.asarray(np.abs(v) <= 0.33)
    if shape == "cross":
        return np.asarray((np.abs(u) <= 0.3) | (np.abs(v) <= 0.3))
    if shape == "crescent":
        return np.asarray((u - 0.55) ** 2 + v**2 >= 0.72**2)
    if shape == "triangle":
        return _polygon(u, v, corners=3, inner=0.5)
    if shape == "star":
        return _polygon(u, v, corners=5, inner=0.5)
    raise ValueError(f"unknown shape {shape!r}; known are {', '.join(SHAPES)}")


def _polygon(u: Floats, v: Floats, *, corners: int, inner: float) -> Mask:
    """Corners on the unit circle and, half-way between them, at the radius ``inner``."""
    step = np.pi / corners
    angle = np.abs((np.arctan2(v, u) + step) % (2 * step) - step)  # from the nearest corner
    along, across = np.hypot(u, v) * np.cos(angle), np.hypot(u, v) * np.sin(angle)
    x, y = inner * np.cos(step), inner * np.sin(step)  # the edge runs from (1, 0) to here
    return np.asarray((1.0 - along) * y - across * (1.0 - x) >= 0)


def _clutter_mask(random: np.random.Generator, side: int) -> Mask:
    """A blob of no class: a circle whose radius wavers, anywhere, cut by the frame."""
    centre, radius = random.uniform(0, side, 2), random.uniform(0.08, 0.25) * side
    y, x = np.mgrid[0.5:side, 0.5:side]
    angle = np.arctan2(y - centre[1], x - centre[0])
    waver = sum(
        random.uniform(0.1, 0.35) / np.sqrt(k) * np.cos(k * angle + random.uniform(0, 2 * np.pi))
        for k in (2, 3, 5)
    )
    return np.asarray(np.hypot(y - centre[1], x - centre[0]) <= radius * (1 + waver))


def _strip_across(random: np.random.Generator, mask: Mask) -> Mask:
    """A bent strip over a random pixel of the mask, thin beside it, from frame to frame."""
    side = mask.shape[0]
    rows, columns = np.nonzero(mask)
    at = int(random.integers(len(rows)))
    angle, width = random.uniform(0, np.pi), random.uniform(0.04, 0.12) * np.sqrt(mask.sum())
    direction = side * np.array([np.cos(angle), np.sin(angle)])
    normal = random.uniform(-0.15, 0.15) * direction[::-1] * (1, -1)
    middle = np.array([columns[at], rows[at]])
    steps = np.linspace(-1.5, 1.5, 25)[:, None]
    points = middle + steps * direction + steps**2 * normal
    strip = np.zeros(mask.shape, dtype=np.uint8)
    cv2.polylines(strip, [np.rint(points).astype(np.int32)], False, 1, max(1, round(width)))
    return strip.astype(bool)


def main() -> None:
    """Read the flags and write the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objects", type=int, default=1, help="at most so many a photo")
    given = parser.parse_args()
    options = SceneOptions(classes=given.classes, size=given.size, objects=given.objects)
    made = make_set(given.folder, photos=given.photos, seed=given.seed, options=options)
    sys.stdout.write(f"{len(made)} photos in {given.folder}\n")


if __name__ == "__main__":
    main()

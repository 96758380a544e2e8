"""How good the segmenter without weights is: a folder in COCO layout in, one line a task out.

    python -m benchmarks.segmenters FOLDER [--limit 60]

FOLDER holds annotations.json and images/; where it holds trimaps/, their pixels of value 3 count
neither way. Boxes are the true ones, each side moved by 3 % of the box (one standard deviation,
seeded); clicks go to the middle of the largest error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from benchmarks.photo_sets import labeled_photos
from engine.geometry import iou_masks, rle_to_mask
from engine.segmenters.classical import ClassicalSegmenter, PreparedPhoto, box_to_mask
from engine.types import Box, Mask, Prompts

SHORTEST_SIDE = 8  # pixels: smaller boxes have no shape to speak of
CLICKS = 8


@dataclass(frozen=True)
class Object:
    """One object of one photo, and the pixels that its outline leaves no doubt about."""

    photo: PreparedPhoto
    box: Box
    mask: Mask
    sure: Mask

    def iou(self, mask: Mask) -> float:
        """How far a mask agrees with the truth, where that is sure."""
        return iou_masks(mask & self.sure, self.mask & self.sure)


def main() -> None:
    """Read the flags, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=60, help="objects, drawn with a fixed seed")
    arguments = parser.parse_args()
    segmenter = ClassicalSegmenter()
    objects = list(_objects(arguments.folder, segmenter))
    chosen = np.random.default_rng(0).permutation(len(objects))[: arguments.limit]
    objects = [objects[index] for index in sorted(chosen)]
    sys.stdout.write(f"{arguments.folder.name}, {len(objects)} objects\n")
    sys.stdout.write(_boxes_line(objects))
    sys.stdout.write(_clicks_line(objects, segmenter, "clicks", with_box=False))
    sys.stdout.write(_clicks_line(objects, segmenter, "box, then clicks", with_box=True))


def _objects(folder: Path, segmenter: ClassicalSegmenter) -> Iterator[Object]:
    for image, truth in labeled_photos(folder, split=None):
        prepared = segmenter.prepare(image)
        trimap = folder / "trimaps" / Path(truth.file_name).with_suffix(".png").name
        sure = np.ones(image.shape[:2], dtype=bool)
        if trimap.is_file():
            sure = np.array(Pillow.open(trimap)) != 3
        for instance in truth.instances:
            x0, y0, x1, y1 = instance.box
            if instance.rle is not None and min(x1 - x0, y1 - y0) > SHORTEST_SIDE:
                yield Object(prepared, instance.box, rle_to_mask(instance.rle), sure)


def _jittered(box: Box, generator: np.random.Generator) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    x0, y0, x1, y1 = np.add(box, generator.normal(0.0, 0.03, 4) * (width, height, width, height))
    return float(x0), float(y0), float(x1), float(y1)


def _boxes_line(objects: list[Object]) -> str:
    generator = np.random.default_rng(1)
    overlaps, seconds = [], []
    for thing in objects:
        given = _jittered(thing.box, generator)
        started = time.perf_counter()
        found = box_to_mask(thing.photo.image, given)
        seconds.append(time.perf_counter() - started)
        overlaps.append(thing.iou(found))
    good = np.mean(np.array(overlaps) >= 0.7)
    return (
        f"box: mean IoU {np.mean(overlaps):.3f}, tenth percentile "
        f"{np.percentile(overlaps, 10):.2f}, at least 0.7 in {good:.2f}, "
        f"median {1e3 * np.median(seconds):.0f} ms, slowest {1e3 * max(seconds):.0f} ms\n"
    )


def _clicks_line(
    objects: list[Object], segmenter: ClassicalSegmenter, title: str, *, with_box: bool
) -> str:
    generator = np.random.default_rng(1)
    courses: list[list[float]] = []
    seconds: list[float] = []
    for thing in objects:
        start = np.zeros_like(thing.mask)
        if with_box:
            start = box_to_mask(thing.photo.image, _jittered(thing.box, generator))
        segmenter.set_prepared(thing.photo)
        courses.append(_course(segmenter, thing, start, seconds))
    each = np.array(courses)  # (objects, clicks + 1)
    needed = [next((n for n, iou in enumerate(row) if iou >= 0.8), CLICKS + 2) for row in each]
    means = ", ".join(f"{n}: {each[:, n].mean():.2f}" for n in (0, 1, 3, 5, 8))
    return (
        f"{title}: mean IoU after {means}; {np.mean(needed):.1f} clicks to 0.8 (never counts as "
        f"{CLICKS + 2}), median {1e3 * np.median(seconds):.0f} ms a click\n"
    )


def _course(
    segmenter: ClassicalSegmenter, thing: Object, start: Mask, seconds: list[float]
) -> list[float]:
    """IoU before the first click and after each; right masks stay as they are."""
    mask = start
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    overlaps = [thing.iou(mask)]
    for _ in range(CLICKS):
        wrong = (mask != thing.mask) & thing.sure
        if wrong.any():
            point = _middle(wrong)
            points.append(point)
            labels.append(int(thing.mask[int(point[1]), int(point[0])]))
            given = mask if mask.any() else None
            started = time.perf_counter()
            found = segmenter.masks_for(Prompts(tuple(points), tuple(labels), mask=given))
            seconds.append(time.perf_counter() - started)
            mask = found[0].mask if found else np.zeros_like(mask)
        overlaps.append(thing.iou(mask))
    return overlaps


def _middle(wrong: Mask) -> tuple[float, float]:
    """The point of the mask that lies deepest inside."""
    padded = np.pad(wrong, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return float(column) + 0.5, float(row) + 0.5


if __name__ == "__main__":
    main()

"""A photo set with its truth: a folder with `images/` and `annotations.json` (COCO, `split`) in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine import photos
from engine.types import Image, LabeledImage
from exports.coco import read_coco


def labeled_photos(
    folder: Path, *, split: str | None, every: int = 1
) -> Iterator[tuple[Image, LabeledImage]]:
    """Every n-th photo of the split with the objects that are really on it."""
    images = [
        image
        for image in read_coco(folder / "annotations.json").images
        if split is None or image.split == split
    ]
    for image in images[::every]:
        yield photos.load(folder / "images" / image.file_name), image

"""How good a detector is on validation photos: AP of COCO, CorLoc, and pictures of what it found.

Where there are none, on some that train, which only shows that it learns. Photos are looked at no
larger than detection makes them, which moves both sides of every IoU alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn

from engine.geometry import mask_to_rle
from engine.metrics.detection import DetectedPhoto, ScoredBox, TrueBox, coco_scores, corloc
from engine.types import Box
from training.detection_set import DetectionSet, LookedAt
from training.detection_views import Example
from training.detector_steps import pixels_of

SAMPLES = "samples"
SHOWN = 0.3  # score from which on a detection is drawn
STEM = 200  # bytes at most of a photo's name in a picture's: file systems take 255 with the rest
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
MASK_LEVEL = 0.5


@torch.inference_mode()
def detected(
    network: nn.Module,
    data: DetectionSet,
    looked_at: LookedAt,
    *,
    min_size: int,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> list[DetectedPhoto]:
    """What is found on every photo looked at, beside its truth; ``check`` may raise in between."""
    owner: Any = network
    owner.transform.min_size = (min_size,)
    network.eval()
    found = []
    for number in looked_at.numbers:
        check()
        seen = data.example(looked_at.part, number, min_size=min_size)
        (answer,) = network([pixels_of(seen.photo, device)])
        found.append(DetectedPhoto(_truth(seen, data.classes), _found(answer, data.classes)))
    network.train()
    return found


def detection_metrics(photos: list[DetectedPhoto], *, masks: bool) -> dict[str, Any]:
    """Shares in [0, 1]; figures that no photo speaks of are not there.

    Masks are judged on the photos whose objects all have one.
    """
    scores = coco_scores(photos)
    figures: dict[str, Any] = {**scores.as_dict(), "per_class": dict(scores.per_class)}
    located = corloc(photos).mean
    if located is not None:
        figures["corloc"] = located
    if masks:
        drawn = [one for one in photos if all(true.mask is not None for true in one.truth)]
        of_masks = coco_scores(drawn, what="mask").as_dict()
        figures |= {f"mask_{name}": value for name, value in of_masks.items()}
    return figures


def write_samples(
    folder: Path,
    data: DetectionSet,
    looked_at: LookedAt,
    photos: list[DetectedPhoto],
    *,
    min_size: int,
    count: int,
    epoch: int,
) -> None:
    """Pictures of the first of these photos with what `detected` found; earlier pictures go."""
    place = folder / SAMPLES
    place.mkdir(exist_ok=True)
    drawn: set[str] = set()
    for number, photo in zip(looked_at.numbers, photos, strict=True):
        stem = PurePosixPath(looked_at.part.photos[number].image.file_name).stem
        stem = stem.encode("utf-8")[:STEM].decode("utf-8", errors="ignore")
        if len(drawn) == count:
            break
        if stem in drawn:
            continue
        drawn.add(stem)
        seen = data.example(looked_at.part, number, min_size=min_size)
        pixels = seen.photo.permute(1, 2, 0).numpy()
        path = place / f"{stem}_{epoch}.jpg"
        _drawn(pixels, photo, data.classes).save(path, quality=88)
    for path in place.glob("*.jpg"):
        if not path.stem.endswith(f"_{epoch}"):
            path.unlink()


def _truth(seen: Example, classes: tuple[str, ...]) -> tuple[TrueBox, ...]:
    target = seen.target
    boxes = target["boxes"].tolist()
    names = [classes[label - 1] for label in target["labels"].tolist()]
    masks: list[Any] = [None] * len(boxes)
    if "masks" in target:
        masks = [
            mask_to_rle(mask.numpy().astype(bool)) if has else None
            for mask, has in zip(target["masks"], target["has_mask"].tolist(), strict=True)
        ]
    return tuple(
        TrueBox((box[0], box[1], box[2], box[3]), name, mask=mask)
        for box, name, mask in zip(boxes, names, masks, strict=True)
    )


def _found(answer: dict[str, Tensor], classes: tuple[str, ...]) -> tuple[ScoredBox, ...]:
    answer = {name: one.float().cpu() for name, one in answer.items()}
    masks: list[Any] = [None] * len(answer["boxes"])
    if "masks" in answer:
        masks = [mask_to_rle(one[0].numpy() >= MASK_LEVEL) for one in answer["masks"]]
    rows = zip(
        answer["boxes"].tolist(),
        answer["labels"].tolist(),
        answer["scores"].tolist(),
        masks,
        strict=True,
    )
    return tuple(
        ScoredBox((box[0], box[1], box[2], box[3]), classes[int(label) - 1], score, mask)
        for box, label, score, mask in rows
        if box[0] < box[2] and box[1] < box[3]
    )


def _drawn(
    pixels: np.ndarray[Any, Any], photo: DetectedPhoto, classes: tuple[str, ...]
) -> Pillow.Image:
    """Truth in thin white, finds in the colour of their class with name and score."""
    picture = Pillow.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default()
    for one in photo.truth:
        pen.rectangle(_edges(one.box), outline="white")
    for found in sorted(photo.detections, key=lambda one: one.score):
        if found.score < SHOWN:
            continue
        colour = COLOURS[classes.index(found.category) % len(COLOURS)]
        pen.rectangle(_edges(found.box), outline=colour, width=2)
        text = f"{found.category} {found.score:.2f}"
        place = (found.box[0] + 3, max(found.box[1] - 11, 0))
        pen.text(place, text, fill=colour, font=font, stroke_width=1, stroke_fill="white")
    return picture


def _edges(box: Box) -> Box:
    """Pillow draws the last pixel too."""
    return box[0], box[1], max(box[2] - 1, box[0]), max(box[3] - 1, box[1])

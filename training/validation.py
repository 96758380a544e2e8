"""How good a localizer is on held-out photos: classes always, boxes where their truth is known.

Figures are shares in [0, 1]. A pair of photo and class of its truth counts once and is found
where the box of its map has an IoU of at least 0.5 with one of its true boxes (GT-Known).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.errors import OptionError
from engine.localizers.outputs import LocalizerOutput
from engine.localizers.views import normalised
from engine.metrics.map_boxes import sweep_boxes
from engine.metrics.protocols import Protocol, prepare_map, scale_truth
from engine.types import Box
from exports.coco import read_coco
from training.data import TaggedPhoto
from training.photo_cache import PhotoCache, View

Floats = NDArray[np.float32]

CANDIDATE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 19))
IOU_OF_A_HIT = 0.5


@dataclass(frozen=True)
class TruePhoto:
    """Boxes (n, 4) of each class in pixels of a photo of ``width`` x ``height``."""

    width: int
    height: int
    boxes: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Truth:
    """What a COCO file says of each of its photos that has a box."""

    photos: dict[str, TruePhoto]

    @classmethod
    def read(cls, path: Path) -> Truth:
        """FormatError where the file is no COCO."""
        photos = {}
        for image in read_coco(path).images:
            found: dict[str, list[Box]] = {}
            for instance in image.instances:
                if instance.category is not None:
                    found.setdefault(instance.category, []).append(instance.box)
            if found:
                boxes = {name: np.array(those, dtype=np.float64) for name, those in found.items()}
                photos[image.file_name] = TruePhoto(image.width, image.height, boxes)
        return cls(photos)


@dataclass(frozen=True)
class BoxRule:
    """How a box is taken from a map."""

    protocol: Protocol
    threshold: float


def check_truth(truth: Truth, photos: Sequence[TaggedPhoto], path: Path) -> None:
    """OptionError where a truth file says nothing of any held-out photo."""
    if photos and not any(photo.file_name in truth.photos for photo in photos):
        raise OptionError(
            f"truth file {os.fspath(path)!r} has no box on any held-out photo, for example on"
            f" {photos[0].file_name!r}; its file names must be relative to the photos' folder"
        )


@torch.inference_mode()
def validate(
    network: nn.Module,
    cache: PhotoCache[View],
    photos: Sequence[TaggedPhoto],
    *,
    classes: Sequence[str],
    multi_label: bool,
    truth: Truth | None,
    box_rule: BoxRule,
    batch: int,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> dict[str, float | None]:
    """All figures over the photos of the cache, in its order; ``check`` may raise in between.

    "top1" and "top5": one of the photo's tags is the best, or among the best five classes. "map"
    for several tags a photo: mean average precision. With truth "gt_known" at the threshold,
    "top1_loc" with the class right too, and "gt_known_best" at the best of some thresholds.
    """
    network.eval()
    scores: list[Floats] = []
    localisation = _Localisation(classes, truth or Truth({}), box_rule, cache.view)
    for start in range(0, len(photos), batch):
        check()
        some = photos[start : start + batch]
        pixels = np.stack([cache[start + offset] for offset in range(len(some))])
        output: LocalizerOutput = network(normalised(torch.from_numpy(pixels).to(device)))
        logits = output.logits.float().cpu().numpy()
        scores.append(logits)
        maps = output.coarse_map if output.coarse_map is not None else output.class_maps
        if truth is not None and maps is not None:
            for photo, row, one in zip(some, logits, maps.float().cpu().numpy(), strict=True):
                localisation.add(photo.file_name, one, int(row.argmax()))
    network.train()
    return {**_classification(np.concatenate(scores), photos, multi_label), **localisation.result()}


def _classification(
    scores: Floats, photos: Sequence[TaggedPhoto], multi_label: bool
) -> dict[str, float | None]:
    """``scores`` (photos, classes)."""
    present = np.zeros(scores.shape, dtype=bool)
    for row, photo in enumerate(photos):
        present[row, list(photo.classes)] = True
    ranked = np.argsort(-scores, axis=1, kind="stable")
    right = np.take_along_axis(present, ranked, axis=1)
    figures: dict[str, float | None] = {
        "top1": float(right[:, 0].mean()),
        "top5": float(right[:, :5].any(axis=1).mean()),
    }
    if multi_label:
        precisions = [
            average_precision(scores[:, number], present[:, number])
            for number in range(scores.shape[1])
            if present[:, number].any()
        ]
        figures["map"] = float(np.mean(precisions))
    return figures


def average_precision(scores: NDArray[np.floating], present: NDArray[np.bool_]) -> float:
    """Mean over the photos that have the class of the precision at their rank; ties as they lie."""
    hits = present[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


class _Localisation:
    """Gathers the best IoU of every pair at all thresholds."""

    def __init__(self, classes: Sequence[str], truth: Truth, rule: BoxRule, view: View) -> None:
        self._number_of = {name: number for number, name in enumerate(classes)}
        self._truth = truth
        self._rule = rule
        self._view = view
        self._thresholds = sorted({rule.threshold, *CANDIDATE_THRESHOLDS})
        self._hits: list[NDArray[np.bool_]] = []  # a pair each, (thresholds,)
        self._placed: list[NDArray[np.bool_]] = []  # the same, as Top-1 Loc counts it
        self._class_right: list[bool] = []

    def add(self, file_name: str, maps: Floats, best_class: int) -> None:
        """``maps`` (h, w), or (classes, h, w) of a class-specific localizer."""
        photo = self._truth.photos.get(file_name)
        if photo is None:
            return
        cropped = self._view.view == "crop"
        for name, boxes in photo.boxes.items():
            number = self._number_of.get(name)
            if number is None:
                continue
            score_map = prepare_map(
                maps, self._rule.protocol, size=self._view.side, category=number
            )
            found = sweep_boxes(score_map, self._thresholds, protocol=self._rule.protocol)
            true_boxes = scale_truth(
                boxes,
                self._rule.protocol,
                width=photo.width,
                height=photo.height,
                size=self._view.side,
                resize=self._view.resize if cropped else None,
            )
            ious = found.best_ious(true_boxes)
            self._hits.append(ious >= IOU_OF_A_HIT)
            # TS-CAM's code asks for more than one half where the class counts as well (§3.2).
            is_strict = self._rule.protocol == "tscam"
            self._placed.append(ious > IOU_OF_A_HIT if is_strict else ious >= IOU_OF_A_HIT)
            self._class_right.append(best_class == number)

    def result(self) -> dict[str, float | None]:
        """GT-Known is None where there was no pair."""
        if not self._hits:
            return {"gt_known": None}
        hits = np.array(self._hits)
        shares = hits.mean(axis=0)
        chosen = self._thresholds.index(self._rule.threshold)
        best = int(shares.argmax())
        return {
            "gt_known": float(shares[chosen]),
            "top1_loc": float(
                (np.array(self._placed)[:, chosen] & np.array(self._class_right)).mean()
            ),
            "gt_known_best": float(shares[best]),
            "best_threshold": self._thresholds[best],
        }

"""What a trained detector makes of the labels it learned from: losses of RoIs by planted error.

In: a detector, the photos and labels of its training, the errors. Out: for each kind of RoI how
many there are, their losses, and the share that thresholds would drop. This is WeakSAM's figure 5
with the truth known (§9 of the dossier).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from benchmarks.noise.photo_sets import PHOTOS
from benchmarks.noise.planted import Planted
from engine import photos as photo_files
from engine.detectors.saved import load_detector
from engine.types import LabeledImage
from exports.detection_data import read_detection_data
from training.drop import roi_losses

RIGHT, SHIFTED, WRONG = "right label", "shifted box", "wrong class"
MISSED, VACATED, EMPTY = (
    "background, label missing",
    "background, label shifted away",
    "other background",
)
KINDS = (RIGHT, SHIFTED, WRONG, MISSED, VACATED, EMPTY)
ON_OBJECT = 0.5  # IoU from which on a RoI is about a label, as in training

QUANTILES = (0.5, 0.9)
TAU_CLS, TAU_REG = (2.0, 3.0, 4.0, 5.0), (0.8, 1.0, 1.2)

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rois:
    """All that was looked at, (r,) each."""

    kind: NDArray[np.int64]  # place in `KINDS`
    classification: Floats
    box: Floats  # mean over the coordinates; 0 for background

    def of(self, kind: str) -> Rois:
        """Those of one kind."""
        rows = self.kind == KINDS.index(kind)
        return Rois(self.kind[rows], self.classification[rows], self.box[rows])

    def dropped(self, *, tau_cls: float, tau_reg: float) -> float:
        """Share that the paper's rule drops."""
        return float(np.mean((self.classification > tau_cls) | (self.box > tau_reg)))


@dataclass(frozen=True)
class Losses:
    """Of the RoIs of one kind; shares in [0, 1]."""

    rois: int
    classification: tuple[float, ...]  # at `QUANTILES`
    box: tuple[float, ...]  # the same; mean over the coordinates
    over_class: tuple[float, ...]  # share above each of `TAU_CLS`
    over_box: tuple[float, ...]  # share above each of `TAU_REG`
    dropped: float  # by the paper's thresholds


def summary(several: Sequence[Rois]) -> dict[str, Losses]:
    """By kind, those that there are, of all together."""
    rois = Rois(
        np.concatenate([one.kind for one in several]),
        np.concatenate([one.classification for one in several]),
        np.concatenate([one.box for one in several]),
    )
    found = {}
    for kind in KINDS:
        own = rois.of(kind)
        if len(own.kind):
            found[kind] = Losses(
                rois=len(own.kind),
                classification=tuple(map(float, np.quantile(own.classification, QUANTILES))),
                box=tuple(map(float, np.quantile(own.box, QUANTILES))),
                over_class=tuple(float(np.mean(own.classification > tau)) for tau in TAU_CLS),
                over_box=tuple(float(np.mean(own.box > tau)) for tau in TAU_REG),
                dropped=own.dropped(tau_cls=4.0, tau_reg=1.0),
            )
    return found


@torch.inference_mode()
def looked_at(model: Path, folder: Path, data: Path, planted: Sequence[Planted]) -> Rois:
    """Every proposal of the detector, and every label's box, on the photos that train."""
    network, card = load_detector(model)
    number_of = {name: place for place, name in enumerate(card.classes, start=1)}
    found = []
    for photo in read_detection_data(data).part("train"):
        errors = [one for one in planted if one.file_name == photo.image.file_name]
        pixels = photo_files.load(folder / PHOTOS / photo.image.file_name)
        planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        found.append(_of_photo(network, planes, photo.image, errors, number_of))
    return Rois(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _of_photo(
    network: Any,
    planes: Tensor,
    image: LabeledImage,
    errors: Sequence[Planted],
    number_of: Mapping[str, int],
) -> tuple[NDArray[np.int64], Floats, Floats]:
    images, _ = network.transform([planes])
    scale = images.image_sizes[0][0] / image.height
    features = network.backbone(images.tensors)
    proposals, _ = network.rpn(images, features)
    own = _boxes([one.box for one in image.instances]) * scale
    boxes = torch.cat([proposals[0], own])
    heads = network.roi_heads
    pooled = heads.box_head(heads.box_roi_pool(features, [boxes], images.image_sizes))
    class_logits, box_deltas = heads.box_predictor(pooled)
    overlap = box_iou(boxes, torch.cat([own, boxes.new_zeros((1, 4))]))
    best, matched = overlap.max(dim=1)
    is_object = best >= ON_OBJECT
    classes = torch.tensor([*(number_of[one.category or ""] for one in image.instances), 0])
    labels = torch.where(is_object, classes[matched], 0)
    targets = torch.cat([own, boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]])])[matched]
    deltas = heads.box_coder.encode([targets], [boxes])[0]
    losses = roi_losses(class_logits, box_deltas, labels, deltas)
    kind = _kinds(boxes, matched, is_object, image, errors, scale)
    return kind, losses.classification.numpy(), losses.reduced_box("mean").numpy()


def _kinds(
    boxes: Tensor,
    matched: Tensor,
    is_object: Tensor,
    image: LabeledImage,
    errors: Sequence[Planted],
    scale: float,
) -> NDArray[np.int64]:
    error_of = {error.instance: error.kind for error in errors}
    names = {"shifted": SHIFTED, "wrong class": WRONG}
    of_label = [
        KINDS.index(names.get(error_of.get(one.id or 0, ""), RIGHT)) for one in image.instances
    ]
    kind = torch.tensor([*of_label, 0])[matched]
    kind[~is_object] = KINDS.index(EMPTY)
    for of_error, name in (("shifted", VACATED), ("missing", MISSED)):
        true_boxes = _boxes([error.box for error in errors if error.kind == of_error]) * scale
        on_true = (box_iou(boxes, true_boxes) >= ON_OBJECT).any(dim=1)
        kind[~is_object & on_true] = KINDS.index(name)
    return np.asarray(kind.numpy(), dtype=np.int64)


def _boxes(boxes: Sequence[tuple[float, ...]]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)

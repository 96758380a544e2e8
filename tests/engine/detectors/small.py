"""torchvision's real detectors, small enough to run in milliseconds on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.detectors import build, kind_of
from engine.detectors.saved import DetectorCard, save_detector
from engine.options import as_dict

CLASSES = ("cup", "Füße", "🐦 bird")
SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "backbone_width": 8,
    "min_size": 64,
    "max_size": 96,
    "fpn_channels": 16,
    "head_width": 32,
    "anchor_sizes": [8, 16, 24, 32, 48],
    "train_proposals": 40,
    "test_proposals": 20,
    "rois_per_image": 16,
    "anchors_per_image": 32,
}


def options_of(name: str) -> dict[str, Any]:
    """Every option of a small detector of this architecture."""
    given = {**SMALL, "mask_width": 8} if name == "maskrcnn" else SMALL
    return as_dict(kind_of(name).options(**{**given, "anchor_sizes": (8, 16, 24, 32, 48)}))


def small(name: str, *, seed: int = 0) -> nn.Module:
    """A small detector of `CLASSES` with seeded random weights, in training mode."""
    torch.manual_seed(seed)
    return build(name, num_classes=len(CLASSES), **options_of(name))


def saved(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Its file."""
    path = folder / f"{name}-{seed}.safetensors"
    card = DetectorCard(name, options_of(name), CLASSES, metrics={"ap50": 0.5})
    save_detector(path, small(name, seed=seed), card)
    return path


def targets(height: int, width: int) -> dict[str, Tensor]:
    """Two objects of different classes, with masks, as the networks are taught."""
    boxes = torch.tensor([[2.0, 3.0, 30.0, 34.0], [20.0, 10.0, 44.0, 40.0]])
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return {"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": masks}

"""What every localizer sees of a photo: squeezed to a square, in ImageNet's normalisation."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from engine.types import Image

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, which pretrained weights expect
STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def resized(image: Image, side: int) -> Image:
    """Both sides to ``side`` pixels, the ratio is not kept; bilinear as Pillow does it."""
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(Pillow.fromarray(image).resize((side, side), Pillow.Resampling.BILINEAR))


def normalised(batch: Tensor) -> Tensor:
    """(b, h, w, 3) uint8 -> (b, 3, h, w) float32 with ImageNet's mean and standard deviation."""
    mean = torch.tensor(MEAN, device=batch.device)
    deviation = torch.tensor(STANDARD_DEVIATION, device=batch.device)
    return ((batch.float() / 255.0 - mean) / deviation).permute(0, 3, 1, 2).contiguous()

"""A trained detector as pipelines use it: one photo in, boxes with class, score and mask out.

The network's parts are called one by one, as torchvision's forward does, so that a mask is drawn
at the photo's size only when somebody asks for it: a hundred of a large photo take gigabytes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from engine.detectors.fitting import fitted
from engine.detectors.options import LONGEST_SIDE, ViewOptions
from engine.detectors.saved import DetectorCard, load_detector
from engine.detectors.views import Found, merged
from engine.devices import AUTO, chosen_device, half_precision
from engine.types import Box, Image, Mask

SURE = 0.5  # from here on a pixel belongs to the mask
HEAVY_PARTS = ("backbone", "roi_heads.box_head", "roi_heads.mask_head")


@dataclass(frozen=True, eq=False)
class Detection:
    """One object: half-open pixels, the class by name, a score in [0, 1], a mask on demand."""

    box: Box
    category: str
    score: float
    shape_hw: tuple[int, int]  # of the photo
    patch: NDArray[np.float32] | None = field(default=None, repr=False)  # (m, m) over the box

    @property
    def mask(self) -> Mask | None:
        """Drawn anew each time; None where the detector has no masks. It may be empty."""
        if self.patch is None:
            return None
        patch, box = torch.from_numpy(self.patch)[None, None], torch.tensor([self.box])
        drawn = paste_masks_in_image(patch, box, self.shape_hw)
        return np.asarray(drawn[0, 0].numpy() >= SURE)


class Detector:
    """The network of a file, in evaluation mode on one device; not for two threads at once."""

    def __init__(self, path: Path, device: str = AUTO, *, views: ViewOptions | None = None) -> None:
        """WeightsError where the file is missing, broken or of another kind."""
        path = Path(path)
        self._device = torch.device(chosen_device(device))
        network, self.card = load_detector(path, str(self._device))
        self.name = path.stem
        self._network: Any = network.requires_grad_(False)
        self._views = views or ViewOptions()
        if self._device.type == "cuda":
            dtype = half_precision(self._device)
            _halve(self._network, torch.float16 if dtype is torch.float32 else dtype)

    card: DetectorCard
    """What the file says about itself."""

    @torch.inference_mode()
    def detect(self, image: Image) -> list[Detection]:
        """What is on an (h, w, 3) uint8 photo, best first: at most 100, of a score above .05."""
        height, width = image.shape[:2]
        transform = self._network.transform
        trained = (transform.min_size, transform.max_size)
        views = []
        try:
            for side in self._views.scales or (None,):
                if side is not None:
                    transform.min_size, transform.max_size = (side,), max(side, LONGEST_SIDE)
                planes = self._planes(image)
                views.append(self._found(planes, (height, width)))
                if self._views.flips:
                    views.append(self._found(planes.flip(-1), (height, width)).mirrored(width))
        finally:
            transform.min_size, transform.max_size = trained
        return self._named(merged(views), (height, width))

    def _planes(self, image: Image) -> Tensor:
        """The photo as the network takes it, (3, h, w) in [0, 1]: small in the way it learnt."""
        transform = self._network.transform
        small = fitted(image, min_size=transform.min_size[-1], max_size=transform.max_size)
        pixels = torch.from_numpy(np.ascontiguousarray(small)).to(self._device)
        return pixels.permute(2, 0, 1).float() / 255

    def _found(self, planes: Tensor, shape_hw: tuple[int, int]) -> Found:
        """One look, in pixels of a photo of this shape: torchvision's forward but for the masks."""
        network = self._network
        images, _ = network.transform([planes])
        features = network.backbone(images.tensors)
        if isinstance(features, Tensor):
            features = OrderedDict([("0", features)])
        proposals, _ = network.rpn(images, features)
        found = network.roi_heads(features, proposals, images.image_sizes)[0][0]
        patches = found.get("masks")  # (n, 1, m, m)
        return Found(
            self._at_full_size(found["boxes"], images.image_sizes[0], shape_hw),
            found["labels"],
            found["scores"],
            None if patches is None else patches[:, 0],
        )

    def _at_full_size(
        self, boxes: Tensor, seen_hw: tuple[int, int], full_hw: tuple[int, int]
    ) -> Tensor:
        """(n, 4) boxes of the photo as the network saw it, on the photo itself."""
        full = torch.tensor([*full_hw[::-1]] * 2, dtype=torch.float32, device=self._device)
        seen = torch.tensor([*seen_hw[::-1]] * 2, dtype=torch.float32, device=self._device)
        return torch.minimum(boxes * (full / seen), full)

    def _named(self, found: Found, shape_hw: tuple[int, int]) -> list[Detection]:
        boxes = found.boxes.float().cpu().numpy()
        patches = None if found.patches is None else found.patches.float().cpu().numpy()
        detections = []
        for place, (label, score) in enumerate(
            zip(found.labels.tolist(), found.scores.tolist(), strict=True)
        ):
            x0, y0, x1, y1 = map(float, boxes[place])
            if x0 < x1 and y0 < y1:  # rounding may close the narrowest ones
                detections.append(
                    Detection(
                        box=(x0, y0, x1, y1),
                        category=self.card.classes[label - 1],
                        score=score,
                        shape_hw=shape_hw,
                        patch=None if patches is None else patches[place],
                    )
                )
        return detections


# Half precision ---------------------------------------------------------------------------------


class _InHalf(nn.Module):
    """A part of the network in half precision, whose answers are whole again.

    Coordinates must not become halves: at 1024 pixels these count by ones.
    """

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part = part
        self._dtype = dtype

    def forward(self, values: Tensor) -> Any:
        with torch.autocast(values.device.type, dtype=self._dtype):
            answer = self.part(values)
        if isinstance(answer, Tensor):
            return answer.float()
        return OrderedDict((name, value.float()) for name, value in answer.items())


def _halve(network: nn.Module, dtype: torch.dtype) -> None:
    """Let the parts that take the time compute in half precision."""
    for name in HEAVY_PARTS:
        holder, _, part = name.rpartition(".")
        owner = network.get_submodule(holder)
        if getattr(owner, part, None) is not None:
            setattr(owner, part, _InHalf(getattr(owner, part), dtype))

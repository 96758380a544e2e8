"""Segment Anything (Kirillov et al., 2023) as a segmenter: clicks, box, mask in; ranked masks out.

The networks and the predictor are those of the package segment-anything.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.amg import build_point_grid

from engine.devices import half_precision
from engine.errors import OptionError, WeightsError
from engine.gallery import Gallery
from engine.segmenters.interface import Mode
from engine.segmenters.sam_candidates import Filters
from engine.segmenters.sam_encoder import PhotoEncoder
from engine.segmenters.sam_exact import ExactGallery
from engine.segmenters.sam_fast import fast_gallery, plausible
from engine.types import Box, Candidate, CoarseMap, Image, Mask, Prompts

PIXELS_AT_ONCE = 50_000_000  # of the masks of a batch of boxes: 200 MB of logits

MASK_LOGIT = 10.0
"""How sure the mask prompt is where it comes from a drawn mask and not from the network: near
what the network itself says inside its masks."""

BROKEN = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    pickle.UnpicklingError,
)
"""What torch.load raises on bytes that are no checkpoint; it runs a small machine on them."""


@dataclass(frozen=True)
class GridOptions:
    """How a gallery is made: the published generator's own names and values."""

    points_per_side: int = 32  # clicks along each side of the photo
    points_per_batch: int = 64  # the generator's; results depend on it where fewer than 8 remain
    pred_iou_thresh: float = 0.88  # masks of which the network thinks less are left out
    stability_score_thresh: float = 0.95  # … and those that change with the threshold
    box_nms_thresh: float = 0.7  # IoU of boxes from which on two masks count as one


@dataclass(frozen=True)
class PreparedPhoto:
    """The embedding of a photo; 4 MB for the published networks."""

    features: torch.Tensor  # (1, 256, s, s)
    original_hw: tuple[int, int]
    input_hw: tuple[int, int]  # the photo inside the padded square that the network saw


class SamSegmenter:
    """`Segmenter` around one SAM network, on the device where the network is.

    A click alone is ambiguous and gets three masks, all else gets one. A mask prompt goes in as
    the logits that the network gave it, where the mask is one of its last answers.
    """

    def __init__(self, network: Sam, *, name: str, grid: GridOptions | None = None) -> None:
        self.name = name
        self.grid = grid or GridOptions()
        self.network = network.eval()
        self._predictor = SamPredictor(network)
        self._encoders: dict[torch.dtype, PhotoEncoder] = {}
        self._answers: dict[bytes, NDArray[np.float32]] = {}  # mask digest → low-resolution logits

    def prepare(self, image: Image) -> PreparedPhoto:
        """Encode the photo: all of the waiting is here."""
        predictor = SamPredictor(self.network)
        self._encode(predictor, image, torch.float32)
        return PreparedPhoto(
            predictor.features,
            original_hw=(int(image.shape[0]), int(image.shape[1])),
            input_hw=tuple(predictor.input_size),
        )

    def set_prepared(self, prepared: PreparedPhoto) -> None:
        """Go to a photo that `prepare` encoded."""
        _set(self._predictor, prepared)
        self._answers = {}

    def set_image(self, image: Image) -> None:
        """Encode the photo and make it the current one."""
        self.set_prepared(self.prepare(image))

    def masks_for(self, prompts: Prompts) -> list[Candidate]:
        """Ranked by the IoU that the network predicts for itself; empty masks are left out."""
        if not self._predictor.is_image_set:
            raise RuntimeError("set_image comes before masks_for")
        ambiguous = len(prompts.points) == 1 and prompts.box is None and prompts.mask is None
        masks, scores, logits = self._predictor.predict(
            point_coords=np.array(prompts.points) if prompts.points else None,
            point_labels=np.array(prompts.labels) if prompts.points else None,
            box=None if prompts.box is None else np.array(prompts.box),
            mask_input=None if prompts.mask is None else self._logits_of(prompts.mask),
            multimask_output=ambiguous,
        )
        self._answers = {
            _digest(mask): answer[None] for mask, answer in zip(masks, logits, strict=True)
        }
        order = np.argsort(-scores, kind="stable")
        return [
            Candidate(masks[index], float(np.clip(scores[index], 0.0, 1.0)))
            for index in order
            if masks[index].any()
        ]

    @torch.inference_mode()
    def masks_for_boxes(self, boxes: Sequence[Box]) -> list[Mask | None]:
        """The mask that `masks_for` gives for each box, computed many at a time."""
        predictor = self._predictor
        if not predictor.is_image_set:
            raise RuntimeError("set_image comes before masks_for_boxes")
        height, width = predictor.original_size
        at_once = max(1, PIXELS_AT_ONCE // (height * width))
        masks: list[Mask | None] = []
        for start in range(0, len(boxes), at_once):
            chosen = torch.tensor(boxes[start : start + at_once], device=predictor.device)
            found, _, _ = predictor.predict_torch(
                point_coords=None,
                point_labels=None,
                boxes=predictor.transform.apply_boxes_torch(chosen, (height, width)),
                multimask_output=False,
            )
            masks += [mask if mask.any() else None for mask in found[:, 0].cpu().numpy()]
        return masks

    @torch.inference_mode()
    def gallery(
        self,
        image: Image,
        *,
        coarse: CoarseMap | None = None,
        mode: Mode = "exact",
        prepared: PreparedPhoto | None = None,
    ) -> Gallery:
        """Masks for a grid of clicks, filtered.

        "exact" gives what the published generator gives, mask for mask and in its order, and does
        not look at ``coarse``. "fast" computes in half precision where the device can, and clicks
        only where ``coarse`` says that something is; its masks are enlarged when they are asked
        for. What is ``prepared`` is taken as it is: exact only as long as nobody rounded it.
        """
        predictor = SamPredictor(self.network)
        height, width = image.shape[:2]
        filters = Filters(
            pred_iou_thresh=self.grid.pred_iou_thresh,
            stability_score_thresh=self.grid.stability_score_thresh,
            box_nms_thresh=self.grid.box_nms_thresh,
        )
        shares = build_point_grid(self.grid.points_per_side)
        if mode == "exact":
            self._encode(predictor, image, torch.float32, prepared)
            return ExactGallery(
                predictor,
                points=shares * (width, height),
                filters=filters,
                points_per_batch=self.grid.points_per_batch,
            ).build()
        if mode != "fast":
            raise OptionError(f"There is no gallery mode {mode!r}; there are exact and fast.")
        dtype = half_precision(predictor.device)
        self._encode(predictor, image, dtype, prepared)
        chosen = shares if coarse is None else plausible(shares, coarse)
        return fast_gallery(
            predictor, points=chosen * (width, height), filters=filters, dtype=dtype
        )

    def _encode(
        self,
        predictor: SamPredictor,
        image: Image,
        dtype: torch.dtype,
        prepared: PreparedPhoto | None = None,
    ) -> None:
        """`SamPredictor.set_image` with the leaner encoder, or with what is prepared already."""
        if prepared is not None:
            _set(predictor, prepared)
            return
        if dtype not in self._encoders:
            self._encoders[dtype] = PhotoEncoder(self.network.image_encoder, dtype=dtype)
        small = predictor.transform.apply_image(np.ascontiguousarray(image))
        pixels = torch.as_tensor(small, device=predictor.device).permute(2, 0, 1)[None]
        predictor.original_size = (int(image.shape[0]), int(image.shape[1]))
        predictor.input_size = tuple(pixels.shape[-2:])
        square = self.network.preprocess(pixels.contiguous())
        predictor.features = self._encoders[dtype](square)
        predictor.is_image_set = True

    def _logits_of(self, mask: Mask) -> NDArray[np.float32]:
        """The mask as the network wants it: (1, 4s, 4s) logits in its padded square."""
        if mask.shape != self._predictor.original_size:
            raise ValueError(f"mask of {mask.shape} for a photo of {self._predictor.original_size}")
        known = self._answers.get(_digest(mask))
        if known is not None:
            return known
        side = int(self.network.prompt_encoder.mask_input_size[0])
        scale = side / self.network.image_encoder.img_size
        height, width = (max(1, round(length * scale)) for length in self._predictor.input_size)
        share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        logits = np.full((1, side, side), -MASK_LOGIT, dtype=np.float32)
        logits[0, :height, :width] = (2.0 * share - 1.0) * MASK_LOGIT
        return logits


def _set(predictor: SamPredictor, prepared: PreparedPhoto) -> None:
    predictor.reset_image()
    predictor.features = prepared.features.to(predictor.device)
    predictor.original_size = prepared.original_hw
    predictor.input_size = prepared.input_hw
    predictor.is_image_set = True


def load_sam(path: Path, *, arch: str, name: str, device: str = "cpu") -> SamSegmenter:
    """A segmenter from a checkpoint as Meta publishes them; arch is vit_b, vit_l or vit_h.

    WeightsError where the file is missing, broken or made for another network.
    """
    if arch not in sam_model_registry:
        raise OptionError(f"There is no SAM called {arch!r}; there are vit_b, vit_l and vit_h.")
    state = _read_state(path)
    network = sam_model_registry[arch]()
    fill(network, state, path=path, arch=arch)
    return SamSegmenter(network.to(device), name=name)


def fill(network: Sam, state: dict[str, Any], *, path: Path, arch: str) -> None:
    """Load the state into the network; WeightsError naming every key that does not fit."""
    expected = network.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    misshapen = sorted(
        key
        for key in expected.keys() & state.keys()
        if not isinstance(state[key], torch.Tensor) or state[key].shape != expected[key].shape
    )
    complaints = [
        f"{what} {len(keys)}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
        )
        if keys
    ]
    if complaints:
        raise WeightsError(
            f"{path.name} is not a checkpoint of SAM {arch} ({'; '.join(complaints)}); choose the "
            f"name that belongs to the file, or download it again."
        )
    network.load_state_dict(state, strict=True)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"There is no checkpoint {path}; download it first.") from error
    except BROKEN as error:
        raise WeightsError(
            f"{path.name} cannot be read as a checkpoint; it is broken, or holds more than "
            f"weights: download it again."
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"{path.name} holds a {type(state).__name__} instead of a table of weights; it is "
            f"another kind of file."
        )
    return state


def _digest(mask: Mask) -> bytes:
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).digest()

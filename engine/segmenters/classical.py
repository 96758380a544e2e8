"""The segmenter without weights: clicks, box or mask in, ranked masks out; no download, no torch.

Boxes are `boxes`, clicks are `clicks`; both walk on the photo's regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.segmenters.boxes import box_to_mask
from engine.segmenters.clicks import masks_from_clicks, outline_score
from engine.segmenters.regions import Regions, split_photo
from engine.types import Candidate, Image, Mask, Prompts

__all__ = ["ClassicalSegmenter", "PreparedPhoto", "box_to_mask"]


@dataclass(frozen=True)
class PreparedPhoto:
    """A photo and its regions; 1 MB beside the photo itself."""

    image: Image
    regions: Regions


class ClassicalSegmenter:
    """`Segmenter` for the case that no weights are at hand.

    A box alone gives the object that fills it. Clicks correct the given mask, or that object
    where there is only a box, or make a new mask; the box keeps it inside. A mask alone comes
    back as it is.
    """

    name = "classical"

    def __init__(self) -> None:
        self._prepared: PreparedPhoto | None = None

    def prepare(self, image: Image) -> PreparedPhoto:
        """Cut the photo into regions."""
        return PreparedPhoto(image, split_photo(image))

    def set_prepared(self, prepared: PreparedPhoto) -> None:
        """Go to a photo that `prepare` cut up."""
        self._prepared = prepared

    def set_image(self, image: Image) -> None:
        """Cut the photo into regions and make it the current one."""
        self.set_prepared(self.prepare(image))

    def masks_for(self, prompts: Prompts) -> list[Candidate]:
        """Best first; empty where nothing is left, or for clicks outside of nothing.

        OptionError where the box lies outside the photo.
        """
        if self._prepared is None:
            raise RuntimeError("set_image comes before masks_for")
        regions = self._prepared.regions
        start = self._start(self._prepared, prompts)
        if prompts.points:
            return masks_from_clicks(regions, prompts, start=start)
        if start is None or not start.any():
            return []
        return [Candidate(start, outline_score(regions, start))]

    @staticmethod
    def _start(photo: PreparedPhoto, prompts: Prompts) -> Mask | None:
        """The mask which clicks correct, or which is the answer where there are none."""
        if prompts.mask is not None and prompts.mask.shape != photo.regions.shape_hw:
            raise ValueError(
                f"mask of {prompts.mask.shape} for a photo of {photo.regions.shape_hw}"
            )
        has_mask = prompts.mask is not None and prompts.mask.any()
        if has_mask and (prompts.points or prompts.box is None):
            return np.asarray(prompts.mask, dtype=bool)
        if prompts.box is not None:
            return box_to_mask(photo.image, prompts.box)
        return None

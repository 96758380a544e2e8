"""The segmenter without weights: clicks, box or mask in, ranked masks out; no download, no torch.

Boxes are `boxes`, clicks are `clicks`; both walk on the photo's regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.gallery import Gallery, build_gallery
from engine.geometry import box_to_slices, mask_to_box
from engine.segmenters.boxes import box_to_mask
from engine.segmenters.clicks import masks_from_clicks, outline_score
from engine.segmenters.interface import Mode
from engine.segmenters.regions import Regions, split_photo
from engine.types import Candidate, CoarseMap, Image, Mask, Prompts

__all__ = ["ClassicalSegmenter", "PreparedPhoto", "box_to_mask"]

CLOSE_UP = 0.6
"""Where mask, clicks and surroundings are less of the photo's long side than this, corrections
cut that piece into regions of its own: the photo's are as large as small objects."""

MARGIN = 0.5  # of the long side of mask and clicks
SMALLEST_MARGIN = 16.0  # pixels


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
        if prompts.points and start is not None and start.any():
            return self._corrected(self._prepared, prompts, start)
        if prompts.points:
            return masks_from_clicks(regions, prompts, start=None)
        if start is None or not start.any():
            return []
        return [Candidate(start, outline_score(regions, start))]

    @staticmethod
    def _corrected(photo: PreparedPhoto, prompts: Prompts, start: Mask) -> list[Candidate]:
        """The clicks at work near the mask, on finer regions where that is a small piece."""
        window = _surroundings(start, prompts.points)
        height, width = (part.stop - part.start for part in window)
        if max(height, width) > CLOSE_UP * max(start.shape):
            return masks_from_clicks(photo.regions, prompts, start=start)
        rows, columns = window
        x, y, box = columns.start, rows.start, prompts.box
        near = Prompts(
            tuple((px - x, py - y) for px, py in prompts.points),
            prompts.labels,
            box=None if box is None else (box[0] - x, box[1] - y, box[2] - x, box[3] - y),
        )
        regions = split_photo(np.ascontiguousarray(photo.image[window]))
        found = []
        for candidate in masks_from_clicks(regions, near, start=start[window]):
            mask = np.zeros_like(start)
            mask[window] = candidate.mask
            found.append(Candidate(mask, candidate.score))
        return found

    def gallery(
        self,
        image: Image,
        *,
        coarse: CoarseMap | None = None,
        mode: Mode = "exact",
        prepared: PreparedPhoto | None = None,
    ) -> Gallery:
        """Every region that merging neighbours passes through, whatever the map and the mode."""
        return build_gallery(image)

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


def _surroundings(mask: Mask, points: tuple[tuple[float, float], ...]) -> tuple[slice, slice]:
    """Rows and columns around the mask and the clicks, with room for the mask to grow."""
    box = mask_to_box(mask)
    assert box is not None, "only masks with pixels are corrected"
    xs, ys = [box[0], box[2]], [box[1], box[3]]
    for x, y in points:
        xs += [x, x + 1]
        ys += [y, y + 1]
    margin = max(MARGIN * max(max(xs) - min(xs), max(ys) - min(ys)), SMALLEST_MARGIN)
    around = (min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin)
    return box_to_slices(around, shape_hw=(mask.shape[0], mask.shape[1]))

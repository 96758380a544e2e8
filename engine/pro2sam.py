"""Pro2SAM (ECCV 2024): a localizer's coarse map picks from a segmenter's gallery of masks.

In: a photo and its tags. Out: one mask a tag, and what it was chosen from. §2 of the paper's
method: gallery, eq. 11, box around the mask; the class comes from the tags, a classifier or the
localizer's own head. With the localizer `saliency` and the segmenter `classical` no weights are
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from engine import matching, segmenters, selection
from engine.devices import AUTO, chosen_device
from engine.errors import OptionError
from engine.gallery import Gallery
from engine.geometry import mask_to_box, mask_to_rle, ranked_masks
from engine.lookers import FILLED, SALIENCY, LocalizerLooker, Looker, SaliencyLooker
from engine.options import as_dict
from engine.segmenters.cached import CachedPreparation, photo_key
from engine.segmenters.embeddings import EmbeddingStore
from engine.segmenters.interface import Segmenter
from engine.selection import MatchOptions
from engine.smoothing import enlarged, tidied
from engine.types import (
    CoarseMap,
    Evidence,
    Image,
    Instance,
    Mask,
    Prompts,
    Source,
    Status,
    Suggestion,
)

KEPT = 32  # candidates that stay beside a photo for a person to choose from
DOUBT = 0.7  # times the score for each further tag that the map cannot tell apart
PAPER_SIDE = 224  # pixels; the size at which the paper gives photos to SAM


@dataclass(frozen=True)
class Pro2samOptions(MatchOptions):
    """The knobs of `pro2sam`; OptionError for values out of range."""

    localizer: str = field(
        default="",
        metadata={"help": "which trained localizer gives the coarse map, or 'saliency'"},
    )
    segmenter: str = field(
        default=AUTO,
        metadata={"help": "where the masks come from; auto: the best whose weights are here"},
    )
    mode: Literal["fast", "exact"] = field(
        default="fast", metadata={"help": "exact: the same gallery as the published generator"}
    )
    prompts: Literal["grid", "point", "box"] = field(
        default="grid",
        metadata={"help": "what the segmenter is asked: everywhere, or only where the map points"},
    )
    classifier: str = field(
        default="",
        metadata={"help": "names photos without tags; empty: the localizer's own head"},
    )
    device: str = field(default=AUTO, metadata={"help": "cpu, cuda or auto"})
    paper_size: bool = field(
        default=False,
        metadata={"help": "give the segmenter 224 x 224 pixels, as the paper does"},
    )
    rule: selection.Rule = field(
        default="area", metadata={"help": "compare areas, or the paper's cells (iou)"}
    )
    grid_rule: matching.GridRule = field(
        default="any4", metadata={"help": "for iou: when a mask turns a cell on"}
    )
    tau_b: float = field(
        default=0.2, metadata={"help": "a cell of the coarse map is on above this"}
    )
    compared: selection.Compared = field(
        default="mask", metadata={"help": "what is compared with the map"}
    )
    combined: selection.Combined = field(
        default="mean", metadata={"help": "for both: how two scores become one"}
    )
    drop_full_frame: bool = field(
        default=True, metadata={"help": "leave out masks that span the whole photo"}
    )
    min_area: int = field(
        default=10,
        metadata={"help": "pixels; smaller parts of a mask are specks and left out (1: none are)"},
    )

    def match_options(self) -> MatchOptions:
        """Only the part that compares masks with maps."""
        names = [one.name for one in fields(MatchOptions)]
        return MatchOptions(**{name: getattr(self, name) for name in names})


class Pro2samPipeline:
    """`Pipeline` of a looker and a segmenter; without them, those that the options name load.

    OptionError and WeightsError where they cannot.
    """

    def __init__(
        self,
        options: Pro2samOptions,
        *,
        looker: Looker | None = None,
        segmenter: Segmenter | None = None,
        embeddings: EmbeddingStore | None = None,
    ) -> None:
        self._options = options
        self._match = options.match_options()
        self._looker = looker or build_looker(options)
        self._segmenter = segmenter or _build_segmenter(options)
        self._preparation = CachedPreparation(self._segmenter, embeddings)

    def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
        """One instance for each tag; without tags, one for the class that the photo shows."""
        wanted = self._looker.maps(image, tags)
        view = _squeezed(image) if self._options.paper_size else image
        gallery = self._gallery(view, [coarse for _, coarse in wanted])
        found = [self._choose(coarse, gallery, view) for _, coarse in wanted]
        shared = [sum(other.is_same(one) for other in found) for one in found]
        instances = [
            self._instance(one, category, sharing=count, image=image)
            for one, (category, _), count in zip(found, wanted, shared, strict=True)
        ]
        instances.sort(key=lambda one: -(one.score or 0.0))
        return Suggestion(tuple(instances), self._evidence(wanted, found, gallery, image))

    # -- the gallery -------------------------------------------------------------------------

    def _gallery(self, view: Image, maps: Sequence[CoarseMap]) -> Gallery:
        """The masks to choose from; asked about everything, or only where the maps point."""
        if self._options.prompts != "grid":
            return self._prompted(view, maps)
        # What may be any of the objects must be in the gallery.
        anywhere = np.maximum.reduce([np.asarray(one) for one in maps])
        mode = self._options.mode
        prepared = self._prepared(view) if self._preparation.fingerprint else None
        return self._segmenter.gallery(view, coarse=anywhere, mode=mode, prepared=prepared)

    def _prepared(self, view: Image) -> Any:
        """What is known of the photo, or None where the segmenter's fast mode is faster.

        Exact results must not go through the 16 bits of the disk, but they may fill it.
        """
        if self._options.mode == "fast":
            return self._preparation.recall(photo_key(view))
        prepared = self._segmenter.prepare(view)
        self._preparation.leave(view, prepared)
        return prepared

    def _prompted(self, view: Image, maps: Sequence[CoarseMap]) -> Gallery:
        """Pro2SAM's prompt ablations: the centre of each map's object, or its box."""
        shape_hw = (view.shape[0], view.shape[1])
        is_exact = self._options.mode == "exact"
        preparation = self._segmenter if is_exact else self._preparation
        self._segmenter.set_prepared(preparation.prepare(view))
        masks: list[Mask] = []
        scores: list[float] = []
        points: list[tuple[float, float]] = []
        for coarse in maps:
            if self._options.prompts == "box":
                prompts = Prompts(box=selection.box_of_map(coarse, shape_hw, self._match))
            else:
                points.append(selection.centre_of_map(coarse, shape_hw, self._options.tau_b))
                prompts = Prompts(points=(points[-1],), labels=(1,))
            for candidate in self._segmenter.masks_for(prompts):
                masks.append(candidate.mask)
                scores.append(candidate.score)
        return replace(Gallery.from_masks(masks, scores), prompts=tuple(points))

    # -- the choice --------------------------------------------------------------------------

    def _choose(self, coarse: CoarseMap, gallery: Gallery, view: Image) -> _Choice:
        values = selection.match(coarse, gallery, self._match)
        # A prompt was about this object only, so even a mask of the whole photo is an answer.
        whole_is_fine = self._options.prompts != "grid"
        match_options = (
            replace(self._match, drop_full_frame=False) if whole_is_fine else self._match
        )
        best = next(selection.ranking(values, gallery, match_options), None)
        if best is None:
            mask = selection.drawn_from(coarse, (view.shape[0], view.shape[1]), self._match.tau_b)
            return _Choice(mask, score=0.0, index=None, values=values)
        reach = 2.0 if self._options.compared == "both" and self._options.combined == "sum" else 1.0
        score = float(np.clip(values[best] / reach, 0.0, 1.0))
        return _Choice(gallery.mask(best), score=score, index=best, values=values)

    def _instance(
        self, choice: _Choice, category: str | None, *, sharing: int, image: Image
    ) -> Instance:
        # So the tight box of the mask is the paper's union box.
        mask = matching.without_specks(choice.mask, self._options.min_area)
        mask = self._finished(mask, image)
        box = mask_to_box(mask)
        assert box is not None
        options = as_dict(self._options)
        # Names, not paths: an export must not tell how somebody's disk is laid out.
        options["localizer"] = self._looker.name
        options["classifier"] = Path(self._options.classifier).stem
        options["segmenter"] = self._segmenter.name
        options["from_map"] = choice.index is None  # no mask fitted: these are the map's cells
        return Instance(
            box=box,
            category=category,
            status=Status.PROPOSED,
            source=Source("pro2sam", checkpoint=self._looker.name, options=options),
            rle=mask_to_rle(mask),
            score=round(choice.score * DOUBT ** (sharing - 1), 4),
        )

    def _finished(self, mask: Mask, image: Image) -> Mask:
        """A mask of the gallery at the photo's size; never empty."""
        if self._segmenter.name == "classical":
            # Its outlines lie on a small copy and have cracks; SAM's are kept to the pixel.
            mask = tidied(mask)
        full = enlarged(mask, (image.shape[0], image.shape[1]))
        return full if full.any() else np.ones_like(full)

    def _evidence(
        self,
        wanted: Sequence[tuple[str | None, CoarseMap]],
        found: Sequence[_Choice],
        gallery: Gallery,
        image: Image,
    ) -> Evidence:
        coarse = np.maximum.reduce([np.asarray(one) for _, one in wanted])
        values = np.maximum.reduce([one.values for one in found])
        scale_x, scale_y = (
            (image.shape[1] / PAPER_SIDE, image.shape[0] / PAPER_SIDE)
            if self._options.paper_size
            else (1.0, 1.0)
        )
        best_first = islice(np.argsort(-values, kind="stable"), KEPT)
        return Evidence(
            coarse=np.asarray(coarse, dtype=np.float32),
            prompts=tuple((x * scale_x, y * scale_y) for x, y in gallery.prompts),
            candidates=ranked_masks(
                (self._finished(gallery.mask(int(index)), image), float(values[index]))
                for index in best_first
            ),
        )


@dataclass(frozen=True, eq=False)
class _Choice:
    """The mask that one map picked; ``index`` None where it had to be drawn from the map."""

    mask: Mask
    score: float
    index: int | None
    values: selection.Values  # of the whole gallery

    def is_same(self, other: _Choice) -> bool:
        return self is other or (self.index is not None and self.index == other.index)


# Where maps and masks come from ----------------------------------------------------------------


def build_looker(options: Pro2samOptions) -> Looker:
    """What gives the coarse maps; OptionError where nothing was named."""
    if options.localizer == SALIENCY:
        return SaliencyLooker(full_at=FILLED if options.rule == "area" else 1.0)
    if not options.localizer:
        raise OptionError(
            "pro2sam needs a localizer: train one from the tags (annotator train localizer), name "
            f"its file, or choose '{SALIENCY}', which needs no training"
        )
    classifier = Path(options.classifier) if options.classifier else None
    device = chosen_device(options.device)
    return LocalizerLooker(Path(options.localizer), classifier=classifier, device=device)


def _build_segmenter(options: Pro2samOptions) -> Segmenter:
    if options.segmenter == AUTO:
        return segmenters.build_best(device=options.device)
    if options.segmenter == "classical":
        return segmenters.build("classical")
    return segmenters.build(options.segmenter, device=chosen_device(options.device))


def _squeezed(image: Image) -> Image:
    """224 x 224 pixels, whatever the photo's shape, as the paper gives photos to SAM."""
    size = (PAPER_SIDE, PAPER_SIDE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(small, dtype=np.uint8)

"""A trained detector proposes: a photo and its tags in, its surest detections as instances out.

Masks come from the detector, or from a segmenter that is asked about the detector's boxes (§7 of
WeakSAM's method). What was found and not proposed stays beside the photo to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine import segmenters
from engine.detectors.options import ViewOptions
from engine.devices import AUTO, chosen_device
from engine.errors import OptionError
from engine.geometry import iou_boxes, mask_to_rle, ranked_masks
from engine.options import as_dict
from engine.segmenters.box_prompts import TakesBoxes, masks_for_boxes
from engine.segmenters.cached import CachedPreparation
from engine.segmenters.embeddings import EmbeddingStore
from engine.segmenters.interface import Segmenter
from engine.types import Box, Evidence, Image, Instance, Mask, Source, Status, Suggestion

if TYPE_CHECKING:
    from engine.detectors.predictor import Detection, Detector

Masks = Literal["auto", "own", "segmenter", "none"]

KEPT = 16  # detections that stay beside a photo for a person to choose a mask from …
KEPT_ONE_BY_ONE = 4  # … where the segmenter takes a while for each
SAME_BOX = 0.8  # IoU from which on two detections are one object, whatever their classes


@dataclass(frozen=True)
class DetectorPipelineOptions:
    """The knobs of `detector`; OptionError for values out of range."""

    detector: str = field(default="", metadata={"help": "which trained detector proposes"})
    min_score: float = field(
        default=0.3, metadata={"help": "detections below this score are not proposed"}
    )
    max_objects: int = field(
        default=20, metadata={"help": "proposals a photo; where it has more tags, the best of each"}
    )
    only_tags: bool = field(
        default=True,
        metadata={"help": "where a photo has tags, propose objects of these classes only"},
    )
    masks: Masks = field(
        default="auto",
        metadata={"help": "whose masks: auto takes the detector's own, else the segmenter's"},
    )
    min_mask_area: int = field(
        default=16,
        metadata={
            "help": "masks of fewer pixels are left out and their box stays, unless they fill half "
            "of it"
        },
    )
    segmenter: str = field(
        default=AUTO,
        metadata={"help": "where the masks come from; auto: the best whose weights are here"},
    )
    device: str = field(default=AUTO, metadata={"help": "cpu, cuda or auto"})
    scales: tuple[int, ...] = field(
        default=(),
        metadata={"help": "short sides in pixels at which a photo is seen; none: as trained"},
    )
    flips: bool = field(default=False, metadata={"help": "see each photo mirrored too"})

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise OptionError(f"min_score must lie in [0, 1], got {self.min_score}")
        if self.max_objects < 1:
            raise OptionError(f"max_objects must be at least 1, got {self.max_objects}")
        if self.min_mask_area < 0:
            raise OptionError(f"min_mask_area must be at least 0, got {self.min_mask_area}")
        self.views()

    def views(self) -> ViewOptions:
        """How often a photo is looked at."""
        return ViewOptions(scales=self.scales, flips=self.flips)


class DetectorPipeline:
    """`Pipeline` of a detector and, where it has no masks of its own, a segmenter.

    Without them, those that the options name are loaded: OptionError and WeightsError where they
    cannot be.
    """

    def __init__(
        self,
        options: DetectorPipelineOptions,
        *,
        detector: Detector | None = None,
        segmenter: Segmenter | None = None,
        embeddings: EmbeddingStore | None = None,
    ) -> None:
        self._options = options
        self._detector = detector or _load(options)
        has_masks = self._detector.card.has_masks
        if options.masks == "own" and not has_masks:
            raise OptionError(
                f"the detector {self._detector.name!r} has no masks of its own; choose masks "
                f"'segmenter', 'none' or 'auto'"
            )
        asks = options.masks == "segmenter" or (options.masks == "auto" and not has_masks)
        self._segmenter = (segmenter or _build_segmenter(options)) if asks else None
        self._preparation = (
            None if self._segmenter is None else CachedPreparation(self._segmenter, embeddings)
        )
        is_slow = self._segmenter is not None and not isinstance(self._segmenter, TakesBoxes)
        self._kept = KEPT_ONE_BY_ONE if is_slow else KEPT
        if options.masks == "none":
            self._kept = 0
        self._source = self._made_by()

    def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
        """The surest detections, of the tags' classes where there are tags; none is an answer."""
        proposed, others = self._chosen(self._detector.detect(image), tags)
        masks = self._masks(image, [*proposed, *others])
        instances = tuple(
            Instance(
                box=one.box,
                category=one.category,
                status=Status.PROPOSED,
                source=self._source,
                rle=None if mask is None else mask_to_rle(mask),
                score=round(one.score, 4),
            )
            for one, mask in zip(proposed, masks, strict=False)
        )
        remaining = zip(others, masks[len(proposed) :], strict=True)
        return Suggestion(
            instances,
            Evidence(
                candidates=ranked_masks(
                    (mask, one.score) for one, mask in remaining if mask is not None
                )
            ),
        )

    def _chosen(
        self, found: Sequence[Detection], tags: Sequence[str]
    ) -> tuple[list[Detection], list[Detection]]:
        """What is proposed and what is only kept, both best first; each object once."""
        wanted = set(tags) if self._options.only_tags and tags else None
        sure: list[Detection] = []
        others: list[Detection] = []
        for one in found:
            is_allowed = wanted is None or one.category in wanted
            is_sure = is_allowed and one.score >= self._options.min_score
            if is_sure and not _is_among(one, sure):
                sure.append(one)
        proposed = _fewest(sure, tags, self._options.max_objects)
        for one in found:
            if len(others) < self._kept and not _is_among(one, [*proposed, *others]):
                others.append(one)
        return proposed, others

    def _masks(self, image: Image, found: Sequence[Detection]) -> list[Mask | None]:
        """A mask for each, or None where there is none or next to nothing is in it."""
        masks: Sequence[Mask | None] = [None] * len(found)
        if self._segmenter is None or self._preparation is None:
            if self._options.masks != "none":
                masks = [one.mask for one in found]
        elif found:
            self._segmenter.set_prepared(self._preparation.prepare(image))
            masks = masks_for_boxes(self._segmenter, [one.box for one in found])
        return [
            None if mask is None or self._is_speck(mask, one.box) else mask
            for mask, one in zip(masks, found, strict=True)
        ]

    def _is_speck(self, mask: Mask, box: Box) -> bool:
        """Nothing, or a few pixels of a box that has room for more: an object may be as small."""
        area = int(mask.sum())
        room = (box[2] - box[0]) * (box[3] - box[1])
        return area == 0 or area < min(self._options.min_mask_area, room / 2)

    def _made_by(self) -> Source:
        options = as_dict(self._options)
        # Names, not paths: an export must not tell how somebody's disk is laid out.
        options["detector"] = self._detector.name
        options["segmenter"] = "" if self._segmenter is None else self._segmenter.name
        return Source("detector", checkpoint=self._detector.name, options=options)


def _fewest(sure: Sequence[Detection], tags: Sequence[str], most: int) -> list[Detection]:
    """The best of each tag, and of the others so many that there are ``most``; best first."""
    best = {one.category: one for one in reversed(sure) if one.category in tags}
    firsts = list(best.values())
    rest = [one for one in sure if one not in firsts]
    chosen = [*firsts, *rest[: max(most - len(firsts), 0)]]
    return [one for one in sure if one in chosen]


def _is_among(one: Detection, found: Sequence[Detection]) -> bool:
    if not found:
        return False
    return bool(iou_boxes([one.box], [other.box for other in found]).max() >= SAME_BOX)


def _load(options: DetectorPipelineOptions) -> Any:
    if not options.detector:
        raise OptionError(
            "the pipeline detector needs a detector: train one from what was accepted (annotator "
            "train detector), or name its file"
        )
    # Inside, because torch takes seconds to import and most of the program does without.
    from engine.detectors.predictor import Detector

    return Detector(Path(options.detector), device=options.device, views=options.views())


def _build_segmenter(options: DetectorPipelineOptions) -> Segmenter:
    if options.segmenter == AUTO:
        return segmenters.build_best(device=options.device)
    return segmenters.build(options.segmenter, device=chosen_device(options.device))

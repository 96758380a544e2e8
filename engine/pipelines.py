"""A photo and its tags in, proposed instances out: the one place where the stages meet.

`classical` needs no weights: saliency gives the coarse map, merging and seeded cuts the gallery,
eq. 11 of Pro2SAM matches both, and a judge picks among the best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from engine import judging, matching
from engine.cuts import candidate_cuts
from engine.detector_pipeline import DetectorPipeline, DetectorPipelineOptions
from engine.errors import OptionError
from engine.gallery import GalleryOptions, build_gallery
from engine.geometry import mask_to_box, mask_to_rle, ranked_masks
from engine.localizers.saliency import Map, SaliencyMaps, saliency_maps
from engine.options import as_dict, from_dict
from engine.pro2sam import Pro2samOptions, Pro2samPipeline
from engine.segmenters.embeddings import EmbeddingStore
from engine.smoothing import enlarged, shrunk, tidied
from engine.types import (
    Evidence,
    Image,
    Instance,
    Mask,
    Source,
    Status,
    Suggestion,
)

Matching = Literal["judged", "soft", "iou"]


class Pipeline(Protocol):
    """What every pipeline does."""

    def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
        """Proposed instances of a photo, highest score first, and the evidence for them.

        ``tags`` are the classes that are on it, in the user's order; without any, the instances
        have no class.
        """


@dataclass(frozen=True)
class ClassicalOptions:
    """The knobs of `classical`; OptionError for values out of range."""

    working_side: int = field(
        default=192, metadata={"help": "long side in pixels of the copy that is looked at"}
    )
    matching: Matching = field(
        default="judged",
        metadata={
            "help": "how a mask is chosen: judged, or by eq. 11 alone (soft areas, or cells)"
        },
    )
    tau_b: float = field(
        default=0.2, metadata={"help": "a cell of the coarse map is on above this; for iou"}
    )
    gallery_size: int = field(
        default=12, metadata={"help": "masks of the merging gallery that reach the judge"}
    )
    max_objects: int = field(
        default=20, metadata={"help": "proposals a photo; one for each tag in any case"}
    )

    def __post_init__(self) -> None:
        if self.working_side < 32:
            raise OptionError(f"working_side must be at least 32 pixels, got {self.working_side}")
        if not 0.0 <= self.tau_b < 1.0:
            raise OptionError(f"tau_b must lie in [0, 1), got {self.tau_b}")
        if self.gallery_size < 0 or self.max_objects < 1:
            raise OptionError(
                "gallery_size must be at least 0 and max_objects at least 1, "
                f"got {self.gallery_size} and {self.max_objects}"
            )


@dataclass(frozen=True, eq=False)
class CloserLook:
    """The small copy of a photo, its maps, and the masks among which to choose."""

    image: Image  # (h, w, 3)
    scale: float  # of the copy: its pixels a pixel of the photo
    maps: SaliencyMaps
    masks: list[Mask]  # of the copy, not empty
    siblings: list[tuple[Mask, ...]]  # of each mask: other parts of the same cut


def look_closer(image: Image, options: ClassicalOptions) -> CloserLook:
    """Everything that `classical` needs to know of a photo before it chooses."""
    small, scale = shrunk(image, options.working_side)
    maps = saliency_maps(small)
    cuts = candidate_cuts(small, maps)
    masks = [cut.mask for cut in cuts]
    siblings = [cut.siblings for cut in cuts]
    if options.gallery_size:
        found = _matched_gallery(small, maps.saliency, options)
        masks += found
        siblings += [()] * len(found)
    return CloserLook(small, scale, maps, masks, siblings)


def _matched_gallery(image: Image, saliency: Map, options: ClassicalOptions) -> list[Mask]:
    """The masks of the merging gallery that fit the map best by eq. 11."""
    gallery = build_gallery(image, options=GalleryOptions(working_side=options.working_side))
    coarse = judging.on_grid(saliency)
    if options.matching == "iou":
        cells = matching.coarse_to_cells(coarse, options.tau_b)
        values = matching.scores(cells, gallery.cells(judging.GRID), rule="iou")
    else:
        values = matching.scores(coarse, gallery.coverage(judging.GRID), rule="soft")
    order = np.argsort(-values, kind="stable")[: options.gallery_size]
    return [gallery.mask(int(index)) for index in order]


@dataclass(frozen=True, eq=False)
class _Object:
    """A mask of the small copy and how sure the pipeline is of it."""

    mask: Mask
    score: float


SIBLING_TRUST = 0.6  # a part beside the chosen one is less often an object of its own
SIBLING_SALIENCY = 0.6  # of the chosen part's mean saliency: less is background
AMBIGUITY = 0.7  # times the score for each tag too many: which of them it is, nobody told
ALIKE = 0.6  # of the largest twin's area and saliency; less belongs to another kind of thing
TWINS_SHARED = 0.8  # of the twins lies in the mask that bridges them
PLAIN = 0.1  # of the twins' mean saliency: what lies between them is background


class ClassicalPipeline:
    """Saliency, gallery, matching and tags; no weights, no network, deterministic."""

    def __init__(self, options: ClassicalOptions | None = None) -> None:
        self._options = options or ClassicalOptions()
        self._source = Source("classical", options=as_dict(self._options))

    def suggest(self, image: Image, *, tags: Sequence[str]) -> Suggestion:
        """See `Pipeline.suggest`; never empty, since the whole photo is a candidate."""
        view = look_closer(image, self._options)
        scores = self._scores(view)
        found = self._choose(view, scores)[: max(self._options.max_objects, len(tags))]
        instances = []
        for category, one in _with_classes(found, tags):
            mask = enlarged(tidied(one.mask), (image.shape[0], image.shape[1]))
            box = mask_to_box(mask)
            assert box is not None
            instances.append(
                Instance(
                    box=box,
                    category=category,
                    status=Status.PROPOSED,
                    source=self._source,
                    rle=mask_to_rle(mask),
                    score=round(one.score, 4),
                )
            )
        instances.sort(key=lambda one: -(one.score or 0.0))
        return Suggestion(tuple(instances), self._evidence(view, scores, image))

    def _scores(self, view: CloserLook) -> np.ndarray:
        if self._options.matching == "judged":
            return judging.judge(view.image, view.maps, view.masks)
        return _matched(view, self._options)

    def _evidence(self, view: CloserLook, scores: np.ndarray, image: Image) -> Evidence:
        """The saliency map, and every candidate at the photo's size."""
        size_hw = (image.shape[0], image.shape[1])
        candidates = ranked_masks(
            (enlarged(tidied(view.masks[index]), size_hw), float(scores[index]))
            for index in np.argsort(-scores, kind="stable")
        )
        return Evidence(coarse=judging.on_grid(view.maps.saliency), candidates=candidates)

    def _choose(self, view: CloserLook, scores: np.ndarray) -> list[_Object]:
        """The objects of the photo, best first; at least one."""
        best, score = _without_bridges(view, scores), float(scores.max())
        chosen = [_Object(view.masks[best], score)]
        inside = float(view.maps.saliency[view.masks[best]].mean())
        for sibling in view.siblings[best]:
            ratio = float(view.maps.saliency[sibling].mean()) / (inside + judging.TINY)
            if ratio >= SIBLING_SALIENCY:
                trust = SIBLING_TRUST * min(ratio, 1.0)
                chosen.append(_Object(sibling, score * trust))
        return chosen


def _matched(view: CloserLook, options: ClassicalOptions) -> np.ndarray:
    """Eq. 11 of each candidate with the saliency map, as the options read it."""
    grid = judging.GRID
    coarse = judging.on_grid(view.maps.saliency)
    if options.matching == "soft":
        coverage = np.stack([matching.coverage(mask, grid) for mask in view.masks])
        return matching.scores(coarse, coverage, rule="soft")
    cells = np.stack([matching.mask_cells(mask, grid) for mask in view.masks])
    return matching.scores(matching.coarse_to_cells(coarse, options.tau_b), cells, rule="iou")


def _without_bridges(view: CloserLook, scores: np.ndarray) -> int:
    """The index of the best candidate, or of a cut into twins that it bridges over plain ground.

    The judge looks for one object, and one box round two alike ones pleases it more than either.
    """
    best = view.masks[int(np.argmax(scores))]
    saliency = view.maps.saliency
    for index in np.argsort(-scores, kind="stable"):
        parts = (view.masks[int(index)], *view.siblings[int(index)])
        union = np.logical_or.reduce(parts)
        shared, bridge = union & best, best & ~union
        if (
            len(parts) > 1
            and _alike([float(part.sum()) for part in parts])
            and _alike([float(saliency[part].mean()) for part in parts])
            and int(shared.sum()) >= TWINS_SHARED * int(union.sum())
            and bridge.any()
            and float(saliency[bridge].mean()) <= PLAIN * float(saliency[shared].mean())
        ):
            return int(index)
    return int(np.argmax(scores))


def _alike(values: Sequence[float]) -> bool:
    return min(values) >= ALIKE * max(values)


def _with_classes(
    found: Sequence[_Object], tags: Sequence[str]
) -> list[tuple[str | None, _Object]]:
    """Which object is of which class, as far as tags alone can tell.

    One tag: all objects are of it. Several: the best objects take the tags in the user's order,
    less surely with every tag; a tag without an object of its own shares the best one, and objects
    beyond the tags stay without a class, for the person to say. (Looking for another object where
    the map still shows something found a true one in 11 of 100 cases; sharing is right in 45.)
    """
    if len(tags) <= 1:
        category = tags[0] if tags else None
        return [(category, one) for one in found]
    doubt = AMBIGUITY ** (len(tags) - 1)
    pairs: list[tuple[str | None, _Object]] = []
    for index, tag in enumerate(tags):
        if index < len(found):
            one = found[index]
            pairs.append((tag, replace(one, score=one.score * doubt)))
        else:
            pairs.append((tag, replace(found[0], score=found[0].score * doubt * AMBIGUITY)))
    pairs += [(None, replace(one, score=one.score * doubt)) for one in found[len(tags) :]]
    return pairs


def _build_classical(options: Mapping[str, Any]) -> Pipeline:
    return ClassicalPipeline(from_dict(ClassicalOptions, options))


def _build_pro2sam(options: Mapping[str, Any]) -> Pipeline:
    return Pro2samPipeline(from_dict(Pro2samOptions, options), embeddings=EmbeddingStore())


def _build_detector(options: Mapping[str, Any]) -> Pipeline:
    chosen = from_dict(DetectorPipelineOptions, options)
    return DetectorPipeline(chosen, embeddings=EmbeddingStore())


@dataclass(frozen=True)
class PipelineKind:
    """A pipeline by name: its option class, and how to build it from plain JSON options."""

    options: type[Any]
    build: Callable[[Mapping[str, Any]], Pipeline]


PIPELINES: dict[str, PipelineKind] = {
    "classical": PipelineKind(ClassicalOptions, _build_classical),
    "pro2sam": PipelineKind(Pro2samOptions, _build_pro2sam),
    "detector": PipelineKind(DetectorPipelineOptions, _build_detector),
}
DEFAULT = "classical"


def build(name: str, options: Mapping[str, Any]) -> Pipeline:
    """The pipeline of that name; OptionError for an unknown one or for options it does not have."""
    if name not in PIPELINES:
        raise OptionError(
            f"there is no pipeline '{name}'; there are {', '.join(sorted(PIPELINES))}"
        )
    return PIPELINES[name].build(options)

"""How good a detector is: average precision by VOC's or COCO's rules, and CorLoc.

In: photos with their true objects and what was found on them. Out: shares in [0, 1], over all
classes and of each. VOC 2007 and 2012 development kits, pycocotools; CorLoc of Deselaers 2012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from engine.metrics.average_precision import Rule, average_precision
from engine.metrics.detected import DetectedPhoto as DetectedPhoto
from engine.metrics.detected import ScoredBox as ScoredBox
from engine.metrics.detected import TrueBox as TrueBox
from engine.metrics.matched import CocoMatching, What, categories_of, overlaps, voc_ranking

Counted = Literal["any", "clear"]

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MASK_THRESHOLDS = (0.25, 0.5, 0.7, 0.75)  # of the literature on masks from tags


@dataclass(frozen=True)
class Scores:
    """A metric over all classes that have an object to be found, and of each; None without any."""

    mean: float | None
    per_class: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CocoScores:
    """COCO's numbers; None where there is no object to be found."""

    ap: float | None  # mean over the thresholds .5 to .95
    ap50: float | None
    ap75: float | None
    per_class: Mapping[str, float] = field(default_factory=dict)  # AP at .5

    def as_dict(self) -> dict[str, float]:
        """The numbers that there are, without those of the classes."""
        found = {"ap": self.ap, "ap50": self.ap50, "ap75": self.ap75}
        return {name: value for name, value in found.items() if value is not None}


def voc_scores(
    photos: Sequence[DetectedPhoto],
    *,
    rule: Rule = "11-point",
    threshold: float = 0.5,
    strict: bool = False,
    what: What = "box",
) -> Scores:
    """VOC's average precision: of boxes, or of masks by the same rules.

    ``rule`` 11-point is VOC 2007 to the last bit of its program, all-point VOC 2010 and later.
    ``strict`` asks for an IoU above the threshold, as detectron2 does, not of it.
    """
    return _over_classes(
        {
            category: float(
                average_precision(
                    voc_ranking(photos, category, threshold=threshold, strict=strict, what=what),
                    rule,
                )[0]
            )
            for category in categories_of(photos)
        }
    )


def coco_scores(photos: Sequence[DetectedPhoto], *, what: What = "box") -> CocoScores:
    """AP, AP50 and AP75 as pycocotools computes them, at most 100 detections a class and photo."""
    matching = CocoMatching(photos, thresholds=COCO_THRESHOLDS, what=what)
    if not matching.categories:
        return CocoScores(None, None, None)
    found = matching.precisions()  # (thresholds, categories)
    at_half, at_three_quarters = COCO_THRESHOLDS.index(0.5), COCO_THRESHOLDS.index(0.75)
    return CocoScores(
        ap=float(found.mean()),
        ap50=float(found[at_half].mean()),
        ap75=float(found[at_three_quarters].mean()),
        per_class=dict(zip(matching.categories, map(float, found[at_half]), strict=True)),
    )


def mask_scores(
    photos: Sequence[DetectedPhoto], thresholds: Sequence[float] = MASK_THRESHOLDS
) -> dict[float, Scores]:
    """Average precision of masks at each IoU by pycocotools, as weakly supervised papers report.

    Other papers report VOC's all-point rule: ``voc_scores(…, what="mask", rule="all-point")``. The
    two are not to be mixed.
    """
    matching = CocoMatching(photos, thresholds=thresholds, what="mask")
    if not matching.categories:
        return {threshold: Scores(None) for threshold in thresholds}
    return {
        threshold: _over_classes(dict(zip(matching.categories, map(float, row), strict=True)))
        for threshold, row in zip(thresholds, matching.precisions(), strict=True)
    }


def corloc(
    photos: Sequence[DetectedPhoto],
    *,
    counted: Counted = "any",
    threshold: float = 0.5,
    strict: bool = True,
) -> Scores:
    """Of the photos with a class, the share whose best detection of it lies on one of its objects.

    ``counted`` any: photos with any object of the class, and a difficult one will do (wetectron);
    clear: only objects that are not difficult, for both (detectron2's variant). The IoU must be
    above the threshold, or of it where not ``strict``.
    """
    return _over_classes(
        {
            category: float(np.mean(list(found.values())))
            for category, found in located(
                photos, counted=counted, threshold=threshold, strict=strict
            ).items()
        }
    )


def located(
    photos: Sequence[DetectedPhoto], *, counted: Counted, threshold: float, strict: bool
) -> dict[str, dict[int, bool]]:
    """Class -> number of a photo with it -> whether its best detection lies on an object."""
    answers: dict[str, dict[int, bool]] = {}
    for place, photo in enumerate(photos):
        wanted = [one for one in photo.truth if counted == "any" or not one.difficult]
        for category in sorted({one.category for one in wanted}):
            truth = [one for one in wanted if one.category == category]
            found = [one for one in photo.detections if one.category == category]
            best = sorted(found, key=lambda one: -one.score)[:1]
            iou = overlaps(best, truth, "box").max(initial=0.0)
            is_located = bool(best) and (iou > threshold if strict else iou >= threshold)
            answers.setdefault(category, {})[place] = bool(is_located)
    return dict(sorted(answers.items()))


def _over_classes(per_class: Mapping[str, float]) -> Scores:
    if not per_class:
        return Scores(None)
    return Scores(float(np.mean(list(per_class.values()))), per_class)

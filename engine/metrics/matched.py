"""Which detection found which object, by VOC's rule or by pycocotools: photos in, rankings out.

VOC gives a detection to the object that it overlaps most, found before or not; COCO to the best
one that is still to be found. A difficult object takes its detections out of the count; COCO gives
it one, as it gives every other.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from engine.metrics.average_precision import Ranking
from engine.metrics.detected import DetectedPhoto, ScoredBox, TrueBox

What = Literal["box", "mask"]

MOST_DETECTIONS = 100  # a photo and class, COCO's and VOC's detectors' limit


def categories_of(photos: Sequence[DetectedPhoto]) -> list[str]:
    """The classes that have an object to be found, in alphabetical order."""
    return sorted({one.category for photo in photos for one in photo.truth if not one.difficult})


def regions(found: Sequence[TrueBox] | Sequence[ScoredBox], what: What) -> list[Any]:
    """As pycocotools wants them: ``[x, y, w, h]``, or RLE; ValueError for a missing mask."""
    if what == "box":
        return [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in (one.box for one in found)]
    if any(one.mask is None for one in found):
        raise ValueError("to compare masks, every object and every detection needs one")
    return [one.mask.as_dict() for one in found if one.mask is not None]


def overlaps(
    detections: Sequence[ScoredBox], truth: Sequence[TrueBox], what: What
) -> NDArray[np.float64]:
    """IoU of each detection with each object, (detections, objects)."""
    if not detections or not truth:
        return np.zeros((len(detections), len(truth)))
    plain = [0] * len(truth)  # no crowds, whose IoU is another
    found = coco_mask.iou(regions(detections, what), regions(truth, what), plain)
    return np.asarray(found, dtype=np.float64)


# VOC --------------------------------------------------------------------------------------------


def voc_ranking(
    photos: Sequence[DetectedPhoto], category: str, *, threshold: float, strict: bool, what: What
) -> Ranking:
    """The detections of a class, matched as VOC's program does.

    An IoU of the threshold is enough, unless ``strict``: then it must be above.
    """
    places: list[int] = []
    scores: list[float] = []
    outcomes: list[bool | None] = []
    objects = np.zeros(len(photos))
    for place, photo in enumerate(photos):
        truth = [one for one in photo.truth if one.category == category]
        found = [one for one in photo.detections if one.category == category]
        found.sort(key=lambda one: -one.score)
        objects[place] = sum(not one.difficult for one in truth)
        ious = overlaps(found, truth, what)
        outcomes += _voc_outcomes(ious, truth, threshold=threshold, strict=strict)
        places += [place] * len(found)
        scores += [one.score for one in found]
    order = np.argsort(-np.array(scores), kind="stable")
    counted = [int(index) for index in order if outcomes[index] is not None]
    return Ranking(
        photos=np.array([places[index] for index in counted], dtype=np.intp),
        hits=np.array([outcomes[index] for index in counted], dtype=np.bool_),
        objects=objects,
    )


def _voc_outcomes(
    ious: NDArray[np.float64], truth: Sequence[TrueBox], *, threshold: float, strict: bool
) -> list[bool | None]:
    """Of each detection, best first: a hit, a miss, or neither (None)."""
    is_found = [False] * len(truth)
    outcomes: list[bool | None] = []
    for row in ious:
        best = int(np.argmax(row)) if len(row) else -1
        if best < 0 or row[best] < threshold or (strict and row[best] == threshold):
            outcomes.append(False)
        elif truth[best].difficult:
            outcomes.append(None)
        else:
            outcomes.append(not is_found[best])
            is_found[best] = True
    return outcomes


# COCO -------------------------------------------------------------------------------------------


class CocoMatching(COCOeval):
    """pycocotools' evaluation of photos that lie in memory, and without its printing.

    Only the area range "all" is evaluated. A difficult object is ignored without being a crowd.
    """

    def __init__(
        self,
        photos: Sequence[DetectedPhoto],
        *,
        thresholds: Sequence[float],
        what: What,
    ) -> None:
        super().__init__(iouType="bbox" if what == "box" else "segm")
        self._photos = photos
        self._what: What = what
        self.categories = categories_of(photos)
        self.params.imgIds = list(range(len(photos)))
        self.params.catIds = list(range(len(self.categories)))
        self.params.iouThrs = np.array(thresholds)
        self.params.areaRng = [self.params.areaRng[0]]
        self.params.areaRngLbl = ["all"]
        self.params.maxDets = [MOST_DETECTIONS]
        self._match()

    def _match(self) -> None:
        """What `evaluate` does, which prints."""
        self._gts: dict[tuple[int, int], list[Any]] = defaultdict(list)
        self._dts: dict[tuple[int, int], list[Any]] = defaultdict(list)
        numbers = {name: number for number, name in enumerate(self.categories)}
        shape = "bbox" if self._what == "box" else "segmentation"
        for place, photo in enumerate(self._photos):
            truths = zip(photo.truth, regions(photo.truth, self._what), strict=True)
            found = zip(photo.detections, regions(photo.detections, self._what), strict=True)
            for target, pairs in ((self._gts, truths), (self._dts, found)):
                for one, region in pairs:
                    if one.category in numbers:
                        entries = target[place, numbers[one.category]]
                        entries.append({**_facts(one), shape: region, "id": len(entries) + 1})
        self.ious = {
            (place, number): self.computeIoU(place, number)
            for place in self.params.imgIds
            for number in self.params.catIds
        }
        self.evalImgs = [
            self.evaluateImg(place, number, self.params.areaRng[0], MOST_DETECTIONS)
            for number in self.params.catIds
            for place in self.params.imgIds
        ]
        self._paramsEval = copy.deepcopy(self.params)

    def precisions(self) -> NDArray[np.float64]:
        """pycocotools' own average precisions, (thresholds, categories)."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.accumulate()
        found = np.asarray(self.eval["precision"])  # (thresholds, recalls, categories, 1, 1)
        return found[:, :, :, 0, 0].mean(axis=1)

    def ranking(self, *, category: int, threshold: int) -> Ranking:
        """The detections of a class by number, matched at a threshold by number."""
        count = len(self._photos)
        entries = self.evalImgs[category * count : (category + 1) * count]
        objects = np.zeros(count)
        places, scores, hits = [], [], []
        for place, entry in enumerate(entries):
            if entry is None:
                continue
            objects[place] = np.sum(np.asarray(entry["gtIgnore"]) == 0)
            counted = ~np.asarray(entry["dtIgnore"][threshold], dtype=bool)
            scores.append(np.asarray(entry["dtScores"], dtype=np.float64)[counted])
            hits.append(np.asarray(entry["dtMatches"][threshold])[counted] > 0)
            places.append(np.full(int(counted.sum()), place))
        order = np.argsort(-np.concatenate([[], *scores]), kind="stable")
        return Ranking(
            photos=np.concatenate([[], *places]).astype(np.intp)[order],
            hits=np.concatenate([[], *hits]).astype(np.bool_)[order],
            objects=objects,
        )


def _facts(one: TrueBox | ScoredBox) -> dict[str, Any]:
    """What pycocotools asks of an object or a detection beside its region."""
    x0, y0, x1, y1 = one.box
    facts = {"area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
    if isinstance(one, TrueBox):
        return {**facts, "ignore": int(one.difficult)}
    return {**facts, "score": one.score}

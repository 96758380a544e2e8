"""How good the detectors are on photos with their clean truth: AP by seed, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import t as student

from benchmarks.noise.photo_sets import PHOTOS, true_boxes, true_images
from engine import photos as photo_files
from engine.detectors.predictor import Detector
from engine.metrics.detected import DetectedPhoto, ScoredBox
from engine.metrics.detection import coco_scores
from engine.metrics.resampling import Interval, Measure, paired_difference

Judged = Sequence[DetectedPhoto]  # one detector on all photos, in the same order
MEASURES: tuple[Measure, ...] = ("ap50", "ap", "ap75")
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scored:
    """One row of a table, in points."""

    ap50: tuple[float, ...]  # by seed
    ap: tuple[float, ...]
    ap75: tuple[float, ...]


@dataclass(frozen=True)
class Gain:
    """How many points a way is better than another."""

    by_seed: tuple[float, ...]
    by_photos: tuple[tuple[float, float], ...]  # 95 % over photos, paired, of each seed

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.by_seed)

    @property
    def half_width(self) -> float | None:
        """Of the 95 % interval over seeds by Student's t; None for a single seed."""
        count = len(self.by_seed)
        if count < 2:
            return None
        wide = float(student.ppf(0.5 + CONFIDENCE / 2, count - 1))
        return wide * stdev(self.by_seed) / count**0.5


def judged(model: Path, folder: Path, *, split: str) -> list[DetectedPhoto]:
    """What the detector finds on all photos of a split, beside the truth."""
    detector = Detector(model, "cpu")
    found = []
    for image in true_images(folder):
        if image.split == split:
            detections = detector.detect(photo_files.load(folder / PHOTOS / image.file_name))
            scored = tuple(ScoredBox(one.box, one.category, one.score) for one in detections)
            found.append(DetectedPhoto(true_boxes(image), scored))
    return found


def scored(by_seed: Mapping[int, Judged]) -> Scored:
    """AP50, AP and AP75 of each seed."""
    scores = [coco_scores(one) for one in by_seed.values()]
    return Scored(
        ap50=tuple(100 * (one.ap50 or 0.0) for one in scores),
        ap=tuple(100 * (one.ap or 0.0) for one in scores),
        ap75=tuple(100 * (one.ap75 or 0.0) for one in scores),
    )


def gain(old: Mapping[int, Judged], new: Mapping[int, Judged], measure: Measure = "ap50") -> Gain:
    """Of the seeds that both have, of the same photos."""
    found: list[Interval] = []
    for seed in sorted(set(old) & set(new)):
        one = paired_difference(
            old[seed], new[seed], measure, resamples=RESAMPLES, confidence=CONFIDENCE, seed=seed
        )
        assert one is not None, "photos without an object"
        found.append(one)
    return Gain(
        by_seed=tuple(100 * one.value for one in found),
        by_photos=tuple((100 * one.low, 100 * one.high) for one in found),
    )

"""A detector against the one in use, on the photos that the project holds back: figures, a verdict.

Both see the same photos, and the same photos are drawn in each round of the bootstrap, so what is
hard about a photo is hard for both. Photos that one of the two has learned from are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from annotator import ancestry, holdback, models, promotion
from annotator.store import Project, now
from engine import photos
from engine.errors import OptionError, PhotoError
from engine.metrics.detection import DetectedPhoto, ScoredBox, TrueBox, coco_scores
from engine.metrics.resampling import Interval, Measure, interval, paired_difference
from engine.types import CURATED, Box, Image, LabeledImage


class Detection(Protocol):
    """What is asked of the answers of `engine.detectors.predictor`, which loads torch."""

    @property
    def box(self) -> Box: ...

    @property
    def category(self) -> str: ...

    @property
    def score(self) -> float: ...


Detect = Callable[[Image], Sequence[Detection]]
Loader = Callable[[Path], Detect]

MEASURES: tuple[Measure, ...] = ("ap50", "ap", "corloc")


@dataclass(frozen=True)
class Figure:
    """A figure in [0, 1], or the difference of two, with its 95 % interval over photos."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Interval) -> Figure:
        """Without how sure the interval is, which is always the same here."""
        return cls(found.value, found.low, found.high)


@dataclass(frozen=True)
class Judgement:
    """What came out; ``present`` is the detector in use, empty where there was none."""

    candidate: str
    present: str
    fingerprint: str  # of the candidate's file
    photos: int
    objects: int
    left_out: int  # photos held back that one of the two has learned from, or that do not open
    figures: dict[str, Figure]  # "ap50", "ap", "corloc" of the candidate
    present_figures: dict[str, Figure]
    differences: dict[str, Figure]  # candidate less present, photo by photo
    per_class: dict[str, float]  # AP50
    present_per_class: dict[str, float]
    is_better: bool
    reason: str
    seconds: float
    at: str = field(default_factory=now)
    promoted: bool = False  # by the rule, right after it
    unknown: list[str] = field(default_factory=list)  # models that may have learned from the photos
    empty: int = 0  # of the photos: nothing is on them, so that every detection there is wrong
    refusal: str = ""  # why it is not in use though the rule would have it

    @property
    def weakness(self) -> str:
        """Why it says little; empty where it says enough."""
        reasons = [holdback.weakness(self.photos - self.empty)]
        if self.unknown:
            reasons.append(
                f"nobody knows here what {' and '.join(self.unknown)} learned from, which may be "
                "these very photos"
            )
        return "; ".join(filter(None, reasons))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "weakness": self.weakness}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Judgement | None:
        """The inverse of `as_dict`; None where something else was written there."""
        chosen = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        try:
            for name in ("figures", "present_figures", "differences"):
                chosen[name] = {key: Figure(**one) for key, one in chosen[name].items()}
            return cls(**chosen)
        except (KeyError, TypeError, AttributeError):
            return None


def loader(device: str) -> Loader:
    """How a file becomes a detector; only here the networks are loaded."""

    def load(path: Path) -> Detect:
        # It brings torch along; the other commands and the server should not wait for it.
        from engine.detectors.predictor import Detector

        return Detector(path, device=device).detect

    return load


def judge(
    project: Project,
    candidate: str,
    *,
    load: Loader,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Measure this detector, and the one in use if it is another one.

    ``on_progress`` is told how many photos are done, of how many. OptionError where it is no
    detector or no photo can judge; WeightsError where a file is broken.
    """
    begun = time.monotonic()
    model = promotion.require_detector(project, candidate)
    with project.read() as view:
        chosen, present = promotion.current(view), promotion.current_here(project, view)
    others = [present] if present not in ("", candidate) else []
    files_of = {name: models.path_of(project, name) for name in (candidate, *others)}
    jury = _jury(project, list(files_of))
    if not jury.photos:
        raise OptionError(_nobody_judges(project, jury.left_out))
    found, problems = _detected(jury.photos, files_of, load, on_progress)
    if len(problems) == len(jury.photos):
        raise OptionError(f"none of the photos held back can be read: {problems[0]}")
    new, old = found[candidate], found.get(present, [])
    empty = _empty(new)
    figures, present_figures = _figures(new), _figures(old)
    differences: dict[str, Figure] = {
        name: Figure.of(interval)
        for name in MEASURES
        if others and (interval := paired_difference(old, new, name)) is not None
    }
    against, telling = present if others else "", len(new) - empty
    is_better, reason = verdict(
        figures, differences, present=against, photos=telling, unknown=jury.unknown
    )
    if present == candidate:
        is_better, reason = False, f"{candidate} is in use already"
    if chosen != present:
        reason += f"; {chosen}, which was in use, is not in the project any more"
    return Judgement(
        candidate=candidate,
        present=against,
        fingerprint=models.fingerprint(model.path),
        photos=len(new),
        objects=sum(len(photo.truth) for photo in new),
        left_out=jury.left_out + len(problems),
        figures=figures,
        present_figures=present_figures,
        differences=differences,
        per_class=dict(coco_scores(new).per_class),
        present_per_class=dict(coco_scores(old).per_class),
        is_better=is_better,
        reason=reason,
        unknown=jury.unknown,
        empty=empty,
        seconds=time.monotonic() - begun,
    )


def verdict(
    figures: Mapping[str, Figure],
    differences: Mapping[str, Figure],
    *,
    present: str,
    photos: int,
    unknown: Sequence[str] = (),
) -> tuple[bool, str]:
    """Whether the rule promotes, and why: AP50 above 0, or better on nearly all draws.

    The rule stays out of it where fewer than `holdback.ENOUGH` photos with objects judge: by so
    few, whoever is lucky is better. It also does where nobody knows what one of the detectors, or
    what it began with (``unknown``), has learned from: these very photos may be among it.
    """
    is_better, reason = _compared(figures, differences, present=present)
    doubts = []
    if photos < holdback.ENOUGH:
        enough = holdback.ENOUGH
        doubts.append(f"the rule needs {enough} photos with objects that judge and has {photos}")
    if unknown:
        doubts.append(f"nobody knows here whether {' or '.join(unknown)} learned from these photos")
    if is_better and doubts:
        return False, f"{reason}; but {' and '.join(doubts)}, so it is for you to decide"
    return is_better, reason


def _compared(
    figures: Mapping[str, Figure], differences: Mapping[str, Figure], *, present: str
) -> tuple[bool, str]:
    ap50 = figures["ap50"].value
    if not present:
        if ap50 > 0:
            return True, f"no detector is in use, and this one finds something (AP50 {ap50:.1%})"
        return False, "it found none of the objects (AP50 0.0%)"
    change = differences["ap50"]
    shown = f"AP50 {change.value:+.1%}, from {change.low:+.1%} to {change.high:+.1%}"
    # Equal on one draw in forty already, it may be a single photo that makes the difference.
    if change.low > 0:
        return True, f"better than {present}: {shown}"
    if change.value < 0 and change.high < 0:
        return False, f"worse than {present}: {shown}"
    return False, f"not surely better than {present}: {shown}"


# -- who judges ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Jury:
    photos: list[tuple[LabeledImage, Path]]  # with their files
    left_out: int
    unknown: list[str]  # models that may have learned from these photos, for all we know


def _jury(project: Project, names: Sequence[str]) -> _Jury:
    with project.read() as view:
        judges = holdback.parts(view).judges
        places = {photo.id: project.photo_path(photo) for photo in view.photos()}
    known = [ancestry.ancestry(project, name) for name in names]
    seen = frozenset[int]().union(*(one.photos for one in known))
    photos = [
        (image, places[image.id])
        for image in judges
        if image.id not in seen and places[image.id].is_file()
    ]
    unknown = list(dict.fromkeys(name for one in known for name in one.unknown))
    return _Jury(photos, len(judges) - len(photos), unknown)


def _nobody_judges(project: Project, left_out: int) -> str:
    if left_out:
        return (
            f"none of the {left_out} reviewed photos that are held back can judge: they are gone, "
            "or one of the detectors learned from them when fewer were held back"
        )
    with project.read() as view:
        share, parts = holdback.share_of(view), holdback.parts(view)
    if parts.unfinished:
        hint = holdback.unseen_hint(parts.waiting)
        return (
            f"{len(parts.unfinished)} photos are held back and none is reviewed in full yet; "
            f"review some of them, for example {parts.unfinished[0].file_name}"
        ) + (f" ({hint})" if hint else "")
    return (
        f"no photo is held back: {share:.0%} of {len(parts.train)} photos are none; add photos, or "
        "hold back a larger share: annotator models judging --share 0.4"
    )


def _empty(answers: Sequence[DetectedPhoto]) -> int:
    """How many of the photos have nothing on them; OptionError where all of them are so."""
    empty = sum(not photo.truth for photo in answers)
    if empty == len(answers):
        raise OptionError(
            f"there is nothing to be found on the {empty} photos that judge: everything proposed "
            "there was rejected; review more photos, or hold back a larger share: annotator models "
            "judging --share 0.4"
        )
    return empty


# -- what they see ---------------------------------------------------------------------------------


def _detected(
    jury: Sequence[tuple[LabeledImage, Path]],
    files_of: Mapping[str, Path],
    load: Loader,
    on_progress: Callable[[int, int], None],
) -> tuple[dict[str, list[DetectedPhoto]], list[str]]:
    """Detector -> its answers on the photos that all of them could see; why the others dropped out.

    One detector after the other, so that one is in memory.
    """
    total, done = len(jury) * len(files_of), 0
    on_progress(done, total)
    found: dict[str, dict[int, DetectedPhoto]] = {}
    problems: dict[int, str] = {}
    for name, path in files_of.items():
        detect, found[name] = load(path), {}
        for image, place in jury:
            if image.id not in problems:
                try:
                    found[name][image.id] = _answers(image, detect(_pixels(image, place)))
                except PhotoError as error:
                    problems[image.id] = str(error)
            done += 1
            on_progress(done, total)
    answers = {
        name: [one for image_id, one in those.items() if image_id not in problems]
        for name, those in found.items()
    }
    return answers, list(problems.values())


def _pixels(image: LabeledImage, place: Path) -> Image:
    """PhotoError where the file does not open, or is another picture by now."""
    pixels = photos.load(place)
    height, width = pixels.shape[:2]
    if (width, height) != (image.width, image.height):
        raise PhotoError(
            f"{image.file_name} was {image.width} x {image.height} pixels when it was reviewed and "
            f"has {width} x {height} now"
        )
    return pixels


def _answers(image: LabeledImage, detections: Sequence[Detection]) -> DetectedPhoto:
    return DetectedPhoto(
        truth=tuple(
            TrueBox(one.box, one.category)
            for one in image.instances
            if one.status in CURATED and one.category is not None
        ),
        detections=tuple(ScoredBox(one.box, one.category, one.score) for one in detections),
    )


def _figures(answers: Sequence[DetectedPhoto]) -> dict[str, Figure]:
    return {
        name: Figure.of(found)
        for name in MEASURES
        if (found := interval(answers, name)) is not None
    }

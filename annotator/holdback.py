"""Photos that judge detectors and never train them: a stable share of a project, by their content.

The photo's SHA-256 decides, so the same photo is held back in every project, whatever it is called
and whenever it came. A larger share keeps all that a smaller one held back. Only photos that are
reviewed in full can judge, and what was accepted above a score was not reviewed: a detector would
judge itself by its own proposals, and be taught that all it missed is background.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from annotator.store import Transaction
from annotator.unseen import Unseen
from annotator.views import View
from engine.errors import OptionError
from engine.types import CURATED, LabeledImage, Status

SHARE = 0.2  # of the photos, where the project does not say otherwise
LARGEST_SHARE = 0.9
ENOUGH = 10  # photos with objects; with fewer, one photo more or less turns the judgement
SETTING = "held_back_share"

VALIDATION_SHARE = 0.1  # of the photos that train: they choose among the networks of a training
VALIDATION_FROM = 20  # photos with objects; with fewer, none can be spared

_BITS = 64  # of the hash, which is 256 bits long


@dataclass(frozen=True)
class Parts:
    """The photos of a project by what they may do; every photo is in one part."""

    train: tuple[LabeledImage, ...]
    judges: tuple[LabeledImage, ...]  # held back, and reviewed in full
    unfinished: tuple[LabeledImage, ...]  # held back, and cannot judge yet
    complete: frozenset[int]  # ids of those that are reviewed in full
    unseen: frozenset[int]  # that would be, had nothing been accepted above a score unseen
    validates: frozenset[int]  # of those of ``train`` that may, by their content

    @property
    def waiting(self) -> int:
        """How many photos cannot judge only because of what was accepted there unseen."""
        return sum(image.id in self.unseen for image in self.unfinished)


def is_held_back(sha256: str, share: float) -> bool:
    """Whether the photo of this content (hexadecimal) never trains; ``share`` lies in [0, 1]."""
    return int(sha256[: _BITS // 4], 16) < share * 2**_BITS


def may_validate(sha256: str) -> bool:
    """Whether the photo of this content may choose the network where it is not held back.

    By other bits of the hash than those which hold it back, so every photo has the same chance.
    """
    return int(sha256[_BITS // 4 : _BITS // 2], 16) < VALIDATION_SHARE * 2**_BITS


def is_complete(image: LabeledImage, unseen: Collection[int] = ()) -> bool:
    """Whether a photo was reviewed in full: somebody decided, and nothing is left open or unseen.

    The image must come with instances of every status; ``unseen`` are the ids of those accepted
    above a score that nobody looked at. A photo where everything was rejected is one with nothing
    on it, unless it has a tag, which says that something is.
    """
    if any(one.status is Status.PROPOSED or one.id in unseen for one in image.instances):
        return False
    is_empty = not any(one.status in CURATED for one in image.instances)
    return bool(image.instances) and not (is_empty and image.tags)


def share_of(view: View) -> float:
    """The share that the project holds back."""
    return float(view.setting(SETTING, SHARE))


def set_share(transaction: Transaction, share: float) -> None:
    """Hold back another share; OptionError outside of 0 to `LARGEST_SHARE`."""
    if not 0 <= share <= LARGEST_SHARE:
        raise OptionError(
            f"the share of photos held back must be from 0 to {LARGEST_SHARE:g}, got {share:g}"
        )
    transaction.set_setting(SETTING, share)


def parts(view: View) -> Parts:
    """Every photo with all its instances, by what it may do."""
    share = share_of(view)
    photos = view.photos()
    held_back = {photo.id for photo in photos if is_held_back(photo.sha256, share)}
    validates = {photo.id for photo in photos if may_validate(photo.sha256)} - held_back
    train: list[LabeledImage] = []
    judges: list[LabeledImage] = []
    unfinished: list[LabeledImage] = []
    complete: set[int] = set()
    waiting: set[int] = set()
    unseen = unconfirmed(view)
    for image in view.labeled(frozenset(Status)):
        if is_complete(image, unseen):
            complete.add(image.id)
        elif is_complete(image):
            waiting.add(image.id)
        if image.id not in held_back:
            train.append(image)
        else:
            (judges if image.id in complete else unfinished).append(image)
    return Parts(
        tuple(train),
        tuple(judges),
        tuple(unfinished),
        complete=frozenset(complete),
        unseen=frozenset(waiting),
        validates=frozenset(validates & complete),
    )


def unconfirmed(view: View) -> set[int]:
    """The instances accepted above a score that nobody has decided on or changed since."""
    return Unseen().follow(view).unchanged


def with_objects(images: Iterable[LabeledImage]) -> int:
    """How many of the photos that judge have something to be found."""
    return sum(any(one.status in CURATED for one in image.instances) for image in images)


def weakness(photos: int) -> str:
    """Why a judgement by so many photos with objects says little; empty where there are enough."""
    if photos >= ENOUGH:
        return ""
    shown = f"{photos} photos with objects judge"
    if photos < 2:
        shown = f"{'1' if photos else 'no'} photo with an object judges"
    return (
        f"{shown}, and it takes about {ENOUGH} for a judgement that holds: review "
        f"{ENOUGH - photos} more of those held back"
    )


def unseen_hint(photos: int) -> str:
    """What keeps so many decided photos from judging; empty where there is none."""
    if not photos:
        return ""
    shown = "1 of them holds" if photos == 1 else f"{photos} of them hold"
    return (
        f"{shown} objects that were accepted above a score and not looked at since, which would "
        "let a detector judge itself: reopen those objects and decide, or change them"
    )

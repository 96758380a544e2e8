"""Photos that judge detectors and never train them: a stable share of a project, by their content.

The photo's SHA-256 decides, so the same photo is held back in every project, whatever it is called
and whenever it came. A larger share keeps all that a smaller one held back. Only photos that are
reviewed in full can judge, and what was accepted above a score was not reviewed: a detector would
judge itself by its own proposals.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from annotator import schema
from annotator.store import Transaction
from annotator.thresholds import ACCEPT_ABOVE, TAKE_BACK, accepted_unseen
from annotator.views import View
from engine.errors import OptionError
from engine.types import CURATED, LabeledImage, Status

SHARE = 0.2  # of the photos, where the project does not say otherwise
LARGEST_SHARE = 0.9
ENOUGH = 10  # photos; with fewer, one photo more or less turns the judgement
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
    validates: frozenset[int] = frozenset()  # ids of those of ``train`` that may, by their content
    unseen: int = 0  # of them only because objects were accepted above a score and never looked at


def is_held_back(sha256: str, share: float) -> bool:
    """Whether the photo of this content (hexadecimal) never trains; ``share`` lies in [0, 1]."""
    return int(sha256[: _BITS // 4], 16) < share * 2**_BITS


def may_validate(sha256: str) -> bool:
    """Whether the photo of this content may choose the network where it is not held back.

    By other bits of the hash than those which hold it back, so every photo has the same chance.
    """
    return int(sha256[_BITS // 4 : _BITS // 2], 16) < VALIDATION_SHARE * 2**_BITS


def is_complete(image: LabeledImage) -> bool:
    """Whether a photo was reviewed in full: something is curated, and nothing is undecided.

    The image must come with instances of every status.
    """
    statuses = {one.status for one in image.instances}
    return bool(statuses & CURATED) and Status.PROPOSED not in statuses


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
    unseen, waiting = unconfirmed(view), 0
    for image in view.labeled(frozenset(Status)):
        is_seen = not any(one.id in unseen and one.status in CURATED for one in image.instances)
        if image.id not in held_back:
            train.append(image)
            validates -= {image.id} if not (is_seen and is_complete(image)) else set()
        elif is_complete(image) and is_seen:
            judges.append(image)
        else:
            unfinished.append(image)
            waiting += is_complete(image)
    return Parts(
        tuple(train), tuple(judges), tuple(unfinished), frozenset(validates), unseen=waiting
    )


def unconfirmed(view: View) -> set[int]:
    """The instances accepted above a score that nobody has decided on or changed since."""
    unseen = accepted_unseen(view)
    if not unseen:
        return unseen
    table = schema.journal
    bulk = select(table.c.id).where(table.c.kind == ACCEPT_ABOVE)
    of_bulk = table.c.kind.in_([ACCEPT_ABOVE, TAKE_BACK]) | table.c.target.in_(bulk)
    touched: set[int] = set()
    # Oldest first: what was decided before the bulk says nothing about it.
    for row in view.connection.execute(
        select(table.c.changes, of_bulk.label("is_bulk"))
        .where(table.c.image_id.in_(select(table.c.image_id).where(table.c.kind == ACCEPT_ABOVE)))
        .order_by(table.c.id)
    ):
        ids = {change["id"] for change in row.changes if change["table"] == "instance"}
        touched = touched - ids if row.is_bulk else touched | ids
    return unseen - touched


def weakness(photos: int) -> str:
    """Why a judgement by so many photos says little; empty where there are enough."""
    if photos >= ENOUGH:
        return ""
    shown = "1 photo" if photos == 1 else f"{photos} photos" if photos else "no photo"
    verb = "judges" if photos < 2 else "judge"
    return (
        f"{shown} {verb}, and it takes about {ENOUGH} for a judgement that holds: review "
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

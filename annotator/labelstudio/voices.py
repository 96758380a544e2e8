"""What the annotations of one task say of our objects: each object by the newest that speaks of it.

An annotation speaks of what it holds and did not hold so before, and of what it took away: what it
held when it was looked at last, or, the first time, what it was made from (another annotation, or
a prediction of ours) shows that it was there to be seen. Of all else it says nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from annotator.labelstudio.contents import is_as_sent, print_of
from annotator.labelstudio.journal import Base, Entry, Seen, digest
from engine.types import Instance, Source, Status
from exports.label_studio import model_version
from exports.label_studio_read import Drawn, found_in, our_number

ORIGIN = "label_studio"  # in the options of a source: where an object was drawn
TAKEN_AWAY = ""  # print of what is not there any more

ShownBy = Callable[[int], frozenset[str] | None]
"""The keys of the objects in a prediction, by its number; None where it is gone."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What an annotation says of one object."""

    annotation: int  # its number
    number: int | None  # our id of the object, if it has one
    drawn: Drawn | None  # None: it was taken away
    print: str
    is_again: bool = False  # said before, and decided for what is here


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One annotation as it is there, and as it was when it was looked at last."""

    number: int
    digest: str
    parent: int | None  # the annotation that it was copied from
    prediction: int | None  # the prediction that it was made from
    objects: tuple[Drawn, ...]  # without those that have a region that makes no sense
    problems: tuple[str, ...]
    unread: frozenset[str]  # keys of those
    numbers: Mapping[str, int]  # key -> our id
    before: Seen | None
    is_fresh: bool  # nobody looked at it as it is now, or a conflict is open
    is_ours: bool  # as we sent it: what is here, and no word of a person there

    @property
    def held(self) -> frozenset[int]:
        """Our objects that stand in it, readable or not."""
        return frozenset(self.numbers.values())

    @property
    def models(self) -> frozenset[str]:
        """The models whose proposals it holds as such."""
        return frozenset(
            version
            for one in self.objects
            if one.provenance.get("status") == Status.PROPOSED
            for version in _version_of(one)
        )


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What there is to judge of one task."""

    voices: tuple[Voice, ...]  # oldest first
    said: tuple[Said, ...]
    outvoted: frozenset[int]  # annotations of which a newer one says otherwise
    conflicts: tuple[str, ...]  # taken away in an older annotation, and standing in a newer one


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a photo here."""

    entry: Entry
    ours: Mapping[int, Instance]
    size_hw: tuple[int, int]
    shown_by: ShownBy


def hear(annotations: Iterable[Mapping[str, Any]], known: Known) -> Heard:
    """Listen to the annotations that were not skipped; to none where all are as they were."""
    annotations = list(annotations)
    if not any(_is_fresh(one, known.entry) for one in annotations):
        return Heard(voices=(), said=(), outvoted=frozenset(), conflicts=())
    in_order = sorted(annotations, key=lambda one: (str(one.get("updated_at", "")), one["id"]))
    voices = tuple(_voice(one, known) for one in in_order)
    said: list[Said] = []
    outvoted: set[int] = set()
    conflicts: list[str] = []
    for place, voice in enumerate(voices):
        newer = [one for one in voices[place + 1 :] if not one.is_ours]
        for one in _words(voice, known) if voice.is_fresh else ():
            holder = next((each for each in reversed(newer) if _holds(each, one)), None)
            if one.drawn is None and holder is not None:
                conflicts.append(
                    f"object {one.number} was taken away in annotation {voice.number} there and "
                    f"stands in the newer {holder.number}: kept"
                )
            elif any(_speaks(each, one, known) for each in newer):
                outvoted |= {voice.number} if one.drawn is not None else set()
            else:
                said.append(one)
    return Heard(
        voices=voices,
        said=tuple(said),
        outvoted=frozenset(outvoted),
        conflicts=tuple(conflicts),
    )


# -- one annotation ------------------------------------------------------------------------------


def _voice(annotation: Mapping[str, Any], known: Known) -> Voice:
    entry, number = known.entry, int(annotation["id"])
    found = found_in(annotation["result"], size_hw=known.size_hw)
    before = entry.seen.get(number)
    parent = _number(annotation.get("parent_annotation"))
    prediction = _number(annotation.get("parent_prediction"))
    related = set(before.holds if before is not None else ())
    if parent is not None and parent in entry.seen:
        related |= entry.seen[parent].holds.keys()
    if prediction is not None:
        related |= {number for number, one in entry.base.items() if one.is_proposal}
    if annotation.get("import_id") == entry.image_id and before is None:
        related |= entry.base.keys()
    by_key = _numbers_by_key(known)
    numbers: dict[str, int] = {}
    for key, said in [
        *((key, our_number(key)) for key in found.unread),
        *((one.key, one.number) for one in found.objects),
    ]:
        ours = _our_number(key, said, by_key, related, known)
        if ours is not None:
            numbers[key] = ours
    return Voice(
        number=number,
        digest=digest(annotation["result"]),
        parent=parent,
        prediction=prediction,
        objects=tuple(one for one in found.objects if one.key not in found.unread),
        problems=found.problems,
        unread=found.unread,
        numbers=numbers,
        before=before,
        is_ours=number == entry.ours and digest(annotation["result"]) == entry.annotation,
        is_fresh=not entry.knows(annotation) or bool(before and before.kept_here),
    )


def _is_fresh(annotation: Mapping[str, Any], entry: Entry) -> bool:
    """Whether it is to be read: nobody looked at it as it is, or noted what it holds."""
    before = entry.seen.get(int(annotation["id"]))
    return before is None or not entry.knows(annotation) or bool(before.kept_here)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _numbers_by_key(known: Known) -> dict[str, int]:
    """Region id there -> our id, of what was drawn there and came here before."""
    numbers = {}
    for number, one in known.ours.items():
        origin = one.source.options.get(ORIGIN)
        if isinstance(origin, Mapping) and origin.get("region"):
            numbers[str(origin["region"])] = number
    return numbers | {one.key: number for number, one in known.entry.base.items() if one.key}


def _our_number(
    key: str, said: int | None, by_key: Mapping[str, int], related: set[int], known: Known
) -> int | None:
    """Our id of the object; None for one that is new to us.

    Others count their regions, too: one that is called like ours and does not say so in its
    ``meta`` is ours only where ours has been seen in this annotation or in what it was made from.
    """
    counted = our_number(key)
    foreign = by_key.get(key)
    if foreign is not None and (counted is None or foreign in related):
        return foreign
    if said is not None:
        return said
    return counted if counted in related and counted in known.entry.base else None


def _version_of(drawn: Drawn) -> Iterable[str]:
    try:
        return (model_version(Source.from_dict(drawn.provenance["source"])),)
    except (KeyError, TypeError, ValueError):
        return ()


# -- what it says --------------------------------------------------------------------------------


def _words(voice: Voice, known: Known) -> list[Said]:
    """All that it says, whether or not a newer one says otherwise."""
    words = []
    kept: Mapping[int, str] = {} if voice.before is None else voice.before.kept_here
    for drawn in voice.objects:
        number, standing = voice.numbers.get(drawn.key), print_of(drawn)
        is_again = number is not None and kept.get(number) == standing
        if is_again or not _is_unchanged(voice, drawn, known):
            words.append(
                Said(
                    annotation=voice.number,
                    number=number,
                    drawn=drawn,
                    print=standing,
                    is_again=is_again,
                )
            )
    for number in sorted(known.entry.base.keys() - voice.held):
        is_again = kept.get(number) == TAKEN_AWAY
        if number in known.ours and (is_again or _took_away(voice, number, known)):
            words.append(
                Said(
                    annotation=voice.number,
                    number=number,
                    drawn=None,
                    print=TAKEN_AWAY,
                    is_again=is_again,
                )
            )
    return words


def _is_unchanged(voice: Voice, drawn: Drawn, known: Known) -> bool:
    """Whether the object stood in it like this when it was looked at last."""
    number = voice.numbers.get(drawn.key)
    before = None if voice.before is None else voice.before.holds.get(number or 0)
    if number is None or before is None:
        return False
    base = known.entry.base.get(number)
    return before == print_of(drawn) or (
        before == "" and base is not None and not base.is_proposal and is_as_sent(drawn, base)
    )


def _took_away(voice: Voice, number: int, known: Known) -> bool:
    """Whether the object was there to be seen in it, or in what it was made from, and is gone."""
    if voice.before is not None:
        return number in voice.before.holds
    parent = None if voice.parent is None else known.entry.seen.get(voice.parent)
    if parent is not None:
        return number in parent.holds
    base = known.entry.base[number]
    return base.is_proposal and _was_shown(voice, number, base, known)


def _was_shown(voice: Voice, number: int, base: Base, known: Known) -> bool:
    """Whether it was made from the prediction of this proposal."""
    if voice.prediction is not None:
        if voice.prediction == base.prediction:
            return True
        shown = known.shown_by(voice.prediction)
        if shown is not None:
            return str(number) in shown
    # That prediction is gone: what else stands here tells which one it was.
    return not base.prediction and model_version(known.ours[number].source) in voice.models


def _holds(voice: Voice, said: Said) -> bool:
    return said.number in voice.held


def _speaks(voice: Voice, said: Said, known: Known) -> bool:
    """Whether the newer one says anything of the same object."""
    for one in voice.objects:
        is_it = (
            one.key == (said.drawn and said.drawn.key)
            if said.number is None
            else voice.numbers.get(one.key) == said.number
        )
        if is_it:
            return not voice.is_fresh or not _is_unchanged(voice, one, known)
    if said.number is None:
        return said.drawn is not None and said.drawn.key in voice.unread
    if said.number in voice.held:
        return True
    is_known = said.number in known.entry.base and said.number in known.ours
    return voice.is_fresh and is_known and _took_away(voice, said.number, known)

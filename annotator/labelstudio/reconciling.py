"""One task there brought in step with its photo: what is ours is changed, what is theirs is not.

Ours are predictions signed by us, and the one annotation that still holds what we sent. Whoever
touched that annotation made it theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from annotator.labelstudio import contents
from annotator.labelstudio.journal import Base, Entry, Seen, digest
from annotator.labelstudio.remote import Remote
from engine.types import Instance, LabeledImage
from exports.label_studio import OURS, TaskChoices, annotation_of, predictions_of


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    entry: Entry  # for the journal
    did_something: bool
    is_waiting: bool  # a person annotated it there; pull first

    def with_data(self, changed: bool) -> Outcome:
        """The same, where the data of the task changed as well."""
        return replace(self, did_something=self.did_something or changed)


@dataclass(frozen=True, kw_only=True)
class Meant:
    """What a task should say."""

    remote_project: int
    task: int
    image: LabeledImage  # as the format holds it
    prints: contents.Prints
    choices: TaskChoices
    decided: frozenset[int]  # all that a person stands behind here, chosen or not


def reconcile(remote: Remote, meant: Meant, entry: Entry) -> Outcome:
    """Replace our annotation unless a person is at it, and our predictions."""
    there = remote.task(meant.task)
    entry = entry.settled(there["annotations"])
    alive = [one for one in there["annotations"] if not one.get("was_cancelled")]
    wanted = annotation_of(meant.image, meant.choices)
    standing = digest([] if wanted is None else wanted["result"])
    if any(not entry.knows(one) and digest(one["result"]) != standing for one in alive):
        return Outcome(entry, did_something=False, is_waiting=True)
    sent = _annotation(remote, meant, entry, alive, wanted)
    if sent is None:
        return Outcome(entry, did_something=False, is_waiting=True)
    entry, did = sent
    places, did_more = _predictions(remote, there, meant)
    proposals = {
        number: replace(base, prediction=places[number])
        for number, base in _bases(contents.proposals(meant.image), meant).items()
    }
    decisions = {number: one for number, one in entry.base.items() if not one.is_proposal}
    entry = replace(
        entry,
        task=meant.task,
        proposed=meant.prints.proposed,
        curated=meant.prints.curated,
        made_with=contents.made_with(meant.choices),
        # Proposals that are not sent (any more) are not there to be taken away.
        base={**decisions, **proposals},
    )
    return Outcome(entry, did or did_more, is_waiting=False)


def _bases(instances: Sequence[Instance], meant: Meant) -> dict[int, Base]:
    return {
        one.id: contents.base_of(one, meant.image, meant.choices)
        for one in instances
        if one.id is not None
    }


# -- our annotation ------------------------------------------------------------------------------


def _annotation(
    remote: Remote,
    meant: Meant,
    entry: Entry,
    alive: Sequence[Mapping[str, Any]],
    wanted: Mapping[str, Any] | None,
) -> tuple[Entry, bool] | None:
    """What is known then and whether anything was sent; None where a person is at it just now."""
    result = [] if wanted is None else wanted["result"]
    own = _untouched(entry, alive)
    if _is_there(meant, entry, own):
        return entry, False
    if own is None and wanted is None:
        return replace(entry, base=_standing_elsewhere(meant, entry, None)), False
    if own is not None:
        number, did = own, digest(result) != entry.annotation
        if did:
            # A person may have pressed Update since the task was read.
            now = remote.annotation_or_none(number)
            if now is None or digest(now["result"]) != entry.annotation:
                return None
            remote.set_annotation(number, result)
    else:
        found = _same(meant, alive, digest(result))
        did = found is None
        body = {**(wanted or {}), "import_id": meant.image.id}
        number = remote.add_annotation(meant.task, body) if found is None else found
    decisions = _bases(contents.decisions(meant.image), meant)
    seen = Seen(digest=digest(result), holds=dict.fromkeys(decisions, ""))
    entry = replace(
        entry,
        ours=number,
        annotation=digest(result),
        base={**_standing_elsewhere(meant, entry, own), **decisions},
        seen={**entry.seen, number: seen},
    )
    return entry, did


def _untouched(entry: Entry, alive: Sequence[Mapping[str, Any]]) -> int | None:
    """The number of the annotation that we made, if it is as we made it."""
    for one in alive:
        is_ours = one["id"] == entry.ours or (
            not entry.ours and one.get("import_id") == entry.image_id
        )
        if is_ours and digest(one["result"]) == entry.annotation:
            return int(one["id"])
    return None


def _same(meant: Meant, alive: Sequence[Mapping[str, Any]], standing: str) -> int | None:
    """The annotation that says just this: it was sent, and the note of it was lost."""
    for one in alive:
        if one.get("import_id") == meant.image.id and digest(one["result"]) == standing:
            return int(one["id"])
    return None


def _is_there(meant: Meant, entry: Entry, own: int | None) -> bool:
    """Whether all decisions stand there as they are here, in whoever's annotation."""
    made_with = contents.made_with(meant.choices)
    if (meant.prints.curated, made_with) == (entry.curated, entry.made_with):
        return True
    decisions = contents.decisions(meant.image)
    if own is not None:
        # Ours may say less than is chosen, where a person's says the rest, but never more.
        held = entry.seen[own].holds.keys() if own in entry.seen else set()
        is_too_much = held - {one.id for one in decisions}
        if made_with != entry.made_with or is_too_much:
            return False
    undone = {
        number
        for number, one in entry.base.items()
        if not one.is_proposal and number not in meant.decided
    }
    return not undone and all(
        one.id is not None and contents.stands(one, entry.base.get(one.id), meant.image)
        for one in decisions
    )


def _standing_elsewhere(meant: Meant, entry: Entry, own: int | None) -> dict[int, Base]:
    """Decisions that were not chosen, and stand in what people made there."""
    held = {number for place, one in entry.seen.items() if place != own for number in one.holds}
    return {
        number: one
        for number, one in entry.base.items()
        if not one.is_proposal and number in meant.decided & held
    }


# -- our predictions -----------------------------------------------------------------------------


def _predictions(
    remote: Remote, there: Mapping[str, Any], meant: Meant
) -> tuple[dict[int, int], bool]:
    """Make those that are missing, then take away those of ours that are not meant (any more).

    Our id of each proposal -> number of its prediction there, and whether anything was done.
    """
    predictions = predictions_of(meant.image, meant.choices)
    wanted = {contents.prediction_digest(one): one for one in predictions}
    places: dict[int, int] = {}
    stale = []
    for one in there["predictions"]:
        if not str(one.get("model_version", "")).startswith(f"{OURS}/"):
            continue
        prediction = wanted.pop(contents.prediction_digest(one), None)
        if prediction is None:
            stale.append(int(one["id"]))
        else:
            places |= dict.fromkeys(_objects(prediction), int(one["id"]))
    for prediction in wanted.values():
        number = remote.add_prediction(meant.remote_project, meant.task, prediction)
        places |= dict.fromkeys(_objects(prediction), number)
    for number in stale:
        remote.delete_prediction(number)
    return places, bool(wanted or stale)


def _objects(prediction: Mapping[str, Any]) -> set[int]:
    return {int(region["meta"][OURS]["id"]) for region in prediction["result"]}

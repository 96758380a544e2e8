"""One task there brought in step with its photo: what is ours is changed, what is theirs is not.

Ours are predictions signed by us, and the one annotation that still holds what we sent. Whoever
touched that annotation made it theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from annotator.labelstudio import contents
from annotator.labelstudio.journal import Entry, digest
from annotator.labelstudio.remote import Remote
from engine.types import LabeledImage
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


def reconcile(
    remote: Remote,
    remote_project: int,
    task: int,
    image: LabeledImage,
    entry: Entry,
    choices: TaskChoices,
) -> Outcome:
    """Replace our predictions, and our annotation unless a person is at it."""
    there = remote.task(task)
    wanted = annotation_of(image, choices)
    standing = digest([] if wanted is None else wanted["result"])
    present = {
        digest(one["result"]): one for one in there["annotations"] if not one.get("was_cancelled")
    }
    if present.keys() - {entry.annotation, entry.taken, standing}:
        return Outcome(entry, did_something=False, is_waiting=True)
    did = _predictions(remote, remote_project, there, image, choices)
    curated, method = contents.fingerprint(contents.decisions(image)), contents.made_with(choices)
    is_same = (curated, method) == (entry.curated, entry.made_with)
    bases = dict(entry.base)
    if not is_same:
        if standing not in present and (wanted is not None or present):
            _annotation(remote, image, task, present.get(entry.annotation), wanted)
            did = True
        bases = {number: one for number, one in bases.items() if one.is_proposal}
        bases.update(_bases(image, contents.decisions(image), choices))
    bases.update(_bases(image, contents.proposals(image), choices))
    entry = replace(
        entry,
        task=task,
        proposed=contents.fingerprint(contents.proposals(image)),
        curated=curated,
        made_with=method,
        annotation=entry.annotation if is_same else standing,
        base=bases,
    )
    return Outcome(entry, did, is_waiting=False)


def _bases(image: LabeledImage, instances: list[Any], choices: TaskChoices) -> dict[int, Any]:
    return {one.id: contents.base_of(one, image, choices) for one in instances}


def _predictions(
    remote: Remote,
    remote_project: int,
    there: Mapping[str, Any],
    image: LabeledImage,
    choices: TaskChoices,
) -> bool:
    """Make those that are missing, then take away those of ours that are not meant (any more)."""
    wanted = {contents.prediction_digest(one): one for one in predictions_of(image, choices)}
    stale = []
    for one in there["predictions"]:
        if not str(one.get("model_version", "")).startswith(f"{OURS}/"):
            continue
        if wanted.pop(contents.prediction_digest(one), None) is None:
            stale.append(int(one["id"]))
    for prediction in wanted.values():
        remote.add_prediction(remote_project, int(there["id"]), prediction)
    for number in stale:
        remote.delete_prediction(number)
    return bool(wanted or stale)


def _annotation(
    remote: Remote,
    image: LabeledImage,
    task: int,
    ours: Mapping[str, Any] | None,
    wanted: Mapping[str, Any] | None,
) -> None:
    if ours is not None:
        remote.set_annotation(int(ours["id"]), [] if wanted is None else wanted["result"])
    elif wanted is not None:
        remote.add_annotation(task, {**wanted, "import_id": image.id})

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


@dataclass(frozen=True)
class Meant:
    """What a task should say."""

    remote_project: int
    task: int
    image: LabeledImage  # as the format holds it
    prints: contents.Prints
    choices: TaskChoices


def reconcile(remote: Remote, meant: Meant, entry: Entry) -> Outcome:
    """Replace our predictions, and our annotation unless a person is at it."""
    there, image, choices = remote.task(meant.task), meant.image, meant.choices
    wanted = annotation_of(image, choices)
    standing = digest([] if wanted is None else wanted["result"])
    present = {
        digest(one["result"]): one for one in there["annotations"] if not one.get("was_cancelled")
    }
    if present.keys() - {entry.annotation, entry.taken, standing}:
        return Outcome(entry, did_something=False, is_waiting=True)
    did = _predictions(remote, there, meant)
    method = contents.made_with(choices)
    is_same = (meant.prints.curated, method) == (entry.curated, entry.made_with)
    bases = dict(entry.base)
    if not is_same:
        if standing not in present and (wanted is not None or present):
            _annotation(remote, meant, present.get(entry.annotation), wanted)
            did = True
        bases = {number: one for number, one in bases.items() if one.is_proposal}
        bases.update(_bases(image, contents.decisions(image), choices))
    bases.update(_bases(image, contents.proposals(image), choices))
    entry = replace(
        entry,
        task=meant.task,
        proposed=meant.prints.proposed,
        curated=meant.prints.curated,
        made_with=method,
        annotation=entry.annotation if is_same else standing,
        base=bases,
    )
    return Outcome(entry, did, is_waiting=False)


def _bases(image: LabeledImage, instances: list[Any], choices: TaskChoices) -> dict[int, Any]:
    return {one.id: contents.base_of(one, image, choices) for one in instances}


def _predictions(remote: Remote, there: Mapping[str, Any], meant: Meant) -> bool:
    """Make those that are missing, then take away those of ours that are not meant (any more)."""
    predictions = predictions_of(meant.image, meant.choices)
    wanted = {contents.prediction_digest(one): one for one in predictions}
    stale = []
    for one in there["predictions"]:
        if not str(one.get("model_version", "")).startswith(f"{OURS}/"):
            continue
        if wanted.pop(contents.prediction_digest(one), None) is None:
            stale.append(int(one["id"]))
    for prediction in wanted.values():
        remote.add_prediction(meant.remote_project, meant.task, prediction)
    for number in stale:
        remote.delete_prediction(number)
    return bool(wanted or stale)


def _annotation(
    remote: Remote, meant: Meant, ours: Mapping[str, Any] | None, wanted: Mapping[str, Any] | None
) -> None:
    if ours is not None:
        remote.set_annotation(int(ours["id"]), [] if wanted is None else wanted["result"])
    elif wanted is not None:
        remote.add_annotation(meant.task, {**wanted, "import_id": meant.image.id})

"""What a photo has to say to Label Studio, as fingerprints: cheap to compare, nothing encoded."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from annotator.labelstudio.journal import Base, digest
from annotator.palette import colour
from annotator.store import Project
from engine.geometry import clip_box
from engine.types import CURATED, Instance, LabeledImage, Rle, Status
from exports.label_studio import TaskChoices, provenance

KEY = "label_studio_key"


def key_of(project: Project) -> str:
    """What the ``ext_id`` of the project's tasks begin with; chosen once, kept in its settings."""
    with project.write() as transaction:
        key = transaction.setting(KEY)
        if key is None:
            key = uuid.uuid4().hex[:12]
            transaction.set_setting(KEY, key)
    return str(key)


def ext_id_of(key: str, image_id: int) -> str:
    """By what a task is known again."""
    return f"{key}-{image_id}"


def image_id_of(key: str, ext_id: str) -> int | None:
    """The photo's id in an ``ext_id`` of this project; None in any other."""
    start, _, number = ext_id.rpartition("-")
    return int(number) if start == key and number.isdecimal() else None


def colours_of(categories: Sequence[tuple[int, str]]) -> dict[str, str]:
    """Class name -> #rrggbb as the app shows it."""
    return {
        name: "#{:02x}{:02x}{:02x}".format(*colour(place))
        for place, (_, name) in enumerate(categories)
    }


def proposals(image: LabeledImage) -> list[Instance]:
    """What goes there as predictions."""
    return [one for one in image.instances if one.status is Status.PROPOSED]


def decisions(image: LabeledImage) -> list[Instance]:
    """What goes there as the annotation."""
    return [one for one in image.instances if one.status in CURATED]


def fingerprint(instances: Iterable[Instance]) -> str:
    """Of what would be sent for these; changes when that changes."""
    return digest(
        [
            [one.category, list(one.box), one.rle and one.rle.counts, provenance(one, ())]
            for one in instances
        ]
    )


@dataclass(frozen=True)
class Prints:
    """The fingerprints of a photo's proposals and decisions, as they are here."""

    proposed: str
    curated: str


def prints_of(image: LabeledImage) -> Prints:
    """Both fingerprints; of the photo before a format leaves anything out."""
    return Prints(fingerprint(proposals(image)), fingerprint(decisions(image)))


def made_with(choices: TaskChoices) -> str:
    """Of the choices that regions are made with."""
    options, controls = choices.options, choices.controls
    return digest([options.masks, options.boxes, controls.image, list(controls.names)])


def prediction_digest(prediction: Any) -> str:
    """Of what a prediction says, ours or as the server has it."""
    return digest([prediction.get("model_version"), prediction.get("result")])


def mask_digest(rle: Rle | None) -> str:
    """The same for the same pixels, whoever packed them; empty for no mask."""
    return "" if rle is None else digest([list(rle.size), rle.counts])


def base_of(instance: Instance, image: LabeledImage, choices: TaskChoices) -> Base:
    """What both sides have once this instance is there."""
    options = choices.options
    has_mask = instance.rle is not None and options.masks != "none"
    has_box = options.boxes or not has_mask
    box = clip_box(instance.box, width=image.width, height=image.height) or instance.box
    return Base(
        category=instance.category or "",
        box=box,
        mask=mask_digest(instance.rle),
        sent=tuple(name for name, sent in (("box", has_box), ("mask", has_mask)) if sent),
        is_proposal=instance.status is Status.PROPOSED,
    )

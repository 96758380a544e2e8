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
from engine.types import CURATED, Box, Instance, LabeledImage, Rle, Status
from exports.label_studio import TaskChoices, provenance
from exports.label_studio_read import Drawn

KEY = "label_studio_key"
TOLERANCE = 0.01  # pixels; percent and back differ by 1e-12


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


# -- the same or not -----------------------------------------------------------------------------


def is_near(first: Box, second: Box) -> bool:
    """The same box, but for what percent and back cost."""
    return all(abs(a - b) <= TOLERANCE for a, b in zip(first, second, strict=True))


def print_of(drawn: Drawn) -> str:
    """Of what the regions of an object say there; changes when a person changes them."""
    return digest([sorted(drawn.categories), drawn.box, mask_digest(drawn.rle)])


def is_as_sent(drawn: Drawn, base: Base) -> bool:
    """Whether the regions there say what both sides had last."""
    return (
        drawn.categories == (base.category,)
        and (drawn.box is None or is_near(drawn.box, base.box))
        and ("mask" not in base.sent or mask_digest(drawn.rle) == base.mask)
    )


def stands(instance: Instance, base: Base | None, image: LabeledImage) -> bool:
    """Whether the decision stands there as it is here, in whoever's annotation."""
    box = clip_box(instance.box, width=image.width, height=image.height) or instance.box
    return (
        base is not None
        and not base.is_proposal
        and base.category == instance.category
        and is_near(base.box, box)
        and base.mask == mask_digest(instance.rle)
    )

"""Instances to the regions of Label Studio: plain dicts out, nothing else is touched.

An instance becomes a rectangle and one mask region (a brush, a bitmask, or a polygon where that
says the same), all parts and holes in it. The mask has the instance's id as its region id, the
rectangle the same with ``-box``: two regions of one id would become one in the editor. Boxes are
percent of the oriented photo. `exports.label_studio_read` is the way back.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image as Pillow

from engine.errors import FormatError, OptionError
from engine.geometry import clip_box, rle_to_mask
from engine.types import CURATED, Box, Instance, LabeledImage, Rle, Source, Status
from exports.contours import segmentation
from exports.label_studio_rle import encode_brush

RECTANGLE, BRUSH, POLYGON, BITMASK = (
    "rectanglelabels",
    "brushlabels",
    "polygonlabels",
    "bitmasklabels",
)
MASK_KINDS = {"brush": BRUSH, "polygon": POLYGON, "bitmask": BITMASK}
BOX_ENDING = "-box"  # of the id of the rectangle beside a mask
SUGGESTED = "new-"  # beginning of the ids of what is no instance yet; no instance's id looks so

OURS = "tag2mask"
"""Key of what we keep in the ``meta`` of a region, and beginning of our model versions."""

Region = dict[str, Any]
Task = dict[str, Any]
MaskKind = Literal["brush", "bitmask", "polygon", "none"]


@dataclass(frozen=True)
class LabelStudioOptions:
    """What an instance becomes there."""

    masks: MaskKind = field(
        default="brush",
        metadata={
            "help": "brush; bitmask (12 times smaller, but Label Studio's own converters leave it "
            "out); polygon (brush where one polygon cannot say it); or none"
        },
    )
    boxes: bool = field(default=True, metadata={"help": "a rectangle beside each mask"})

    def __post_init__(self) -> None:
        if self.masks == "none" and not self.boxes:
            raise OptionError("without boxes and masks there is nothing to write; choose one")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of regions that may come of it."""
        masks = {"none": (), "polygon": (POLYGON, BRUSH)}.get(
            self.masks, (MASK_KINDS.get(self.masks, BRUSH),)
        )
        # An instance without a mask is its box, whatever was chosen.
        return (RECTANGLE, *masks)


@dataclass(frozen=True)
class Controls:
    """How the tags of a label config are called; the defaults are those of our own config."""

    image: str = "image"  # name of the Image tag
    value: str = "image"  # the key in the data of a task where the photo's address stands
    names: tuple[tuple[str, str], ...] = (
        (RECTANGLE, "box"),
        (BRUSH, "brush"),
        (POLYGON, "polygon"),
        (BITMASK, "bitmask"),
    )

    def of(self, kind: str) -> str:
        """The name of the control for this kind of region; KeyError where there is none."""
        return dict(self.names)[kind]


@dataclass(frozen=True)
class TaskChoices:
    """How photos become tasks."""

    options: LabelStudioOptions = LabelStudioOptions()
    controls: Controls = Controls()


def region_id(instance: Instance, *, is_box: bool) -> str:
    """The id of a region of the instance; a string, for the editor dies of numbers."""
    if instance.id is None:
        raise ValueError("only stored instances go to Label Studio: their id joins the two")
    has_mask = instance.rle is not None
    return f"{instance.id}{BOX_ENDING}" if is_box and has_mask else str(instance.id)


def check_instance(image: LabeledImage, instance: Instance) -> None:
    """FormatError for what the server would take and its editor choke on."""
    what = f"object {instance.id} of photo {image.file_name!r}"
    if not instance.category:
        raise FormatError(f"{what} has no class")
    if instance.rle is not None and instance.rle.size != (image.height, image.width):
        raise FormatError(f"{what}: its mask is of {instance.rle.size}, the photo is not")
    if clip_box(instance.box, width=image.width, height=image.height) is None:
        raise FormatError(f"{what}: its box {instance.box} lies outside the photo")


def regions_of(image: LabeledImage, instance: Instance, choices: TaskChoices) -> list[Region]:
    """The rectangle and the mask of one instance; FormatError as `check_instance`."""
    check_instance(image, instance)
    options = choices.options
    has_mask = instance.rle is not None and options.masks != "none"
    has_box = options.boxes or not has_mask
    sent = [name for name, is_there in (("box", has_box), ("mask", has_mask)) if is_there]
    regions = []
    if has_box:
        value = {**_percent(instance.box, image), "rotation": 0}
        regions.append(_region(image, instance, choices, RECTANGLE, value, sent))
    if has_mask:
        assert instance.rle is not None
        kind, value = _mask_value(
            instance.rle, options.masks, width=image.width, height=image.height
        )
        regions.append(_region(image, instance, choices, kind, value, sent))
    return regions


def _region(
    image: LabeledImage,
    instance: Instance,
    choices: TaskChoices,
    kind: str,
    value: dict[str, Any],
    sent: Sequence[str],
) -> Region:
    region: Region = {
        "id": region_id(instance, is_box=kind == RECTANGLE),
        "type": kind,
        "from_name": choices.controls.of(kind),
        "to_name": choices.controls.image,
        "original_width": int(image.width),
        "original_height": int(image.height),
        "image_rotation": 0,
        "value": {**value, kind: [instance.category]},
        "meta": {OURS: provenance(instance, sent)},
    }
    if instance.score is not None:
        region["score"] = float(instance.score)
    return region


def region_of_mask(key: str, label: str, rle: Rle, choices: TaskChoices) -> Region:
    """A mask that is no instance (yet), under an id of its own; never a polygon."""
    masks: MaskKind = "bitmask" if choices.options.masks == "bitmask" else "brush"
    kind, value = _mask_value(rle, masks, width=rle.size[1], height=rle.size[0])
    return {
        "id": key,
        "type": kind,
        "from_name": choices.controls.of(kind),
        "to_name": choices.controls.image,
        "original_width": rle.size[1],
        "original_height": rle.size[0],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
    }


def provenance(instance: Instance, sent: Sequence[str]) -> dict[str, Any]:
    """What is kept in the region's ``meta``, which survives the editor."""
    return {
        "id": instance.id,
        "status": instance.status.value,
        "edited": instance.edited,
        "score": instance.score,
        "points": [list(point) for point in instance.points],
        "source": instance.source.as_dict(),
        "sent": list(sent),
    }


def _percent(box: Box, image: LabeledImage) -> dict[str, float]:
    """Corner and size in percent, inside [0, 100]: Label Studio's own check refuses more."""
    inside = clip_box(box, width=image.width, height=image.height)
    assert inside is not None
    x, y = inside[0] / image.width * 100, inside[1] / image.height * 100
    return {
        "x": x,
        "y": y,
        "width": min((inside[2] - inside[0]) / image.width * 100, 100 - x),
        "height": min((inside[3] - inside[1]) / image.height * 100, 100 - y),
    }


def _mask_value(rle: Rle, kind: MaskKind, *, width: int, height: int) -> tuple[str, dict[str, Any]]:
    if kind == "polygon":
        polygon = segmentation(rle)
        if isinstance(polygon, list):
            corners = np.array(polygon[0], dtype=float).reshape(-1, 2)
            points = corners / (width, height) * 100
            return POLYGON, {"points": points.tolist(), "closed": True}
    mask = rle_to_mask(rle)
    if kind == "bitmask":
        return BITMASK, {"format": "rle", "imageDataURL": _png_address(mask)}
    return BRUSH, {"format": "rle", "rle": encode_brush(mask)}


def _png_address(mask: np.ndarray) -> str:
    """The mask as alpha of a PNG, as the bitmask control keeps it."""
    alpha = mask.astype(np.uint8) * 255
    picture = Pillow.fromarray(np.stack([alpha] * 4, axis=-1))
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


# -- tasks ---------------------------------------------------------------------------------------


def model_version(source: Source) -> str:
    """How a prediction is signed; by its beginning we know our own again."""
    return " ".join(part for part in (f"{OURS}/{source.pipeline}", source.checkpoint) if part)


def predictions_of(image: LabeledImage, choices: TaskChoices) -> list[dict[str, Any]]:
    """The proposals of the photo, one prediction for each model that made some."""
    groups: dict[str, list[Instance]] = {}
    for instance in image.instances:
        if instance.status is Status.PROPOSED:
            groups.setdefault(model_version(instance.source), []).append(instance)
    predictions = []
    for version, instances in groups.items():
        regions = [region for one in instances for region in regions_of(image, one, choices)]
        scores = [one.score for one in instances if one.score is not None]
        prediction: dict[str, Any] = {"model_version": version, "result": regions}
        if scores:
            prediction["score"] = math.fsum(scores) / len(scores)
        predictions.append(prediction)
    return predictions


def annotation_of(image: LabeledImage, choices: TaskChoices) -> dict[str, Any] | None:
    """What people stand behind on the photo; None where that is nothing."""
    curated = [one for one in image.instances if one.status in CURATED]
    if not curated:
        return None
    regions = [region for one in curated for region in regions_of(image, one, choices)]
    # The server takes an imported annotation for ground truth unless it is told not to. The id
    # becomes its ``import_id``, by which it is known again however it was changed there.
    return {"id": int(image.id), "result": regions, "ground_truth": False, "was_cancelled": False}


def task_data(image: LabeledImage, *, address: str, ext_id: str, value: str) -> dict[str, Any]:
    """The data of the task; ``value`` is the key that the label config reads the photo from."""
    return {
        value: address,
        "ext_id": ext_id,
        "file_name": image.file_name,
        "width": int(image.width),
        "height": int(image.height),
        "tags": ", ".join(image.tags),
        "split": image.split,
    }


def task_of(image: LabeledImage, *, address: str, ext_id: str, choices: TaskChoices) -> Task:
    """The photo as an import takes it, with its predictions and its annotation."""
    annotation = annotation_of(image, choices)
    return {
        "data": task_data(image, address=address, ext_id=ext_id, value=choices.controls.value),
        "predictions": predictions_of(image, choices),
        "annotations": [] if annotation is None else [annotation],
    }

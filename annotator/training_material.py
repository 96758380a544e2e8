"""From a project to the file that a trainer learns from: tags for a localizer, COCO for a detector.

Photos that are not where they were are left out and named. OptionError where too little is left.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from annotator import detector_material
from annotator.detector_material import DetectorMaterial
from annotator.store import Project, now
from annotator.training_kinds import Gathered
from annotator.training_options import (
    AnyOptions,
    DetectorTrainingOptions,
    material,
    tagged_photos,
)
from annotator.views import Photo, View
from engine.errors import OptionError
from engine.types import Status
from exports.detection_data import LEARNT, DetectionPhoto, write_detection_data
from exports.tags import write_tags


def gather(project: Project, view: View, options: AnyOptions) -> Gathered:
    """What a training with these options learns from."""
    if isinstance(options, DetectorTrainingOptions):
        return _gather_instances(project, view, options)
    return _gather_tags(project, view)


def _gather_tags(project: Project, view: View) -> Gathered:
    counted = material(view)
    counted.require_enough()
    found: list[Photo] = []
    labels: dict[str, tuple[str, ...]] = {}
    missing = []
    for photo, tags in tagged_photos(view):
        if os.path.isfile(project.photo_path(photo)):
            found.append(photo)
            labels[photo.file_name] = tags
        else:
            missing.append(photo.file_name)
    if not found:
        raise OptionError(
            "none of the tagged photos is where it was; see 'annotator status --check'"
        )

    def write(path: Path) -> None:
        write_tags(path, labels)

    return Gathered(tuple(found), tuple(missing), counted.classes, write, {})


def _gather_instances(project: Project, view: View, options: DetectorTrainingOptions) -> Gathered:
    score = options.with_proposals
    whole = detector_material.material(view, with_proposals=score)
    whole.require_enough()
    found, missing = detector_material.material_here(project, view, with_proposals=score)
    if problem := found.problem():
        raise OptionError(
            f"{len(missing)} of the photos to learn from are not where they were, see 'annotator "
            f"status --check'; without them, {problem}"
        )
    photos = _detection_photos(found)
    categories = [
        (number, name)
        for number, name in view.category_names().items()
        if name in found.named_classes
    ]
    parent = found.parent

    def write(path: Path) -> None:
        write_detection_data(
            path,
            photos,
            categories=categories,
            date_created=now(),
            parent=parent,
            statuses=LEARNT | {Status.PROPOSED},
        )

    facts = {
        "parent": parent,
        "validation": len(found.validation),
        "held_back": len(found.judges),
        "rejected": found.rejected,
        "proposed": found.proposed,
    }
    names = {photo.image.id for photo in photos}
    taking_part = tuple(photo for photo in view.photos() if photo.id in names)
    return Gathered(taking_part, tuple(missing), found.classes, write, facts)


def _detection_photos(found: DetectorMaterial) -> list[DetectionPhoto]:
    """As the trainer reads them; a rejected instance of a class that nobody has says nothing."""
    learnt = found.named_classes
    train = [
        DetectionPhoto(
            replace(
                image, instances=tuple(one for one in image.instances if one.category in learnt)
            ),
            "train",
            image.id in found.complete,
        )
        for image in found.train
    ]
    chosen = [DetectionPhoto(image, "validation", complete=True) for image in found.validation]
    return sorted(train + chosen, key=lambda photo: photo.image.id)

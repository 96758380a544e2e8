"""How long a training will take on this machine: settings in, seconds out; nothing is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import torch

from engine.detectors import kind_of
from engine.errors import JobError, PhotoError
from engine.photos import load
from exports.detection_data import DetectionPhoto, read_detection_data
from training.batches import Plan
from training.detection_set import (
    LOOKED_AT,
    DetectionPart,
    DetectionSet,
    check_something_to_learn,
    detection_batches,
    learnt_of,
    view_of,
)
from training.detection_views import MaskStore
from training.detector_beginnings import make_training
from training.detector_settings import DetectorSettings
from training.detector_validation import detected
from training.endings import OUT_OF_MEMORY
from training.loop import train_step
from training.photo_cache import unkept
from training.processes import ProcessGroup, joined

TIMED = 3  # steps, after one that is slower because it is the first


def estimate(settings: DetectorSettings) -> dict[str, Any]:
    """Seconds of the whole training from a few real steps, of a network with random weights.

    Reads as many photos as a step sees. AnnotatorError as the training itself would raise.
    """
    if settings.machine.threads:
        torch.set_num_threads(settings.machine.threads)
    recipe, data = settings.recipe, read_detection_data(settings.data)
    photos = data.part("train")
    check_something_to_learn(photos, settings)
    judged = sum(photo.complete for photo in data.part("validation")) or min(len(photos), LOOKED_AT)
    with joined(settings.machine.device) as group:
        plan = _plan(settings, len(photos), group)
        part = _first_that_open(settings, photos, count=plan.batch)
        masks = MaskStore() if kind_of(settings.model).has_masks else None
        few = DetectionSet(data.classes, part, part, masks, data.parent, "", {})
        try:
            a_step, a_photo = _timed(settings, few, group)
        except torch.OutOfMemoryError as error:
            raise JobError(OUT_OF_MEMORY) from error
    an_epoch = plan.steps_an_epoch
    epochs = recipe.epochs_of(an_epoch)
    judgements = sum(
        recipe.is_judged(epoch, steps_an_epoch=an_epoch) for epoch in range(1, epochs + 1)
    )
    steps = epochs * an_epoch
    return {
        "seconds": round(steps * a_step + judgements * judged * a_photo, 3),
        "steps": steps,
        "seconds_a_step": round(a_step, 6),
        "photos": len(photos),
        "instances": sum(len(learnt_of(photo)) for photo in photos),
    }


def _plan(settings: DetectorSettings, photos: int, group: ProcessGroup) -> Plan:
    return Plan.fitting(
        photos,
        batch=settings.recipe.batch,
        seed=settings.machine.seed,
        rank=group.rank,
        processes=group.count,
    )


def _first_that_open(
    settings: DetectorSettings, photos: Sequence[DetectionPhoto], *, count: int
) -> DetectionPart:
    """PhotoError of the last one where none does."""
    view = view_of(settings, photos)
    some: list[DetectionPhoto] = []
    problem: PhotoError | None = None
    # Those with objects first: they are what costs time.
    for photo in sorted(photos, key=lambda one: not learnt_of(one)):
        if len(some) == count:
            break
        name = photo.image.file_name
        try:
            view.of(load(settings.photos / name), file_name=name)
        except PhotoError as error:
            problem = error
        else:
            some.append(photo)
    if problem is not None and not some:
        raise problem
    names = [photo.image.file_name for photo in some]
    return DetectionPart(tuple(some), unkept(settings.photos, names, view), tuple(some))


def _timed(
    settings: DetectorSettings, data: DetectionSet, group: ProcessGroup
) -> tuple[float, float]:
    """Seconds of a step, and of judging a photo."""
    plan = _plan(settings, len(data.training), group)
    training = make_training(settings, data, plan, group, goes_on=True)
    made = detection_batches(data, plan, settings, first_step=0, last_step=1 + TIMED)
    began = 0.0
    with contextlib.closing(made):
        for step, batch in enumerate(made):
            train_step(training, batch, step=step)
            began = began or time.monotonic()
    a_step = (time.monotonic() - began) / TIMED
    began = time.monotonic()
    looked_at = data.looked_at
    detected(training.network, data, looked_at, min_size=training.min_size, device=group.device)
    return a_step, (time.monotonic() - began) / len(looked_at.numbers)

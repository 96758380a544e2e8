"""Train a detector from reviewed objects: photos and data.json in, a detector in one file out.

    python -m training.detector --photos FOLDER --data data.json --out RUN_FOLDER --model fasterrcnn

The run's folder gets settings.json, log.jsonl, last.pt (to go on from), model.safetensors,
instances.json (losses of every object) and samples/ (pictures of what was found).
Exit codes: 0 done, 1 failed, 2 wrong flags, 3 stopped by SIGTERM or SIGINT.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from engine.detectors import kind_of
from engine.detectors.saved import DetectorCard, save_detector
from engine.options import as_dict
from training.batches import Plan
from training.detection_set import MANY, DetectionSet, detection_batches, read_detection_set
from training.detector_beginnings import make_training
from training.detector_settings import DetectorSettings, detector_presets_as_json, parse
from training.detector_steps import DetectorTraining
from training.detector_validation import detected, detection_metrics, write_samples
from training.entry import answer, carry_out, exit_code, stop_here
from training.estimate import estimate
from training.log import Event, RunLog
from training.loop import Hooks, Stopped, run
from training.photo_contents import PhotoContents
from training.processes import ProcessGroup
from training.reading import discard_pixels
from training.run_folder import MODEL, fingerprint
from training.state import NAME as STATE
from training.state import Kept, Progress, load_state, save_state


def train(settings: DetectorSettings, *, on_event: Callable[[Event], None] | None = None) -> Path:
    """Train to the end and return the detector's path; ``on_event`` sees every line of the log.

    Under torchrun every process calls this, and the first one writes. Sets torch's seed and, if
    asked, its threads for the whole process. AnnotatorError for mistakes in the settings,
    NonFiniteLoss and Stopped (both JobErrors) where the training ended early; all but Stopped are
    logged as "failed".
    """
    return carry_out(settings, functools.partial(_train, settings), on_event=on_event)


def _train(
    settings: DetectorSettings,
    group: ProcessGroup,
    log: RunLog,
    progress: Progress,
    stop_asked: Callable[[], bool],
) -> None:
    machine = settings.machine
    data = read_detection_set(settings, group, lambda: stop_here(stop_asked))
    plan = Plan.fitting(
        len(data.training.asked),
        batch=settings.recipe.batch,
        seed=machine.seed,
        rank=group.rank,
        processes=group.count,
    )
    goes_on = (settings.out / STATE).exists()
    training = make_training(settings, data, plan, group, goes_on=goes_on, stop_asked=stop_asked)
    mark = _fingerprint(settings, data)
    contents = PhotoContents((data.training.cache, data.validation.cache))
    kept: dict[str, Kept] = {
        "photos": contents,
        "network": training.network,
        "optimiser": training.optimiser,
        "average": training.average,
        "tally": training.tally,
    }
    vars(progress).update(vars(load_state(settings.out, kept, fingerprint=mark)))
    _log_start(log, settings, data, training, progress)
    _tell_of_gone(log, contents, progress)
    hooks = Hooks(
        save=lambda progress: _save(settings, training, kept, mark, progress),
        close_epoch=lambda progress, epoch: _close_epoch(
            settings, data, training, log, progress, epoch
        ),
    )
    made = detection_batches(
        data, training.plan, settings, first_step=progress.step, last_step=training.steps
    )
    with contextlib.closing(made):
        try:
            run(
                training,
                made,
                progress,
                log=log,
                hooks=hooks,
                log_steps=machine.log_steps,
                save_seconds=machine.save_seconds,
            )
        except Stopped:
            if group.leads:
                training.tally.write(settings.out)
            raise
    group.wait()
    if group.leads:
        discard_pixels(settings.out)
    seconds = round(progress.seconds, 3)
    told = {"metrics": progress.kept_metrics, "seconds": seconds, "early": progress.finished}
    log.write("done", step=progress.step, **told)


def _fingerprint(settings: DetectorSettings, data: DetectionSet) -> str:
    """Of everything that decides what the network becomes, and which one is kept."""
    decisive = {
        "model": settings.model,
        "network": dict(settings.network),
        "recipe": as_dict(settings.recipe),
        "weights": None if settings.weights is None else settings.weights.name,
        "seed": settings.machine.seed,
        "data": data.hash,
    }
    return fingerprint(decisive)


def _log_start(
    log: RunLog,
    settings: DetectorSettings,
    data: DetectionSet,
    training: DetectorTraining,
    progress: Progress,
) -> None:
    log.write(
        "start",
        process=os.getpid(),
        model=settings.model,
        preset=settings.preset,
        photos=len(data.training),
        validation_photos=len(data.validation),
        instances=len(data.learnt),
        classes=list(data.classes),
        epochs=training.epochs,
        steps=training.steps,
        step=progress.step,
        device=str(training.group.device),
        processes=training.group.count,
        parameters=sum(one.numel() for one in training.network.parameters()),
        seed=settings.machine.seed,
        parent=data.parent,
        left_out=data.left_out,
    )


def _tell_of_gone(log: RunLog, contents: PhotoContents, progress: Progress) -> None:
    """A line for each photo that the training has seen and goes on without."""
    for name, reason in list(contents.gone.items())[:MANY]:
        text = f"the training goes on without photo {name!r}, which does not open now: {reason}"
        log.write("note", step=progress.step, text=text)


def _save(
    settings: DetectorSettings,
    training: DetectorTraining,
    kept: Mapping[str, Kept],
    mark: str,
    progress: Progress,
) -> None:
    if training.group.leads:
        save_state(settings.out, kept, progress, fingerprint=mark)


def _close_epoch(
    settings: DetectorSettings,
    data: DetectionSet,
    training: DetectorTraining,
    log: RunLog,
    progress: Progress,
    epoch: int,
) -> None:
    """Where it is time, tell of the objects, validate and keep the network if it is to be.

    The file of the objects grows by every epoch, and with few photos there are thousands.
    """
    training.tally.close(epoch)
    an_epoch = training.plan.steps_an_epoch
    if training.group.leads and settings.recipe.is_judged(epoch, steps_an_epoch=an_epoch):
        training.tally.write(settings.out)
        with training.average.in_place():
            _judge(settings, data, training, log, progress, epoch)
    finished = training.group.sum(torch.tensor(float(progress.finished)))
    progress.finished = bool(finished)


def _judge(
    settings: DetectorSettings,
    data: DetectionSet,
    training: DetectorTraining,
    log: RunLog,
    progress: Progress,
    epoch: int,
) -> None:
    recipe = settings.recipe
    looked_at = data.looked_at
    metrics: dict[str, Any] = {}
    if looked_at.numbers:
        photos = detected(
            training.network,
            data,
            looked_at,
            min_size=training.min_size,
            device=training.group.device,
            check=lambda: stop_here(training.stop_asked, alone=training.group.count == 1),
        )
        masks = kind_of(settings.model).has_masks
        metrics = detection_metrics(photos, masks=masks)
        told = {"metrics": metrics, "of": "training" if looked_at.has_trained else "validation"}
        log.write("validation", step=progress.step, epoch=epoch, **told)
        try:
            write_samples(
                *(settings.out, data, looked_at, photos),
                min_size=training.min_size,
                count=recipe.samples,
                epoch=epoch,
            )
        except OSError as error:
            text = f"no pictures of what was found were drawn: {error}"
            log.write("note", step=progress.step, text=text)
    # What it finds on photos that taught it says nothing about which network is the better one.
    progress.metrics = {} if looked_at.has_trained else metrics
    figures = [progress.metrics[name] for name in ("ap50", "ap") if name in progress.metrics]
    is_better = not figures or figures > progress.best
    if is_better:
        progress.best, progress.since_best = figures, 0
    else:
        progress.since_best += 1
        progress.finished = 0 < recipe.patience <= progress.since_best
    if is_better or recipe.keep == "last":
        _keep(settings, data, training, progress, epoch)
        log.write("checkpoint", step=progress.step, epoch=epoch, path=MODEL)


def _keep(
    settings: DetectorSettings,
    data: DetectionSet,
    training: DetectorTraining,
    progress: Progress,
    epoch: int,
) -> None:
    progress.kept_metrics, progress.kept_epoch = dict(progress.metrics), epoch
    card = DetectorCard(
        arch=settings.model,
        options=dict(settings.network),
        classes=data.classes,
        metrics=progress.kept_metrics,
        training={
            "preset": settings.preset,
            "recipe": as_dict(settings.recipe),
            "seed": settings.machine.seed,
            "epoch": epoch,
            "step": progress.step,
            "photos": len(data.training),
            "validation_photos": len(data.validation),
            "instances": len(data.learnt),
            "parent": data.parent,
            "data": data.hash,
        },
    )
    save_detector(settings.out / MODEL, training.network, card)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--describe" in given:
        answer(detector_presets_as_json(), indent=2)
        return 0
    return exit_code(lambda: _answer(given))


def _answer(arguments: list[str]) -> None:
    settings, only_estimate = parse(arguments)
    if only_estimate:
        answer(estimate(settings))
    else:
        train(settings)


if __name__ == "__main__":
    sys.exit(main())

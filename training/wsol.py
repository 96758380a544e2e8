"""Train a localizer from tags: photos and a tags file in, a checkpoint that describes itself out.

    python -m training.wsol --photos FOLDER --tags tags.csv --out RUN_FOLDER --model gtformer

The run's folder gets settings.json, log.jsonl, last.pt (to go on from) and model.safetensors.
Exit codes: 0 done, 1 failed, 2 wrong flags, 3 stopped by SIGTERM or SIGINT.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from engine.localizers.saved import LocalizerCard, save_localizer
from engine.options import as_dict
from training.batches import Plan, batches
from training.beginnings import make_network
from training.entry import answer, carry_out, exit_code, stop_here
from training.localizer_steps import LocalizerTraining
from training.log import Event, RunLog
from training.loop import Hooks, run
from training.optimiser import make_optimiser
from training.processes import ProcessGroup
from training.reading import ReadData, discard_pixels, read_data
from training.run_folder import MODEL, fingerprint
from training.settings import Settings, parse, presets_as_json
from training.state import NAME as STATE
from training.state import Kept, Progress, load_state, save_state
from training.validation import BoxRule, validate


def train(settings: Settings, *, on_event: Callable[[Event], None] | None = None) -> Path:
    """Train to the end and return the checkpoint's path; ``on_event`` sees every line of the log.

    Under torchrun every process calls this, and the first one writes. Sets torch's seed and, if
    asked, its threads for the whole process. AnnotatorError for mistakes in the settings,
    NonFiniteLoss and Stopped (both JobErrors) where the training ended early; all but Stopped are
    logged as "failed".
    """
    return carry_out(settings, functools.partial(_train, settings), on_event=on_event)


def _train(
    settings: Settings,
    group: ProcessGroup,
    log: RunLog,
    progress: Progress,
    stop_asked: Callable[[], bool],
) -> None:
    machine = settings.machine
    data = read_data(settings, group, lambda: stop_here(stop_asked))
    training = _training(settings, data, group, stop_asked)
    mark = _fingerprint(settings, data)
    kept: dict[str, Kept] = {"network": training.network, "optimiser": training.optimiser}
    found = load_state(settings.out, kept, fingerprint=mark)
    vars(progress).update(vars(found))
    _log_start(log, settings, data, training, progress)
    hooks = Hooks(
        save=lambda progress: _save(settings, training, kept, mark, progress),
        close_epoch=functools.partial(_close_epoch, settings, data, training, log),
    )
    made = batches(
        data.training,
        data.tagged.targets(data.tagged.training),
        training.plan,
        settings.recipe.augmentation,
        first_step=progress.step,
        last_step=training.steps,
        workers=machine.workers,
    )
    with contextlib.closing(made):
        run(
            training,
            made,
            progress,
            log=log,
            hooks=hooks,
            log_steps=machine.log_steps,
            save_seconds=machine.save_seconds,
        )
    group.wait()
    if group.leads:
        discard_pixels(settings.out)
    seconds = round(progress.seconds, 3)
    log.write("done", step=progress.step, metrics=progress.kept_metrics, seconds=seconds)


def _training(
    settings: Settings, data: ReadData, group: ProcessGroup, stop_asked: Callable[[], bool]
) -> LocalizerTraining:
    recipe = settings.recipe
    plan = Plan.fitting(
        len(data.training),
        batch=recipe.batch,
        seed=settings.machine.seed,
        rank=group.rank,
        processes=group.count,
    )
    goes_on = (settings.out / STATE).exists()
    network = make_network(settings, data.tagged.classes, goes_on=goes_on, device=group.device)
    fast: list[str] = getattr(network, "fast_parameters", list)()
    return LocalizerTraining(
        network=network,
        optimiser=make_optimiser(network, recipe, fast_parameters=frozenset(fast)),
        recipe=recipe,
        plan=plan,
        group=group,
        multi_label=data.tagged.multi_label,
        amp=settings.machine.amp and group.halves,
        stop_asked=stop_asked,
    )


def _fingerprint(settings: Settings, data: ReadData) -> str:
    """Of everything that decides what the network becomes."""
    recipe = {name: value for name, value in as_dict(settings.recipe).items() if name != "keep"}
    decisive = {
        "model": settings.model,
        "network": dict(settings.network),
        "recipe": recipe,
        "weights": None if settings.weights is None else settings.weights.name,
        "seed": settings.machine.seed,
        "classes": list(data.tagged.classes),
        "multi_label": data.tagged.multi_label,
        "data": data.hash,
    }
    return fingerprint(decisive)


def _log_start(
    log: RunLog, settings: Settings, data: ReadData, training: LocalizerTraining, progress: Progress
) -> None:
    tagged = data.tagged
    log.write(
        "start",
        process=os.getpid(),
        model=settings.model,
        preset=settings.preset,
        photos=len(tagged.training),
        validation_photos=len(tagged.validation),
        classes=list(tagged.classes),
        multi_label=tagged.multi_label,
        epochs=settings.recipe.epochs,
        steps=training.steps,
        step=progress.step,
        device=str(training.group.device),
        processes=training.group.count,
        parameters=sum(one.numel() for one in training.network.parameters()),
        seed=settings.machine.seed,
        left_out=data.left_out,
    )


def _save(
    settings: Settings,
    training: LocalizerTraining,
    kept: Mapping[str, Kept],
    mark: str,
    progress: Progress,
) -> None:
    if training.group.leads:
        save_state(settings.out, kept, progress, fingerprint=mark)


def _close_epoch(
    settings: Settings,
    data: ReadData,
    training: LocalizerTraining,
    log: RunLog,
    progress: Progress,
    epoch: int,
) -> None:
    """Validate, and keep the network where it is the last or the best."""
    if training.group.leads:
        recipe, tagged = settings.recipe, data.tagged
        if tagged.validation:
            progress.metrics = validate(
                training.network,
                data.validation,
                tagged.validation,
                classes=tagged.classes,
                multi_label=tagged.multi_label,
                truth=data.truth,
                box_rule=BoxRule(recipe.protocol, recipe.box_threshold),
                batch=min(recipe.forward_batch or recipe.batch, 64),
                device=training.group.device,
                check=lambda: stop_here(training.stop_asked, alone=training.group.count == 1),
            )
            fields = {"epoch": epoch, "metrics": progress.metrics}
            log.write("validation", step=progress.step, **fields)
        if recipe.keep == "last" or _is_better(progress):
            _keep(settings, data, training.network, progress, epoch)
            log.write("checkpoint", step=progress.step, epoch=epoch, path=MODEL)
    training.group.wait()


def _is_better(progress: Progress) -> bool:
    if not progress.kept_epoch or not progress.metrics:
        return True
    for name in ("gt_known", "map", "top1"):
        new, old = progress.metrics.get(name), progress.kept_metrics.get(name)
        if new is not None and old is not None:
            return bool(new > old)
    return True


def _keep(
    settings: Settings, data: ReadData, network: nn.Module, progress: Progress, epoch: int
) -> None:
    progress.kept_metrics, progress.kept_epoch = dict(progress.metrics), epoch
    card = LocalizerCard(
        arch=settings.model,
        options=dict(settings.network),
        classes=data.tagged.classes,
        image_size=settings.recipe.image_size,
        multi_label=data.tagged.multi_label,
        metrics=progress.kept_metrics,
        training={
            "preset": settings.preset,
            "recipe": as_dict(settings.recipe),
            "seed": settings.machine.seed,
            "epoch": epoch,
            "step": progress.step,
            "photos": len(data.training),
            "validation_photos": len(data.validation),
            "data": data.hash,
        },
    )
    save_localizer(settings.out / MODEL, network, card)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--describe" in given:
        answer(presets_as_json(), indent=2)
        return 0
    return exit_code(lambda: train(parse(given)))


if __name__ == "__main__":
    sys.exit(main())

"""The detector that a training begins with: random, published, or what an earlier one learnt."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.detectors import build, kind_of
from engine.detectors.pretrained import CLASS_LAYERS, load_backbone, load_but_classes
from engine.detectors.saved import load_detector
from engine.options import from_dict
from engine.torch_files import state_dict_of
from engine.weight_files import fill
from training.averages import Average
from training.batches import Plan
from training.detection_set import DetectionSet
from training.detector_settings import OURS, DetectorSettings
from training.detector_steps import DetectorTraining
from training.optimiser import make_detector_optimiser
from training.processes import ProcessGroup
from training.roi_heads import learning
from training.tally import Tally

MASKS = "roi_heads.mask_"  # what Mask R-CNN has beyond Faster R-CNN


def make_training(
    settings: DetectorSettings,
    data: DetectionSet,
    plan: Plan,
    group: ProcessGroup,
    *,
    goes_on: bool,
    stop_asked: Callable[[], bool] = lambda: False,
) -> DetectorTraining:
    """All that stays the same from step to step; WeightsError as `make_detector` raises it."""
    recipe = settings.recipe
    network = make_detector(settings, data.classes, goes_on=goes_on, device=group.device)
    return DetectorTraining(
        network=network,
        optimiser=make_detector_optimiser(network, recipe),
        plan=plan,
        group=group,
        amp=settings.machine.amp and group.halves,
        stop_asked=stop_asked,
        recipe=recipe,
        min_size=settings.network["min_size"],
        tally=Tally([one.id or 0 for one in data.asked]),
        average=Average(network, recipe.average),
    )


def make_detector(
    settings: DetectorSettings, classes: tuple[str, ...], *, goes_on: bool, device: torch.device
) -> nn.Module:
    """The network on the device, ready to learn; the seed alone decides what is random.

    One that ``goes_on`` gets its weights from elsewhere, so none are fetched or read. WeightsError
    where weights are asked for and cannot be had, or do not fit.
    """
    torch.manual_seed(settings.machine.seed)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
    begins_with = None if goes_on else settings.weights
    options = dict(settings.network)
    if goes_on or begins_with is not None:
        kind = kind_of(settings.model)
        network = kind.build(from_dict(kind.options, options), len(classes))
    else:
        network = build(settings.model, num_classes=len(classes), **options)
    if begins_with is not None:
        _fill(network, begins_with, model=settings.model, classes=classes)
    learning(network, settings.recipe.rules)
    return network.to(device).train()


def _fill(network: nn.Module, path: Path, *, model: str, classes: tuple[str, ...]) -> None:
    if path.suffix == OURS:
        _fill_from_detector(network, path, model=model, classes=classes)
        return
    weights = state_dict_of(path)
    if any(name.startswith("roi_heads.") for name in weights):
        load_but_classes(network, weights)
    else:
        load_backbone(network, weights)


def _fill_from_detector(
    network: nn.Module, path: Path, *, model: str, classes: tuple[str, ...]
) -> None:
    """Everything of an earlier training; of its classes those that are still there, by name.

    Faster and Mask R-CNN begin with each other: only the masks are then without a start.
    """
    trained, card = load_detector(path)
    own = network.state_dict()
    learnt = {name: one for name, one in trained.state_dict().items() if name in own}
    rows = {place: card.classes.index(name) for place, name in _shared(classes, card.classes)}
    for name in learnt:
        if name.startswith(CLASS_LAYERS):
            counts = {"classes": len(classes), "theirs": len(card.classes)}
            learnt[name] = _by_class(own[name], learnt[name], rows, **counts)
    fresh = {} if kind_of(card.arch).has_masks else _of_masks(own)
    taken = {**learnt, **fresh}
    fill(network, taken, source=f"{os.fspath(path)!r}, a {card.arch} for a {model},")


def _of_masks(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one for name, one in weights.items() if name.startswith(MASKS)}


def _shared(ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[tuple[int, str]]:
    return [(place, name) for place, name in enumerate(ours) if name in theirs]


def _by_class(
    own: Tensor, taken: Tensor, rows: Mapping[int, int], *, classes: int, theirs: int
) -> Tensor:
    """``own`` with the rows of background and of the classes that both know.

    What does not fit beyond the classes comes back as it is, to be refused with its name.
    """
    if own.shape[1:] != taken.shape[1:]:
        return taken
    ours_by_class = own.unflatten(0, (classes + 1, -1)).clone()
    theirs_by_class = taken.unflatten(0, (theirs + 1, -1))
    for place, there in {-1: -1, **rows}.items():
        ours_by_class[place + 1] = theirs_by_class[there + 1]
    return ours_by_class.flatten(0, 1)

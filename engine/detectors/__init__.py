"""A photo in, boxes with classes and scores out: networks that are trained from instances.

`DETECTORS` names them; `build` makes one. Reading this loads no torch: the networks are imported
when one is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.detectors.options import FasterRcnnOptions, MaskRcnnOptions
from engine.errors import OptionError
from engine.options import from_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DetectorKind:
    """One architecture: the class of its options, and what makes a network of them.

    ``build(options, num_classes)`` answers in training mode with random weights and never
    downloads: published weights come with `engine.detectors.build`. ``has_masks`` says whether it
    answers with masks beside the boxes.
    """

    options: type[Any]
    build: Callable[[Any, int], nn.Module]
    has_masks: bool = False


def _build_fasterrcnn(options: FasterRcnnOptions, num_classes: int) -> nn.Module:
    from engine.detectors.rcnn import faster_rcnn

    return faster_rcnn(options, num_classes)


def _build_maskrcnn(options: MaskRcnnOptions, num_classes: int) -> nn.Module:
    from engine.detectors.rcnn import mask_rcnn

    return mask_rcnn(options, num_classes)


DETECTORS: dict[str, DetectorKind] = {
    "fasterrcnn": DetectorKind(FasterRcnnOptions, _build_fasterrcnn),
    "maskrcnn": DetectorKind(MaskRcnnOptions, _build_maskrcnn, has_masks=True),
}


def kind_of(name: str) -> DetectorKind:
    """The architecture of that name; OptionError where there is none."""
    if name not in DETECTORS:
        raise OptionError(
            f"There is no detector called {name!r}; there are {', '.join(DETECTORS)}."
        )
    return DETECTORS[name]


def build(name: str, *, num_classes: int, **options: Any) -> nn.Module:
    """torchvision's detector in training mode, with random weights unless ``weights`` asks.

    ``num_classes`` counts no background; in targets and answers the classes are 1 to num_classes.
    It is called as torchvision's are: ``network(list of (3, h, w) in 0..1, targets)`` answers a
    dict of losses, ``network.eval()(list)`` a list of dicts. OptionError for an unknown name,
    option or value; WeightsError where published weights are asked for and cannot be had.
    """
    kind = kind_of(name)
    if num_classes < 1:
        raise OptionError(f"A detector needs at least one class, got {num_classes}.")
    chosen = from_dict(kind.options, options)
    if chosen.weights == "none" and chosen.norm == "frozen":
        raise OptionError(
            "Without weights there is nothing to freeze in norm 'frozen'; take 'group' or 'batch'."
        )
    network = kind.build(chosen, num_classes)
    if chosen.weights != "none":
        from engine.detectors.pretrained import load_published

        load_published(network, name, chosen)
    return network

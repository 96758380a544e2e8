"""Published weights for a detector, through torchvision: an ImageNet backbone, or all but classes.

The layers that name classes keep their own start: COCO's classes are not the user's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn

from engine.detectors.options import DetectorOptions
from engine.errors import WeightsError
from engine.weight_files import fill

logger = logging.getLogger(__name__)

CLASS_LAYERS = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
"""Their shape depends on the classes."""
COUNTER = "num_batches_tracked"  # only living norms count, and only counting it changes nothing

BACKBONES = {
    "resnet50": "resnet50",
    "resnet50_v2": "resnet50",
    "mobilenet": "mobilenet_v3_large",
    "resnet18": "resnet18",
}
DETECTORS_OF_COCO = {
    ("fasterrcnn", "resnet50"): "fasterrcnn_resnet50_fpn",
    ("fasterrcnn", "resnet50_v2"): "fasterrcnn_resnet50_fpn_v2",
    ("fasterrcnn", "mobilenet"): "fasterrcnn_mobilenet_v3_large_fpn",
    ("maskrcnn", "resnet50"): "maskrcnn_resnet50_fpn",
    ("maskrcnn", "resnet50_v2"): "maskrcnn_resnet50_fpn_v2",
}


def load_published(network: nn.Module, name: str, options: DetectorOptions) -> None:
    """Fetch what the options ask for (once; then from the cache) and load it.

    WeightsError where it cannot be had or does not fit.
    """
    if options.weights == "coco":
        load_but_classes(network, _of_coco(DETECTORS_OF_COCO[name, options.backbone]))
    else:
        load_backbone(network, _of_imagenet(BACKBONES[options.backbone]))


def load_but_classes(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the state dict of the same detector for other classes; WeightsError where it differs.

    Names that its layers once had are understood.
    """
    own = network.state_dict()
    named = {_todays_name(name): value for name, value in weights.items()}
    taken = {name: value for name, value in named.items() if not name.endswith(COUNTER)}
    kept = _kept(own, CLASS_LAYERS)
    fill(network, {**taken, **kept}, source="The published detector")


def load_backbone(network: Any, weights: Mapping[str, Tensor]) -> None:
    """Load the state dict of a classifier into the backbone; what it has beyond that is left out.

    WeightsError where a layer is missing or of another shape, or where it has batch norms and the
    network group norms: scale and shift of the one mean nothing to the other.
    """
    body = network.backbone.body
    own = body.state_dict()
    by_name = {name.removeprefix("features."): value for name, value in weights.items()}
    for name in by_name:
        norm, _, kind = name.rpartition(".")
        if kind == "running_mean" and name not in own and f"{norm}.weight" in own:
            raise WeightsError(
                f"The ImageNet checkpoint has batch norms ({norm}), and the network other ones; "
                f"give it the norm 'frozen' (--network-norm frozen)."
            )
    taken = {name: value for name, value in by_name.items() if name in own}
    fill(body, {**taken, **_kept(own, ())}, source="The ImageNet checkpoint")


def _todays_name(name: str) -> str:
    """The files of torchvision's first detectors call some layers otherwise."""
    pyramid = r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)"
    name = re.sub(r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", name)
    name = re.sub(rf"^{pyramid}\.(weight|bias)$", r"\1.0.\2", name)
    masks = re.match(r"(roi_heads\.mask_head)\.mask_fcn(\d+)\.", name)
    if masks:  # they counted from 1
        return f"{masks[1]}.{int(masks[2]) - 1}.0.{name[masks.end() :]}"
    return name


def _kept(own: Mapping[str, Tensor], layers: tuple[str, ...]) -> dict[str, Tensor]:
    """The network's own values of these layers, and its counters."""
    return {
        name: value
        for name, value in own.items()
        if name.startswith(layers) or name.endswith(COUNTER)
    }


def _of_coco(name: str) -> dict[str, Tensor]:
    """Through a network of its own, which knows the names that its layers once had."""
    logger.info("fetching the detector %s", name)
    try:
        published = torchvision.models.get_model(name, weights="COCO_V1", progress=False)
    except (OSError, RuntimeError) as error:
        raise _cannot_be_had(f"weights of {name}", instead="backbone") from error
    return dict(published.state_dict())


def _of_imagenet(name: str) -> dict[str, Tensor]:
    logger.info("fetching ImageNet weights of %s", name)
    try:
        published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        return dict(published.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise _cannot_be_had(f"ImageNet weights of {name}", instead="none") from error


def _cannot_be_had(what: str, *, instead: str) -> WeightsError:
    return WeightsError(
        f"The {what} cannot be fetched from download.pytorch.org; connect to the network once, "
        f"copy the cache folder of a machine that has them, or take the weights '{instead}'."
    )

"""What is on a photo, by a network of its own: uint8 photo in, a probability for each class out.

Pro2SAM takes its classes from an EfficientNet-B7 on 600 pixels, apart from localisation; any
network of timm will do. The view is that of C2AM: squeeze to a square, cut out the centre.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ImageNetInfo
from torch import nn

from engine import weight_files
from engine.classifier_card import KIND, ClassifierOptions, card_of
from engine.errors import OptionError, WeightsError
from engine.options import as_dict, from_dict
from engine.types import Image

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A timm network with the names of its classes, in the order of its outputs."""

    network: nn.Module
    classes: tuple[str, ...]
    options: ClassifierOptions

    def probabilities(self, image: Image) -> NDArray[np.float32]:
        """(classes,) float32 of sum 1, for one (h, w, 3) uint8 photo. Sets evaluation mode."""
        parameter = next(self.network.parameters())
        view = torch.from_numpy(self.view(image))[None].to(parameter.device, parameter.dtype)
        self.network.eval()
        with torch.inference_mode():
            logits = self.network(view)[0].float()
        return np.asarray(logits.softmax(dim=0).cpu().numpy(), dtype=np.float32)

    def view(self, image: Image) -> NDArray[np.float32]:
        """The photo as the network sees it: (3, crop, crop), with ImageNet's normalisation."""
        side, crop = self.options.resize, self.options.crop
        photo = PillowImage.fromarray(np.ascontiguousarray(image))
        squeezed = photo.resize((side, side), PillowImage.Resampling.BILINEAR)
        start = round((side - crop) / 2)
        pixels = np.asarray(squeezed, np.float32)[start : start + crop, start : start + crop]
        normal = (pixels / 255.0 - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)


def build_classifier(classes: Sequence[str] | None = None, **options: Any) -> Classifier:
    """A classifier of these classes, in training mode for them to be learned.

    Without ``classes`` it keeps ImageNet's 1000, which needs ``pretrained`` to mean anything.
    OptionError for an unknown network or option and for classes that are none or come twice;
    WeightsError where ImageNet weights are asked for and cannot be had.
    """
    chosen = from_dict(ClassifierOptions, options)
    names = imagenet_classes() if classes is None else tuple(classes)
    if not names or len(set(names)) < len(names):
        raise OptionError(
            f"A classifier needs classes, each of them once; got {len(names)} with "
            f"{len(set(names))} different names."
        )
    return Classifier(_network(chosen, len(names)), names, chosen)


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names of ILSVRC-2012 in the order of the outputs, each made unique by its synset."""
    info = ImageNetInfo()
    return tuple(
        f"{info.index_to_description(i)} ({info.index_to_label_name(i)})" for i in range(1000)
    )


def save_classifier(
    path: Path, classifier: Classifier, *, training: Mapping[str, Any] | None = None
) -> None:
    """Write the file, whole or not at all; WeightsError where it cannot be written.

    ``training`` says in plain JSON where it came from.
    """
    weight_files.write(
        path,
        {name: value.detach().cpu() for name, value in classifier.network.state_dict().items()},
        kind=KIND,
        card={
            "classes": list(classifier.classes),
            "options": as_dict(classifier.options),
            "training": dict(training or {}),
        },
    )


def load_classifier(path: Path, device: str = "cpu") -> Classifier:
    """The classifier of the file in evaluation mode on the device. Never downloads.

    WeightsError where the file is missing, broken, no classifier, or of an unknown network.
    """
    path = Path(path)
    card = card_of(path, weight_files.read_card(path, kind=KIND))
    options = dataclasses.replace(from_dict(ClassifierOptions, card.options), pretrained=False)
    try:
        network = _network(options, len(card.classes))
    except OptionError as error:
        raise WeightsError(
            f"{path} asks for a classifier that this version does not know: {error}"
        ) from error
    weight_files.load_into(network, path)
    return Classifier(network.eval().to(device), card.classes, options)


def _network(options: ClassifierOptions, classes: int) -> nn.Module:
    if not timm.is_model(options.arch):
        raise OptionError(
            f"timm has no network called {options.arch!r}; tf_efficientnet_b7 is the usual one."
        )
    if not options.pretrained:
        return timm.create_model(options.arch, pretrained=False, num_classes=classes)
    logger.info("fetching ImageNet weights %s", options.arch)
    try:
        return timm.create_model(options.arch, pretrained=True, num_classes=classes)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"The ImageNet weights of {options.arch} cannot be fetched; connect to the network "
            f"once, copy the cache folder of a machine that has them, or leave out pretrained."
        ) from error

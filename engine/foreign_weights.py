"""Weights that others published, as files that describe themselves: a `.pth` in, ours out.

The checkpoints of Pro2SAM, SAT and TS-CAM are known by the names of their tensors; a classifier is
any network of timm. Nothing is fetched, and files are read with `weights_only=True`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from engine import weight_files
from engine.classifiers import (
    ClassifierOptions,
    build_classifier,
    imagenet_classes,
    save_classifier,
)
from engine.errors import OptionError, WeightsError
from engine.localizers.reference import with_options
from engine.localizers.saved import LocalizerCard, save_localizer
from engine.options import as_dict
from engine.torch_files import state_dict_of

PUBLISHED = ("gtformer", "sat", "tscam")


def localizer_from(
    path: Path, out: Path, *, arch: str, classes: Sequence[str] | None, **options: Any
) -> LocalizerCard:
    """A published checkpoint of ``arch`` (one of `PUBLISHED`) as the file ``out``; its card.

    ``classes`` are in the order of the logits; without them ImageNet's 1000. WeightsError names
    missing and unexpected keys, or how many classes the file has.
    """
    tensors = state_dict_of(path)
    network, chosen = with_options(tensors, arch=arch, **options)
    names = _class_names(classes, count=len(tensors["head.weight"]), path=path)
    card = LocalizerCard(
        arch=arch,
        options=as_dict(chosen),
        classes=names,
        image_size=int(chosen.image_size),
        multi_label=False,
        training={"published": path.name},
    )
    save_localizer(out, network, card)
    return card


def classifier_from(
    path: Path, out: Path, *, arch: str, classes: Sequence[str] | None, **options: Any
) -> ClassifierOptions:
    """Weights of timm's ``arch`` as the file ``out``; how it looks at photos.

    WeightsError and OptionError as `localizer_from`.
    """
    tensors = state_dict_of(path)
    names = _class_names(classes, count=_outputs(tensors, arch, path), path=path)
    classifier = build_classifier(names, **{**options, "arch": arch})
    weight_files.fill(classifier.network, tensors, source=str(path))
    used = dataclasses.replace(classifier.options, pretrained=False)
    classifier = dataclasses.replace(classifier, options=used)
    save_classifier(out, classifier, training={"published": path.name})
    return used


def _outputs(tensors: Mapping[str, Tensor], arch: str, path: Path) -> int:
    """How many classes the last layer of timm's ``arch`` tells apart in these tensors."""
    if not timm.is_model(arch):
        raise OptionError(
            f"timm has no network called {arch!r}; give its name there, or one of "
            f"{', '.join(PUBLISHED)}"
        )
    published = timm.get_pretrained_cfg(arch)
    layers = published.classifier if published is not None else None
    layer = layers if isinstance(layers, str) else (layers or ("head",))[0]
    weight = tensors.get(f"{layer}.weight")
    if weight is None:
        raise WeightsError(
            f"{path} has no {layer}.weight, so it is no classifier {arch}; it has "
            f"{', '.join(list(tensors)[:5]) or 'nothing'} and {len(tensors)} in all"
        )
    return len(weight)


def _class_names(classes: Sequence[str] | None, *, count: int, path: Path) -> tuple[str, ...]:
    names = imagenet_classes() if classes is None else tuple(classes)
    if len(names) == count and len(set(names)) == count:
        return names
    if classes is None:
        raise WeightsError(
            f"{path} tells {count} classes apart and does not say which; name them in a file, one "
            "a line in the order of the training (--classes FILE)"
        )
    raise WeightsError(
        f"{path} tells {count} classes apart, {len(names)} names were given, {len(set(names))} of "
        "them different; give one name for each, in the order of the training"
    )

"""How each localizer is trained: named presets as frozen options, and the learning rate they ask.

`cub` and `ilsvrc` are the recipes of the reference codes, `*_paper` those that the Pro2SAM paper
prints; `small` trains a small network from nothing on a CPU, `finetune` starts from weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.errors import OptionError
from training.transforms import Augmentation


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about training that is not the network, the data or the machine."""

    epochs: int = _option(30, "times that every photo is seen")
    batch: int = _option(256, "photos a step, over all processes and forward passes")
    forward_batch: int = _option(0, "photos in one forward pass of a process; 0: all of a step")
    image_size: int = _option(224, "side of the network's input in pixels")
    resize: int = _option(256, "side that photos are resized to before a crop is taken")
    flip: float = _option(0.5, "probability that a training photo is mirrored")
    smallest_crop: float = _option(1.0, "below 1: crop this share of the area up to all of it")
    colour: float = _option(0.0, "how far brightness, contrast and saturation may leave 1")
    optimiser: Literal["adamw", "sgd"] = _option("adamw", "AdamW, or SGD with Nesterov momentum")
    learning_rate: float = _option(1e-4, "highest learning rate; not rescaled with the batch")
    head_factor: float = _option(1.0, "times that rate for layers on the classifier's side")
    weight_decay: float = _option(0.05, "decay of matrices and kernels, never of biases")
    momentum: float = _option(0.9, "beta1 of AdamW, momentum of SGD")
    beta2: float = _option(0.999, "beta2 of AdamW")
    decay_embeddings: bool = _option(True, "whether tokens and position embeddings decay too")
    schedule: Literal["constant", "cosine", "steps"] = _option("constant", "of the learning rate")
    decay_epochs: tuple[int, ...] = _option(
        (), "steps: the rate falls to a tenth where an epoch (from 1) is divisible by one of these"
    )
    warm_up_epochs: float = _option(0.0, "epochs over which the rate rises from 0")
    lowest_rate: float = _option(1e-6, "cosine: where the learning rate ends")
    gradient_limit: float = _option(0.0, "longest gradient; longer ones are cut; 0: none is")
    linear_gain: float = _option(
        0.0, "without ImageNet weights: linear layers start at this / sqrt(inputs); 0: at 0.02"
    )
    drop_path: float = _option(0.1, "stochastic depth of the last block; ignored by CNNs")
    area_prior: float = _option(0.25, "share of a photo that foreground takes on average")
    map_weight: float = _option(1.0, "mu: weight of edge and area loss of the coarse map")
    token_weight: float = _option(0.5, "lambda: weight of edge and area loss of each token's map")
    map_free: float = _option(
        0.0, "share of the training without edge and area loss, for a network that knows nothing"
    )
    evaluation_view: Literal["direct", "crop"] = _option(
        "direct", "validation sees the whole photo, or the centre crop after the resize"
    )
    box_threshold: float = _option(0.2, "where a map is cut for a box in validation")
    protocol: Literal["sat", "tscam", "wsol"] = _option(
        "sat", "whose way of taking a box from a map validation follows"
    )
    keep: Literal["last", "best"] = _option(
        "last", "which epoch's network is kept; best: by GT-Known with a truth file, else by class"
    )

    def __post_init__(self) -> None:
        counts = ("epochs", "batch", "image_size", "resize")
        _check(self, counts, lambda value: value >= 1, "at least 1")
        _check(
            self,
            ("forward_batch", "warm_up_epochs"),
            lambda value: value >= 0,
            "at least 0",
        )
        _check(self, ("learning_rate", "head_factor"), lambda value: value > 0, "above 0")
        amounts = (
            *("weight_decay", "lowest_rate", "map_weight", "token_weight"),
            *("gradient_limit", "linear_gain"),
        )
        _check(self, amounts, lambda value: value >= 0, "at least 0")
        shares = ("flip", "area_prior", "box_threshold")
        _check(self, shares, lambda value: 0 <= value <= 1, "between 0 and 1")
        below_one = ("map_free", "momentum", "beta2", "drop_path", "colour")
        _check(self, below_one, lambda value: 0 <= value < 1, "at least 0 and below 1")
        _check(self, ("smallest_crop",), lambda value: 0 < value <= 1, "above 0 and at most 1")
        if self.resize < self.image_size:
            raise OptionError(
                f"resize {self.resize} is smaller than image_size {self.image_size};"
                " give at least the same"
            )
        if self.evaluation_view == "crop" and self.protocol != "sat":
            raise OptionError(f"only protocol sat judges crops, not {self.protocol}")
        if any(epoch < 1 for epoch in self.decay_epochs):
            raise OptionError(f"decay_epochs {self.decay_epochs}: epochs are counted from 1")

    @property
    def augmentation(self) -> Augmentation:
        """How training views are made."""
        return Augmentation(
            image_size=self.image_size,
            flip=self.flip,
            smallest_crop=self.smallest_crop,
            colour=self.colour,
        )


def _check(recipe: Recipe, names: tuple[str, ...], allowed: Any, text: str) -> None:
    for name in names:
        value = getattr(recipe, name)
        if not allowed(value):
            raise OptionError(f"{name} {value!r} must be {text}")


@dataclass(frozen=True)
class Preset:
    """A recipe, and options of the network that differ from its own defaults."""

    recipe: Recipe
    network: Mapping[str, Any] = field(default_factory=dict)


# For a CPU. From nothing a transformer needs a start wider than DeiT's 0.02 and many photos; with
# edge and area loss from the first step the map is made up before any class is known.
_SMALL = Recipe(
    epochs=30,
    batch=32,
    image_size=64,
    resize=72,
    learning_rate=1e-3,
    schedule="cosine",
    warm_up_epochs=2.0,
    gradient_limit=1.0,
    linear_gain=0.8,
    drop_path=0.0,
    map_free=0.4,
    box_threshold=0.4,
)
# Begins with a plain transformer that knows classes (--weights): the map finds objects in minutes.
_SMALL_FINETUNE = replace(
    _SMALL, epochs=8, learning_rate=5e-4, warm_up_epochs=0.5, linear_gain=0.0, map_free=0.0
)
_SMALL_TRANSFORMER = {"embed_dim": 64, "depth": 4, "heads": 2, "patch_size": 8}
_SMALL_CAM = replace(
    _SMALL,
    epochs=12,
    batch=32,
    linear_gain=0.0,
    map_free=0.0,
    protocol="wsol",
    box_threshold=0.5,
)
_SMALL_CNN = {"backbone": "small", "width": 16}
# Pro2SAM's and SAT's code: lr constant, because its cosine schedule is computed but never applied.
_GTFORMER_CUB = Recipe(epochs=30, batch=256, learning_rate=1e-4, box_threshold=0.5)
_GTFORMER_ILSVRC = replace(
    _GTFORMER_CUB,
    epochs=5,
    batch=512,
    learning_rate=1.5e-5,
    area_prior=0.35,
    box_threshold=0.2,
)
_SAT_CUB = replace(_GTFORMER_CUB, token_weight=0.0, evaluation_view="crop", box_threshold=0.4)
_SAT_ILSVRC = replace(
    _GTFORMER_ILSVRC, epochs=1, token_weight=0.0, evaluation_view="crop", box_threshold=0.3
)
_TSCAM_CUB = Recipe(
    epochs=60,
    batch=128,
    learning_rate=5e-5,
    decay_embeddings=False,
    schedule="steps",
    decay_epochs=(30,),
    protocol="tscam",
    box_threshold=0.1,
)
_TSCAM_ILSVRC = replace(
    _TSCAM_CUB,
    epochs=20,
    batch=256,
    learning_rate=5e-4,
    decay_epochs=(10, 12),
    box_threshold=0.12,
)
# Defaults of wsolevaluation; the study itself searched learning rates for each data set.
_CAM = Recipe(
    epochs=40,
    batch=64,
    optimiser="sgd",
    learning_rate=0.01,
    head_factor=10.0,
    weight_decay=1e-4,
    schedule="steps",
    decay_epochs=(30,),
    drop_path=0.0,
    protocol="wsol",
)
_PRETRAINED = {"pretrained": True}
# The sentence of the paper that no code path matches; it names no learning rate.
_GTFORMER_PAPER: dict[str, Any] = {"weight_decay": 5e-4, "beta2": 0.99}


def _own_photos(recipe: Recipe, **changes: Any) -> Preset:
    """(assumed) For some hundred photos of one's own, starting from ImageNet weights."""
    shared: dict[str, Any] = {"epochs": 20, "batch": 32, "schedule": "cosine"}
    changed = {**shared, "warm_up_epochs": 1.0, "area_prior": 0.3}
    return Preset(
        replace(recipe, **{**changed, "evaluation_view": "direct", **changes}), _PRETRAINED
    )


PRESETS: dict[str, dict[str, Preset]] = {
    "gtformer": {
        "cub": Preset(_GTFORMER_CUB, _PRETRAINED),
        "ilsvrc": Preset(_GTFORMER_ILSVRC, _PRETRAINED),
        "cub_paper": Preset(replace(_GTFORMER_CUB, batch=128, **_GTFORMER_PAPER), _PRETRAINED),
        "ilsvrc_paper": Preset(
            replace(_GTFORMER_ILSVRC, batch=256, **_GTFORMER_PAPER), _PRETRAINED
        ),
        "finetune": _own_photos(_GTFORMER_CUB, learning_rate=5e-5, box_threshold=0.3),
        "small_finetune": Preset(_SMALL_FINETUNE, _SMALL_TRANSFORMER),
        "small": Preset(_SMALL, _SMALL_TRANSFORMER),
    },
    "sat": {
        "cub": Preset(_SAT_CUB, _PRETRAINED),
        "ilsvrc": Preset(_SAT_ILSVRC, _PRETRAINED),
        "finetune": _own_photos(_SAT_CUB, learning_rate=5e-5, box_threshold=0.3),
        "small_finetune": Preset(replace(_SMALL_FINETUNE, token_weight=0.0), _SMALL_TRANSFORMER),
        "small": Preset(replace(_SMALL, token_weight=0.0), _SMALL_TRANSFORMER),
    },
    "tscam": {
        "cub": Preset(_TSCAM_CUB, _PRETRAINED),
        "ilsvrc": Preset(_TSCAM_ILSVRC, _PRETRAINED),
        "finetune": _own_photos(_TSCAM_CUB, learning_rate=5e-5),
        "small_finetune": Preset(
            replace(_SMALL_FINETUNE, protocol="tscam", box_threshold=0.3), _SMALL_TRANSFORMER
        ),
        "small": Preset(replace(_SMALL, protocol="tscam", box_threshold=0.3), _SMALL_TRANSFORMER),
    },
    "cam": {
        "cub": Preset(_CAM, _PRETRAINED),
        "ilsvrc": Preset(_CAM, _PRETRAINED),
        "finetune": _own_photos(_CAM, learning_rate=0.001),
        "small": Preset(_SMALL_CAM, _SMALL_CNN),
    },
}


def preset_of(model: str, name: str) -> Preset:
    """OptionError where there is no such model or preset."""
    if model not in PRESETS:
        raise OptionError(f"model {model!r} is unknown; known are {', '.join(PRESETS)}")
    if name not in PRESETS[model]:
        raise OptionError(
            f"preset {name!r} of {model} is unknown; known are {', '.join(PRESETS[model])}"
        )
    return PRESETS[model][name]


def map_share(recipe: Recipe, *, step: int, steps_an_epoch: int) -> float:
    """How much of the weight of edge and area loss counts in a step, counted from 0: 0 or 1.

    No slow rise: Adam makes much of small gradients, so the map would be lost as early.
    """
    return float(step >= recipe.map_free * recipe.epochs * steps_an_epoch)


def learning_rate(recipe: Recipe, *, step: int, steps_an_epoch: int) -> float:
    """The rate of a step, counted from 0: warm-up, then the schedule."""
    warm_up = recipe.warm_up_epochs * steps_an_epoch
    if step < warm_up:
        return recipe.learning_rate * (step + 1) / (warm_up + 1)
    if recipe.schedule == "cosine":
        rest = max(recipe.epochs * steps_an_epoch - warm_up, 1)
        share = 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / rest))
        lowest = min(recipe.lowest_rate, recipe.learning_rate)
        return lowest + (recipe.learning_rate - lowest) * share
    if recipe.schedule == "steps":
        epoch = step // steps_an_epoch + 1
        falls = sum(
            any(earlier % wanted == 0 for wanted in recipe.decay_epochs)
            for earlier in range(1, epoch + 1)
        )
        return recipe.learning_rate / 10**falls
    return recipe.learning_rate

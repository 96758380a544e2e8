"""How each detector is trained: named presets as frozen options, and the learning rate they ask.

`paper` is WeakSAM's retraining (§6.2; detectron2 on VOC 2007), counted in epochs so that it fits
any number of photos; `finetune` starts from weights, `small` and `tiny` from nothing on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.errors import OptionError
from training.roi_rules import RoiRules


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class DetectorRecipe:
    """Everything about training that is not the network, the data or the machine."""

    epochs: int = _option(29, "times that every photo is seen")
    least_steps: int = _option(0, "few photos are seen more often, until there are so many steps")
    batch: int = _option(16, "photos a step, over all processes and forward passes")
    forward_batch: int = _option(
        0,
        "photos in one forward pass of a process; fewer need less memory and a third more time, "
        "and change nothing else; 0: all of a step",
    )
    scales: tuple[int, ...] = _option(
        (), "short sides in pixels that photos are resized to by chance; none: the network's own"
    )
    flip: float = _option(0.5, "probability that a training photo is mirrored")
    colour: float = _option(0.0, "how far brightness, contrast and saturation may leave 1")
    optimiser: Literal["sgd", "adamw"] = _option("sgd", "SGD with momentum, or AdamW")
    learning_rate: float = _option(0.02, "highest learning rate; not rescaled with the batch")
    backbone_factor: float = _option(1.0, "times that rate for the backbone")
    weight_decay: float = _option(1e-4, "decay of matrices and kernels, never of biases and norms")
    momentum: float = _option(0.9, "momentum of SGD, beta1 of AdamW")
    schedule: Literal["constant", "cosine", "steps"] = _option("steps", "of the learning rate")
    decay_at: tuple[float, ...] = _option(
        (2 / 3, 8 / 9), "steps: shares of the training at which the rate falls to a tenth"
    )
    warm_up_steps: int = _option(30, "steps over which the rate rises from 0")
    lowest_rate: float = _option(1e-6, "cosine: where the learning rate ends")
    gradient_limit: float = _option(0.0, "longest gradient; longer ones are cut; 0: none is")
    average: float = _option(
        0.0, "decay of the moving average of the weights that is judged and kept; 0: the weights"
    )
    drop: bool = _option(
        True,
        "forget regions whose loss says that their label is wrong; --no-drop with "
        "--box-beta 0.1111 is torchvision's own loss",
    )
    drop_start: float = _option(
        0.22, "share of the training before any region is forgotten or doubted"
    )
    drop_class: float = _option(4.0, "classification loss above which a region is forgotten")
    drop_box: float = _option(1.0, "box loss above which a region on an object is forgotten")
    drop_box_loss: Literal["mean", "sum"] = _option(
        "mean", "of four coordinates the mean, or the sum"
    )
    drop_rule: Literal["either", "both"] = _option(
        "either", "one loss above its threshold is enough, or both must be"
    )
    drop_renorm: bool = _option(False, "divide by the regions that are left, not by all")
    drop_masks: bool = _option(False, "forgotten regions lose their mask loss too")
    drop_limit: float = _option(
        0.5,
        "no region is forgotten in a step that would lose more of those on objects, over all "
        "processes and forward passes",
    )
    box_beta: float = _option(
        0.0, "where smooth L1 of boxes turns linear: 0, as the paper, or torchvision's 0.1111"
    )
    unreviewed: Literal["doubtful", "unknown", "background"] = _option(
        "doubtful",
        "what unmarked places are on photos that were not reviewed in full; "
        "doubtful: background unless the network sees an object there",
    )
    doubt: float = _option(0.5, "doubtful: from which probability on it sees an object")
    validate_steps: int = _option(0, "judge after so many steps at least; 0: after every epoch")
    patience: int = _option(0, "judgements without a better one before it ends early; 0: never")
    keep: Literal["last", "best"] = _option("best", "which network is kept; best: by AP50")
    samples: int = _option(4, "photos that are drawn with what was found on them")

    def __post_init__(self) -> None:
        self._check(("epochs", "batch"), lambda value: value >= 1, "at least 1")
        counts = (
            *("least_steps", "forward_batch", "warm_up_steps", "validate_steps", "patience"),
            *("samples", "weight_decay", "lowest_rate", "gradient_limit", "box_beta"),
            *("drop_class", "drop_box", "backbone_factor"),
        )
        self._check(counts, lambda value: value >= 0, "at least 0")
        self._check(("learning_rate",), lambda value: value > 0, "above 0")
        shares = ("flip", "drop_start", "drop_limit")
        self._check(shares, lambda value: 0 <= value <= 1, "between 0 and 1")
        below_one = ("momentum", "average", "colour", "doubt")
        self._check(below_one, lambda value: 0 <= value < 1, "at least 0 and below 1")
        if any(side < 32 for side in self.scales):
            raise OptionError(f"scales {self.scales}: short sides must be at least 32 pixels")
        if not all(0 < share < 1 for share in self.decay_at):
            raise OptionError(f"decay_at {self.decay_at}: shares must lie between 0 and 1")

    def _check(self, names: tuple[str, ...], allowed: Any, text: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not allowed(value):
                raise OptionError(f"{name} {value!r} must be {text}")

    @property
    def rules(self) -> RoiRules:
        """How regions are judged."""
        return RoiRules(
            tau_cls=self.drop_class,
            tau_reg=self.drop_box,
            reduction=self.drop_box_loss,
            rule=self.drop_rule,
            renorm=self.drop_renorm,
            limit=self.drop_limit,
            masks=self.drop_masks,
            beta=self.box_beta,
            unreviewed=self.unreviewed,
            doubt=self.doubt,
        )

    def epochs_of(self, steps_an_epoch: int) -> int:
        """So many that there are `least_steps`."""
        return max(self.epochs, math.ceil(self.least_steps / steps_an_epoch))

    def is_judged(self, epoch: int, *, steps_an_epoch: int) -> bool:
        """Whether the network is validated after an epoch, from 1; after the last it always is."""
        every = max(self.validate_steps, 1)
        before, now = ((epoch - back) * steps_an_epoch // every for back in (1, 0))
        return now > before or epoch == self.epochs_of(steps_an_epoch)


def detector_learning_rate(recipe: DetectorRecipe, *, step: int, steps: int) -> float:
    """The rate of a step, counted from 0, of all ``steps``: warm-up, then the schedule."""
    if step < recipe.warm_up_steps:
        return recipe.learning_rate * (step + 1) / (recipe.warm_up_steps + 1)
    if recipe.schedule == "cosine":
        rest = max(steps - recipe.warm_up_steps, 1)
        share = 0.5 * (1.0 + math.cos(math.pi * (step - recipe.warm_up_steps) / rest))
        lowest = min(recipe.lowest_rate, recipe.learning_rate)
        return lowest + (recipe.learning_rate - lowest) * share
    if recipe.schedule == "steps":
        return recipe.learning_rate / 10 ** sum(step >= share * steps for share in recipe.decay_at)
    return recipe.learning_rate


@dataclass(frozen=True)
class DetectorPreset:
    """A recipe, and options of the network that differ from its own defaults."""

    recipe: DetectorRecipe
    network: Mapping[str, Any] = field(default_factory=dict)


# VOC 2007: 9000 steps of 16 photos out of 5011, the rate falls at 6000 and 8000, drop from 2000.
_PAPER = DetectorRecipe(scales=tuple(range(480, 1217, 32)), drop_limit=1.0, keep="last")
_IMAGENET = {"weights": "backbone", "trainable_layers": 3}
# WSIS, detectron2's Mask R-CNN: no region is dropped.
_PAPER_MASKS = replace(_PAPER, scales=tuple(range(640, 801, 32)), drop=False)
_FINETUNE = DetectorRecipe(
    epochs=20,
    least_steps=600,
    batch=4,
    scales=(640, 672, 704, 736, 768, 800),
    colour=0.2,
    optimiser="adamw",
    learning_rate=1e-4,
    weight_decay=0.01,
    schedule="cosine",
    warm_up_steps=50,
    gradient_limit=10.0,
    average=0.998,
    validate_steps=100,
    patience=8,
)
# From nothing: group norm, more steps, no weights to be careful with.
_SMALL = replace(
    _FINETUNE,
    epochs=60,
    least_steps=3000,
    batch=8,
    scales=(256, 288, 320),
    learning_rate=5e-4,
    warm_up_steps=200,
    validate_steps=300,
    patience=0,
)
_SMALL_NETWORK = {
    "backbone": "resnet18",
    "backbone_width": 32,
    "fpn_channels": 64,
    "head_width": 256,
    "min_size": 320,
    "max_size": 512,
    "anchor_sizes": (16, 32, 64, 128, 256),
    "train_proposals": 500,
    "test_proposals": 300,
    "rois_per_image": 128,
    "anchors_per_image": 128,
}
_TINY = replace(
    _SMALL,
    epochs=30,
    least_steps=300,
    batch=4,
    scales=(),
    colour=0.0,
    learning_rate=2e-3,
    warm_up_steps=20,
    average=0.98,
    validate_steps=50,
)
_TINY_NETWORK = {
    **_SMALL_NETWORK,
    "backbone_width": 16,
    "fpn_channels": 32,
    "head_width": 64,
    "min_size": 96,
    "max_size": 160,
    "anchor_sizes": (8, 16, 32, 64, 96),
    "train_proposals": 200,
    "test_proposals": 100,
    "rois_per_image": 64,
    "anchors_per_image": 64,
}
_SMALL_MASKS = {"mask_width": 64}
_TINY_MASKS = {"mask_width": 32}

DETECTOR_PRESETS: dict[str, dict[str, DetectorPreset]] = {
    "fasterrcnn": {
        "paper": DetectorPreset(_PAPER, {**_IMAGENET, "max_size": 2000}),
        "finetune": DetectorPreset(_FINETUNE, {"weights": "coco"}),
        "small": DetectorPreset(_SMALL, _SMALL_NETWORK),
        "tiny": DetectorPreset(_TINY, _TINY_NETWORK),
    },
    "maskrcnn": {
        "paper": DetectorPreset(_PAPER_MASKS, _IMAGENET),
        "finetune": DetectorPreset(_FINETUNE, {"weights": "coco"}),
        "small": DetectorPreset(_SMALL, {**_SMALL_NETWORK, **_SMALL_MASKS}),
        "tiny": DetectorPreset(_TINY, {**_TINY_NETWORK, **_TINY_MASKS}),
    },
}


def detector_preset_of(model: str, name: str) -> DetectorPreset:
    """OptionError where there is no such model or preset."""
    if model not in DETECTOR_PRESETS:
        raise OptionError(f"detector {model!r} is unknown; known are {', '.join(DETECTOR_PRESETS)}")
    if name not in DETECTOR_PRESETS[model]:
        raise OptionError(
            f"preset {name!r} of {model} is unknown; known are {', '.join(DETECTOR_PRESETS[model])}"
        )
    return DETECTOR_PRESETS[model][name]

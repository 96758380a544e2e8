"""What the bench of planted errors trains, and how much work that is: names and numbers only.

All detectors are as large, start from the same one, which learned other classes on other photos
(the stand-in for weights of ImageNet or COCO), and see the same photos as often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.synthetic import SceneOptions

STARTING_SEED = 1_000_000  # away from that of the set


@dataclass(frozen=True)
class Budget:
    """How many photos, how large, how often."""

    photos: int = 1400  # a tenth to choose on, 15 of 100 to tell of
    training_photos: int = 560  # of the rest, the first
    classes: int = 6
    photo_size: int = 64  # pixels of a side, for photos and networks
    objects: int = 3  # at most, on a photo, each of another class
    share: float = 0.2  # of the labels that are wrong
    starting_photos: int = 1600
    starting_epochs: int = 5
    epochs: int = 24
    batch: int = 8
    backbone_width: int = 16
    fpn_channels: int = 32
    head_width: int = 128
    proposals: int = 60
    regions: int = 32  # that train, of a photo
    seed: int = 0  # of the photos and of the detector that all start from
    seeds: tuple[int, ...] = (0, 1, 2)  # of the trainings and of their errors

    def scenes(self, own_parts: int) -> SceneOptions:
        """What the photos show; the classes go by ``own_parts``, 0 for the bench's."""
        return SceneOptions(
            classes=self.classes,
            size=self.photo_size,
            objects=self.objects,
            radius=RADIUS,
            occlusion=OCCLUSION,
            own_parts=own_parts,
        )


RADIUS = (0.3, 0.45)  # of an object, in sides of the photo
OCCLUSION = 0.2  # chance that something thin lies across an object
NEVER = 1_000_000
OWN_PARTS, STARTING_PARTS = 0, 3
"""The bench's classes and those that the first detector learned: no pair of shape and texture is
in both."""

QUICK = Budget(
    photos=60,
    training_photos=40,
    classes=3,
    objects=2,
    starting_photos=24,
    starting_epochs=1,
    epochs=2,
    backbone_width=8,
    fpn_channels=8,
    head_width=16,
    proposals=20,
    regions=16,
    seeds=(0,),
)
"""Shows in a minute that all parts fit; its numbers mean nothing."""


@dataclass(frozen=True)
class Way:
    """One row of the tables: which labels, how long, and what is dropped."""

    name: str  # in the tables
    folder: str  # of its trainings, before the seed
    recipe: Mapping[str, Any]  # what differs from `recipe_of`
    has_errors: bool = True
    against: str | None = "errors, no drop"  # the row that its gain is over


NO_DROP = Way("errors, no drop", "no-drop", {"drop": False}, against=None)
DROP = Way("errors, drop 4 / 1", "drop-4-1", {"drop": True})
CLEAN = Way("clean labels", "clean", {"drop": False}, has_errors=False)
MAIN = (NO_DROP, DROP, CLEAN)
THRESHOLDS = (
    Way("errors, drop 3 / 1", "drop-3-1", {"drop": True, "drop_class": 3.0}),
    Way("errors, drop 5 / 1", "drop-5-1", {"drop": True, "drop_class": 5.0}),
    Way("errors, drop 4 / 0.8", "drop-4-0.8", {"drop": True, "drop_box": 0.8}),
    Way("errors, drop 4 / 1.2", "drop-4-1.2", {"drop": True, "drop_box": 1.2}),
)
"""Classification and box loss above which a region is dropped, as in the paper's table 9."""

BRIEFLY = {"epochs": 8}
NO_DROP_SHORT = Way(
    *("short: errors, no drop", "no-drop-short", {"drop": False, **BRIEFLY}), against=None
)
SHORT = (
    NO_DROP_SHORT,
    Way(
        *("short: errors, drop 4 / 1", "drop-4-1-short", {"drop": True, **BRIEFLY}),
        against=NO_DROP_SHORT.name,
    ),
    Way(
        *("short: clean labels", "clean-short", {"drop": False, **BRIEFLY}),
        has_errors=False,
        against=NO_DROP_SHORT.name,
    ),
)
"""Trainings that end before the errors are known by heart."""


def recipe_of(budget: Budget, way: Way) -> dict[str, Any]:
    """What is asked of `training.detector_recipes.DetectorRecipe`."""
    return {
        "epochs": budget.epochs,
        "least_steps": 0,
        "batch": budget.batch,
        "scales": (),
        "colour": 0.0,
        "optimiser": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "warm_up_steps": 30,
        "gradient_limit": 5.0,
        "average": 0.0,
        "validate_steps": NEVER,  # but at the end
        "patience": 0,
        "keep": "last",
        "samples": 0,
        **way.recipe,
    }


def starting_recipe_of(budget: Budget) -> dict[str, Any]:
    """The same for the detector that all start from."""
    return {
        **recipe_of(budget, NO_DROP),
        "epochs": budget.starting_epochs,
        "learning_rate": 2e-3,
    }


def network_of(budget: Budget) -> dict[str, Any]:
    """What is asked of the network's option class."""
    return {
        "backbone": "resnet18",
        "backbone_width": budget.backbone_width,
        "fpn_channels": budget.fpn_channels,
        "head_width": budget.head_width,
        "min_size": budget.photo_size,
        "max_size": budget.photo_size,
        "anchor_sizes": (8, 16, 32, 64, 128),
        "train_proposals": budget.proposals,
        "test_proposals": budget.proposals,
        "rois_per_image": budget.regions,
        "anchors_per_image": 64,
    }

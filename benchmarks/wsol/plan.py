"""What the bench trains, and how much work that is: names and numbers only.

Every network is as large, sees the same photos as often, and starts from a classifier that was
trained on the same other photos: the stand-in for ImageNet's weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Budget:
    """How many photos, how large, how often."""

    photos: int = 3000  # three quarters to train on, a tenth for thresholds, the rest to tell of
    classes: int = 12
    photo_size: int = 128  # pixels of a side
    starting_photos: int = 10000  # others, seen by tags only, from which the classifiers start
    starting_epochs: int = 14
    epochs: int = 5  # of each localizer
    image_size: int = 64  # side of the networks' input
    patch_size: int = 8
    embed_dim: int = 64
    depth: int = 4
    heads: int = 2
    cam_width: int = 24
    dear_photos: int = 150  # of the test photos, for all rules of table 6
    seed: int = 0


QUICK = Budget(
    photos=240,
    classes=4,
    photo_size=48,
    starting_photos=64,
    starting_epochs=1,
    epochs=1,
    image_size=32,
    embed_dim=16,
    depth=3,
    heads=2,
    cam_width=4,
)
"""Shows in a minute that all parts fit; its numbers mean nothing."""


@dataclass(frozen=True)
class Run:
    """One network to be trained; ``name`` is that of its folder."""

    name: str
    model: str
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what differs from `recipe_of`
    network: Mapping[str, Any] = field(default_factory=dict)


GTFORMER = "gtformer"
WITHOUT_GTA = "gtformer-without-gta"
RATIOS = {
    "1:0": "gtformer-1-0",
    "0:1": "gtformer-0-1",
    "1:1": "gtformer-1-1",
    "0.5:1": "gtformer-0.5-1",
    "1:0.5": GTFORMER,
}
TOKENS = {"1": "gtformer-1-token", "4": GTFORMER, "16": "gtformer-16-tokens"}

RUNS = (
    Run("cam", "cam"),
    Run("tscam", "tscam"),
    Run("sat", "sat", recipe={"token_weight": 0.0}),
    Run(GTFORMER, "gtformer"),
    Run(WITHOUT_GTA, "gtformer", network={"gta": False}),
    *(
        Run(name, "gtformer", recipe={"map_weight": mu, "token_weight": weight})
        for name, (mu, weight) in {
            RATIOS["1:0"]: (1.0, 0.0),
            RATIOS["0:1"]: (0.0, 1.0),
            RATIOS["1:1"]: (1.0, 1.0),
            RATIOS["0.5:1"]: (0.5, 1.0),
        }.items()
    ),
    Run(TOKENS["1"], "gtformer", network={"global_tokens": 1}),
    Run(TOKENS["16"], "gtformer", network={"global_tokens": 16}),
)


def recipe_of(budget: Budget, run: Run) -> dict[str, Any]:
    """What is asked of `training.recipes.Recipe`."""
    return {
        "epochs": budget.epochs,
        "batch": 32,
        "image_size": budget.image_size,
        "resize": round(budget.image_size * 9 / 8),
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warm_up_epochs": 0.5,
        "map_free": 0.0,
        "gradient_limit": 1.0,
        "drop_path": 0.0,
        "optimiser": "adamw",
        "head_factor": 1.0,
        "weight_decay": 0.05,
        "area_prior": 0.16,  # the mean share of the objects; 0.14 to 0.18 are as good
        "map_weight": 1.0,
        "token_weight": 0.5,
        **run.recipe,
    }


def network_of(budget: Budget, run: Run) -> dict[str, Any]:
    """What is asked of the network's option class."""
    if run.model == "cam":
        return {"backbone": "small", "width": budget.cam_width, **run.network}
    return {
        "patch_size": budget.patch_size,
        "embed_dim": budget.embed_dim,
        "depth": budget.depth,
        "heads": budget.heads,
        **run.network,
    }

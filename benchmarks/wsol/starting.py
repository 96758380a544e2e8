"""Classifiers that the localizers start from, in place of ImageNet's: made-up photos and tags in.

One plain vision transformer with timm's names, trained through its class token as DeiT is, and the
trunk of the convolutional network. Without such a start a transformer of this size needs many
times the photos, and TS-CAM's class token would never have learned anything.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.wsol.photo_sets import starting_photos
from benchmarks.wsol.plan import Budget
from engine.localizers import build
from engine.localizers.cam import CamNetwork
from engine.localizers.views import normalised
from training.transforms import Augmentation, training_view

BATCH = 32
PEAK_RATE = 1.5e-3
DECAY = 0.05
WARM_UP = 100  # steps
LONGEST_GRADIENT = 1.0
# DeiT's 0.02 is for widths from 192 on. At a width of 96 a branch then adds next to nothing to
# the stream, and nothing had been learned after 15 epochs of 2,000 photos.
WIDTH_TIMES_VARIANCE = 0.6


def starting_weights(folder: Path, budget: Budget) -> dict[str, Path]:
    """State dicts of "vit" and "cam"; trained now unless they are there."""
    paths = {name: folder / f"{name}.pth" for name in ("vit", "cam")}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        side = round(budget.image_size * 9 / 8)
        photos, classes = starting_photos(budget, side=side)
        for name in missing:
            torch.manual_seed(budget.seed)
            network = _train(name, budget, photos, classes)
            trunk = network.trunk if isinstance(network, CamNetwork) else network
            beside = paths[name].with_suffix(".part")
            torch.save(trunk.state_dict(), beside)
            os.replace(beside, paths[name])
    return paths


def _train(
    name: str, budget: Budget, photos: NDArray[np.uint8], classes: NDArray[np.int64]
) -> nn.Module:
    network, dense = _classifier(budget) if name == "vit" else (_cam(budget), None)
    parameters = [*network.parameters(), *(dense.parameters() if dense else ())]
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": DECAY},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE)
    augmentation = Augmentation(image_size=budget.image_size, flip=0.5)
    random = np.random.default_rng(budget.seed)
    steps = len(photos) // BATCH
    started = time.monotonic()
    for epoch in range(budget.starting_epochs):
        order = random.permutation(len(photos))
        losses = []
        for place in range(steps):
            chosen = order[place * BATCH : (place + 1) * BATCH]
            views = [training_view(photos[number], augmentation, random) for number in chosen]
            images = normalised(torch.from_numpy(np.stack(views)))
            targets = torch.from_numpy(classes[chosen])
            rate = _rate(epoch * steps + place, budget.starting_epochs * steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = torch.stack(
                [
                    functional.cross_entropy(scores, targets)
                    for scores in _scores(network, dense, images)
                ]
            ).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, LONGEST_GRADIENT)
            optimiser.step()
            losses.append(loss.item())
        seconds = time.monotonic() - started
        text = f"start {name}, epoch {epoch + 1}: loss {np.mean(losses):.3f}, {seconds:.0f} s\n"
        sys.stderr.write(text)
    return network


def _scores(network: nn.Module, dense: nn.Module | None, images: Tensor) -> tuple[Tensor, ...]:
    """Of the class token and, where there is one, of the mean patch: both learn."""
    if dense is None:
        return (network(images).logits,)
    assert isinstance(network, TimmTransformer)
    tokens = network.forward_features(images)
    return network.head(tokens[:, 0]), dense(tokens[:, 1:].mean(dim=1))


def _classifier(budget: Budget) -> tuple[TimmTransformer, nn.Module]:
    network = TimmTransformer(
        img_size=budget.image_size,
        patch_size=budget.patch_size,
        embed_dim=budget.embed_dim,
        depth=budget.depth,
        num_heads=budget.heads,
        num_classes=budget.classes,
    )
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(WIDTH_TIMES_VARIANCE / budget.embed_dim))
    return network, nn.Linear(budget.embed_dim, budget.classes)


def _cam(budget: Budget) -> nn.Module:
    return build(
        "cam",
        num_classes=budget.classes,
        backbone="small",
        width=budget.cam_width,
        image_size=budget.image_size,
    )


def _rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(steps - WARM_UP, 1)))

"""Chance by the photo: what is drawn on one does not hang on the others of a step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from tests.training.detector_runs import some_photos, tiny_detector, written
from tests.training.test_detector_runs import assert_same_detector
from tests.training.test_roi_heads import network
from training.detector import train
from training.roi_heads import RoiRules, learning
from training.seeded import SeededSampler

SCALES = (48, 64)  # padded to the same 64 pixels, so that photos see nothing of each other


def labels(seed: int, count: int = 60) -> Tensor:
    """Objects, background and what is neither."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 2, (count,), generator=generator)


def drawn(*photos: Tensor, seeds: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The objects and the background that train, of each photo."""
    sampler = SeededSampler(BalancedPositiveNegativeSampler(8, 0.5))
    sampler.seeds = seeds
    positive, negative = sampler(list(photos))
    return [
        (one.nonzero().flatten().tolist(), other.nonzero().flatten().tolist())
        for one, other in zip(positive, negative, strict=True)
    ]


def test_what_is_sampled_on_a_photo_does_not_hang_on_the_others() -> None:
    first, second = labels(1), labels(2)
    _, beside = drawn(first, second, seeds=(3, 4))
    assert (len(beside[0]), len(beside[1])) == (4, 4)
    assert drawn(second, seeds=(4,)) == [beside]
    assert drawn(labels(5, count=200), second, seeds=(9, 4))[1] == beside
    assert drawn(second, first, seeds=(4, 3))[0] == beside
    assert drawn(second, seeds=(5,)) != [beside]


def sizes(count: int, seeds: tuple[int, ...]) -> list[tuple[int, int]]:
    """(h, w) at which a network that learns sees so many photos of 48 x 48."""
    net = network("fasterrcnn")
    learning(net, RoiRules())
    net.transform.min_size = SCALES
    net.transform.seeds = seeds
    photos = [torch.zeros((3, 48, 48)) for _ in range(count)]
    return [tuple(one) for one in net.transform(photos)[0].image_sizes]


def test_the_size_that_a_photo_is_seen_at_does_not_hang_on_the_others() -> None:
    seeds = tuple(range(20, 36))
    together = sizes(len(seeds), seeds)
    assert set(together) == {(48, 48), (64, 64)}
    assert [sizes(1, (seed,))[0] for seed in seeds[:6]] == together[:6]
    torch.manual_seed(3)
    assert sizes(len(seeds), seeds) == together


def test_pieces_of_a_batch_see_photos_at_the_sizes_of_the_whole(tmp_path: Path) -> None:
    # Every photo fills its samples, so the mean of the pieces is the mean of the whole.
    folder = tmp_path / "photos"
    photos = written(folder, some_photos(folder))
    recipe = {
        **{"epochs": 1, "batch": 4, "optimiser": "sgd", "learning_rate": 0.01},
        "scales": SCALES,
    }
    whole = train(tiny_detector(photos, tmp_path / "whole", recipe=recipe))
    pieces = {**recipe, "forward_batch": 1}
    parts = train(tiny_detector(photos, tmp_path / "pieces", recipe=pieces))
    assert_same_detector(whole, parts, tolerance=1e-5)

"""Chance by the photo: what is drawn on one does not hang on the others of a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from tests.training.detector_runs import tiny_detector, uneven_photos, written
from tests.training.test_detector_runs import assert_same_detector
from tests.training.test_roi_heads import network
from tests.training.test_runs import of_kind
from training.detector import train
from training.log import Event
from training.roi_heads import learning
from training.roi_rules import RoiRules
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


# Few regions lie on objects, so photos do not fill their samples, and half of them are dropped.
UNEVEN = {
    **{"epochs": 2, "batch": 4, "optimiser": "sgd", "learning_rate": 0.01, "average": 0.0},
    **{"drop_start": 0.0, "drop_class": 1.2, "drop_box": 0.5, "drop_limit": 0.6},
    "scales": SCALES,
}


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("fasterrcnn", {}),
        ("maskrcnn", {}),
        ("maskrcnn", {"drop_renorm": True, "drop_masks": True}),
    ],
)
def test_pieces_of_a_batch_learn_what_the_whole_learns_whatever_is_on_the_photos(
    model: str, changes: dict[str, bool], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    photos = written(folder, uneven_photos(folder))
    recipe = {**UNEVEN, **changes}
    told: list[list[Event]] = []
    found = []
    for piece in (0, 3):
        told.append([])
        settings = tiny_detector(
            photos,
            tmp_path / str(piece),
            model=model,
            recipe={**recipe, "forward_batch": piece},
            network={"rois_per_image": 64},
        )
        found.append(train(settings, on_event=told[-1].append))
    steps = [of_kind(events, "step") for events in told]
    assert 0 < steps[0][-1]["dropped"]["fg"] < 1
    assert_same_detector(*found, tolerance=1e-5)
    for ours, theirs in zip(*steps, strict=True):
        assert ours["terms"] == pytest.approx(theirs["terms"], abs=1e-5)
        assert ours["dropped"] == pytest.approx(theirs["dropped"], abs=1e-6)


def reserving(rows: list[int], given: Tensor, *, seed: int = 3) -> tuple[list[int], list[int]]:
    """The objects and the background that train of a photo with reserved rows."""
    sampler = SeededSampler(BalancedPositiveNegativeSampler(16, 0.25))
    sampler.seeds, sampler.reserved = (seed,), (torch.tensor(rows, dtype=torch.int64),)
    (positive,), (negative,) = sampler([given])
    assert sampler.drawn == int(positive.sum() + negative.sum())
    return positive.nonzero().flatten().tolist(), negative.nonzero().flatten().tolist()


def test_reserved_background_is_sampled_before_other_up_to_a_quarter() -> None:
    given = labels(1)
    background = (given == 0).nonzero().flatten().tolist()
    objects = (given == 1).nonzero().flatten().tolist()
    plain = reserving([], given)
    assert (len(plain[0]), len(plain[1])) == (4, 12)
    for seed in range(5):
        own, chosen = reserving(background[:2], given, seed=seed)
        assert set(background[:2]) <= set(chosen)
        assert (len(own), len(chosen)) == (4, 12)
        assert set(chosen) <= set(background)
    # Too many of them take turns; what is an object is none of them.
    taken = [set(reserving(background[:9], given, seed=seed)[1]) for seed in range(30)]
    assert all(len(one & set(background[:9])) >= 3 for one in taken)
    assert set.union(*taken) >= set(background[:9])
    assert reserving(objects[:2], given) == plain

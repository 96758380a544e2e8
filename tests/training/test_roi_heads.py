"""A detector's own losses: torchvision's where nothing else is asked, and what is known else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.detectors import build
from tests.training.detector_runs import NETWORK
from training.known_background import known_of, unknown
from training.roi_heads import learning
from training.roi_rules import RoiRules

SIZE = (48, 64)  # h, w
BOXES = [[4.0, 4.0, 24.0, 28.0], [34.0, 10.0, 60.0, 40.0]]


def target(
    boxes: list[list[float]] = BOXES, *, complete: bool = True, **changes: Any
) -> dict[str, Tensor]:
    """Objects of classes 1, 2, … with masks that fill their boxes."""
    count = len(boxes)
    masks = torch.zeros((count, *SIZE), dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = 1
    given = {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.arange(count) + 1,
        "masks": masks,
        "ids": 100 + torch.arange(count),
        "curated": torch.ones(count, dtype=torch.bool),
        "has_mask": torch.ones(count, dtype=torch.bool),
        "refused_boxes": torch.zeros((0, 4)),
        "refused_labels": torch.zeros(0, dtype=torch.int64),
        "complete": torch.tensor(complete),
    }
    return {**given, **changes}


def network(model: str = "maskrcnn", *, classes: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    masks = {"mask_width": 8} if model == "maskrcnn" else {}
    size = {**NETWORK, **masks, **options}
    return build(model, num_classes=classes, backbone="resnet18", **size)


def losses_of(
    net: nn.Module, *targets: dict[str, Tensor], seed: int = 5
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Losses and gradients by name."""
    net.zero_grad()
    generator = torch.Generator().manual_seed(1)
    photos = [torch.rand((3, *SIZE), generator=generator) for _ in targets]
    torch.manual_seed(seed)
    losses = net(photos, list(targets))
    torch.stack(list(losses.values())).sum().backward()
    gradients = {
        name: one.grad.clone() for name, one in net.named_parameters() if one.grad is not None
    }
    return {name: float(one.detach()) for name, one in losses.items()}, gradients


def with_rules(net: nn.Module, rules: RoiRules | None = None, *, drops: bool = False) -> Any:
    ours: Any = copy.deepcopy(net)
    learning(ours, rules or RoiRules(beta=1 / 9))
    ours.roi_heads.drops = drops
    return ours


@pytest.mark.parametrize("model", ["fasterrcnn", "maskrcnn"])
def test_with_nothing_to_drop_losses_and_gradients_are_torchvisions(model: str) -> None:
    stock = network(model)
    ours = with_rules(stock, RoiRules(beta=1 / 9, tau_cls=1e9, tau_reg=1e9), drops=True)
    targets = (target(), target([]), target(BOXES[1:]))
    theirs, their_gradients = losses_of(stock, *targets)
    mine, my_gradients = losses_of(ours, *targets)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert mine[name] == pytest.approx(value, abs=1e-6), name
    assert my_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        assert torch.allclose(my_gradients[name], gradient, atol=1e-5), name


def test_weights_keep_their_names_and_evaluation_is_torchvisions() -> None:
    stock = network()
    ours = with_rules(stock)
    assert stock.state_dict().keys() == ours.state_dict().keys()
    photo = torch.rand((3, *SIZE), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        (theirs,), (mine,) = stock.eval()([photo]), ours.eval()([photo])
    assert all(torch.equal(theirs[name], mine[name]) for name in theirs)


def test_a_step_tells_of_every_object_what_its_rois_cost() -> None:
    ours = with_rules(network())
    losses_of(ours, target(), target([]))
    record = ours.roi_heads.record
    assert set(record.instances.tolist()) == {100, 101}
    assert len(record.losses) == len(record.instances) == len(record.dropped)
    assert (record.losses > 0).all()
    assert not record.dropped.any()
    assert not record.losses.requires_grad
    assert {name: float(one) for name, one in record.shares.items()} == {"fg": 0.0, "bg": 0.0}


def test_dropped_rois_leave_losses_and_gradients_and_are_told() -> None:
    all_gone = RoiRules(tau_cls=0.0, tau_reg=0.0, limit=1.0)
    ours = with_rules(network(), all_gone, drops=True)
    losses, gradients = losses_of(ours, target())
    assert (losses["loss_classifier"], losses["loss_box_reg"]) == (0.0, 0.0)
    assert not gradients["roi_heads.box_predictor.cls_score.weight"].any()
    assert ours.roi_heads.record.dropped.all()
    # The losses of objects are told as if nothing was dropped, and masks go on.
    assert (ours.roi_heads.record.losses > 0).all()
    assert losses["loss_mask"] > 0
    with_masks = RoiRules(tau_cls=0.0, tau_reg=0.0, limit=1.0, masks=True)
    losses, _ = losses_of(with_rules(network(), with_masks, drops=True), target())
    assert losses["loss_mask"] == 0.0


def test_nothing_is_dropped_where_more_than_the_limit_of_the_objects_would_go() -> None:
    rules = RoiRules(tau_cls=0.0, tau_reg=0.0, limit=0.5)
    ours = with_rules(network(), rules, drops=True)
    losses, _ = losses_of(ours, target())
    assert losses["loss_classifier"] > 0
    assert not ours.roi_heads.record.dropped.any()


def test_nothing_is_dropped_before_its_time() -> None:
    rules = RoiRules(tau_cls=0.0, tau_reg=0.0, limit=1.0)
    losses, _ = losses_of(with_rules(network(), rules), target())
    assert losses["loss_classifier"] > 0


def test_objects_without_a_mask_draw_none_but_count_for_the_rest() -> None:
    net = network()
    neither = target(has_mask=torch.zeros(2, dtype=torch.bool))
    losses, gradients = losses_of(with_rules(net), neither)
    assert losses["loss_mask"] == 0.0
    # A zero, not nothing: several processes must agree on who has a gradient.
    assert "roi_heads.mask_head.0.0.weight" in gradients
    assert not gradients["roi_heads.mask_head.0.0.weight"].any()
    whole, _ = losses_of(with_rules(net), target())
    assert losses["loss_classifier"] == pytest.approx(whole["loss_classifier"], abs=1e-6)
    one, _ = losses_of(with_rules(net), target(has_mask=torch.tensor([True, False])))
    assert 0 < one["loss_mask"] != whole["loss_mask"]


STRICT = RoiRules(beta=1 / 9, unreviewed="unknown")


def test_a_photo_of_which_nothing_is_known_costs_nothing_where_the_unknown_is_left_out() -> None:
    ours = with_rules(network(), STRICT)
    losses, gradients = losses_of(ours, target([], complete=False), target([], complete=False))
    assert set(losses.values()) == {0.0}
    assert all(not one.any() for one in gradients.values())
    assert ours.roi_heads.record is None
    trained = {name for name, one in ours.named_parameters() if one.requires_grad}
    assert gradients.keys() == trained


def test_unmarked_places_of_an_incomplete_photo_are_background_only_where_that_is_asked() -> None:
    net = network()
    complete, _ = losses_of(with_rules(net), target([]), target())
    unknown, _ = losses_of(with_rules(net, STRICT), target([], complete=False), target())
    asked = RoiRules(beta=1 / 9, unreviewed="background")
    background, _ = losses_of(with_rules(net, asked), target([], complete=False), target())
    assert background == complete
    assert unknown["loss_classifier"] != pytest.approx(complete["loss_classifier"], abs=1e-4)


def test_what_an_unknown_photo_shows_changes_nothing() -> None:
    """Its pixels reach no loss: no place of it is sampled."""
    ours = with_rules(network(), STRICT)
    first = torch.rand((3, *SIZE), generator=torch.Generator().manual_seed(3))
    both = [target([], complete=False), target()]
    found = []
    for other in (torch.zeros(3, *SIZE), torch.ones(3, *SIZE)):
        torch.manual_seed(5)
        losses = ours([other, first], both)
        found.append({name: float(one.detach()) for name, one in losses.items()})
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def doubting(net: nn.Module, *, complete: bool, doubt: float) -> dict[str, float]:
    ours = with_rules(net, RoiRules(doubt=doubt))
    ours.roi_heads.doubts = ours.rpn.doubts = True
    return losses_of(ours, target([], complete=complete))[0]


def test_unmarked_places_of_an_incomplete_photo_are_background_until_an_object_is_seen() -> None:
    """A fresh network gives each of four classes about a quarter, and half to objectness."""
    net = network("fasterrcnn")
    background = doubting(net, complete=True, doubt=0.01)
    assert background["loss_classifier"] > 0
    assert doubting(net, complete=False, doubt=0.95) == background
    assert doubting(net, complete=False, doubt=0.01) == dict.fromkeys(background, 0.0)


def test_nothing_is_in_doubt_before_the_network_knows_something() -> None:
    rules = RoiRules(doubt=0.01)
    losses, _ = losses_of(with_rules(network("fasterrcnn"), rules), target([], complete=False))
    assert losses["loss_classifier"] > 0
    assert losses["loss_objectness"] > 0


def known(boxes: list[list[float]], seen: dict[str, Tensor], classes: int = 2) -> Any:
    return known_of(torch.tensor(boxes), seen, size_hw=(100, 200), classes=classes)


def refusing(*refused: tuple[list[float], int]) -> dict[str, Tensor]:
    """A curated box at the upper left; refused ones in pixels of a photo of 200 x 100."""
    share = torch.tensor([200.0, 100.0, 200.0, 100.0])
    return target(
        [[0.0, 0.0, 40.0, 40.0]],
        complete=False,
        refused_boxes=torch.tensor([box for box, _ in refused]).reshape(-1, 4) / share,
        refused_labels=torch.tensor([label for _, label in refused], dtype=torch.int64),
    )


def test_a_place_is_refused_from_half_an_iou_on_and_by_its_class() -> None:
    seen = refusing(([100.0, 0.0, 140.0, 40.0], 2), ([100.0, 0.0, 140.0, 42.0], 1))
    same, half, less = [100.0, 0, 140, 40], [100.0, 0, 140, 20], [100.0, 0, 140, 19]
    found = known([same, half, less], seen)
    assert found.refused.tolist() == [[False, True, True], [False, False, True], [False] * 3]
    labels = torch.zeros(3, dtype=torch.int64)
    assert unknown(labels, found, by_class=True).tolist() == [False, False, True]
    # An anchor knows no classes: all must be refused there.
    assert unknown(labels, found, by_class=False).tolist() == [False, True, True]


def test_a_place_that_misses_a_curated_box_is_background_and_far_ones_are_not() -> None:
    seen = refusing()
    boxes = [[0.0, 0, 40, 20], [0.0, 0, 40, 19], [0.0, 0, 40, 4], [0.0, 0, 40, 3], [90.0, 0, 99, 9]]
    found = known(boxes, seen)
    assert found.beside.tolist() == [False, True, True, False, False]
    assert not found.refused.any()
    labels = torch.tensor([1, 0, 0, 0, -1])
    # What is an object, or no sample at all, is not in question.
    assert unknown(labels, found, by_class=True).tolist() == [False, False, False, True, False]


def test_a_neighbour_that_nobody_marked_is_not_known_to_be_background() -> None:
    """Two objects of a size side by side, of which one is curated, by how much they overlap."""
    seen = refusing()
    shifts = (12.0, 16.0, 19.0, 20.0, 26.0, 30.0)
    boxes = [[shift, 0.0, shift + 40.0, 40.0] for shift in shifts]
    found = known(boxes, seen)
    # With an IoU of 0.54 it is the object itself, with 0.33 and less its centre lies outside.
    assert found.beside.tolist() == [False, True, True, False, False, False]
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    assert unknown(labels, found, by_class=True).tolist() == [not one for one in found.beside]
    # Between two curated ones, the one that it is centred in decides.
    pair = {**seen, "boxes": torch.tensor([[0.0, 0, 40, 40], [44.0, 0, 84, 40]])}
    pair["curated"] = torch.ones(2, dtype=torch.bool)
    assert known([[25.0, 0.0, 65.0, 40.0]], pair).beside.tolist() == [True]
    assert known([[22.0, 0.0, 62.0, 40.0]], pair).beside.tolist() == [False]


def test_beside_a_pseudo_label_nothing_is_known() -> None:
    seen = {**refusing(), "curated": torch.tensor([False])}
    assert not known([[0.0, 0, 40, 19]], seen).beside.any()


def test_a_refused_box_pushes_its_class_down_there_whatever_else_there_may_be() -> None:
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    seen = target([], complete=False, refused_boxes=whole, refused_labels=torch.tensor([2]))
    ours = with_rules(network("fasterrcnn"), STRICT)
    losses, gradients = losses_of(ours, seen)
    assert losses["loss_classifier"] > 0
    bias = gradients["roi_heads.box_predictor.cls_score.bias"]
    assert bias[2] > 0
    assert (bias[[0, 1, 3]] < 0).all()


def sure_of(net: Any, label: int) -> Any:
    """The network sees that class everywhere, so that background costs more than 4."""
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.bias[label] += 6
    return net


@pytest.mark.parametrize("rois", [16, 64])
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("unreviewed", ["doubtful", "unknown", "background"])
def test_what_a_person_refused_teaches_in_every_step_and_is_never_dropped(
    rois: int, complete: bool, unreviewed: Any
) -> None:
    place = torch.tensor([[0.3, 0.2, 0.8, 0.9]])
    seen = target([], complete=complete, refused_boxes=place, refused_labels=torch.tensor([2]))
    net = network("fasterrcnn", rois_per_image=rois)
    ours = sure_of(with_rules(net, RoiRules(unreviewed=unreviewed), drops=True), 2)
    for seed in range(5):
        losses, gradients = losses_of(ours, seen, seed=seed)
        assert losses["loss_classifier"] > 0
        assert gradients["roi_heads.box_predictor.cls_score.bias"][2] > 0
    nothing, _ = losses_of(ours, target([], complete=complete))
    assert nothing["loss_classifier"] == 0.0  # whatever nobody refused is dropped or unknown


def test_on_a_complete_photo_a_refused_place_is_background() -> None:
    place = torch.tensor([[0.3, 0.2, 0.8, 0.9]])
    seen = target([], refused_boxes=place, refused_labels=torch.tensor([2]))
    ours = with_rules(network("fasterrcnn"), RoiRules(), drops=True)
    _, gradients = losses_of(ours, seen)
    bias = gradients["roi_heads.box_predictor.cls_score.bias"]
    assert bias[0] < 0
    assert (bias[1:] > 0).all()


def test_what_a_network_samples_follows_the_seeds_of_the_photos() -> None:
    def objectness(*targets: dict[str, Tensor], seeds: tuple[int, ...]) -> float:
        ours = with_rules(network("fasterrcnn"))
        ours.roi_heads.fg_bg_sampler.seeds = seeds
        ours.rpn.fg_bg_sampler.seeds = seeds
        return losses_of(ours, *targets)[0]["loss_objectness"]

    first, second = target(), target(BOXES[:1])
    together = objectness(first, second, seeds=(3, 4))
    assert together == objectness(first, second, seeds=(3, 4))
    assert together != objectness(first, second, seeds=(4, 3))

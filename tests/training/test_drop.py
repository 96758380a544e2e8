"""Which RoIs are dropped, against golden P9 of the method, and what of their gradients is left."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from training.drop import RoiLosses, roi_drop_mask, roi_losses, without_dropped

LABELS = torch.tensor([0, 2, 1, 3, 0, 0, 2, 1])
CE = [3.3114, 5.1770, 4.3281, 0.7190, 1.8506, 0.0682, 2.9765, 2.0728]
L1 = {
    0.0: [2.7038, 0.6194, 1.8836, 2.2891, 1.9039],
    1 / 9: [2.4816, 0.4464, 1.7164, 2.0669, 1.7035],
}
WITHOUT = (math.inf, math.inf)


def golden() -> tuple[Tensor, Tensor, Tensor]:
    """Logits (8, 4), deltas (8, 16), targets (8, 4) of P9."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(4.0), indexing="ij")
    logits = 3 * torch.sin(1.7 * rows + 1.1 * columns)
    deltas = 0.6 * torch.cos(0.9 * torch.arange(128.0)).reshape(8, 16)
    targets = 0.5 * torch.sin(0.4 * torch.arange(32.0)).reshape(8, 4)
    return logits, deltas, targets


def golden_losses(beta: float = 0.0) -> RoiLosses:
    logits, deltas, targets = golden()
    return roi_losses(logits, deltas, LABELS, targets, beta=beta)


@pytest.mark.parametrize("beta", [0.0, 1 / 9])
def test_the_losses_of_single_rois_are_those_of_the_method(beta: float) -> None:
    losses = golden_losses(beta)
    assert losses.classification.tolist() == pytest.approx(CE, abs=1e-4)
    own = losses.box[losses.is_foreground]
    assert own.tolist() == pytest.approx(L1[beta], abs=1e-4)
    assert losses.box[~losses.is_foreground].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("taus", "reduction", "rule", "kept", "expected"),
    [
        (WITHOUT, "sum", "either", [1, 1, 1, 1, 1, 1, 1, 1], (2.562950, 1.174980)),
        ((4.0, 2.0), "sum", "either", [1, 0, 0, 1, 1, 1, 0, 1], (1.002749, 0.473441)),
        ((4.0, 2.0), "sum", "both", [1, 0, 1, 1, 1, 1, 1, 1], (1.915823, 0.837007)),
        ((4.0, 1.0), "sum", "either", [1, 0, 0, 0, 1, 1, 0, 0], (0.653775, 0.0)),
        ((4.0, 1.0), "mean", "either", [1, 0, 0, 1, 1, 1, 1, 1], (1.374807, 0.759576)),
    ],
)
def test_golden_p9(
    taus: tuple[float, float],
    reduction: Any,
    rule: Any,
    kept: list[int],
    expected: tuple[float, float],
) -> None:
    losses = golden_losses()
    dropped = roi_drop_mask(
        losses.classification,
        losses.reduced_box(reduction),
        losses.is_foreground,
        tau_cls=taus[0],
        tau_reg=taus[1],
        rule=rule,
    )
    assert (~dropped).int().tolist() == kept
    both = [without_dropped(one, dropped, count=8) for one in (losses.classification, losses.box)]
    assert [float(one) for one in both] == pytest.approx(expected, abs=1e-5)


def test_without_dropping_it_is_torchvisions_loss_and_its_gradient() -> None:
    logits, deltas, targets = (one.requires_grad_() for one in golden())
    theirs = fastrcnn_loss(logits, deltas, [LABELS], [targets.detach()])
    their_gradients = torch.autograd.grad(sum(theirs), (logits, deltas))
    losses = roi_losses(logits, deltas, LABELS, targets.detach(), beta=1 / 9)
    none = torch.zeros(8, dtype=torch.bool)
    ours = [without_dropped(one, none, count=8) for one in (losses.classification, losses.box)]
    for mine, other in zip(ours, theirs, strict=True):
        assert float(mine.detach()) == pytest.approx(float(other.detach()), abs=1e-6)
    our_gradients = torch.autograd.grad(ours[0] + ours[1], (logits, deltas))
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_gradients_of_dropped_rois_are_exactly_zero_and_of_others_unchanged() -> None:
    logits, deltas, targets = golden()
    logits.requires_grad_()
    deltas.requires_grad_()
    dropped = torch.tensor([0, 1, 1, 0, 0, 0, 1, 0], dtype=torch.bool)

    def gradients(mask: Tensor) -> tuple[Tensor, ...]:
        losses = roi_losses(logits, deltas, LABELS, targets)
        both = (losses.classification, losses.box)
        total = sum(without_dropped(one, mask, count=8) for one in both)
        return torch.autograd.grad(total, (logits, deltas))

    whole = gradients(torch.zeros_like(dropped))
    for some, all_of_them in zip(gradients(dropped), whole, strict=True):
        assert not some[dropped].any()
        assert torch.equal(some[~dropped], all_of_them[~dropped])
        assert all_of_them[dropped].any()


def test_what_is_left_is_divided_by_the_count_that_is_given() -> None:
    losses = torch.tensor([1.0, 2.0, 6.0])
    dropped = torch.tensor([False, False, True])
    assert float(without_dropped(losses, dropped, count=3)) == 1.0
    assert float(without_dropped(losses, dropped, count=1.5)) == 2.0
    everything = torch.ones(3, dtype=torch.bool)
    assert float(without_dropped(losses, everything, count=0)) == 0.0
    assert float(without_dropped(losses[:0], dropped[:0], count=0)) == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.booleans()), min_size=1, max_size=20),
    st.floats(0, 10),
    st.floats(0, 10),
)
def test_either_drops_whatever_both_drops_and_background_goes_by_its_class_alone(
    rois: list[tuple[float, float, bool]], tau_cls: float, tau_reg: float
) -> None:
    ce, reg = (torch.tensor([roi[place] for roi in rois]) for place in (0, 1))
    own = torch.tensor([roi[2] for roi in rois])
    either, both = (
        roi_drop_mask(ce, reg, own, tau_cls=tau_cls, tau_reg=tau_reg, rule=rule)
        for rule in ("either", "both")
    )
    assert not (both & ~either).any()
    assert torch.equal(either[~own], (ce > tau_cls)[~own])
    assert torch.equal(both[~own], (ce > tau_cls)[~own])


def test_a_refused_class_costs_minus_log_of_one_minus_its_probability() -> None:
    logits, deltas, targets = golden()
    refused = torch.zeros(8, 4, dtype=torch.bool)
    refused[0, 2] = refused[4, 1] = refused[4, 3] = True
    refused[5, 1:] = True
    p = logits.softmax(dim=1)
    losses = roi_losses(logits, deltas, LABELS, targets, refused=refused).classification
    plain = golden_losses().classification
    assert float(losses[0]) == pytest.approx(float(-torch.log(1 - p[0, 2])), abs=1e-5)
    assert float(losses[4]) == pytest.approx(float(-torch.log(1 - p[4, 1] - p[4, 3])), abs=1e-5)
    # Where every class is refused there is background.
    assert float(losses[5]) == pytest.approx(float(plain[5]), abs=1e-5)
    others = [1, 2, 3, 6, 7]
    assert torch.equal(losses[others], plain[others])


def test_a_refusal_pushes_down_the_refused_class_alone() -> None:
    logits, deltas, targets = golden()
    logits.requires_grad_()
    refused = torch.zeros(8, 4, dtype=torch.bool)
    refused[0, 2] = True
    loss = roi_losses(logits, deltas, LABELS, targets, refused=refused).classification[0]
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 2] > 0
    assert (gradient[0, [0, 1, 3]] < 0).all()
    assert not gradient[1:].any()


def test_no_foreground_and_no_rois_are_fine() -> None:
    logits, deltas, targets = golden()
    background = roi_losses(logits, deltas, torch.zeros_like(LABELS), targets)
    assert not background.box.any()
    empty = roi_losses(logits[:0], deltas[:0], LABELS[:0], targets[:0])
    assert len(empty.classification) == len(empty.box) == 0

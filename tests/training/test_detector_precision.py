"""Half precision in a detector's training: what is computed in bf16, coordinates never are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.test_roi_heads import network, target
from training.roi_heads import learning
from training.roi_rules import RoiRules

WIDE = (640, 1024)  # h, w; from 512 on, bf16 counts pixels by fours
NARROW = [898.5, 401.0, 901.5, 441.0]  # in bf16 both its sides lie at 900


def large(model: str) -> Any:
    """A narrow network that looks at photos of `WIDE` as they are, ready to learn."""
    net = network(model, min_size=WIDE[0], max_size=WIDE[1])
    learning(net, RoiRules(beta=1 / 9))
    return net


def step(net: Any, *, half: bool) -> tuple[dict[str, Tensor], list[Tensor], Tensor]:
    """Losses, the proposals of each photo and all anchors of one step."""
    seen: dict[str, Any] = {}
    net.roi_heads.register_forward_pre_hook(lambda _, given: seen.update(proposals=given[1]))
    net.rpn.anchor_generator.register_forward_hook(lambda *call: seen.update(anchors=call[2][0]))
    masks = torch.zeros((1, *WIDE), dtype=torch.uint8)
    masks[:, 401:441, 899:901] = 1
    photo = torch.rand((3, *WIDE), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        losses = net([photo], [target([NARROW], masks=masks)])
    torch.stack(list(losses.values())).sum().backward()
    return losses, seen["proposals"], seen["anchors"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fasterrcnn", "maskrcnn"])
def test_a_box_of_three_pixels_far_to_the_right_trains_in_half_precision(model: str) -> None:
    net = large(model)
    losses, (proposals,), anchors = step(net, half=True)
    assert all(bool(one.isfinite()) for one in losses.values()), losses
    gradients = [one.grad for one in net.parameters() if one.grad is not None]
    assert all(bool(one.isfinite().all()) for one in gradients)
    assert proposals.dtype == anchors.dtype == torch.float32
    assert (proposals != proposals.bfloat16().float()).any()
    _, _, whole = step(large(model), half=False)
    assert torch.equal(anchors, whole)

"""Which RoIs a retraining forgets (WeakSAM §6.1, §6.2): losses of single RoIs in, a mask out.

A RoI whose loss stays high although most is learnt has probably a wrong label: an object that
nobody marked and that is called background, or a box that a machine put in the wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from training.step_counts import divided

Rule = Literal["either", "both"]
Reduction = Literal["mean", "sum"]

COORDINATES = 4


@dataclass(frozen=True, eq=False)
class RoiLosses:
    """Of every sampled RoI, (R,), with gradients."""

    classification: Tensor
    box: Tensor  # summed over the coordinates; 0 for background
    is_foreground: Tensor  # bool

    def reduced_box(self, reduction: Reduction) -> Tensor:
        """The box loss as the threshold means it, without gradient."""
        whole = self.box.detach()
        return whole / COORDINATES if reduction == "mean" else whole


def roi_losses(
    class_logits: Tensor,
    box_deltas: Tensor,
    labels: Tensor,
    target_deltas: Tensor,
    *,
    beta: float = 0.0,
    refused: Tensor | None = None,
) -> RoiLosses:
    """Cross-entropy and smooth L1 of each RoI; ``beta`` 0 is plain L1, torchvision has 1/9.

    Logits (R, C + 1) with background first, deltas (R, (C + 1) * 4), labels (R,), targets (R, 4).
    ``refused`` (R, C + 1) says which classes a person refused there: such a RoI is asked only not
    to be of these, -log(1 - sum of their p). Where all classes are refused, that is background.
    """
    classification = functional.cross_entropy(class_logits, labels, reduction="none")
    if refused is not None and bool(refused.any()):
        allowed = class_logits.masked_fill(refused, -torch.inf).logsumexp(dim=1)
        not_these = class_logits.logsumexp(dim=1) - allowed
        classification = torch.where(refused.any(dim=1), not_these, classification)
    is_foreground = labels > 0
    own = torch.where(is_foreground)[0]
    deltas = box_deltas.reshape(*class_logits.shape, COORDINATES)[own, labels[own]]
    away = functional.smooth_l1_loss(deltas, target_deltas[own], beta=beta, reduction="none")
    box = classification.new_zeros(len(labels)).index_put((own,), away.sum(dim=1))
    return RoiLosses(classification, box, is_foreground)


def roi_drop_mask(
    ce: Tensor,
    reg: Tensor,
    is_foreground: Tensor,
    *,
    tau_cls: float,
    tau_reg: float,
    rule: Rule = "either",
) -> Tensor:
    """True for each of the (R,) RoIs that is dropped: the opposite of the paper's d.

    Of background the classification loss alone decides. "either": of foreground one loss above its
    threshold is enough, "both": both must be.
    """
    wrong_class = ce.detach() > tau_cls
    wrong_place = is_foreground & (reg.detach() > tau_reg)
    if rule == "either":
        return wrong_class | wrong_place
    return wrong_class & (wrong_place | ~is_foreground)


def without_dropped(losses: Tensor, dropped: Tensor, *, count: float) -> Tensor:
    """The sum of (R,) losses divided by ``count``, which is 0 only where there are none.

    Losses of dropped RoIs, and their gradients, are exactly 0.
    """
    return divided(losses.masked_fill(dropped, 0.0).sum(), count)

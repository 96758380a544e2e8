"""What a localizer is trained by (Pro2SAM eq. 9, SAT): network outputs and tags in, terms out.

Classification from tags, and for networks with a coarse map two terms that need no labels: the
edge loss makes the map say yes or no, the area loss keeps its mean at a prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from engine.localizers.kernel import smoothing_kernel
from engine.localizers.outputs import LocalizerOutput


@dataclass(frozen=True)
class LossWeights:
    """How the terms of eq. 9 are weighed, and the share of a photo that foreground should take."""

    area_prior: float
    coarse_map: float = 1.0  # mu, of edge and area of the coarse map
    token_maps: float = 0.0  # lambda, of edge and area of each token's map; not divided by tokens


@dataclass(frozen=True, eq=False)
class LossTerms:
    """The terms as they are summed, and two figures to watch; all are scalars.

    ``edge`` and ``area`` are None for networks without a coarse map.
    """

    terms: dict[str, Tensor]  # "classification", and with a coarse map "edge" and "area"
    edge: Tensor | None  # L_edge of the coarse map alone; falls from about 0.25
    area: Tensor | None  # mean of the coarse map; goes from about 0.5 to the prior

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return torch.stack(list(self.terms.values())).sum()


def localizer_loss(
    output: LocalizerOutput, targets: Tensor, *, weights: LossWeights, multi_label: bool
) -> LossTerms:
    """All terms of one batch; always in float32, also under autocast.

    ``targets`` are class numbers (b,) for one tag a photo, or (b, classes) of 0 and 1.
    """
    terms = {"classification": classification_loss(output.logits, targets, multi_label=multi_label)}
    if output.coarse_map is None:
        return LossTerms(terms, None, None)
    edge = edge_loss(output.coarse_map)
    weighed_edge = weights.coarse_map * edge
    weighed_area = weights.coarse_map * area_loss(output.coarse_map, prior=weights.area_prior)
    if output.token_maps is not None and weights.token_maps:
        for maps in output.token_maps.unbind(1):
            weighed_edge = weighed_edge + weights.token_maps * edge_loss(maps)
            weighed_area = weighed_area + weights.token_maps * area_loss(
                maps, prior=weights.area_prior
            )
    terms |= {"edge": weighed_edge, "area": weighed_area}
    return LossTerms(terms, edge.detach(), output.coarse_map.detach().float().mean())


def classification_loss(logits: Tensor, targets: Tensor, *, multi_label: bool) -> Tensor:
    """Cross-entropy without smoothing, or soft margin (mean over classes) for several tags."""
    if multi_label:
        return functional.multilabel_soft_margin_loss(logits.float(), targets.float())
    return functional.cross_entropy(logits.float(), targets)


def area_loss(maps: Tensor, *, prior: float) -> Tensor:
    """How far the mean over a whole batch of (b, h, w) maps in [0, 1] is from the prior.

    One figure a batch: single photos may differ as long as the mean is right.
    """
    return (maps.float().mean() - prior).abs()


def edge_loss(maps: Tensor) -> Tensor:
    """Mean of m (1 - m) over smoothed (b, h, w) maps in [0, 1]; 0 where all is 0 or 1.

    Padded with zeros, so a map of ones still costs a little at the frame: part of the definition.
    """
    kernel = _kernel_on(maps.device)
    # Autocast would smooth in bf16, whose steps near 1 are as large as the loss.
    with torch.autocast(maps.device.type, enabled=False):
        smooth = functional.conv2d(maps.float().unsqueeze(1), kernel, padding=1)
    return (smooth * (1.0 - smooth)).mean()


@cache
def _kernel_on(device: torch.device) -> Tensor:
    return smoothing_kernel().to(device)

"""torchvision's region proposal network with losses that know what is known.

In evaluation it is torchvision's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

from training.known_background import Target, known_of, unknown
from training.roi_rules import RoiRules
from training.seeded import SeededSampler
from training.step_counts import StepCounts, divided

ANCHORS = "anchors"


class LearningProposals(RegionProposalNetwork):
    """A proposal network that learns no background where that is in doubt."""

    classes: int
    rules: RoiRules
    doubts: bool  # whether the step that comes trusts what the network sees
    counts: StepCounts
    sizes_hw: list[tuple[int, int]]
    unknown: Tensor  # (anchors of all photos,) bool

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[Target] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As torchvision's."""
        self.sizes_hw = images.image_sizes
        return super().forward(images, features, targets)

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """1 for objects, 0 for background, -1 for what trains nothing."""
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        open_places = [torch.zeros_like(one, dtype=torch.bool) for one in labels]
        for place, target in enumerate(targets):
            if self.rules.unreviewed != "background" and not target["complete"]:
                size_hw = self.sizes_hw[place]
                known = known_of(anchors[place], target, size_hw=size_hw, classes=self.classes)
                open_places[place] = unknown(labels[place], known, by_class=False)
        self.unknown = torch.cat(open_places)
        return labels, matched

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """As torchvision's without what is in doubt, and 0 where nothing is left."""
        in_doubt = self.unknown
        if self.rules.unreviewed == "doubtful":
            seen = objectness.detach().float().flatten().sigmoid() >= self.rules.doubt
            in_doubt = in_doubt & seen & self.doubts
        parts = in_doubt.split([len(one) for one in labels])
        labels = [one.masked_fill(part, -1) for one, part in zip(labels, parts, strict=True)]
        if any(bool((one >= 0).any()) for one in labels):
            losses = super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)
            drawn = self.fg_bg_sampler.drawn
        else:
            losses = objectness.sum() * 0.0, pred_bbox_deltas.sum() * 0.0
            drawn = 0
        (whole,) = self.counts.of_step(ANCHORS, [drawn])
        # torchvision's are means over what this pass drew.
        first, second = (divided(loss * drawn, whole) for loss in losses)
        return first, second


def learning_proposals(network: nn.Module, rules: RoiRules, *, classes: int) -> None:
    """Let the proposal network of a detector of torchvision learn by these rules."""
    owner: Any = network
    owner.rpn.__class__ = LearningProposals
    owner.rpn.classes = classes
    owner.rpn.rules = rules
    owner.rpn.doubts = False
    owner.rpn.counts = StepCounts()
    owner.rpn.fg_bg_sampler = SeededSampler(owner.rpn.fg_bg_sampler)
    # Both give proposals their precision: at 1024 pixels half precision counts by fours.
    owner.rpn.head.register_forward_hook(_whole_answers)
    owner.rpn.anchor_generator.register_forward_pre_hook(_whole_places)


def _whole_answers(
    head: nn.Module, given: object, answers: tuple[list[Tensor], list[Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Objectness and deltas as floats, whatever autocast made of them."""
    objectness, deltas = answers
    return [one.float() for one in objectness], [one.float() for one in deltas]


def _whole_places(
    generator: nn.Module, given: tuple[ImageList, list[Tensor]]
) -> tuple[ImageList, list[Tensor]]:
    """Maps of the same shapes, as floats: anchors take their precision from them, nothing else."""
    images, maps = given
    return images, [one.new_empty((), dtype=torch.float32).expand(one.shape) for one in maps]

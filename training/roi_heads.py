"""torchvision's RoI heads and proposal network with losses that know what is known (WeakSAM §6.2).

Drop regularisation, known negatives and incomplete photos, and what each step says of every
instance. In evaluation they are torchvision's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, project_masks_on_boxes
from torchvision.models.detection.rpn import RegionProposalNetwork

from training.drop import (
    Reduction,
    RoiLosses,
    Rule,
    roi_drop_mask,
    roi_losses,
    without_dropped,
)
from training.known_background import (
    Target,
    Unreviewed,
    known_of,
    refused_boxes,
    unknown,
)
from training.seeded import SeededSampler, SeededTransform

Found = tuple[list[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class RoiRules:
    """How RoIs are judged; the defaults are the paper's."""

    tau_cls: float = 4.0
    tau_reg: float = 1.0
    reduction: Reduction = "mean"
    rule: Rule = "either"
    renorm: bool = False
    limit: float = 0.5  # nothing is dropped in a step that would lose more of the foreground
    masks: bool = False  # whether dropped RoIs lose their mask loss too
    beta: float = 0.0
    unreviewed: Unreviewed = "doubtful"
    doubt: float = 0.5  # probability of an object from which on a place is doubtful


@dataclass(frozen=True, eq=False)
class RoiRecord:
    """What a step found of its RoIs on objects, (f,) each, and how many of all were dropped."""

    instances: Tensor  # ids
    losses: Tensor  # classification + box, as if nothing was dropped
    dropped: Tensor  # bool
    shares: dict[str, Tensor]  # "fg" and "bg": shares that were dropped


@dataclass(frozen=True, eq=False)
class _Sample:
    """The RoIs of a photo that train."""

    boxes: Tensor  # (r, 4)
    matched: Tensor  # (r,) rows of the target
    labels: Tensor  # (r,)
    refused: Tensor  # (r, classes + 1)
    unknown: Tensor  # (r,) bool: called background, and nobody looked


class LearningProposals(RegionProposalNetwork):
    """A proposal network that learns no background where that is in doubt."""

    classes: int
    rules: RoiRules
    doubts: bool  # whether the step that comes trusts what the network sees
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
        if not any(bool((one >= 0).any()) for one in labels):
            return objectness.sum() * 0.0, pred_bbox_deltas.sum() * 0.0
        return super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)


class LearningRoIHeads(RoIHeads):
    """RoI heads that judge every RoI by itself; `learning` makes them of a network's own."""

    rules: RoiRules
    drops: bool  # whether the step that comes may drop
    doubts: bool  # whether it trusts what the network sees on unreviewed photos
    record: RoiRecord | None

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> Found:
        """In training the losses by torchvision's names, and `record` is of this step."""
        if not self.training:
            return super().forward(features, proposals, image_shapes, targets)
        assert targets is not None, "training needs targets"
        samples = self._samples(proposals, targets, image_shapes)
        boxes = [one.boxes for one in samples]
        if not any(len(one) for one in boxes):
            return [], self._nothing_known(features)
        pooled = self.box_head(self.box_roi_pool(features, boxes, image_shapes))
        class_logits, box_deltas = self.box_predictor(pooled)
        losses = roi_losses(
            class_logits.float(),
            box_deltas.float(),
            torch.cat([one.labels for one in samples]),
            self._target_deltas(samples, targets),
            beta=self.rules.beta,
            refused=torch.cat([one.refused for one in samples]),
        )
        refused = torch.cat([one.refused for one in samples]).any(dim=1)
        # What a person said of a place is no mistake of a label.
        dropped = self._dropped(losses) & ~refused
        if self.doubts:
            sure = -math.log(1.0 - self.rules.doubt)
            in_doubt = torch.cat([one.unknown for one in samples])
            dropped |= in_doubt & (losses.classification.detach() >= sure)
        self.record = _record(losses, dropped, samples, targets)
        renorm = self.rules.renorm
        found = {
            "loss_classifier": without_dropped(losses.classification, dropped, renorm=renorm),
            "loss_box_reg": without_dropped(losses.box, dropped, renorm=renorm),
        }
        if self.has_mask():
            kept = [~one for one in dropped.split([len(one.labels) for one in samples])]
            found["loss_mask"] = self._mask_loss(features, samples, kept, image_shapes, targets)
        return [], found

    def _samples(
        self, proposals: list[Tensor], targets: list[Target], sizes_hw: list[tuple[int, int]]
    ) -> list[_Sample]:
        true_boxes = [target["boxes"] for target in targets]
        boxes = self.add_gt_proposals(self._with_refused(proposals, targets, sizes_hw), true_boxes)
        matched, labels = self.assign_targets_to_proposals(
            boxes, true_boxes, [target["labels"] for target in targets]
        )
        classes = self.box_predictor.cls_score.out_features - 1
        refused = [one.new_zeros((len(one), classes + 1), dtype=torch.bool) for one in boxes]
        open_places = [torch.zeros_like(one, dtype=torch.bool) for one in labels]
        for place, target in enumerate(targets):
            if self._is_incomplete(target):
                size_hw = sizes_hw[place]
                known = known_of(boxes[place], target, size_hw=size_hw, classes=classes)
                refused[place] = known.refused & (labels[place] == 0)[:, None]
                open_places[place] = unknown(labels[place], known, by_class=True)
                if self.rules.unreviewed == "unknown":
                    labels[place] = labels[place].masked_fill(open_places[place], -1)
        chosen = self.subsample(labels)
        lists = (boxes, matched, labels, refused, open_places)
        return [_Sample(*(one[place][rows] for one in lists)) for place, rows in enumerate(chosen)]

    def _with_refused(
        self, proposals: list[Tensor], targets: list[Target], sizes_hw: list[tuple[int, int]]
    ) -> list[Tensor]:
        """Refused boxes are looked at like true ones, or few proposals would ever lie there."""
        return [
            torch.cat((one, refused_boxes(target, size_hw=size_hw).to(one.dtype)))
            if self._is_incomplete(target)
            else one
            for one, target, size_hw in zip(proposals, targets, sizes_hw, strict=True)
        ]

    def _is_incomplete(self, target: Target) -> bool:
        return self.rules.unreviewed != "background" and not bool(target["complete"])

    def _target_deltas(self, samples: list[_Sample], targets: list[Target]) -> Tensor:
        # On a photo without objects no row is asked for, but one must be there to be taken.
        true_boxes = [
            (target["boxes"] if len(target["boxes"]) else one.boxes.new_zeros((1, 4)))[one.matched]
            for one, target in zip(samples, targets, strict=True)
        ]
        boxes = [one.boxes for one in samples]
        return torch.cat(self.box_coder.encode(true_boxes, boxes))

    def _dropped(self, losses: RoiLosses) -> Tensor:
        rules, is_foreground = self.rules, losses.is_foreground
        if not self.drops:
            return torch.zeros_like(is_foreground)
        dropped = roi_drop_mask(
            losses.classification,
            losses.reduced_box(rules.reduction),
            is_foreground,
            tau_cls=rules.tau_cls,
            tau_reg=rules.tau_reg,
            rule=rules.rule,
        )
        lost = (dropped & is_foreground).sum() > rules.limit * is_foreground.sum()
        return dropped & ~lost

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        samples: list[_Sample],
        kept: list[Tensor],
        sizes_hw: list[tuple[int, int]],
        targets: list[Target],
    ) -> Tensor:
        """Mean over the RoIs on objects that have a mask."""
        rows = [
            torch.where((one.labels > 0) & target["has_mask"][one.matched])[0]
            if len(target["boxes"])
            else torch.where(one.labels > 0)[0]
            for one, target in zip(samples, targets, strict=True)
        ]
        boxes = [one.boxes[row] for one, row in zip(samples, rows, strict=True)]
        if not any(len(row) for row in rows):
            return _nothing(features, self.mask_head, self.mask_predictor)
        pooled = self.mask_head(self.mask_roi_pool(features, boxes, sizes_hw))
        logits = self.mask_predictor(pooled).float()
        side = logits.shape[-1]
        wanted = torch.cat(
            [
                project_masks_on_boxes(target["masks"], box, one.matched[row], side)
                for one, target, box, row in zip(samples, targets, boxes, rows, strict=True)
                if len(row)
            ]
        )
        labels = torch.cat([one.labels[row] for one, row in zip(samples, rows, strict=True)])
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        each = functional.binary_cross_entropy_with_logits(own, wanted, reduction="none")
        dropped = ~torch.cat([one[row] for one, row in zip(kept, rows, strict=True)])
        if not self.rules.masks:
            dropped = torch.zeros_like(dropped)
        return without_dropped(each.mean(dim=(1, 2)), dropped)

    def _nothing_known(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        self.record = None
        nothing = _nothing(features, self.box_head, self.box_predictor)
        found = {"loss_classifier": nothing, "loss_box_reg": nothing}
        if self.has_mask():
            found["loss_mask"] = _nothing(features, self.mask_head, self.mask_predictor)
        return found


def learning(network: nn.Module, rules: RoiRules) -> None:
    """Let a detector of torchvision learn by these rules; its weights keep their names."""
    owner: Any = network
    owner.transform.__class__ = SeededTransform
    owner.transform.seeds = ()
    owner.roi_heads.__class__ = LearningRoIHeads
    owner.roi_heads.rules = rules
    owner.roi_heads.drops = owner.roi_heads.doubts = False
    owner.roi_heads.record = None
    owner.roi_heads.fg_bg_sampler = SeededSampler(owner.roi_heads.fg_bg_sampler)
    owner.rpn.__class__ = LearningProposals
    owner.rpn.classes = owner.roi_heads.box_predictor.cls_score.out_features - 1
    owner.rpn.rules = rules
    owner.rpn.doubts = False
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


def _nothing(features: dict[str, Tensor], *modules: nn.Module) -> Tensor:
    """A 0 whose gradients are zeros, not missing, so that processes agree on who has any."""
    parameters = [one for module in modules for one in module.parameters()]
    first = next(iter(features.values()))
    return sum((one.sum() * 0.0 for one in parameters), first.sum() * 0.0)


def _record(
    losses: RoiLosses, dropped: Tensor, samples: list[_Sample], targets: list[Target]
) -> RoiRecord:
    ids = [
        target["ids"][one.matched] if len(target["ids"]) else torch.zeros_like(one.matched)
        for one, target in zip(samples, targets, strict=True)
    ]
    own = losses.is_foreground
    shares = {"fg": dropped[own], "bg": dropped[~own]}
    return RoiRecord(
        instances=torch.cat(ids)[own],
        losses=(losses.classification + losses.box).detach()[own],
        dropped=dropped[own],
        shares={name: one.float().sum() / max(len(one), 1) for name, one in shares.items()},
    )

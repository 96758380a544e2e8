"""torchvision's RoI heads with losses that know what is known (WeakSAM §6.2).

Drop regularisation, known negatives and incomplete photos, and what each step says of every
instance. In evaluation they are torchvision's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads, project_masks_on_boxes

from training.drop import RoiLosses, roi_drop_mask, roi_losses, without_dropped
from training.known_background import Target, known_of, refused_boxes, refused_there, unknown
from training.proposals import learning_proposals
from training.roi_rules import RoiRules
from training.seeded import SeededSampler, SeededTransform
from training.step_counts import StepCounts, divided

REGIONS = "regions"

Found = tuple[list[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class RoiRecord:
    """What a step found of its RoIs on objects, (f,) each, and how many of all were dropped."""

    instances: Tensor  # ids
    losses: Tensor  # classification + box, as if nothing was dropped
    dropped: Tensor  # bool
    shares: dict[str, Tensor]  # "fg" and "bg": dropped, as shares of those of the whole step


@dataclass(frozen=True, eq=False)
class _Sample:
    """The RoIs of a photo that train."""

    boxes: Tensor  # (r, 4)
    matched: Tensor  # (r,) rows of the target
    labels: Tensor  # (r,)
    refused: Tensor  # (r, classes + 1) bool: asked only to be none of these
    certain: Tensor  # (r,) bool: a person refused a class there
    unknown: Tensor  # (r,) bool: called background, and nobody looked


@dataclass(frozen=True, eq=False)
class _Judged:
    """What is forgotten of the RoIs of a pass, (R,) bool each."""

    is_foreground: Tensor
    lost: Tensor  # by the thresholds, unless too much of the foreground would go
    doubted: Tensor

    def counts(self, masked: Tensor) -> list[Tensor | int]:
        """As `_Counts` has them; ``masked`` (R,) bool draw a mask."""
        own = self.is_foreground
        return [
            *(len(own), own.sum(), (self.lost & own).sum()),
            *((~self.doubted).sum(), (~self.doubted & ~self.lost).sum(), masked.sum()),
        ]


@dataclass(frozen=True)
class _Counts:
    """Of RoIs, in a step and for one process."""

    regions: float
    objects: float
    lost_objects: float
    left: float  # where nothing is lost
    left_of_lost: float
    masks: float


class LearningRoIHeads(RoIHeads):
    """RoI heads that judge every RoI by itself; `learning` makes them of a network's own."""

    rules: RoiRules
    drops: bool  # whether the step that comes may drop
    doubts: bool  # whether it trusts what the network sees on unreviewed photos
    counts: StepCounts
    record: RoiRecord | None  # None after a pass that only counts

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> Found:
        """In training the losses by torchvision's names, and `record` is of this step.

        None in a survey, which only counts.
        """
        if not self.training:
            return super().forward(features, proposals, image_shapes, targets)
        assert targets is not None, "training needs targets"
        self.record = None
        samples = self._samples(proposals, targets, image_shapes)
        boxes = [one.boxes for one in samples]
        if not any(len(one) for one in boxes):
            self.counts.of_step(REGIONS, [0] * len(fields(_Counts)))
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
        masked = _with_masks(samples, targets)
        judged = self._judged(losses, samples)
        whole = _Counts(*self.counts.of_step(REGIONS, judged.counts(torch.cat(masked))))
        if self.counts.surveys:
            return [], {}
        is_too_much = whole.lost_objects > self.rules.limit * whole.objects
        dropped = judged.doubted if is_too_much else judged.doubted | judged.lost
        self.record = _record(losses, dropped, samples, targets, whole)
        count = whole.regions
        if self.rules.renorm:
            count = whole.left if is_too_much else whole.left_of_lost
        found = {
            "loss_classifier": without_dropped(losses.classification, dropped, count=count),
            "loss_box_reg": without_dropped(losses.box, dropped, count=count),
        }
        if self.has_mask():
            parts = dropped.split([len(one.labels) for one in samples])
            chosen = list(zip(samples, masked, parts, strict=True))
            found["loss_mask"] = self._mask_loss(
                features, chosen, image_shapes, targets, count=whole.masks
            )
        return [], found

    def _samples(
        self, proposals: list[Tensor], targets: list[Target], sizes_hw: list[tuple[int, int]]
    ) -> list[_Sample]:
        true_boxes = [target["boxes"] for target in targets]
        boxes, reserved = _with_refused(proposals, targets, sizes_hw)
        boxes = self.add_gt_proposals(boxes, true_boxes)
        matched, labels = self.assign_targets_to_proposals(
            boxes, true_boxes, [target["labels"] for target in targets]
        )
        classes = self.box_predictor.cls_score.out_features - 1
        refused = [one.new_zeros((len(one), classes + 1), dtype=torch.bool) for one in boxes]
        certain = [torch.zeros_like(one, dtype=torch.bool) for one in labels]
        open_places = [torch.zeros_like(one, dtype=torch.bool) for one in labels]
        for place, target in enumerate(targets):
            sizes = {"size_hw": sizes_hw[place], "classes": classes}
            there = refused_there(boxes[place], target, **sizes) & (labels[place] == 0)[:, None]
            certain[place] = there.any(dim=1)
            if self.rules.unreviewed != "background" and not bool(target["complete"]):
                # Elsewhere a refused place is background: of all classes there is none.
                refused[place] = there
                known = known_of(boxes[place], target, **sizes)
                open_places[place] = unknown(labels[place], known, by_class=True)
                if self.rules.unreviewed == "unknown":
                    labels[place] = labels[place].masked_fill(open_places[place], -1)
        self.fg_bg_sampler.reserved = reserved
        chosen = self.subsample(labels)
        lists = (boxes, matched, labels, refused, certain, open_places)
        return [_Sample(*(one[place][rows] for one in lists)) for place, rows in enumerate(chosen)]

    def _target_deltas(self, samples: list[_Sample], targets: list[Target]) -> Tensor:
        # On a photo without objects no row is asked for, but one must be there to be taken.
        true_boxes = [
            (target["boxes"] if len(target["boxes"]) else one.boxes.new_zeros((1, 4)))[one.matched]
            for one, target in zip(samples, targets, strict=True)
        ]
        boxes = [one.boxes for one in samples]
        return torch.cat(self.box_coder.encode(true_boxes, boxes))

    def _judged(self, losses: RoiLosses, samples: list[_Sample]) -> _Judged:
        rules, is_foreground = self.rules, losses.is_foreground
        lost = doubted = torch.zeros_like(is_foreground)
        if self.drops:
            lost = roi_drop_mask(
                losses.classification,
                losses.reduced_box(rules.reduction),
                is_foreground,
                tau_cls=rules.tau_cls,
                tau_reg=rules.tau_reg,
                rule=rules.rule,
            )
            # What a person said of a place is no mistake of a label.
            lost &= ~torch.cat([one.certain for one in samples])
        if self.doubts:
            sure = -math.log(1.0 - rules.doubt)
            in_doubt = torch.cat([one.unknown for one in samples])
            doubted = in_doubt & (losses.classification.detach() >= sure)
        return _Judged(is_foreground, lost, doubted)

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        chosen: list[tuple[_Sample, Tensor, Tensor]],
        sizes_hw: list[tuple[int, int]],
        targets: list[Target],
        *,
        count: float,
    ) -> Tensor:
        """Of the samples' RoIs that have a mask, (r,) bool; those dropped, (r,) bool, may count."""
        boxes = [one.boxes[masked] for one, masked, _ in chosen]
        if not any(len(one) for one in boxes):
            return _nothing(features, self.mask_head, self.mask_predictor)
        pooled = self.mask_head(self.mask_roi_pool(features, boxes, sizes_hw))
        logits = self.mask_predictor(pooled).float()
        side = logits.shape[-1]
        wanted = torch.cat(
            [
                project_masks_on_boxes(target["masks"], box, one.matched[masked], side)
                for (one, masked, _), target, box in zip(chosen, targets, boxes, strict=True)
                if len(box)
            ]
        )
        labels = torch.cat([one.labels[masked] for one, masked, _ in chosen])
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        each = functional.binary_cross_entropy_with_logits(own, wanted, reduction="none")
        dropped = torch.cat([dropped[masked] for _, masked, dropped in chosen])
        if not self.rules.masks:
            dropped = torch.zeros_like(dropped)
        return without_dropped(each.mean(dim=(1, 2)), dropped, count=count)

    def _nothing_known(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
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
    owner.roi_heads.counts = StepCounts()
    owner.roi_heads.record = None
    owner.roi_heads.fg_bg_sampler = SeededSampler(owner.roi_heads.fg_bg_sampler)
    learning_proposals(
        network, rules, classes=owner.roi_heads.box_predictor.cls_score.out_features - 1
    )


def _with_refused(
    proposals: list[Tensor], targets: list[Target], sizes_hw: list[tuple[int, int]]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Proposals with the refused boxes, or few would ever lie there, and the rows of these."""
    boxes, rows = [], []
    for one, target, size_hw in zip(proposals, targets, sizes_hw, strict=True):
        boxes.append(torch.cat((one, refused_boxes(target, size_hw=size_hw).to(one.dtype))))
        rows.append(torch.arange(len(one), len(boxes[-1]), device=one.device))
    return boxes, tuple(rows)


def _with_masks(samples: list[_Sample], targets: list[Target]) -> list[Tensor]:
    """Of each photo's RoIs, (r,) bool, which lie on an object that has a mask."""
    return [
        (one.labels > 0) & target["has_mask"][one.matched]
        if "has_mask" in target and len(target["boxes"])
        else torch.zeros_like(one.labels, dtype=torch.bool)
        for one, target in zip(samples, targets, strict=True)
    ]


def _nothing(features: dict[str, Tensor], *modules: nn.Module) -> Tensor:
    """A 0 whose gradients are zeros, not missing, so that processes agree on who has any."""
    parameters = [one for module in modules for one in module.parameters()]
    first = next(iter(features.values()))
    return sum((one.sum() * 0.0 for one in parameters), first.sum() * 0.0)


def _record(
    losses: RoiLosses,
    dropped: Tensor,
    samples: list[_Sample],
    targets: list[Target],
    whole: _Counts,
) -> RoiRecord:
    ids = [
        target["ids"][one.matched] if len(target["ids"]) else torch.zeros_like(one.matched)
        for one, target in zip(samples, targets, strict=True)
    ]
    own = losses.is_foreground
    shares = {
        "fg": divided((dropped & own).sum(), whole.objects),
        "bg": divided((dropped & ~own).sum(), whole.regions - whole.objects),
    }
    return RoiRecord(
        instances=torch.cat(ids)[own],
        losses=(losses.classification + losses.box).detach()[own],
        dropped=dropped[own],
        shares=shares,
    )

"""Two opinions on one photo: how far pipelines disagree; where a detector and labels differ. Pure.

Boxes are matched one to one within a class, highest IoU first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from annotator.findings import (
    DETECTOR,
    DISAGREEMENT,
    SAME_PLACE_IOU,
    Finding,
    detection_state,
    detection_subject,
    object_subject,
)
from engine.geometry import iou_boxes
from engine.types import CURATED, Instance, Source, Status

CONFIDENT = 0.5  # a detection below this score is no reason to doubt a person
APART_IOU = 0.3  # a detection that covers a label of its class so little is of something else
MISS_WEIGHT = 0.5  # a label that is not found says less than one that is contradicted


def source_name(source: Source) -> str:
    """What made an instance, in words: "pro2sam · sam_vit_b"."""
    return joined_name(source.pipeline, source.checkpoint)


def joined_name(pipeline: str, checkpoint: str | None) -> str:
    """`source_name` of the parts."""
    return f"{pipeline} · {checkpoint}" if checkpoint else pipeline


# -- two pipelines -------------------------------------------------------------------------------


def disagreement(image_id: int, old: Sequence[Instance], new: Sequence[Instance]) -> Finding | None:
    """How far the proposals that replace those of another pipeline differ from them.

    Agreement is 2 * sum of the IoU of matched boxes / number of boxes of both: 1 where both say the
    same, 0 where nothing overlaps; the badness is 1 - agreement. None where there were no proposals
    of another source, so that nothing was compared.
    """
    if not old:
        return None
    before = Counter(source_name(one.source) for one in old).most_common(1)[0][0]
    after = source_name(new[0].source) if new else "the new run"
    if before == after:
        return None
    matched = _matched_ious(old, new)
    badness = 1.0 - 2.0 * sum(matched) / (len(old) + len(new))
    if matched:
        best = f"{len(matched)} of {max(len(old), len(new))} boxes meet, IoU {_mean(matched):.2f}"
    else:
        best = f"no box of the {len(old)} and the {len(new)} meets another of its class"
    return Finding(
        image_id=image_id,
        kind=DISAGREEMENT,
        subject="photo",
        state=f"{before} / {after}"[:64],
        badness=min(max(badness, 0.0), 1.0),
        reason=f"{before} and {after} disagree: {best}",
        made_by=after,
    )


def _matched_ious(first: Sequence[Instance], second: Sequence[Instance]) -> list[float]:
    if not first or not second:
        return []
    ious = iou_boxes([one.box for one in first], [one.box for one in second])
    same = [[one.category == other.category for other in second] for one in first]
    ious = np.where(np.asarray(same), ious, 0.0)
    matched = []
    while (best := float(ious.max())) > 0.0:
        row, column = np.unravel_index(int(ious.argmax()), ious.shape)
        ious[row, :] = 0.0
        ious[:, column] = 0.0
        matched.append(best)
    return matched


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# -- a detector and labels -----------------------------------------------------------------------


def detector_findings(
    image_id: int,
    labels: Sequence[Instance],
    detections: Sequence[Instance],
    *,
    states: Mapping[int, str],
    category_ids: Mapping[str, int],
) -> list[Finding]:
    """Where the detections of a reviewed photo contradict what people decided there.

    ``labels`` is everything on the photo, rejected objects included: a detection where a person
    said no is no news. ``states`` has the state of each object. Three kinds: a confident detection
    of another class on a label, one where no label of its class is, a label that no detection
    covers.
    """
    curated = [one for one in labels if one.status in CURATED and one.category is not None]
    refused = [one for one in labels if one.status is Status.REJECTED]
    named = [one for one in detections if one.category is not None and one.score is not None]
    made_by = source_name(detections[0].source) if detections else "the run"
    found = [
        contradiction
        for label in curated
        if (contradiction := _doubted(image_id, label, named, states, made_by)) is not None
    ]
    doubted = {one.instance_id for one in found}
    for one in named:
        assert one.category is not None
        assert one.score is not None
        explained = [label for label in curated if label.category == one.category]
        explained += [label for label in curated if label.id in doubted]
        is_known = (
            _cover(one, explained) >= APART_IOU
            or _cover(one, [no for no in refused if no.category == one.category]) >= SAME_PLACE_IOU
        )
        if one.score < CONFIDENT or is_known or one.category not in category_ids:
            continue
        category_id = category_ids[one.category]
        found.append(
            Finding(
                image_id=image_id,
                kind=DETECTOR,
                subject=detection_subject(category_id),
                state=detection_state(one.box),
                badness=one.score,
                reason=f"{made_by} sees a {one.category} here ({one.score:.2f}) without a label",
                made_by=made_by,
                category_id=category_id,
                box=one.box,
            )
        )
    return found


def _doubted(
    image_id: int,
    label: Instance,
    detections: Sequence[Instance],
    states: Mapping[int, str],
    made_by: str,
) -> Finding | None:
    """Why the detections speak against a label; None where one of its class covers it."""
    own = _cover(label, [one for one in detections if one.category == label.category])
    if own >= SAME_PLACE_IOU:
        return None
    others = [one for one in detections if one.category != label.category]
    confident = [one for one in others if one.score is not None and one.score >= CONFIDENT]
    over = [one for one in confident if _cover(one, [label]) >= SAME_PLACE_IOU]
    if over:
        best = max(over, key=lambda one: one.score or 0.0)
        badness = best.score or 0.0
        reason = f"{made_by} takes this {label.category} for a {best.category} ({badness:.2f})"
    else:
        badness = MISS_WEIGHT * (1.0 - own)
        reason = f"{made_by} does not find this {label.category}: best IoU {own:.2f}"
    assert label.id is not None
    return Finding(
        image_id=image_id,
        kind=DETECTOR,
        subject=object_subject(label.id),
        state=states[label.id],
        badness=badness,
        reason=reason,
        made_by=made_by,
        instance_id=label.id,
    )


def _cover(one: Instance, others: Sequence[Instance]) -> float:
    """The largest IoU of a box with some others, 0 where there are none."""
    if not others:
        return 0.0
    return float(iou_boxes([one.box], [other.box for other in others]).max())

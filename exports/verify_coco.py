"""A COCO file and what it was meant to say come in; whether it says so comes out.

The file is read back by pycocotools, as training and evaluation elsewhere will, and compared
instance by instance; then it is evaluated against itself, which must give AP 1.0.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.errors import FormatError
from engine.geometry import clip_box, mask_to_box
from engine.types import CURATED, Box, LabeledImage, Rle, Status
from exports.coco import chosen
from exports.coco_annotations import DECIMALS, Annotation, box_and_area, covers, mask_of
from exports.contours import iou_rles
from exports.progress import READING, OnProgress, counted, silent
from exports.verify import BOX_ERROR, MASK_IOU, VerifyReport


def verify_coco(
    path: Path | str,
    images: Iterable[LabeledImage],
    *,
    statuses: Iterable[Status] = CURATED,
    on_progress: OnProgress = silent,
) -> VerifyReport:
    """Read the file back and compare it with the images it was written from.

    ``statuses`` as given to `write_coco`. FormatError where pycocotools cannot load the file.
    """
    images = list(images)
    meant = chosen(images, statuses=statuses)
    on_progress(READING, 0, len(meant))
    coco = _loaded(path)
    entries = coco.dataset["annotations"]
    problems = [
        *_wrong_ids(coco.dataset),
        *_wrong_images(coco, images),
        *_wrong_count(len(entries), len(meant)),
    ]
    box_errors, ious = [0.0], [1.0]
    for annotation in counted(READING, meant, len(meant), on_progress):
        entry = coco.anns.get(annotation.id)
        if entry is None:
            problems.append(f"{annotation} is missing")
            continue
        problems += _wrong_class(coco, entry, annotation)
        try:
            error, iou = _distance(coco, entry, annotation)
        except FormatError as failure:
            problems.append(str(failure))
            continue
        box_errors.append(error)
        ious.append(iou)
        if error > BOX_ERROR:
            problems.append(f"{annotation}: its box is off by {error:.3g} pixels")
        if iou < MASK_IOU:
            problems.append(f"{annotation}: its mask came back with IoU {iou:.3f}")
    self_ap = None
    if entries and not problems:  # evaluation of a broken file may fail in any way
        self_ap = _self_ap(coco)
        if self_ap < 1.0 - 1e-9:  # a mean of ones is not always one
            problems.append(f"evaluated against itself it gets AP {self_ap:.3f}, not 1.0")
    return VerifyReport(
        reader="pycocotools",
        images=len(coco.dataset["images"]),
        instances=len(entries),
        masks=sum(bool(entry.get("segmentation")) for entry in entries),
        box_error=max(box_errors),
        mask_iou=min(ious),
        self_ap=self_ap,
        problems=tuple(problems),
    )


def _loaded(path: Path | str) -> COCO:
    """pycocotools says what it does on stdout."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(os.fspath(path))
    except (OSError, ValueError, TypeError, LookupError, AssertionError) as error:
        raise FormatError(f"pycocotools cannot load {os.fspath(path)!r}: {error!r}") from error
    for section in ("images", "annotations", "categories"):
        if not isinstance(coco.dataset.get(section), list):
            raise FormatError(f"{os.fspath(path)!r} has no list {section!r}")
    return coco


def _wrong_ids(dataset: dict[str, Any]) -> list[str]:
    problems = []
    for section in ("images", "annotations", "categories"):
        numbers = Counter(entry["id"] for entry in dataset[section])
        twice = [number for number, count in numbers.items() if count > 1]
        if twice:
            problems.append(f"{section}: id {twice[0]!r} is there more than once")
        if any(type(number) is not int or number < 1 for number in numbers):
            problems.append(f"{section}: an id is no whole number from 1")
    return problems


def _wrong_images(coco: COCO, images: list[LabeledImage]) -> list[str]:
    problems = []
    if len(coco.dataset["images"]) != len(images):
        problems.append(f"{len(coco.dataset['images'])} photos in the file, {len(images)} meant")
    for image in images:
        entry = coco.imgs.get(image.id)
        meant = (image.file_name, image.width, image.height)
        found = entry and tuple(entry.get(key) for key in ("file_name", "width", "height"))
        if found != meant:
            problems.append(f"photo {image.id} should be {meant}, and is {found}")
        elif entry and tuple(entry.get("tags", ())) != image.tags:
            problems.append(f"photo {image.file_name!r} should have the tags {image.tags}")
    return problems


def _wrong_count(found: int, meant: int) -> list[str]:
    return [] if found == meant else [f"{found} objects in the file, {meant} meant"]


def _wrong_class(coco: COCO, entry: dict[str, Any], annotation: Annotation) -> list[str]:
    problems = []
    category = coco.cats.get(entry.get("category_id"), {}).get("name")
    if category != annotation.instance.category:
        problems.append(
            f"{annotation} should be of class {annotation.instance.category!r},"
            f" and is of {category!r}"
        )
    if entry.get("image_id") != annotation.image.id:
        problems.append(f"{annotation} is on photo {entry.get('image_id')!r}")
    if entry.get("iscrowd") != 0:
        problems.append(f"{annotation} is a crowd, which evaluation ignores")
    return problems


def _distance(coco: COCO, entry: dict[str, Any], annotation: Annotation) -> tuple[float, float]:
    """Largest error of a box side in pixels, and IoU of the masks (1.0 where none is meant).

    FormatError where pycocotools could not use box, area or segmentation.
    """
    box = entry.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)):
        raise FormatError(f"{annotation}: its bbox is {box!r}, not four numbers")
    area = box_and_area(annotation)[1]
    if type(entry.get("area")) is not float or abs(entry["area"] - area) > BOX_ERROR:
        raise FormatError(f"{annotation}: its area is {entry.get('area')!r}, not {area!r}")
    x, y, width, height = box
    sides = zip((x, y, x + width, y + height), _meant_box(annotation), strict=True)
    # To the decimals of the file: 0.1 + 0.2 is no error.
    error = round(max(abs(found - meant) for found, meant in sides), DECIMALS)
    rle, segmentation = annotation.instance.rle, entry.get("segmentation")
    if rle is None or not segmentation:
        return error, 1.0 if rle is None and not segmentation else 0.0
    try:
        mask_of(segmentation, size=rle.size)  # first: what is broken could crash pycocotools
        return error, iou_rles(Rle.from_dict(coco.annToRLE(entry)), rle)
    except (FormatError, TypeError, ValueError, LookupError) as failure:
        raise FormatError(f"{annotation}: its segmentation is broken ({failure})") from failure


def _meant_box(annotation: Annotation) -> Box:
    """The instance's box, or that of the decoded mask, counted anew, where it reaches out of it."""
    rle, own = annotation.instance.rle, annotation.instance.box
    if rle is not None:
        # Seen as bool without the copies of `rle_to_mask`, which cost more than the rest.
        tight = mask_to_box(coco_mask.decode(rle.as_dict()).view(np.bool_))
        if tight is not None and not covers(own, tight):
            return tight
    image = annotation.image
    return clip_box(own, width=image.width, height=image.height) or own


def _self_ap(coco: COCO) -> float:
    """Mean box AP at IoU 0.50 to 0.95 of the file's boxes taken for detections of score 1."""
    detections = [
        {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0}
        for entry in coco.dataset["annotations"]
    ]
    crowded = Counter((entry["image_id"], entry["category_id"]) for entry in detections)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        # The usual 100 detections a photo would cut off crowded ones.
        evaluation.params.maxDets = [max(crowded.values())]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return float(np.mean(precision[precision > -1]))

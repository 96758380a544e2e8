"""A detector as a pipeline: what it proposes, whose masks, and what stays to choose from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.detector_pipeline import KEPT, DetectorPipeline, DetectorPipelineOptions
from engine.detectors.predictor import Detection
from engine.detectors.saved import DetectorCard
from engine.errors import OptionError, WeightsError
from engine.geometry import rle_to_mask
from engine.pipelines import build
from engine.segmenters.box_prompts import masks_for_boxes
from engine.segmenters.classical import ClassicalSegmenter
from engine.segmenters.sam import SamSegmenter
from engine.types import Box, Image, Instance, Status, Suggestion
from tests.engine.detectors.small import CLASSES, saved
from tests.engine.small_sam import ASTRONAUT, small_sam
from tests.fakes import SquareSegmenter, square_mask

PHOTO: Image = np.zeros((40, 60, 3), dtype=np.uint8)
LEFT: Box = (2.0, 4.0, 22.0, 24.0)
RIGHT: Box = (30.0, 4.0, 50.0, 24.0)
NEARLY_LEFT: Box = (3.0, 4.0, 22.0, 24.0)


class FixedDetector:
    """Finds the same on every photo; its masks, where it has any, are the whole box."""

    name = "birds-7"

    def __init__(self, found: Sequence[tuple[Box, str, float]], *, has_masks: bool = False) -> None:
        arch = "maskrcnn" if has_masks else "fasterrcnn"
        self.card = DetectorCard(arch, {}, CLASSES)
        patch = np.ones((28, 28), dtype=np.float32) if has_masks else None
        self._found = [
            Detection(box, category, score, (40, 60), patch) for box, category, score in found
        ]

    def detect(self, image: Image) -> list[Detection]:
        return self._found


def suggest(
    found: Sequence[tuple[Box, str, float]],
    *,
    tags: Sequence[str] = (),
    has_masks: bool = False,
    segmenter: Any = None,
    **options: Any,
) -> Suggestion:
    pipeline = DetectorPipeline(
        DetectorPipelineOptions(**options),
        detector=FixedDetector(found, has_masks=has_masks),  # type: ignore[arg-type]
        segmenter=segmenter or SquareSegmenter(),
    )
    return pipeline.suggest(PHOTO, tags=tags)


def boxes_of(suggestion: Suggestion) -> list[Box]:
    return [one.box for one in suggestion.instances]


def mask_of(one: Instance) -> np.ndarray:
    assert one.rle is not None
    return rle_to_mask(one.rle)


def test_sure_detections_are_proposed_and_the_others_kept() -> None:
    found = suggest([(LEFT, "cup", 0.9), (RIGHT, "cup", 0.2)])
    (one,) = found.instances
    assert (one.box, one.category, one.score, one.status) == (LEFT, "cup", 0.9, Status.PROPOSED)
    (other,) = found.evidence.candidates
    assert other.score == 0.2
    np.testing.assert_array_equal(rle_to_mask(other.rle), square_mask((40, 60), (30, 4, 50, 24)))


def test_a_score_of_the_limit_is_enough() -> None:
    assert len(suggest([(LEFT, "cup", 0.3)], min_score=0.3).instances) == 1


def test_only_classes_of_the_tags_are_proposed_unless_all_are_wanted() -> None:
    found = [(LEFT, "cup", 0.9), (RIGHT, "Füße", 0.8)]
    assert boxes_of(suggest(found, tags=["Füße"])) == [RIGHT]
    assert boxes_of(suggest(found, tags=["dog"])) == []
    assert boxes_of(suggest(found, tags=["Füße"], only_tags=False)) == [LEFT, RIGHT]
    assert boxes_of(suggest(found)) == [LEFT, RIGHT]  # without tags nothing is ruled out
    assert len(suggest(found, tags=["dog"]).evidence.candidates) == 2


def test_one_object_of_two_classes_is_proposed_once_as_the_surer_one() -> None:
    found = [(LEFT, "cup", 0.9), (NEARLY_LEFT, "Füße", 0.8), (RIGHT, "cup", 0.7)]
    suggestion = suggest(found)
    assert [(one.box, one.category) for one in suggestion.instances] == [
        (LEFT, "cup"),
        (RIGHT, "cup"),
    ]
    assert suggestion.evidence.candidates == ()


def test_no_more_objects_are_proposed_than_wanted_but_one_for_each_tag() -> None:
    found = [(LEFT, "cup", 0.9), (RIGHT, "Füße", 0.8)]
    assert boxes_of(suggest(found, max_objects=1)) == [LEFT]
    assert boxes_of(suggest(found, max_objects=1, tags=["cup", "Füße"])) == [LEFT, RIGHT]


def test_the_best_of_each_tag_goes_before_surer_ones_of_another() -> None:
    middle: Box = (22.0, 20.0, 30.0, 36.0)
    found = [(LEFT, "cup", 0.9), (middle, "cup", 0.8), (RIGHT, "Füße", 0.7)]
    tags = ["Füße", "cup"]
    assert boxes_of(suggest(found, max_objects=1, tags=tags)) == [LEFT, RIGHT]
    assert boxes_of(suggest(found, max_objects=2, tags=tags)) == [LEFT, RIGHT]
    assert boxes_of(suggest(found, max_objects=3, tags=tags)) == [LEFT, middle, RIGHT]
    # A tag that nothing was found of makes no room for a second object of another.
    assert boxes_of(suggest(found, max_objects=1, tags=["cup", "dog"])) == [LEFT]
    assert boxes_of(suggest(found, max_objects=2, tags=["Füße"], only_tags=False)) == [LEFT, RIGHT]
    assert len(suggest(found, max_objects=1, tags=tags).evidence.candidates) == 1


def test_what_is_not_sure_is_not_proposed_for_its_tag_either() -> None:
    found = [(LEFT, "cup", 0.9), (RIGHT, "Füße", 0.2)]
    assert boxes_of(suggest(found, tags=["cup", "Füße"])) == [LEFT]


def test_nothing_found_is_an_answer() -> None:
    segmenter = SquareSegmenter()
    suggestion = suggest([], tags=["cup"], segmenter=segmenter)
    assert suggestion.instances == ()
    assert suggestion.evidence.candidates == ()
    assert segmenter.prepared == []  # nobody waits for what nobody asks


@pytest.mark.parametrize(
    ("masks", "has_masks", "expected"),
    [
        ("auto", True, "own"),
        ("auto", False, "segmenter"),
        ("own", True, "own"),
        ("segmenter", True, "segmenter"),
        ("none", True, "none"),
        ("none", False, "none"),
    ],
)
def test_masks_come_from_where_they_are_wanted(masks: str, has_masks: bool, expected: str) -> None:
    tilted = (2.5, 4.0, 22.5, 24.0)  # the segmenter takes whole pixels, the detector halves
    suggestion = suggest(
        [(tilted, "cup", 0.9), (RIGHT, "cup", 0.1)], has_masks=has_masks, masks=masks
    )
    (one,) = suggestion.instances
    assert one.box == tilted
    if expected == "none":
        assert one.rle is None
        assert suggestion.evidence.candidates == ()
    elif expected == "segmenter":
        np.testing.assert_array_equal(mask_of(one), square_mask((40, 60), (2, 4, 22, 24)))
    else:
        drawn = mask_of(one)
        assert drawn[5:23, 4:22].all()
        assert not drawn[:, 24:].any()
    asked = {"own": "", "none": "", "segmenter": "squares"}[expected]
    assert one.source.options["segmenter"] == asked


def test_a_detector_without_masks_cannot_be_asked_for_its_own() -> None:
    with pytest.raises(OptionError, match="'birds-7' has no masks of its own"):
        suggest([], masks="own")


def test_an_instance_knows_the_detector_by_name_and_no_path() -> None:
    (one,) = suggest([(LEFT, "cup", 0.9)], detector="/home/somebody/birds-7.safetensors").instances
    assert (one.source.pipeline, one.source.checkpoint) == ("detector", "birds-7")
    assert one.source.options["detector"] == "birds-7"
    assert "somebody" not in str(one.source.as_dict())


def test_a_segmenter_without_an_answer_leaves_a_box_alone() -> None:
    class Silent(SquareSegmenter):
        def masks_for(self, prompts: Any) -> list[Any]:
            return []

    suggestion = suggest([(LEFT, "cup", 0.9), (RIGHT, "cup", 0.1)], segmenter=Silent())
    assert [one.rle for one in suggestion.instances] == [None]
    assert suggestion.evidence.candidates == ()


def test_an_empty_mask_of_the_detectors_own_leaves_a_box_alone() -> None:
    detector = FixedDetector([(LEFT, "cup", 0.9)], has_masks=True)
    detector._found = [
        dataclasses.replace(one, patch=np.zeros((28, 28), np.float32)) for one in detector._found
    ]
    pipeline = DetectorPipeline(DetectorPipelineOptions(), detector=detector)  # type: ignore[arg-type]
    assert [one.rle for one in pipeline.suggest(PHOTO, tags=()).instances] == [None]


def test_a_few_pixels_are_no_mask_unless_the_object_is_as_small() -> None:
    """WeakSAM leaves out masks under 16 pixels; on tiny photos that would be whole objects."""
    large, small = (10.0, 10.0, 40.0, 30.0), (2.0, 2.0, 5.0, 5.0)

    def has_mask(box: Box, pixels: int, **options: Any) -> bool:
        class Drawn(SquareSegmenter):
            def masks_for(self, prompts: Any) -> list[Any]:
                mask = np.zeros(PHOTO.shape[:2], dtype=bool)
                mask.flat[:pixels] = True
                return [dataclasses.replace(super().masks_for(prompts)[0], mask=mask)]

        (one,) = suggest([(box, "cup", 0.9)], segmenter=Drawn(), **options).instances
        assert one.box == box
        return one.rle is not None

    assert [has_mask(large, count) for count in (0, 15, 16)] == [False, False, True]
    assert [has_mask(small, count) for count in (0, 4, 5, 9)] == [False, False, True, True]
    assert has_mask(large, 15, min_mask_area=0)
    assert not has_mask(large, 99, min_mask_area=100)


def test_only_so_many_detections_are_kept_beside_a_photo() -> None:
    many = [((float(x), 0.0, x + 2.0, 2.0), "cup", 0.2) for x in range(0, 58, 2)]
    assert len(suggest(many, has_masks=True).evidence.candidates) == KEPT
    assert len(suggest(many).evidence.candidates) == 4  # where each takes a while


def test_a_trained_file_proposes(tmp_path: Path) -> None:
    path = saved(tmp_path, "maskrcnn")
    pipeline = build("detector", {"detector": str(path), "min_score": 0.0, "device": "cpu"})
    suggestion = pipeline.suggest(PHOTO, tags=CLASSES)
    assert suggestion.instances
    assert {one.source.checkpoint for one in suggestion.instances} == {"maskrcnn-0"}
    assert {one.category for one in suggestion.instances} <= set(CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": 1.5}, r"min_score must lie in \[0, 1\], got 1.5"),
        ({"max_objects": 0}, "max_objects must be at least 1, got 0"),
        ({"min_mask_area": -1}, "min_mask_area must be at least 0, got -1"),
        ({"scales": (8,)}, "at least 32 pixels"),
        ({}, "needs a detector: train one"),
    ],
)
def test_options_that_make_no_sense_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build("detector", options)


def test_a_file_that_is_gone_is_told() -> None:
    with pytest.raises(WeightsError, match="There is no file nowhere"):
        build("detector", {"detector": "nowhere.safetensors"})


# Boxes to masks ---------------------------------------------------------------------------------

SOME_BOXES: list[Box] = [(10.0, 20.0, 90.0, 130.0), (0.0, 0.0, 512.0, 512.0), (300.5, 7, 301, 8)]


@pytest.mark.parametrize("at_once", [1, 2 * 512 * 512, 50_000_000])
def test_sam_answers_many_boxes_as_it_answers_each(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.segmenters.sam.PIXELS_AT_ONCE", at_once)
    segmenter = SamSegmenter(small_sam(), name="small")
    segmenter.set_image(ASTRONAUT)

    class OneByOne:
        masks_for = staticmethod(segmenter.masks_for)

    together = masks_for_boxes(segmenter, SOME_BOXES)
    alone = masks_for_boxes(OneByOne(), SOME_BOXES)  # type: ignore[arg-type]
    for one, other in zip(together, alone, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert other is not None
            assert (one != other).mean() < 1e-3  # sums of a batch round otherwise
    assert any(one is not None for one in together)
    assert masks_for_boxes(segmenter, []) == []


def test_boxes_before_a_photo_are_a_programming_error() -> None:
    with pytest.raises(RuntimeError, match="set_image comes before"):
        SamSegmenter(small_sam(), name="small").masks_for_boxes([LEFT])


def test_the_segmenter_without_weights_answers_boxes_one_by_one() -> None:
    segmenter = ClassicalSegmenter()
    image = PHOTO.copy()
    image[4:24, 2:22] = 255
    segmenter.set_image(image)
    left, right = masks_for_boxes(segmenter, [LEFT, RIGHT])
    assert left is not None
    assert right is not None
    assert left[8:20, 6:18].all()
    assert not left[:, 30:].any()

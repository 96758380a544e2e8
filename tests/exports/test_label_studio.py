"""Instances and regions: nothing is lost on the way there and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError, OptionError
from engine.geometry import mask_to_box, mask_to_rle, rle_to_mask
from engine.types import Box, LabeledImage, Source, Status
from exports.label_studio import (
    BITMASK,
    BRUSH,
    POLYGON,
    RECTANGLE,
    LabelStudioOptions,
    TaskChoices,
    annotation_of,
    predictions_of,
    regions_of,
    task_of,
)
from exports.label_studio_read import objects_of, our_number
from tests.builders import make_image, make_instance, make_mask, masks_with_pixels

BRUSHES = TaskChoices()
EVERY_WAY = [
    TaskChoices(LabelStudioOptions(masks, boxes))
    for masks in ("brush", "bitmask", "polygon")
    for boxes in (True, False)
]


def photo_of(mask: np.ndarray, **fields: Any) -> LabeledImage:
    height, width = mask.shape
    return make_image(make_instance(mask, id=17, **fields), width=width, height=height)


def back(image: LabeledImage, choices: TaskChoices = BRUSHES) -> list[Any]:
    regions = [one for each in image.instances for one in regions_of(image, each, choices)]
    found, problems = objects_of(regions, size_hw=(image.height, image.width))
    assert problems == []
    return found


@pytest.mark.parametrize("choices", EVERY_WAY, ids=str)
@given(mask=masks_with_pixels(14))
def test_a_mask_comes_back_bit_by_bit(choices: TaskChoices, mask: np.ndarray) -> None:
    (one,) = back(photo_of(mask), choices)
    assert np.array_equal(rle_to_mask(one.rle), mask)
    assert one.number == 17
    assert one.extent == pytest.approx(mask_to_box(mask), abs=1e-9)


sides = st.floats(0, 1, allow_nan=False)


@given(st.integers(1, 6000), st.integers(1, 6000), sides, sides, sides, sides)
def test_a_box_comes_back_within_a_millionth_of_a_pixel(
    width: int, height: int, x0: float, y0: float, x1: float, y1: float
) -> None:
    left, right = sorted((x0 * width, x1 * width))
    top, bottom = sorted((y0 * height, y1 * height))
    if right - left < 1e-3 or bottom - top < 1e-3:
        right, bottom = left + 0.5, top + 0.5
        left, top, right, bottom = left - 0.5, top - 0.5, right, bottom
    box: Box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    image = make_image(make_instance(id=1, box=box), width=width, height=height)
    (one,) = back(image)
    assert one.box == pytest.approx(box, abs=1e-6)
    assert one.rle is None


def test_percentages_never_leave_the_picture() -> None:
    # 3 * (1 / 3 * 100) and such: the sum of corner and size may round to more than 100.
    for width in range(1, 400):
        image = make_image(make_instance(id=1, box=(0.1, 0.1, width, 7)), width=width, height=7)
        value = regions_of(image, image.instances[0], BRUSHES)[0]["value"]
        assert 0 <= value["x"] <= 100
        assert value["x"] + value["width"] <= 100
        assert value["y"] + value["height"] <= 100


def test_three_hundred_instances_and_any_name_come_back() -> None:
    names = ["собака 犬", 'a & b / "c"', "<b>", "it's", "👩‍🔬 é"]
    instances = [
        make_instance(
            make_mask((n % 35, n % 25, n % 35 + 3, n % 25 + 2)), id=n, category=names[n % 5]
        )
        for n in range(1, 301)
    ]
    found = back(make_image(*instances))
    assert [(one.number, one.categories) for one in found] == [
        (one.id, (one.category,)) for one in instances
    ]
    assert [one.rle for one in found] == [one.rle for one in instances]


def test_an_object_of_many_parts_and_holes_is_one_brush_region() -> None:
    mask = make_mask((0, 0, 10, 10), (20, 20, 40, 30))
    mask[3:6, 3:6] = False
    image = photo_of(mask)
    regions = regions_of(image, image.instances[0], BRUSHES)
    assert [one["type"] for one in regions] == [RECTANGLE, BRUSH]
    assert [one["id"] for one in regions] == ["17-box", "17"]


def test_a_box_alone_is_a_rectangle_whatever_was_chosen() -> None:
    image = make_image(make_instance(id=5))
    for choices in EVERY_WAY:
        (region,) = regions_of(image, image.instances[0], choices)
        assert (region["type"], region["id"]) == (RECTANGLE, "5")


def test_a_polygon_is_chosen_only_where_it_says_the_same() -> None:
    choices = TaskChoices(LabelStudioOptions("polygon"))
    plain, holed = make_mask((2, 3, 12, 9)), make_mask((2, 3, 12, 9))
    holed[5, 5] = False
    kinds = []
    for mask in (plain, holed):
        image = photo_of(mask)
        kinds.append(regions_of(image, image.instances[0], choices)[-1]["type"])
    assert kinds == [POLYGON, BRUSH]
    assert set(kinds) <= set(choices.options.kinds)


def test_a_bitmask_is_a_png_whose_alpha_is_the_mask() -> None:
    image = photo_of(make_mask((2, 3, 12, 9)))
    region = regions_of(image, image.instances[0], TaskChoices(LabelStudioOptions("bitmask")))[1]
    assert region["type"] == BITMASK
    assert region["value"]["imageDataURL"].startswith("data:image/png;base64,")


def test_provenance_travels_with_every_region() -> None:
    source = Source("pro2sam", "sam_vit_b", 3, {"tau": 0.2})
    image = photo_of(make_mask((2, 3, 12, 9)), source=source, score=0.25, status=Status.PROPOSED)
    (one,) = back(image)
    assert one.provenance["source"] == source.as_dict()
    assert one.provenance["sent"] == ["box", "mask"]
    assert (one.provenance["status"], one.score) == ("proposed", 0.25)


def test_proposals_are_predictions_and_decisions_one_annotation() -> None:
    proposed = {"status": Status.PROPOSED, "source": Source("pro2sam", "sam_vit_b")}
    image = make_image(
        make_instance(id=1),
        make_instance(id=2, score=0.5, **proposed),
        make_instance(id=3, score=1.0, **proposed),
        make_instance(id=4, status=Status.PROPOSED, source=Source("classical")),
        make_instance(id=5, status=Status.REJECTED),
    )
    first, second = predictions_of(image, BRUSHES)
    assert (first["model_version"], first["score"]) == ("tag2mask/pro2sam sam_vit_b", 0.75)
    assert [one["id"] for one in first["result"]] == ["2", "3"]
    assert second["model_version"] == "tag2mask/classical"
    assert "score" not in second
    annotation = annotation_of(image, BRUSHES)
    assert annotation is not None
    assert [one["id"] for one in annotation["result"]] == ["1"]
    assert annotation["ground_truth"] is False


def test_a_photo_without_decisions_has_no_annotation() -> None:
    image = make_image(make_instance(id=1, status=Status.PROPOSED), tags=("cat", "dog"))
    task = task_of(image, address="/a.jpg", ext_id="x-1", choices=BRUSHES)
    assert task["annotations"] == []
    assert task["data"]["tags"] == "cat, dog"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"category": None}, "object 17 .* has no class"),
        ({"rle": mask_to_rle(np.ones((3, 3), bool))}, "the photo is not"),
        ({"box": (40.0, 0.0, 50.0, 5.0)}, "outside the photo"),
    ],
)
def test_what_the_editor_would_choke_on_is_refused(fields: dict[str, Any], reason: str) -> None:
    image = make_image(replace(make_instance(id=17), **fields))
    with pytest.raises(FormatError, match=reason):
        regions_of(image, image.instances[0], BRUSHES)


def test_neither_boxes_nor_masks_is_no_choice() -> None:
    with pytest.raises(OptionError, match="nothing to write"):
        LabelStudioOptions("none", boxes=False)


# -- what others left there ----------------------------------------------------------------------


def region(kind: str, value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    size = {"original_width": 40, "original_height": 30}
    return {"id": "aB3", "type": kind, **size, "value": {kind: ["cat"], **value}, **fields}


def rectangle(**fields: Any) -> dict[str, Any]:
    given = {"x": 25, "y": 50, "width": 50, "height": 10, "rotation": 0}
    return region(RECTANGLE, {**given, **fields})


def test_a_rectangle_of_a_stranger_has_no_number() -> None:
    ((one,), problems) = objects_of([rectangle()], size_hw=(30, 40))
    assert (one.key, one.number, one.box, problems) == ("aB3", None, (10, 15, 30, 18), [])


def test_the_upright_box_around_a_turned_rectangle_counts() -> None:
    # A quarter turn clockwise around (10, 15): 20 x 3 pixels become 3 x 20, cut at the edge.
    ((one,), _) = objects_of([rectangle(rotation=90)], size_hw=(30, 40))
    assert one.box == pytest.approx((7, 15, 10, 30))
    assert "turned rectangle" in one.notes[0]


def test_of_two_labels_the_first_counts() -> None:
    ((one,), _) = objects_of([rectangle(rectanglelabels=["dog", "cat"])])
    assert one.categories == ("dog",)
    assert "2 labels" in one.notes[0]


def test_a_class_changed_on_one_region_alone_shows_both() -> None:
    image = photo_of(make_mask((2, 3, 12, 9)))
    regions = regions_of(image, image.instances[0], BRUSHES)
    regions[1]["value"][BRUSH] = ["dog"]
    ((one,), _) = objects_of(regions)
    assert one.categories == ("cat", "dog")


def test_choices_texts_and_relations_are_no_objects() -> None:
    entries = [
        {"type": "choices", "value": {"choices": ["x"]}, "id": "1"},
        {"type": "relation", "from_id": "a", "to_id": "b"},
    ]
    assert objects_of(entries) == ([], [])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("text", "must be an object"),
        (rectangle(rectanglelabels=[]), "no label"),
        (rectangle(rectanglelabels=[" "]), "no label"),
        (rectangle(x="1"), "no numbers"),
        (rectangle(x=float("nan")), "no numbers"),
        (rectangle(x=101), "without a pixel"),
        (rectangle(width=0), "without a pixel"),
        (region(POLYGON, {"points": [[0, 0], [1, 1]]}), "three points"),
        (region(POLYGON, {"points": [[0, 0], [1, 1], [1e9, 0]]}), "three points"),
        (region(POLYGON, {"points": [[0, 0], [0.1, 0], [0.1, 0.1]]}), "no pixel"),
        (region(BRUSH, {"rle": [1, 2]}), "cut off"),
        (region(BRUSH, {}), "cut off"),
        (region(BITMASK, {"imageDataURL": "http://x/y.png"}), "no PNG"),
        (region(BITMASK, {"imageDataURL": "data:image/png;base64,!!"}), "no PNG"),
        (region("keypointlabels", {"x": 1, "y": 1}), "'keypointlabels', which is not read"),
        ({**rectangle(), "image_rotation": 90}, "turned picture"),
        ({**rectangle(), "original_width": 41}, "41 x 30"),
        ({**rectangle(), "original_width": None}, "None x 30"),
        ({**rectangle(), "original_width": 10**9, "original_height": 10**9}, "another one"),
    ],
)
def test_a_region_without_sense_is_a_problem_and_the_others_stay(entry: Any, reason: str) -> None:
    good = {**rectangle(), "id": "good"}
    found, problems = objects_of([entry, good], size_hw=(30, 40))
    assert [one.key for one in found] == ["good"]
    assert len(problems) == 1
    assert reason in problems[0]


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("17", 17),
        ("17-box", 17),
        ("017", None),
        ("0", None),
        ("x", None),
        ("٣", None),
        ("17-", None),
    ],
)
def test_our_ids_are_known_again(key: str, number: int | None) -> None:
    assert our_number(key) == number

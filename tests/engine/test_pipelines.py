"""The classical pipeline: what it promises for any photo and tags, what it finds, its options."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage import data

from engine.errors import OptionError
from engine.geometry import iou_masks, mask_to_box, rle_to_mask
from engine.options import as_dict, defaults_of
from engine.pipelines import DEFAULT, PIPELINES, ClassicalOptions, build
from engine.smoothing import tidied
from engine.types import Image, Instance, Mask, Status
from tests.builders import make_mask, masks_with_pixels
from tests.engine.scenes import odd_photos, on_texture, two_fruits

SMALL = {"working_side": 64}


def suggest(image: Image, *tags: str, **options: object) -> list[Instance]:
    return list(build("classical", options).suggest(image, tags=tags).instances)


def mask_of(instance: Instance) -> Mask:
    assert instance.rle is not None
    return rle_to_mask(instance.rle)


@cache
def scene(seed: int = 0) -> tuple[Image, Mask]:
    return on_texture(seed=seed, height=60, width=80)


def assert_sound(instances: list[Instance], image: Image) -> None:
    assert instances
    for one in instances:
        assert one.status is Status.PROPOSED
        assert mask_of(one).shape == image.shape[:2]
        assert one.box == mask_to_box(mask_of(one))
    scores = [one.score for one in instances]
    assert None not in scores
    assert scores == sorted(scores, reverse=True)


# Any photo, any tags -----------------------------------------------------------------------------


@pytest.mark.parametrize("matching", ["judged", "soft", "iou"])
@pytest.mark.parametrize("image", odd_photos())
def test_odd_photos_get_at_least_one_proposal(image: Image, matching: str) -> None:
    found = suggest(image, "cat", matching=matching, **SMALL)
    assert_sound(found, image)
    assert {one.category for one in found} == {"cat"}


@settings(max_examples=8)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    st.lists(st.sampled_from(["cat", "dog", "été 写真", "🐦"]), max_size=4, unique=True),
)
def test_any_small_photo_and_tags_get_proposals_and_no_tag_is_forgotten(
    image: Image, tags: list[str]
) -> None:
    found = suggest(image, *tags)
    assert_sound(found, image)
    assert {one.category for one in found} - {None} == set(tags)


def test_a_photo_larger_than_the_working_copy_gets_masks_of_its_own_size() -> None:
    image, truth = on_texture(seed=1, height=300, width=420)
    found = suggest(image, "pot")
    assert_sound(found, image)
    assert iou_masks(mask_of(found[0]), truth) > 0.7


def test_the_same_photo_gives_the_same_proposals_and_stays_as_it_is() -> None:
    image, _ = scene()
    before = image.copy()
    pipeline = build("classical", {})
    first = pipeline.suggest(image, tags=["pot"]).instances
    pipeline.suggest(scene(1)[0], tags=["pot"])
    assert pipeline.suggest(image, tags=["pot"]).instances == first
    assert build("classical", {}).suggest(image, tags=["pot"]).instances == first
    assert np.array_equal(image, before)


def test_a_photo_that_cannot_be_written_to_and_a_mirrored_view_work_too() -> None:
    image, _ = scene()
    view = image[:, ::-1]
    view.setflags(write=False)
    assert suggest(view, "pot") == suggest(np.ascontiguousarray(view), "pot")


# Tags --------------------------------------------------------------------------------------------


def test_without_tags_the_proposals_have_no_class() -> None:
    found = suggest(scene()[0])
    assert {one.category for one in found} == {None}


def test_one_tag_is_the_class_of_every_proposal() -> None:
    image, _, _ = two_fruits(height=60, width=80)
    assert {one.category for one in suggest(image, "orange")} == {"orange"}


def test_more_tags_than_objects_share_the_best_object() -> None:
    image, truth = scene()
    found = suggest(image, "pot", "plant", "soil")
    assert_sound(found, image)
    by_tag = {one.category: one for one in found}
    assert set(by_tag) == {"pot", "plant", "soil"}
    assert iou_masks(mask_of(by_tag["pot"]), truth) > 0.7
    assert by_tag["soil"].box == by_tag["pot"].box


def test_the_more_tags_the_less_sure_is_a_proposal() -> None:
    image, _ = scene()
    best = [suggest(image, *tags)[0].score or 0.0 for tags in (["a"], ["a", "b"], ["a", "b", "c"])]
    assert best[0] > best[1] > best[2] > 0.0


def test_a_class_does_not_change_what_is_found() -> None:
    image, _ = scene()
    with_tag, without = suggest(image, "pot"), suggest(image)
    assert [(one.box, one.score) for one in with_tag] == [(one.box, one.score) for one in without]


# What is found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_an_object_on_texture_is_found(seed: int) -> None:
    image, truth = on_texture(seed=seed)
    assert iou_masks(mask_of(suggest(image, "pot")[0]), truth) > 0.7


@pytest.mark.parametrize("matching", ["soft", "iou"])
def test_eq_11_alone_finds_the_object_too(matching: str) -> None:
    image, truth = on_texture(seed=3)
    assert iou_masks(mask_of(suggest(image, "pot", matching=matching)[0]), truth) > 0.7


def test_a_smaller_working_copy_finds_the_object_more_coarsely() -> None:
    image, truth = on_texture(seed=0)
    assert 0.5 < iou_masks(mask_of(suggest(image, "pot", **SMALL)[0]), truth) < 0.99


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("matching", ["judged", "soft"])
def test_two_equal_objects_are_two_instances_of_the_tag(seed: int, matching: str) -> None:
    image, left, right = two_fruits(seed=seed, height=60, width=80)
    found = suggest(image, "orange", matching=matching)
    assert len(found) == 2
    assert {one.category for one in found} == {"orange"}
    for truth in (left, right):
        assert max(iou_masks(mask_of(one), truth) for one in found) > 0.8


def test_a_small_thing_beside_the_object_is_not_its_twin() -> None:
    image, left, right = two_fruits(height=60, width=80)
    image[right] = (60, 110, 50)  # ground again
    image[28:33, 60:65] = (215, 130, 45)
    found = suggest(image, "orange")
    assert sum(mask_of(one)[30, 62] and not mask_of(one)[left].any() for one in found) == 0


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        # A box that any annotator would call the object's, shrunk to what must be in it.
        ("astronaut", (150, 100, 350, 400)),
        ("coffee", (230, 120, 380, 280)),
        ("cat", (150, 100, 300, 250)),
    ],
)
def test_the_box_on_a_real_photo_holds_the_middle_of_the_object(
    name: str, inside: tuple[int, int, int, int]
) -> None:
    image = getattr(data, name)()
    found = suggest(image, name)
    assert_sound(found, image)
    x0, y0, x1, y1 = found[0].box
    shared = max(min(x1, inside[2]) - max(x0, inside[0]), 0) * max(
        min(y1, inside[3]) - max(y0, inside[1]), 0
    )
    assert shared > 0.7 * (inside[2] - inside[0]) * (inside[3] - inside[1])
    assert (x1 - x0) * (y1 - y0) < 0.95 * image.shape[0] * image.shape[1]


# Tidying -----------------------------------------------------------------------------------------


@given(masks_with_pixels())
def test_tidying_only_adds_pixels(mask: Mask) -> None:
    assert (tidied(mask) | ~mask).all()


def test_cracks_and_small_holes_are_closed_and_large_holes_stay() -> None:
    solid = make_mask((5, 5, 35, 25))
    assert np.array_equal(tidied(solid & ~make_mask((12, 9, 18, 15))), solid)
    assert tidied(solid & ~make_mask((19, 5, 21, 25)))[6:24, 5:35].all()
    assert not tidied(solid & ~make_mask((12, 9, 28, 21)))[11:19, 14:26].any()


def test_a_gap_that_is_open_to_the_rim_is_no_hole() -> None:
    arch = make_mask((5, 5, 35, 30)) & ~make_mask((15, 15, 25, 30))
    assert not tidied(arch)[18:, 15:25].any()


# Options -----------------------------------------------------------------------------------------


def test_what_made_a_proposal_is_kept_with_it() -> None:
    source = suggest(scene()[0], "pot", gallery_size=3)[0].source
    assert source.pipeline == "classical"
    assert source.checkpoint == ""
    assert source.options == as_dict(ClassicalOptions(gallery_size=3))


def test_the_default_pipeline_needs_nothing_and_all_but_the_detector_build_without_weights() -> (
    None
):
    assert build(DEFAULT, {}) is not None
    without_weights = {"pro2sam": {"localizer": "saliency", "segmenter": "classical"}}
    trained = {"detector"}  # what it is about is a file of weights
    for name in PIPELINES.keys() - trained:
        options = {**defaults_of(PIPELINES[name].options), **without_weights.get(name, {})}
        assert build(name, options) is not None


def test_an_unknown_pipeline_is_named_with_those_that_exist() -> None:
    with pytest.raises(OptionError, match=r"no pipeline 'magic'; there are .*classical"):
        build("magic", {})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speed": 3}, "unknown option 'speed'"),
        ({"matching": "best"}, "option 'matching' got 'best'; allowed: judged, soft, iou"),
        ({"working_side": 31}, "working_side must be at least 32 pixels, got 31"),
        ({"working_side": 64.5}, "option 'working_side' got 64.5"),
        ({"tau_b": 1.0}, r"tau_b must lie in \[0, 1\), got 1.0"),
        ({"tau_b": -0.1}, r"tau_b must lie in \[0, 1\), got -0.1"),
        ({"gallery_size": -1}, "gallery_size must be at least 0 .*got -1 and 20"),
        ({"max_objects": 0}, "max_objects at least 1, got 12 and 0"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build("classical", wrong)


def test_without_a_gallery_the_cuts_alone_are_enough() -> None:
    image, truth = scene()
    assert iou_masks(mask_of(suggest(image, "pot", gallery_size=0)[0]), truth) > 0.7


def test_no_more_objects_than_asked_for_but_one_for_each_tag() -> None:
    image, _, _ = two_fruits(height=60, width=80)
    assert len(suggest(image, "orange", max_objects=1)) == 1
    assert len(suggest(image, "orange", "leaf", max_objects=1)) == 2


def test_iou_matching_reads_tau_b() -> None:
    image, _, _ = two_fruits(height=60, width=80)
    low = suggest(image, "orange", matching="iou", tau_b=0.02, **SMALL)
    high = suggest(image, "orange", matching="iou", tau_b=0.9, **SMALL)
    assert [one.box for one in low] != [one.box for one in high]


def test_importing_the_pipelines_loads_no_torch() -> None:
    code = "import sys, engine.pipelines; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

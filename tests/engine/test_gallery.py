"""Galleries: that boxes, coverage and cells are those of the masks, odd photos, merging by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage import data

from engine import matching
from engine.errors import OptionError
from engine.gallery import FAST, THOROUGH, Gallery, GalleryOptions, build_gallery
from engine.geometry import iou_masks, mask_to_box
from engine.merging import Leaves, Tree, cut_into_leaves, merge
from engine.options import defaults_of, from_dict
from engine.types import Image
from tests.builders import make_mask

SMALL = GalleryOptions(felzenszwalb_scales=(100.0,), slic_counts=(60,), mixes=("all", "shape"))


@cache
def gallery_of_coffee() -> Gallery:
    return build_gallery(data.coffee(), SMALL)


def two_tone(height: int = 60, width: int = 80) -> Image:
    """A red block on blue; the block is columns 20 to 49, rows 10 to 39."""
    image = np.full((height, width, 3), (0, 0, 200), dtype=np.uint8)
    image[10:40, 20:50] = (200, 0, 0)
    return image


def assert_consistent(gallery: Gallery, grid: int, every: int = 1) -> None:
    coverage, cells = gallery.coverage(grid), gallery.cells(grid)
    assert coverage.shape == cells.shape == (len(gallery), grid, grid)
    assert coverage.dtype == np.float32
    for index in range(0, len(gallery), every):
        mask = gallery.mask(index)
        assert mask_to_box(mask) == tuple(gallery.boxes[index])
        assert np.allclose(coverage[index], matching.coverage(mask, grid), atol=1e-6)
        assert np.array_equal(cells[index], matching.mask_cells(mask, grid))


def test_a_block_of_one_colour_is_found_to_within_a_pixel() -> None:
    gallery = build_gallery(two_tone())
    block = make_mask((20, 10, 50, 40), height=60, width=80)
    overlaps = [iou_masks(gallery.mask(index), block) for index in range(len(gallery))]
    assert max(overlaps) > (28 / 30) ** 2
    found = matching.scores(matching.coverage(block, 14), gallery.coverage(14), "soft")
    assert matching.best(found) == int(np.argmax(overlaps))


def test_boxes_coverage_and_cells_are_those_of_the_masks() -> None:
    assert_consistent(gallery_of_coffee(), 14, every=37)
    assert_consistent(gallery_of_coffee(), 5, every=201)


def test_no_mask_comes_twice_and_none_is_empty() -> None:
    gallery = gallery_of_coffee()
    packed = {np.packbits(gallery.mask(index)).tobytes() for index in range(len(gallery))}
    assert len(packed) == len(gallery) > 300
    assert gallery.coverage().max(axis=(1, 2)).min() > 0


def test_the_whole_photo_is_in_the_gallery() -> None:
    gallery = gallery_of_coffee()
    whole = np.flatnonzero(gallery.coverage(1)[:, 0, 0] == 1.0)
    assert len(whole) == 1
    assert gallery.mask(int(whole[0])).all()
    assert gallery.scores[whole[0]] == 0.0


def test_the_highest_score_comes_first() -> None:
    scores = gallery_of_coffee().scores
    assert (np.diff(scores) <= 0).all()
    assert 0.0 <= scores.min() < scores.max() <= 1.0


def test_small_masks_are_left_out() -> None:
    tenth = build_gallery(data.coffee(), replace(SMALL, smallest_share=0.1))
    assert 0 < len(tenth) < len(gallery_of_coffee())
    # A share of the small copy, whose pixels are not all equally large in the photo.
    assert tenth.coverage(1).min() > 0.099


def test_the_same_photo_gives_the_same_gallery() -> None:
    again = build_gallery(data.coffee(), SMALL)
    assert np.array_equal(again.boxes, gallery_of_coffee().boxes)
    assert np.array_equal(again.scores, gallery_of_coffee().scores)


def test_more_sets_of_regions_only_add_masks() -> None:
    few = build_gallery(two_tone(), replace(SMALL, slic_counts=()))
    many = build_gallery(two_tone(), SMALL)
    assert len(many) > len(few)
    known = {many.mask(index).tobytes() for index in range(len(many))}
    assert all(few.mask(index).tobytes() in known for index in range(len(few)))


@pytest.mark.parametrize("options", [GalleryOptions(), THOROUGH, FAST])
@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((40, 50, 3), dtype=np.uint8), id="black"),
        pytest.param(np.full((40, 50, 3), 255, dtype=np.uint8), id="white"),
        pytest.param(np.full((1, 1, 3), 7, dtype=np.uint8), id="1x1"),
        pytest.param(two_tone()[:2, :3], id="2x3"),
        pytest.param(data.coffee()[100:103].repeat(5, axis=1)[:, :2500], id="3x2500"),
        pytest.param(data.coffee()[:, 100:101], id="one column"),
        pytest.param(
            np.arange(12000, dtype=np.uint16).astype(np.uint8).reshape(50, 80, 3), id="noise"
        ),
    ],
)
def test_odd_photos_have_a_consistent_gallery(image: Image, options: GalleryOptions) -> None:
    gallery = build_gallery(image, options)
    assert len(gallery) >= 1
    assert any(gallery.mask(index).all() for index in range(len(gallery)))
    assert gallery.mask(0).shape == image.shape[:2]
    assert_consistent(gallery, 14, every=max(1, len(gallery) // 10))


@settings(max_examples=30)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60), st.just(3))))
def test_any_small_photo_has_a_consistent_gallery(image: Image) -> None:
    assert_consistent(build_gallery(image, replace(SMALL, working_side=24)), 6, every=3)


def test_masks_beyond_the_last_are_refused() -> None:
    gallery = build_gallery(two_tone())
    for index in (-1, len(gallery)):
        with pytest.raises(IndexError, match=f"mask {index} of a gallery of {len(gallery)}"):
            gallery.mask(index)


# Ready masks -------------------------------------------------------------------------------------


def test_ready_masks_are_ranked_and_doubles_and_empty_ones_leave() -> None:
    left, right, none = make_mask((0, 0, 9, 9)), make_mask((20, 3, 30, 9)), make_mask()
    gallery = Gallery.from_masks([left, right, none, left], [0.2, 0.6, 1.0, 0.9])
    assert gallery.scores.tolist() == [0.9, 0.6]
    assert np.array_equal(gallery.mask(0), left)
    assert gallery.boxes.tolist() == [[0, 0, 9, 9], [20, 3, 30, 9]]
    assert_consistent(gallery, 14)


def test_among_equal_scores_the_first_mask_stays_first() -> None:
    masks = [make_mask((x, 0, x + 5, 5)) for x in range(6)]
    gallery = Gallery.from_masks(masks, [0.5] * 6)
    assert gallery.boxes[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("masks", [[], [make_mask()]])
def test_a_gallery_may_be_empty(masks: list[np.ndarray]) -> None:
    gallery = Gallery.from_masks(masks, [0.5] * len(masks))
    assert len(gallery) == 0
    assert gallery.boxes.shape == (0, 4)
    assert gallery.coverage(14).shape == gallery.cells(14).shape == (0, 14, 14)


def test_every_ready_mask_needs_a_score() -> None:
    with pytest.raises(ValueError, match="zip"):
        Gallery.from_masks([make_mask((0, 0, 9, 9))], [])


# Merging -----------------------------------------------------------------------------------------


def strips(*colours: int) -> Leaves:
    """Regions of 10 x 10 pixels in a row, one bin of colour each; no texture."""
    count = len(colours)
    labels = np.repeat(np.arange(count), 10)[None].repeat(10, axis=0)
    return Leaves(
        labels=labels,
        areas=np.full(count, 100.0),
        boxes=np.array([(10 * i, 0, 10 * i + 10, 10) for i in range(count)]),
        colours=np.eye(max(colours) + 1)[list(colours)],
        textures=np.ones((count, 1)),
        pairs=np.array([(i, i + 1) for i in range(count - 1)], dtype=np.int64).reshape(-1, 2),
    )


def columns_of(tree: Tree, node: int) -> list[int]:
    inside = (tree.labels[0] >= tree.starts[node]) & (tree.labels[0] < tree.ends[node])
    return sorted({int(place) // 10 for place in np.flatnonzero(inside)})


def test_neighbours_of_one_colour_merge_first() -> None:
    tree = merge(strips(0, 1, 1, 2), "colour")
    assert columns_of(tree, 4) == [1, 2]
    assert tree.boxes[4].tolist() == [10, 0, 30, 10]
    assert columns_of(tree, 6) == [0, 1, 2, 3]
    # The twins resemble each other in all; the pair and its next neighbour in texture only.
    assert tree.scores[tree.starts.tolist().index(tree.starts[4])] == 0.0
    assert tree.scores[4] == 0.5


def test_by_shape_alone_small_regions_merge_before_large_ones() -> None:
    tree = merge(strips(0, 0, 0, 0), "shape")
    assert [len(columns_of(tree, node)) for node in range(4, 7)] == [2, 2, 4]


def test_what_does_not_touch_does_not_merge() -> None:
    tree = merge(strips(0, 1, 0), "colour")
    assert columns_of(tree, 3) in ([0, 1], [1, 2])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_a_tree_has_one_root_and_every_node_is_its_children(colours: list[int]) -> None:
    tree = merge(strips(*colours), "all")
    count = len(colours)
    assert len(tree.starts) == 2 * count - 1
    assert columns_of(tree, 2 * count - 2) == list(range(count))
    assert sorted(columns_of(tree, node)[0] for node in range(count)) == list(range(count))
    for node in range(2 * count - 1):
        columns = columns_of(tree, node)
        assert columns == list(range(columns[0], columns[-1] + 1))
        assert tree.boxes[node].tolist() == [10 * columns[0], 0, 10 * columns[-1] + 10, 10]


def test_sums_over_nodes_are_sums_over_their_leaves() -> None:
    tree = merge(strips(0, 1, 1, 2, 0), "all")
    areas = np.bincount(tree.labels.ravel())
    assert tree.sums(areas).tolist() == [
        100 * (e - s) for s, e in zip(tree.starts, tree.ends, strict=True)
    ]


def test_leaves_cover_the_image_and_know_their_looks() -> None:
    for leaves in cut_into_leaves(two_tone(), scales=(100.0,), counts=(20,)):
        count = len(leaves.areas)
        assert set(np.unique(leaves.labels)) == set(range(count))
        assert leaves.areas.sum() == 60 * 80
        assert leaves.colours.sum(axis=1) == pytest.approx(np.ones(count))
        assert leaves.textures.sum(axis=1) == pytest.approx(np.ones(count))
        for label in range(count):
            assert mask_to_box(leaves.labels == label) == tuple(leaves.boxes[label])


# Options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"working_side": 8}, "working_side must be at least 16 pixels, got 8"),
        ({"felzenszwalb_scales": [], "slic_counts": []}, "at least one value"),
        ({"felzenszwalb_scales": [0.0]}, "above 0"),
        ({"slic_counts": [-5]}, "above 0"),
        ({"mixes": []}, "mixes must be some of all, texture, colour, shape"),
        ({"mixes": ["smell"]}, "allowed: a list, each entry all, texture, colour, shape"),
        ({"smallest_share": 1.0}, "smallest_share must lie in"),
    ],
)
def test_options_out_of_range_say_so(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        from_dict(GalleryOptions, wrong)


def test_options_survive_json() -> None:
    assert from_dict(GalleryOptions, defaults_of(GalleryOptions)) == GalleryOptions()

"""The made-up photo set: exact masks, the same from the same seed, colours that tell nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from benchmarks.synthetic import (
    LARGEST_CLASS_COUNT,
    SHAPES,
    Scene,
    SceneOptions,
    class_names,
    class_parts,
    main,
    make_scene,
    make_set,
    shape_mask,
)
from benchmarks.textures import CLUTTER_TEXTURES, TEXTURES, painted
from engine.geometry import mask_to_box, rle_to_mask
from exports.coco import read_coco
from exports.tags import read_tags

SMALL = SceneOptions(size=48)


def scenes(count: int, options: SceneOptions = SMALL) -> list[tuple[int, Scene]]:
    """Scenes of all classes in turn."""
    turns = [k % options.classes for k in range(count)]
    return [(k, make_scene(options, seed=(7, i), category=k)) for i, k in enumerate(turns)]


# ---------------------------------------------------------------------------------- classes


@given(st.integers(1, LARGEST_CLASS_COUNT))
def test_no_two_classes_are_the_same_shape_with_the_same_texture(classes: int) -> None:
    parts = class_parts(classes)
    assert len(set(parts)) == len(set(class_names(classes))) == classes


@pytest.mark.parametrize("classes", [4, 8, 12])
def test_neither_shape_nor_texture_alone_tells_the_class(classes: int) -> None:
    for place in (0, 1):
        values = [part[place] for part in class_parts(classes)]
        assert {values.count(value) for value in values} == {2}


@pytest.mark.parametrize("own", [0, 3])
def test_classes_with_parts_of_their_own_share_neither_shape_nor_texture(own: int) -> None:
    shapes, textures = zip(*class_parts(6, own), strict=True)
    assert len(set(shapes)) == len(set(textures)) == 6
    options = SceneOptions(classes=6, size=48, objects=3, own_parts=own)
    seen = {name for _, scene in scenes(24, options) for name, _ in scene.objects}
    assert seen == set(class_names(6, own))


def test_more_classes_than_shapes_cannot_have_parts_of_their_own() -> None:
    with pytest.raises(ValueError, match="1 to 6, got 7"):
        SceneOptions(classes=7, own_parts=0)


@pytest.mark.parametrize("changed", [{"classes": 13}, {"classes": 0}, {"size": 8}, {"objects": 0}])
def test_options_that_cannot_be_drawn_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        SceneOptions(**changed)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------ masks


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_a_mask_holds_exactly_the_pixels_that_its_object_paints(shape: int) -> None:
    # Two classes of the same shape from the same seed differ in nothing but the object's texture.
    for seed in range(8):
        one = make_scene(SMALL, seed=(seed,), category=shape)
        other = make_scene(SMALL, seed=(seed,), category=shape + len(SHAPES))
        (_, mask), (_, same) = one.objects[0], other.objects[0]
        differs = (one.image != other.image).any(axis=2)
        assert np.array_equal(mask, same)
        assert not (differs & ~mask).any()
        assert differs.sum() > 0.2 * mask.sum()


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32 - 1),
    side=st.integers(24, 160),
    share=st.floats(0.2, 0.5),
)
def test_a_shape_lies_inside_the_photo_within_its_radius(
    shape: str, seed: int, side: int, share: float
) -> None:
    radius = share * side
    mask = shape_mask(shape, np.random.default_rng(seed), side=side, radius=radius)
    box = mask_to_box(mask)
    assert box is not None
    assert max(box[2] - box[0], box[3] - box[1]) <= 2 * radius + 1
    assert 0.1 * radius**2 < mask.sum() <= np.pi * (radius + 1) ** 2


def test_a_disc_has_the_area_of_an_ellipse() -> None:
    # Radius 40, the other axis 0.8 to 1 of it.
    mask = shape_mask("disc", np.random.default_rng(3), side=128, radius=40.0)
    assert 0.79 < mask.sum() / (np.pi * 40.0**2) < 1.01


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="blob"):
        shape_mask("blob", np.random.default_rng(0), side=32, radius=8.0)


def test_what_lies_across_an_object_is_not_in_its_mask() -> None:
    bare = SceneOptions(size=48, occlusion=0.0)
    covered = SceneOptions(size=48, occlusion=1.0)
    for seed in range(6):
        (_, whole), *_ = make_scene(bare, seed=(seed,)).objects
        (_, seen), *_ = make_scene(covered, seed=(seed,)).objects
        assert (whole & ~seen).any()
        assert not (seen & ~whole).any()
        assert seen.sum() > 0.5 * whole.sum()


def test_several_objects_are_of_different_classes_and_do_not_overlap() -> None:
    crowded = SceneOptions(size=64, objects=4)
    counts = set()
    for category, scene in scenes(24, crowded):
        names = [name for name, _ in scene.objects]
        assert names[0] == class_names(12)[category]
        assert len(set(names)) == len(names)
        assert np.sum([mask for _, mask in scene.objects], axis=0).max() == 1
        counts.add(len(names))
    assert {1, 2, 3} <= counts


# ------------------------------------------------------------------------------------- seeds


def test_the_same_seed_makes_the_same_photo_and_another_seed_another() -> None:
    first, again = (make_scene(SMALL, seed=(5, 1), category=2) for _ in range(2))
    other = make_scene(SMALL, seed=(5, 2), category=2)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert not np.array_equal(first.objects[0][1], other.objects[0][1])


# ------------------------------------------------------------------------------------ colours


def accuracy_by_nearest_mean(features: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Class means from the first half, share of the second that is nearest to its own."""
    half = len(classes) // 2
    means = np.stack([features[:half][classes[:half] == k].mean(axis=0) for k in range(12)])
    distances = ((features[half:, None] - means) ** 2).sum(axis=2)
    return float((distances.argmin(axis=1) == classes[half:]).mean())


@pytest.fixture(scope="module")
def many() -> list[tuple[int, Scene]]:
    return scenes(960)


def test_mean_colours_do_not_tell_the_class(many: list[tuple[int, Scene]]) -> None:
    classes = np.array([k for k, _ in many])
    of_photo = np.array([scene.image.mean(axis=(0, 1)) for _, scene in many])
    of_object = np.array([scene.image[scene.objects[0][1]].mean(axis=0) for _, scene in many])
    # Chance is 1 / 12; four standard deviations of 480 photos above it are 0.134.
    assert accuracy_by_nearest_mean(of_photo, classes) < 0.134
    assert accuracy_by_nearest_mean(of_object, classes) < 0.134


def test_shape_and_texture_do_tell_the_class(many: list[tuple[int, Scene]]) -> None:
    """The counter-check: the same classifier finds a class in what is not colour."""
    features = []
    for _, scene in many:
        mask = scene.objects[0][1]
        grey = scene.image.astype(float).mean(axis=2)
        box = mask_to_box(mask)
        assert box is not None
        filled = mask.sum() / ((box[2] - box[0]) * (box[3] - box[1]))
        high = grey[mask] > grey[mask].mean()
        features.append([filled, 2.0 * abs(high.mean() - 0.5)])
    assert accuracy_by_nearest_mean(np.array(features), np.array([k for k, _ in many])) > 0.2


def test_objects_have_the_colours_of_everything_else(many: list[tuple[int, Scene]]) -> None:
    differences = []
    for _, scene in many:
        mask = scene.objects[0][1]
        differences.append(scene.image[mask].mean(axis=0) - scene.image[~mask].mean(axis=0))
    spread = np.std(differences, axis=0) / np.sqrt(len(differences))
    assert (np.abs(np.mean(differences, axis=0)) < 4 * spread).all()


@pytest.mark.parametrize("texture", [*TEXTURES, *CLUTTER_TEXTURES])
def test_a_surface_is_never_cut_off_at_black_or_white(texture: str) -> None:
    for seed in range(5):
        surface = painted(np.random.default_rng(seed), (40, 30), texture, 30.0)
        assert surface.shape == (40, 30, 3)
        assert surface.min() > 0
        assert surface.max() < 255


# ---------------------------------------------------------------------------------------- set


def test_a_set_reads_back_as_it_was_made(tmp_path: Path) -> None:
    made = make_set(tmp_path, photos=48, options=SceneOptions(classes=6, size=32, objects=2))
    truth = read_coco(tmp_path / "annotations.json")
    assert truth.notes == ()
    assert [name for _, name in truth.categories] == list(class_names(6))
    tags = read_tags(tmp_path / "tags.csv", known_files=[image.file_name for image in made])
    assert tags.problems == ()
    for number, image in enumerate(truth.images):
        pixels = np.array(Pillow.open(tmp_path / "images" / image.file_name))
        options = SceneOptions(classes=6, size=32, objects=2)
        scene = make_scene(options, seed=(0, number + 1), category=number % 6)
        assert np.array_equal(pixels, scene.image)
        assert set(tags.labels_of[image.file_name]) == {name for name, _ in scene.objects}
        for instance, (name, mask) in zip(image.instances, scene.objects, strict=True):
            assert instance.category == name
            assert instance.rle is not None
            assert np.array_equal(rle_to_mask(instance.rle), mask)
            assert instance.box == mask_to_box(mask)


def test_every_split_has_every_class_and_its_share(tmp_path: Path) -> None:
    made = make_set(tmp_path, photos=240, classes=6, size=24)
    for split, share in (("train", 0.75), ("val", 0.1), ("test", 0.15)):
        tags = [image.tags for image in made if image.split == split]
        assert len(tags) / 240 == pytest.approx(share, abs=0.03)
        assert len({tuple(labels) for labels in tags}) == 6


def test_a_smaller_set_is_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    few = make_set(tmp_path / "few", photos=5, classes=3, size=24)
    more = make_set(tmp_path / "more", photos=9, classes=3, size=24)
    assert few == more[:5]
    for image in few:
        one, other = (tmp_path / name / "images" / image.file_name for name in ("few", "more"))
        assert one.read_bytes() == other.read_bytes()


def test_the_command_writes_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--photos", "4", "--classes", "2", "--size", "24"]
    monkeypatch.setattr("sys.argv", ["synthetic", str(tmp_path), *flags])
    main()
    assert capsys.readouterr().out.startswith("4 photos")
    assert len(list((tmp_path / "images").iterdir())) == 4

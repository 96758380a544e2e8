"""A trained localizer on one photo: its view, its maps, and the pipeline that it drives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.classifiers import build_classifier, save_classifier
from engine.localizers import build
from engine.localizers.predictor import Localizer, Look
from engine.localizers.saved import LocalizerCard, save_localizer
from engine.localizers.views import MEAN, STANDARD_DEVIATION, normalised, resized
from engine.options import as_dict
from engine.pipelines import build as build_pipeline
from engine.types import Image
from tests.engine.scenes import odd_photos, on_texture

CLASSES = ("cup", "pot", "Füße")
VIT = {"embed_dim": 24, "depth": 3, "heads": 3, "image_size": 32, "patch_size": 8}
NETWORKS = {
    "gtformer": VIT,
    "sat": VIT,
    "tscam": VIT,
    "cam": {"backbone": "small", "width": 8, "image_size": 32},
}


def saved(folder: Path, arch: str, *, multi_label: bool = False) -> Path:
    torch.manual_seed(0)
    from engine.localizers import LOCALIZERS

    options = as_dict(LOCALIZERS[arch].options(**NETWORKS[arch]))
    path = folder / f"{arch}.safetensors"
    card = LocalizerCard(arch, options, CLASSES, image_size=32, multi_label=multi_label)
    save_localizer(path, build(arch, num_classes=len(CLASSES), **options), card)
    return path


def photo(height: int = 40, width: int = 60) -> Image:
    return on_texture(seed=1, height=height, width=width)[0]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("arch", NETWORKS)
def test_every_localizer_answers_with_maps_between_nothing_and_all(
    arch: str, multi_label: bool, tmp_path: Path
) -> None:
    look = Localizer.load(saved(tmp_path, arch, multi_label=multi_label)).look(photo())
    if not multi_label:
        assert look.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    for category in (*CLASSES, "a stranger", None):
        coarse = look.map_for(category, others=CLASSES)
        assert coarse.shape == (4, 4)
        assert coarse.dtype == np.float32
        assert coarse.min() >= 0.0
        assert coarse.max() <= 1.0


@pytest.mark.parametrize("image", odd_photos())
def test_odd_photos_are_looked_at(image: Image, tmp_path: Path) -> None:
    look = Localizer.load(saved(tmp_path, "gtformer")).look(image)
    assert look.coarse is not None
    assert np.isfinite(look.coarse).all()


def test_independent_tags_have_independent_probabilities(tmp_path: Path) -> None:
    look = Localizer.load(saved(tmp_path, "gtformer", multi_label=True)).look(photo())
    assert ((look.probabilities > 0) & (look.probabilities < 1)).all()
    assert look.probabilities.sum() != pytest.approx(1.0, abs=1e-3)


def test_the_view_is_the_whole_photo_squeezed_and_normalised() -> None:
    image = np.zeros((10, 40, 3), dtype=np.uint8)
    image[:, 20:] = 255
    view = normalised(torch.from_numpy(np.array(resized(image, 8))[None]))[0]
    assert view.shape == (3, 8, 8)
    for channel in range(3):
        black = -MEAN[channel] / STANDARD_DEVIATION[channel]
        white = (1 - MEAN[channel]) / STANDARD_DEVIATION[channel]
        assert view[channel, :, 0].tolist() == pytest.approx([black] * 8, abs=1e-5)
        assert view[channel, :, 7].tolist() == pytest.approx([white] * 8, abs=1e-5)


def look_of(coarse: np.ndarray | None, class_maps: np.ndarray | None) -> Look:
    probabilities = np.array([0.2, 0.8], dtype=np.float32)
    return Look(("cup", "pot"), probabilities, coarse, class_maps)


LEFT = np.array([[1, 0], [1, 0]], dtype=np.float32)
RIGHT = 1 - LEFT
ALL = np.full((2, 2), 0.9, dtype=np.float32)


def test_a_foreground_map_is_split_only_where_several_tags_share_it() -> None:
    look = look_of(ALL, np.stack([LEFT, RIGHT]))
    assert np.array_equal(look.map_for("cup"), ALL)
    assert np.array_equal(look.map_for("cup", others=["cup"]), ALL)
    assert np.allclose(look.map_for("cup", others=["cup", "pot"]), 0.9 * LEFT)
    assert np.allclose(look.map_for("pot", others=["cup", "pot"]), 0.9 * RIGHT)
    assert np.array_equal(look.map_for("a stranger", others=["cup"]), ALL)


def test_a_class_specific_localizer_gives_strangers_what_it_finds_likely() -> None:
    look = look_of(None, np.stack([LEFT, RIGHT]))
    assert np.array_equal(look.map_for("cup"), LEFT)
    assert np.allclose(look.map_for("a stranger"), 0.2 * LEFT + 0.8 * RIGHT)
    assert look.best_class() == "pot"


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_pipeline_runs_on_every_localizer(arch: str, tmp_path: Path) -> None:
    options = {"localizer": str(saved(tmp_path, arch)), "segmenter": "classical", "device": "cpu"}
    suggestion = build_pipeline("pro2sam", options).suggest(photo(), tags=["pot", "a stranger"])
    assert {one.category for one in suggestion.instances} == {"pot", "a stranger"}
    assert all(one.source.checkpoint == arch for one in suggestion.instances)
    assert str(tmp_path) not in str(suggestion.instances[0].source.as_dict())
    assert suggestion.evidence.coarse is not None


def test_photos_without_tags_are_named_by_the_head_or_by_a_classifier(tmp_path: Path) -> None:
    options = {"localizer": str(saved(tmp_path, "gtformer")), "segmenter": "classical"}
    (one,) = build_pipeline("pro2sam", options).suggest(photo(), tags=[]).instances
    assert one.category in CLASSES
    path = tmp_path / "classifier.safetensors"
    small = {"arch": "mobilenetv3_small_050", "resize": 36, "crop": 32}
    save_classifier(path, build_classifier(("only this",), **small))
    options["classifier"] = str(path)
    (one,) = build_pipeline("pro2sam", options).suggest(photo(), tags=[]).instances
    assert one.category == "only this"
    assert one.source.options["classifier"] == "classifier"

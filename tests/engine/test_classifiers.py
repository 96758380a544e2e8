"""The classifier of its own: how it looks at a photo, what it says, and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file

from engine.classifiers import (
    Classifier,
    ClassifierOptions,
    build_classifier,
    imagenet_classes,
    load_classifier,
    save_classifier,
)
from engine.errors import OptionError, WeightsError

SMALL: dict[str, Any] = {"arch": "test_efficientnet", "resize": 72, "crop": 64}
PHOTO = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return build_classifier(["häher", "jay", "crow"], **SMALL)


def test_probabilities_are_a_distribution_over_the_classes(classifier: Classifier) -> None:
    found = classifier.probabilities(PHOTO)
    assert (found.shape, found.dtype) == ((3,), np.float32)
    assert found.sum() == pytest.approx(1.0, abs=1e-6)
    assert (found > 0).all()


def test_probabilities_are_the_softmax_of_the_network_in_evaluation_mode() -> None:
    classifier = build_classifier(["a", "b"], **SMALL)
    classifier.network.train()
    first, second = classifier.probabilities(PHOTO), classifier.probabilities(PHOTO)
    assert np.array_equal(first, second)
    with torch.no_grad():
        logits = classifier.network(torch.from_numpy(classifier.view(PHOTO))[None])[0]
    assert first == pytest.approx(logits.softmax(0).numpy(), abs=1e-6)


def test_the_view_is_the_centre_of_the_squeezed_photo() -> None:
    options = ClassifierOptions(**SMALL)
    view = Classifier(torch.nn.Identity(), (), options).view(PHOTO)
    squeezed = np.asarray(PillowImage.fromarray(PHOTO).resize((72, 72), 2), np.float64) / 255
    expected = (squeezed[4:68, 4:68] - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert view.shape == (3, 64, 64)
    assert view.dtype == np.float32
    assert view == pytest.approx(expected.transpose(2, 0, 1), abs=1e-5)


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (600, 2)])
def test_tiny_and_narrow_photos_are_looked_at_too(
    classifier: Classifier, hw: tuple[int, int]
) -> None:
    found = classifier.probabilities(np.full((*hw, 3), 200, np.uint8))
    assert np.isfinite(found).all()


def test_a_saved_classifier_answers_the_same_when_loaded(
    classifier: Classifier, tmp_path: Path
) -> None:
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, classifier)
    loaded = load_classifier(path)
    assert loaded.classes == ("häher", "jay", "crow")
    assert loaded.options == classifier.options
    assert not loaded.network.training
    assert np.array_equal(loaded.probabilities(PHOTO), classifier.probabilities(PHOTO))


def test_the_protocol_of_the_paper_is_the_default() -> None:
    options = ClassifierOptions()
    assert (options.arch, options.resize, options.crop) == ("tf_efficientnet_b7", 685, 600)


def test_without_classes_there_are_those_of_imagenet() -> None:
    with torch.device("meta"):
        classifier = build_classifier(**SMALL)
    assert len(set(classifier.classes)) == 1000
    assert classifier.classes[0] == "tench, Tinca tinca (n01440764)"
    assert classifier.classes == imagenet_classes()


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([], SMALL, "got 0"),
        (["a", "a"], SMALL, "2 with 1 different"),
        (["a"], {**SMALL, "arch": "efficientnet_b99"}, "no network called 'efficientnet_b99'"),
        (["a"], {**SMALL, "crop": 100}, "crop 100 and resize 72"),
        (["a"], {**SMALL, "crop": 0}, "crop 0"),
        (["a"], {"size": 3}, "unknown option 'size'"),
    ],
)
def test_impossible_classifiers_are_refused(
    classes: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        build_classifier(classes, **options)


def test_without_a_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(WeightsError, match="test_efficientnet cannot be fetched; connect"):
        build_classifier(["a", "b"], pretrained=True, **SMALL)


def test_files_that_are_no_classifier_are_refused(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    with pytest.raises(WeightsError, match="no file"):
        load_classifier(path)
    save_classifier(path, classifier)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="is broken"):
        load_classifier(path)
    for card, message in (
        ('{"kind": "localizer"}', "holds a localizer, not a classifier"),
        ('{"kind": "classifier"}', "does not know"),
        ('{"kind": "classifier", "classes": ["a"], "options": {"arch": "x"}}', "does not know"),
        (
            '{"kind": "classifier", "classes": ["a"], "options": {"arch": "test_efficientnet"}}',
            "does not fit",
        ),
    ):
        save_file({"x": torch.zeros(1)}, path, {"tag2mask": card})
        with pytest.raises(WeightsError, match=message):
            load_classifier(path)

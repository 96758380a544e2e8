"""Localizers as files: what comes back, what is refused, and what a failed write leaves."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine import weight_files
from engine.errors import WeightsError
from engine.localizers import build
from engine.localizers.options import GtformerOptions
from engine.localizers.saved import LocalizerCard, load_localizer, read_card, save_localizer
from engine.options import as_dict
from tests.engine.localizers.twins import SMALL

CARD = LocalizerCard(
    arch="gtformer",
    options={**SMALL, "gta_blocks": [1, 2]},
    classes=("Grünfink", "cat, black", "🐦"),
    image_size=64,
    multi_label=True,
    metrics={"top1": 0.5, "gt_known": None},
    training={"preset": "small", "epochs": 3},
)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build(CARD.arch, num_classes=3, **CARD.options).eval()


@pytest.fixture
def saved(network: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "modèle.safetensors"
    save_localizer(path, network, CARD)
    return path


def header_of(path: Path, **changes: Any) -> None:
    """Write the file again with another card."""
    card = {**weight_files.read_card(path, kind="localizer"), "kind": "localizer", **changes}
    card = {name: value for name, value in card.items() if value is not ...}
    save_file({"x": torch.zeros(1)}, path, {"tag2mask": json.dumps(card)})


def test_a_saved_localizer_answers_the_same_when_loaded(
    network: torch.nn.Module, saved: Path
) -> None:
    images = torch.randn(2, 3, 64, 64)
    loaded, card = load_localizer(saved)
    assert card == CARD
    assert not loaded.training
    with torch.no_grad():
        ours, theirs = network(images), loaded(images)
    assert torch.equal(ours.logits, theirs.logits)
    assert torch.equal(ours.coarse_map, theirs.coarse_map)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("cam", {"backbone": "small", "width": 8}),
        ("tscam", {**SMALL, "depth": 1}),
        ("sat", {**SMALL, "depth": 1}),
    ],
)
def test_every_architecture_comes_back(arch: str, options: dict[str, Any], tmp_path: Path) -> None:
    network = build(arch, num_classes=2, **options)
    path = tmp_path / "model.safetensors"
    save_localizer(path, network, LocalizerCard(arch, options, ("a", "b"), 64, multi_label=False))
    loaded, card = load_localizer(path)
    assert card.arch == arch
    assert card.metrics == {}
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_reading_a_card_loads_no_torch(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from engine.localizers.saved import read_card\n"
        "print(read_card(Path(sys.argv[1])).classes[1])\n"
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "cat, black"), done.stderr


def test_the_list_of_localizers_and_their_options_load_no_torch() -> None:
    code = (
        "import sys; from engine.localizers import LOCALIZERS; from engine.options import *\n"
        "[defaults_of(kind.options) for kind in LOCALIZERS.values()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_default_options_survive_a_card(tmp_path: Path) -> None:
    options = as_dict(GtformerOptions(**SMALL))
    card = dataclasses.replace(CARD, options=options)
    path = tmp_path / "model.safetensors"
    save_localizer(path, build("gtformer", num_classes=3, **SMALL), card)
    assert load_localizer(path)[1].options == options


def test_a_localizer_that_began_with_imagenet_downloads_nothing_when_loaded(
    network: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked for ImageNet weights")

    monkeypatch.setattr("engine.localizers.pretrained.load_imagenet", refuse)
    path = tmp_path / "model.safetensors"
    options = {**CARD.options, "pretrained": True}
    save_localizer(path, network, dataclasses.replace(CARD, options=options))
    _, card = load_localizer(path)
    assert card.options["pretrained"] is True  # what was asked for stays on record


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.safetensors"
    for read in (read_card, load_localizer):
        with pytest.raises(WeightsError, match=r"no file .*nowhere\.safetensors"):
            read(path)


@pytest.mark.parametrize("keep", [0, 5, 40, 400, -1])
def test_a_file_cut_short_is_broken(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="is broken"):
        load_localizer(saved)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\xff" * 100, b"{}" * 50])
def test_a_file_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is broken"):
        read_card(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"tag2mask": "[1]"}])
def test_weights_of_somebody_else_are_refused(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(WeightsError, match="not made by this program"):
        read_card(path)


def test_a_classifier_is_no_localizer(tmp_path: Path) -> None:
    path = tmp_path / "b7.safetensors"
    weight_files.write(path, {"x": torch.zeros(1)}, kind="classifier", card={})
    with pytest.raises(WeightsError, match="holds a classifier, not a localizer"):
        read_card(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "molt9"}, "no localizer called 'molt9'"),
        ({"options": {"wings": 2}}, "unknown option 'wings'"),
        ({"classes": ...}, "card of .* is not readable"),
        ({"classes": "abc"}, "card of .* is not readable"),
        ({"from_the_future": 1}, "card of .* is not readable"),
    ],
)
def test_cards_that_cannot_be_followed_are_refused(
    saved: Path, changes: dict[str, Any], message: str
) -> None:
    header_of(saved, **changes)
    with pytest.raises(WeightsError, match=message):
        read_card(saved)


def test_weights_that_do_not_fit_their_card_are_listed(saved: Path) -> None:
    header_of(saved)
    with pytest.raises(WeightsError, match=r"missing: cls_token, .*unexpected: x"):
        load_localizer(saved)


def test_another_number_of_classes_is_a_shape_that_does_not_fit(
    network: torch.nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_localizer(path, network, dataclasses.replace(CARD, classes=("a", "b")))
    with pytest.raises(WeightsError, match=r"head\.bias \(3,\) instead of \(2,\)"):
        load_localizer(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_what_was_there(
    network: torch.nn.Module, saved: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(WeightsError, match="No space left"):
        save_localizer(saved, network, dataclasses.replace(CARD, metrics={}))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_card_that_is_no_json_writes_nothing(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="JSON"):
        save_localizer(path, network, dataclasses.replace(CARD, metrics={"loss": float("nan")}))
    assert not path.exists()

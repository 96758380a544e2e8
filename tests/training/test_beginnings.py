"""What a network begins with: random numbers of the seed, or weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.errors import WeightsError
from tests.training.runs import sixteen_photos, tiny
from tests.training.test_runs import weights_of
from training.beginnings import make_network
from training.settings import Settings
from training.wsol import train

CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return sixteen_photos(tmp_path / "photos")


def made(settings: Settings, *classes: str) -> dict[str, torch.Tensor]:
    network = make_network(settings, classes or ("a", "b"), goes_on=False, device=CPU)
    return network.state_dict()


def test_the_seed_decides_the_random_weights(photos: Path, tmp_path: Path) -> None:
    settings = tiny(photos, tmp_path / "run")
    first = made(settings)
    torch.rand(7)  # whatever happened before
    again = made(settings)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    other = made(tiny(photos, tmp_path / "run", machine={"seed": 1}))
    assert not torch.equal(first["pos_embed"], other["pos_embed"])


def test_linear_layers_start_with_a_spread_of_the_gain_over_the_root_of_their_inputs(
    photos: Path, tmp_path: Path
) -> None:
    network: dict[str, Any] = {"embed_dim": 64, "heads": 2}
    wide = tiny(photos, tmp_path, network=network, recipe={"linear_gain": 1.0})
    assert made(wide)["blocks.0.mlp.fc1.weight"].std() == pytest.approx(0.88 / 8, rel=0.05)
    assert made(wide)["blocks.0.mlp.fc2.weight"].std() == pytest.approx(0.88 / 16, rel=0.05)
    narrow = tiny(photos, tmp_path, network=network, recipe={"linear_gain": 0.0})
    assert made(narrow)["blocks.0.mlp.fc1.weight"].std() == pytest.approx(0.02, rel=0.1)


def test_what_an_earlier_training_learnt_is_where_the_next_begins(
    photos: Path, tmp_path: Path
) -> None:
    earlier = train(tiny(photos, tmp_path / "earlier", recipe={"epochs": 1}))
    learnt = weights_of(earlier)
    settings = tiny(photos, tmp_path / "next", weights=earlier)
    same_classes = made(settings)
    assert all(torch.equal(value, same_classes[name]) for name, value in learnt.items())
    others = made(settings, "b", "c", "d")
    assert others["head.weight"].shape[0] == 3
    assert torch.equal(others["blocks.2.attn.qkv.weight"], learnt["blocks.2.attn.qkv.weight"])
    assert train(settings).exists()


@pytest.mark.parametrize("model", ["sat", "gtformer"])
def test_a_plain_transformer_is_where_those_with_more_tokens_may_begin(
    model: str, photos: Path, tmp_path: Path
) -> None:
    plain = train(tiny(photos, tmp_path / "plain", model="tscam", recipe={"epochs": 1}))
    settings = tiny(photos, tmp_path / "next", model=model, weights=plain, recipe={"epochs": 1})
    begun, fresh = made(settings), made(tiny(photos, tmp_path / "next", model=model))
    learnt = weights_of(plain)
    assert all(torch.equal(value, begun[name]) for name, value in learnt.items())
    added = begun.keys() - learnt.keys()
    assert added
    assert all(torch.equal(begun[name], fresh[name]) for name in added)
    assert train(settings).exists()


def test_weights_of_another_network_are_refused(photos: Path, tmp_path: Path) -> None:
    earlier = train(tiny(photos, tmp_path / "earlier", recipe={"epochs": 1}))
    with pytest.raises(WeightsError, match="is a gtformer, not a sat"):
        made(tiny(photos, tmp_path / "next", model="sat", weights=earlier))
    deeper = tiny(photos, tmp_path / "next", network={"depth": 4}, weights=earlier)
    with pytest.raises(WeightsError, match=r"another shape \(blocks\.3"):
        made(deeper)


def test_published_weights_are_read_also_where_they_are_wrapped(
    photos: Path, tmp_path: Path
) -> None:
    plain = make_network(tiny(photos, tmp_path, model="tscam"), ("a",), goes_on=False, device=CPU)
    published = {
        name: value + 1.0
        for name, value in plain.state_dict().items()
        if not name.startswith("head")
    }
    published["head.weight"] = torch.zeros(1000, 12)
    path = tmp_path / "deit.pth"
    torch.save({"model": published}, path)
    filled = made(tiny(photos, tmp_path / "run", weights=path))
    assert torch.equal(filled["cls_token"], published["cls_token"])
    assert torch.equal(filled["blocks.1.norm1.bias"], published["blocks.1.norm1.bias"])


@pytest.mark.parametrize("content", [b"", b"no weights", [1, 2]], ids=["empty", "text", "list"])
def test_a_file_without_weights_is_told(content: object, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        made(tiny(photos, tmp_path / "run", weights=path))


def test_a_run_that_goes_on_does_not_ask_for_weights_again(photos: Path, tmp_path: Path) -> None:
    earlier = train(tiny(photos, tmp_path / "earlier", recipe={"epochs": 1}))
    out = tmp_path / "run"
    settings = tiny(photos, out, recipe={"epochs": 1}, weights=earlier)
    train(settings)
    earlier.unlink()
    resumed = tiny(photos, out, recipe={"epochs": 1}, weights=earlier, resume=True)
    assert train(resumed).exists()


def test_the_network_is_in_training_mode(photos: Path, tmp_path: Path) -> None:
    network = make_network(tiny(photos, tmp_path), ("a", "b"), goes_on=False, device=CPU)
    assert isinstance(network, nn.Module)
    assert network.training

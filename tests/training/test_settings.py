"""The command line and the library ask for the same thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import OptionError
from training.recipes import preset_of
from training.settings import Machine, parse, settings_for

NEEDED = ["--photos", "p", "--tags", "t.csv", "--out", "o"]


def test_without_flags_everything_is_the_preset_s() -> None:
    settings = parse([*NEEDED, "--model", "tscam", "--preset", "ilsvrc"])
    assert settings.recipe == preset_of("tscam", "ilsvrc").recipe
    assert settings.network["pretrained"] is True
    assert settings.network["image_size"] == 224
    assert settings.machine == Machine()
    assert (settings.truth, settings.val_share, settings.resume) == (None, 0.2, False)
    named = {"photos": Path("p"), "tags": Path("t.csv"), "out": Path("o")}
    assert settings == settings_for("tscam", "ilsvrc", **named)


def test_flags_change_single_options_of_recipe_network_and_machine() -> None:
    settings = parse(
        [
            *NEEDED,
            *("--preset", "cub", "--epochs", "3", "--decay-epochs", "2", "5"),
            *("--image-size", "96", "--resize", "100", "--drop-path", "0.2"),
            *("--network-global-tokens", "16", "--no-network-pretrained"),
            *("--seed", "1", "--no-amp", "--val-share", "0.5", "--multi-label", "yes"),
        ]
    )
    assert (settings.model, settings.recipe.epochs) == ("gtformer", 3)
    assert settings.recipe.decay_epochs == (2, 5)
    assert settings.recipe.batch == 256  # still that of the preset
    assert (settings.network["image_size"], settings.network["drop_path"]) == (96, 0.2)
    assert (settings.network["global_tokens"], settings.network["pretrained"]) == (16, False)
    assert (settings.machine.seed, settings.machine.amp) == (1, False)
    assert (settings.val_share, settings.multi_label) == (0.5, "yes")


def test_a_larger_image_size_alone_keeps_the_share_that_is_cut_off() -> None:
    settings = parse([*NEEDED, "--preset", "small", "--image-size", "128"])
    assert (settings.recipe.image_size, settings.recipe.resize) == (128, 144)
    settings = parse([*NEEDED, "--preset", "small", "--image-size", "128", "--resize", "130"])
    assert settings.recipe.resize == 130


def test_settings_are_plain_json() -> None:
    settings = parse([*NEEDED, "--truth", "é.json", "--decay-epochs", "4"])
    read = json.loads(json.dumps(settings.as_dict()))
    assert read["truth"] == "é.json"
    assert read["recipe"]["decay_epochs"] == [4]
    assert read["classes"] is None


@pytest.mark.parametrize(
    "flags", [["--model", "vgg"], ["--preset", "none"], ["--epoch", "3"], ["--network-width", "8"]]
)
def test_flags_that_are_not_known_end_with_code_2(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([*NEEDED, *flags])
    assert caught.value.code == 2


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("workers", 0), ("log_steps", 0)])
def test_a_machine_refuses_what_makes_no_sense(name: str, value: int) -> None:
    with pytest.raises(OptionError, match=name):
        Machine(**{name: value})


def test_wrong_options_of_a_library_call_are_told() -> None:
    named = {"photos": Path("p"), "tags": Path("t.csv"), "out": Path("o")}
    with pytest.raises(OptionError, match="'epoch'"):
        settings_for("sat", "small", recipe={"epoch": 1}, **named)
    with pytest.raises(OptionError, match="'tokens'"):
        settings_for("sat", "small", network={"tokens": 1}, **named)
    with pytest.raises(OptionError, match="image_size 96 of the network: give it to the recipe"):
        settings_for("sat", "small", network={"image_size": 96}, **named)

"""What the training of a detector is asked to do: flags in, frozen settings out, also as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.detectors import kind_of
from engine.detectors.saved import read_card
from engine.errors import JobError
from engine.options import add_arguments, as_dict, from_arguments, from_dict
from training.detector_recipes import DETECTOR_PRESETS, DetectorRecipe, detector_preset_of
from training.run_folder import SETTINGS
from training.settings import NETWORK_PREFIX, Machine, given_fields

OURS = ".safetensors"
"""The ending of files that carry their own network options."""


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """One training; `detector_settings_for` fills recipe and network from a preset."""

    photos: Path  # folder
    data: Path  # as exports.detection_data writes it, names relative to the folder
    out: Path  # folder of the run; made where it is not there
    model: str
    preset: str
    recipe: DetectorRecipe
    network: Mapping[str, Any]  # every option of the network
    weights: Path | None = None  # of an earlier training, or of torchvision (.pth)
    resume: bool = False
    machine: Machine = field(default_factory=Machine)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, everything."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        plain = {name: str(one) if isinstance(one, Path) else one for name, one in values.items()}
        recipe, machine = as_dict(self.recipe), as_dict(self.machine)
        return {**plain, "recipe": recipe, "network": dict(self.network), "machine": machine}


def detector_settings_for(
    model: str,
    preset: str,
    *,
    photos: Path,
    data: Path,
    out: Path,
    recipe: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    resume: bool = False,
    **others: Any,
) -> DetectorSettings:
    """The settings of a preset, with single options of its recipe or network changed.

    ``weights`` of an earlier training bring their network along: its options go before the
    preset's, and only the given ones before its. Then scales that the preset has for another
    network are scaled to this one. A run to ``resume`` has written both down, so the file that it
    began with may be gone. OptionError for unknown names and wrong values, WeightsError for a
    broken file, JobError for broken settings of the run.
    """
    chosen = detector_preset_of(model, preset)
    kind = kind_of(model).options
    options = dict(chosen.network)
    filled = {**as_dict(chosen.recipe), **(recipe or {})}
    begun = _begun(out / SETTINGS) if resume and (out / SETTINGS).exists() else None
    if begun is not None:
        options = begun["network"]
    elif weights is not None and weights.suffix == OURS:
        options = read_card(weights).options
    known = {one.name for one in dataclasses.fields(kind)}
    options = {name: one for name, one in options.items() if name in known}
    used = from_dict(kind, {**options, **(network or {})})
    if begun is not None:
        filled["scales"] = (recipe or {}).get("scales", begun["recipe"]["scales"])
    elif "scales" not in (recipe or {}):
        usual = from_dict(kind, dict(chosen.network)).min_size
        filled["scales"] = [
            max(32, round(side * used.min_size / usual)) for side in chosen.recipe.scales
        ]
    return DetectorSettings(
        photos=photos,
        data=data,
        out=out,
        model=model,
        preset=preset,
        recipe=from_dict(DetectorRecipe, filled),
        network=as_dict(used),
        weights=weights,
        resume=resume,
        **others,
    )


def _begun(path: Path) -> dict[str, Any]:
    """What a run's settings.json says of its network and recipe."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            "network": dict(content["network"]),
            "recipe": {"scales": content["recipe"]["scales"]},
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(
            f"cannot go on: {os.fspath(path)!r} is broken ({error!r}); begin in a new folder"
        ) from error


def detector_presets_as_json() -> dict[str, Any]:
    """Every preset of every model, filled in: what an app needs to offer them."""
    nowhere = Path()
    return {
        model: {
            name: {"recipe": as_dict(made.recipe), "network": dict(made.network)}
            for name in presets
            for made in [
                detector_settings_for(model, name, photos=nowhere, data=nowhere, out=nowhere)
            ]
        }
        for model, presets in DETECTOR_PRESETS.items()
    }


def parse(arguments: list[str]) -> tuple[DetectorSettings, bool]:
    """From the command line, and whether only an estimate is asked for.

    argparse's own exit for what it does not understand.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--model", choices=list(DETECTOR_PRESETS), default="fasterrcnn")
    model = first.parse_known_args(arguments)[0].model
    given = _parser(model).parse_args(arguments)
    settings = detector_settings_for(
        model,
        given.preset,
        photos=given.photos,
        data=given.data,
        out=given.out,
        recipe=given_fields(DetectorRecipe, given),
        network=given_fields(kind_of(model).options, given, prefix=f"{NETWORK_PREFIX}_"),
        weights=given.weights,
        resume=given.resume,
        machine=from_arguments(Machine, given),
    )
    return settings, given.estimate


def _parser(model: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.detector",
        description="Train a detector from reviewed objects. The flags below are those of the"
        f" model {model!r}; defaults are those of the preset.",
        allow_abbrev=False,
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--data", type=Path, required=True, help="data.json with their objects")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--model", choices=list(DETECTOR_PRESETS), default="fasterrcnn")
    parser.add_argument("--preset", choices=list(DETECTOR_PRESETS[model]), default="small")
    parser.add_argument(
        "--weights", type=Path, help="begin with a model.safetensors, or torchvision's .pth"
    )
    parser.add_argument("--resume", action="store_true", help="go on where a run ended")
    parser.add_argument("--describe", action="store_true", help="write all presets as JSON")
    parser.add_argument(
        "--estimate", action="store_true", help="time a few steps, write how long it will take"
    )
    add_arguments(parser.add_argument_group("machine"), Machine)
    add_arguments(parser.add_argument_group("recipe"), DetectorRecipe)
    group = parser.add_argument_group(f"network {model}")
    add_arguments(group, kind_of(model).options, prefix=NETWORK_PREFIX)
    return parser

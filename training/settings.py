"""What a training is asked to do: flags in, frozen settings out, and as JSON beside the result."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import OptionError
from engine.localizers import LOCALIZERS
from engine.options import add_arguments, as_dict, from_arguments, from_dict
from training.data import MultiLabel
from training.recipes import PRESETS, Recipe, preset_of

NETWORK_PREFIX = "network"  # of the flags of a network's own options
FROM_RECIPE = ("image_size", "drop_path")  # options of a network that the recipe decides


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a training is carried out; all but the seed may change when it goes on."""

    seed: int = _option(6, "decides weights, order and views")
    device: str = _option("auto", "auto, cpu, cuda or cuda:1")
    threads: int = _option(0, "of the processor in one operation; 0: as many as there are")
    workers: int = _option(2, "threads that read photos and make views ahead")
    amp: bool = _option(True, "bf16 where it is faster, on CUDA only")
    # A line for each of 100,000 steps makes 46 MB, which the app reads in 4.6 s of processor time,
    # and 1.2 s for every look at the curves; a tenth of it shows the same.
    log_steps: int = _option(10, "steps from one line of the log to the next")
    save_seconds: float = _option(60.0, "at most so much work is lost by a kill")
    cache_gigabytes: float = _option(20.0, "decoded photos kept on the disk; above: decode again")

    def __post_init__(self) -> None:
        for name in ("seed", "threads", "save_seconds", "cache_gigabytes"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} {getattr(self, name)!r} must be at least 0")
        for name in ("workers", "log_steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} {getattr(self, name)!r} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training; `settings_for` fills recipe and network from a preset."""

    photos: Path  # folder
    tags: Path  # CSV `file,labels`, names relative to the folder
    out: Path  # folder of the run; made where it is not there
    model: str
    preset: str
    recipe: Recipe
    network: Mapping[str, Any]  # every option of the network
    weights: Path | None = None  # of an earlier training, or of DeiT or torchvision (.pth)
    truth: Path | None = None  # COCO with boxes of the held-out photos
    val_share: float = 0.2  # of the photos, by their names
    val_list: Path | None = None  # or just these: a text file with a name a line
    classes: Path | None = None  # text file with a class a line; None: all tags, sorted
    multi_label: MultiLabel = "auto"
    resume: bool = False
    machine: Machine = field(default_factory=Machine)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, everything."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        plain = {name: str(one) if isinstance(one, Path) else one for name, one in values.items()}
        recipe, machine = as_dict(self.recipe), as_dict(self.machine)
        return {**plain, "recipe": recipe, "network": dict(self.network), "machine": machine}


def settings_for(
    model: str,
    preset: str,
    *,
    photos: Path,
    tags: Path,
    out: Path,
    recipe: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    **others: Any,
) -> Settings:
    """The settings of a preset, with single options of its recipe or network changed.

    Where the image size is changed alone, the size that photos are resized to follows it.
    ``others`` are further fields of `Settings`. OptionError for unknown names and wrong values.
    """
    chosen = preset_of(model, preset)
    changed = dict(recipe or {})
    if "image_size" in changed and "resize" not in changed and type(changed["image_size"]) is int:
        # The crop stays the share of the photo that it was.
        scale = changed["image_size"] / chosen.recipe.image_size
        changed["resize"] = round(chosen.recipe.resize * scale)
    filled = from_dict(Recipe, {**as_dict(chosen.recipe), **changed})
    kind = LOCALIZERS[model].options
    known = {one.name for one in dataclasses.fields(kind)}
    shared = {name: getattr(filled, name) for name in FROM_RECIPE if name in known}
    for name, value in (network or {}).items():
        if name in shared and value != shared[name]:
            raise OptionError(f"{name} {value!r} of the network: give it to the recipe, as {name}")
    options = from_dict(kind, {**chosen.network, **(network or {}), **shared})
    return Settings(
        photos=photos,
        tags=tags,
        out=out,
        model=model,
        preset=preset,
        recipe=filled,
        network=as_dict(options),
        **others,
    )


def presets_as_json() -> dict[str, Any]:
    """Every preset of every model, filled in: what an app needs to offer them."""
    nowhere = Path()
    return {
        model: {
            name: {"recipe": as_dict(made.recipe), "network": dict(made.network)}
            for name in presets
            for made in [settings_for(model, name, photos=nowhere, tags=nowhere, out=nowhere)]
        }
        for model, presets in PRESETS.items()
    }


def parse(arguments: list[str]) -> Settings:
    """From the command line; argparse's own exit for what it does not understand."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--model", choices=list(PRESETS), default="gtformer")
    model = first.parse_known_args(arguments)[0].model
    parser = _parser(model)
    given = parser.parse_args(arguments)
    kind = LOCALIZERS[model].options
    return settings_for(
        model,
        given.preset,
        photos=given.photos,
        tags=given.tags,
        out=given.out,
        recipe=given_fields(Recipe, given),
        network=given_fields(kind, given, prefix=f"{NETWORK_PREFIX}_"),
        weights=given.weights,
        truth=given.truth,
        val_share=given.val_share,
        val_list=given.val_list,
        classes=given.classes,
        multi_label=given.multi_label,
        resume=given.resume,
        machine=from_arguments(Machine, given),
    )


def given_fields(cls: type[Any], given: argparse.Namespace, *, prefix: str = "") -> dict[str, Any]:
    """The fields of an option class that flags were given for, without defaults."""
    names = [one.name for one in dataclasses.fields(cls)]
    return {name: vars(given)[prefix + name] for name in names if prefix + name in vars(given)}


def _parser(model: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.wsol",
        description="Train a localizer from tags alone. The flags below are those of the model"
        f" {model!r}; defaults are those of the preset.",
        allow_abbrev=False,
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--tags", type=Path, required=True, help="CSV file,labels")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--model", choices=list(PRESETS), default="gtformer")
    parser.add_argument("--preset", choices=list(PRESETS[model]), default="small")
    parser.add_argument(
        "--weights", type=Path, help="begin with a model.safetensors, or a published .pth"
    )
    parser.add_argument("--truth", type=Path, help="COCO file with true boxes, for validation")
    parser.add_argument("--val-share", type=float, default=0.2, help="share of photos held out")
    parser.add_argument("--val-list", type=Path, help="text file: the photos that are held out")
    parser.add_argument("--classes", type=Path, help="text file: the classes in their order")
    parser.add_argument("--multi-label", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--resume", action="store_true", help="go on where a run ended")
    parser.add_argument("--describe", action="store_true", help="write all presets as JSON")
    add_arguments(parser.add_argument_group("machine"), Machine)
    add_arguments(parser.add_argument_group("recipe"), Recipe)
    kind = LOCALIZERS[model].options
    group = parser.add_argument_group(f"network {model}")
    add_arguments(group, kind, prefix=NETWORK_PREFIX)
    return parser

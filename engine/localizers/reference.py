"""The published checkpoints of Pro2SAM, SAT and TS-CAM: their state dict in, our network out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engine.errors import WeightsError
from engine.localizers import kind_of
from engine.localizers.options import SIZES
from engine.options import from_dict
from engine.torch_files import PARALLEL, WRAPPINGS
from engine.weight_files import fill

# All other names are the same.
KERNEL_THERE, KERNEL_HERE = "weight", "kernel"
PROJECTIONS_THERE, PROJECTIONS_HERE = "patch_merging.proj", "global_projections."

HEAD_WIDTH = 64  # of one attention head in every published model


def from_reference(state_dict: Mapping[str, Any], *, arch: str, **options: Any) -> nn.Module:
    """A network of ``arch`` (gtformer, sat or tscam) in evaluation mode with these weights.

    Takes what torch.load gives: also wrapped as {"model": …} or {"state_dict": …}, also with
    "module." before the names. Size, patch and image size, global tokens and classes are read
    from the tensors; ``options`` says what cannot be (GTFormer's ``proj_mode`` is "reference"
    unless given). WeightsError names missing and unexpected keys; OptionError for an unknown
    architecture or option.
    """
    network, _ = with_options(state_dict, arch=arch, **options)
    return network


def with_options(
    state_dict: Mapping[str, Any], *, arch: str, **options: Any
) -> tuple[nn.Module, Any]:
    """The same, and the options of that architecture which the network was built with."""
    kind = kind_of(arch)
    if arch == "cam":
        raise WeightsError("There are no published CAM checkpoints that fit; train one.")
    tensors = {_our_name(name): value for name, value in _unwrapped(state_dict).items()}
    found = _read_off(tensors, arch)
    chosen = from_dict(kind.options, {**found, **options})
    chosen = dataclasses.replace(chosen, pretrained=False)
    network = kind.build(chosen, len(tensors["head.weight"]))
    fill(network, tensors, source=f"The {arch} checkpoint", called=_their_name)
    return network.eval(), chosen


def _unwrapped(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    for name in WRAPPINGS:
        if isinstance(state_dict.get(name), Mapping):
            state_dict = state_dict[name]
    tensors = {
        name.removeprefix(PARALLEL): value
        for name, value in state_dict.items()
        if isinstance(value, Tensor)
    }
    if len(tensors) < len(state_dict):
        odd = [name for name, value in state_dict.items() if not isinstance(value, Tensor)]
        raise WeightsError(
            f"The checkpoint is not a plain state dict: {', '.join(map(str, odd))} is no tensor; "
            f"pass the part of it that holds the weights."
        )
    return tensors


def _our_name(name: str) -> str:
    if name == KERNEL_THERE:
        return KERNEL_HERE
    if name.startswith(PROJECTIONS_THERE):
        return PROJECTIONS_HERE + name.removeprefix(PROJECTIONS_THERE)
    return name


def _their_name(name: str) -> str:
    if name == KERNEL_HERE:
        return KERNEL_THERE
    if name.startswith(PROJECTIONS_HERE):
        return PROJECTIONS_THERE + name.removeprefix(PROJECTIONS_HERE)
    return name


def _read_off(tensors: Mapping[str, Tensor], arch: str) -> dict[str, Any]:
    """Options that the shapes tell. WeightsError where the parts that tell them are missing."""
    telling = {"pos_embed": 3, "patch_embed.proj.weight": 4, "head.weight": 4}
    if arch == "gtformer":
        telling["glo_embed"] = 3
    wrong = [
        name
        for name, dimensions in telling.items()
        if name not in tensors or tensors[name].ndim != dimensions
    ]
    if wrong:
        raise WeightsError(
            f"The checkpoint is not one of {arch}: {', '.join(wrong)} missing or of another kind; "
            f"it has {', '.join(list(tensors)[:5]) or 'nothing'} and {len(tensors)} in all."
        )
    width, patch = tensors["pos_embed"].shape[2], tensors["patch_embed.proj.weight"].shape[3]
    side = round((tensors["pos_embed"].shape[1] - 1) ** 0.5)
    blocks = [int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")]
    found: dict[str, Any] = {
        "patch_size": patch,
        "image_size": side * patch,
        **_shape(width=width, depth=max(blocks, default=0) + 1),
    }
    if arch == "gtformer":
        found["global_tokens"] = tensors["glo_embed"].shape[1]
        found["proj_mode"] = "reference"
    return found


def _shape(*, width: int, depth: int) -> dict[str, Any]:
    """The named size where it is one, else the numbers."""
    heads = max(1, width // HEAD_WIDTH)
    for size, shape in SIZES.items():
        if shape == (width, depth, heads):
            return {"size": size}
    return {"embed_dim": width, "depth": depth, "heads": heads}

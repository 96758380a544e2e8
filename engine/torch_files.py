"""Files of weights that torch wrote: a path in, tensors by name out; no code of theirs is run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import WeightsError

WRAPPINGS = ("model", "state_dict")  # under which published checkpoints keep their weights
PARALLEL = "module."  # before every name of a network that was trained on several GPUs


def state_dict_of(path: Path) -> Mapping[str, Tensor]:
    """The weights by name of a file that torch wrote; WeightsError where it holds anything else."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise WeightsError(
            f"cannot read weights {os.fspath(path)!r} ({' '.join(str(error).split())[:120]});"
            " give a model.safetensors, or a file of weights alone"
        ) from error
    for name in WRAPPINGS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(
        isinstance(one, Tensor) for one in content.values()
    ):
        raise WeightsError(f"{os.fspath(path)!r} holds no weights by name; give another file")
    return {name.removeprefix(PARALLEL): value for name, value in content.items()}

"""Where networks run: a name of torch's, or "auto"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

AUTO = "auto"


def chosen_device(name: str = AUTO) -> str:
    """CUDA where there is a GPU, else the CPU, unless another device is named."""
    if name != AUTO:
        return name
    import torch  # seconds to import, and much of the program does without

    return "cuda" if torch.cuda.is_available() else "cpu"


def half_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device itself multiplies it, else float32.

    Older GPUs only imitate it, and are slower then than in float32.
    """
    import torch

    if device.type == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_it else torch.float32

"""Where networks run: a name of torch's, or "auto"."""

from __future__ import annotations

AUTO = "auto"


def chosen_device(name: str = AUTO) -> str:
    """CUDA where there is a GPU, else the CPU, unless another device is named."""
    if name != AUTO:
        return name
    import torch  # seconds to import, and much of the program does without

    return "cuda" if torch.cuda.is_available() else "cpu"

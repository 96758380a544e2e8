"""The fixed 3 x 3 kernel that smooths a map before the edge loss asks whether it is 0 or 1.

Written as SAT and Pro2SAM build it (kernel size 3, sigma range 6): differences of the standard
normal distribution over equally spaced abscissae, their outer product, the root of that, sum 1.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

SIDE = 3
SIGMAS = 6.0


def smoothing_kernel() -> Tensor:
    """(1, 1, 3, 3) float32 of sum 1, made anew in every call.

    With zero padding the sums at the border stay below 1; that belongs to the edge loss.
    """
    interval = (2 * SIGMAS + 1) / SIDE
    abscissae = np.linspace(-SIGMAS - interval / 2, SIGMAS + interval / 2, SIDE + 1)
    weights = np.diff(ndtr(abscissae))
    raw = np.sqrt(np.outer(weights, weights))
    return torch.from_numpy(raw / raw.sum()).float()[None, None]

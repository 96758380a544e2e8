"""Chances on the regions of a photo: odds in, made smooth by a walk that seldom crosses edges.

The random walk with a prior is Grady's (2006), on regions instead of pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from engine.segmenters.regions import Floats, Regions

EDGE_RATE = 0.02  # the walk passes an edge of Lab distance d with weight exp(-rate d²)
PRIOR_WEIGHT = 0.05  # pull of the prior against the walk, per region of average size
COLOUR_WIDTH = 7.0  # Lab distance at which two colours stop being alike


def walk(
    regions: Regions,
    odds: Floats,
    *,
    inside: list[int] | None = None,
    outside: list[int] | None = None,
) -> Floats:
    """(n,) chances in [0, 1] from (n,) log-odds; regions inside and outside are certain."""
    passing = np.exp(-EDGE_RATE * regions.contrast**2) * regions.lengths
    weights = regions.graph(passing / max(regions.lengths.sum() / max(len(passing), 1), 1.0))
    weights = weights + weights.T
    pull = PRIOR_WEIGHT * regions.areas / regions.areas.mean()
    prior = 1.0 / (1.0 + np.exp(-odds))
    for seeds, value in ((inside or [], 1.0), (outside or [], 0.0)):
        pull[seeds], prior[seeds] = 1e3, value
    laplacian = sparse.diags_array(weights.sum(axis=1) + pull) - weights
    solver = splu(laplacian.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return np.clip(solver.solve(pull * prior), 0.0, 1.0)


def colour_odds(regions: Regions, object_weights: Floats, other_weights: Floats) -> Floats:
    """(n,) log-odds: whether a region's colour is more common in the object or in the rest.

    The weights (n,) say how much of each region belongs to either; neither may be all zero.
    """
    colours = regions.colours.astype(np.float32)
    squares = (colours**2).sum(axis=1)
    apart = squares[:, None] + squares[None, :] - 2.0 * (colours @ colours.T)
    alike = np.exp(apart * np.float32(-0.5 / COLOUR_WIDTH**2))  # (n, n)
    weights = np.stack([object_weights, other_weights], axis=1)
    common = alike @ (weights / weights.sum(axis=0)).astype(np.float32) + 1e-4
    return np.asarray(np.log(common[:, 0] / common[:, 1]), dtype=np.float64)


def log_odds(chance: Floats, floor: float) -> Floats:
    """Log-odds that stay finite: chance 1 gives about -log(floor)."""
    return np.asarray(np.log((chance + floor) / (1.0 - chance + floor)))

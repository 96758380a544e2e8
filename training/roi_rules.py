"""How the regions of a detector are judged while it learns, with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass

from training.drop import Reduction, Rule
from training.known_background import Unreviewed


@dataclass(frozen=True, kw_only=True)
class RoiRules:
    """How RoIs are judged; the defaults are the paper's."""

    tau_cls: float = 4.0
    tau_reg: float = 1.0
    reduction: Reduction = "mean"
    rule: Rule = "either"
    renorm: bool = False
    limit: float = 0.5  # nothing is dropped in a step that would lose more of the foreground
    masks: bool = False  # whether dropped RoIs lose their mask loss too
    beta: float = 0.0
    unreviewed: Unreviewed = "doubtful"
    doubt: float = 0.5  # probability of an object from which on a place is doubtful

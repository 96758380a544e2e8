"""Which detector a project uses: promoted by rule or by hand, and taken back by one step.

The choice is the setting `detector`. Every promotion and every step back is kept, with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from annotator import models
from annotator.store import Project, Transaction, now
from annotator.training_kinds import DETECTOR
from annotator.views import View
from engine.errors import ConflictError, OptionError, StoreError

SETTING = "detector"  # name of the model in use; empty where none is
HISTORY = "detector_history"
BY_HAND_SETTING = "promote_by_hand"

RULE, HAND, BACK = "rule", "hand", "back"  # who or what decided


@dataclass(frozen=True)
class Promotion:
    """One change of the detector in use."""

    model: str  # in use from then on; empty where none is
    by: str
    reason: str
    at: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def current(view: View) -> str:
    """The detector in use; empty where none was promoted."""
    return str(view.setting(SETTING, ""))


def current_here(project: Project, view: View) -> str:
    """The detector in use if its file is still there; empty where none is, or it was deleted."""
    name = current(view)
    return name if name in {path.stem for path in models.paths(project)} else ""


def history(view: View) -> list[Promotion]:
    """Every change, oldest first."""
    return [Promotion(**entry) for entry in view.setting(HISTORY, [])]


def before(view: View) -> str | None:
    """What a step back leads to: a name, empty for none; None where there is no way back."""
    ladder = _ladder(history(view))
    return ladder[-2] if len(ladder) > 1 else None


def _ladder(changes: Sequence[Promotion]) -> list[str]:
    """What was in use, one step above the other; a step back takes the last one away."""
    ladder = [""]
    for change in changes:
        if change.by == BACK:
            ladder.pop()
        else:
            ladder.append(change.model)
    return ladder


def is_by_hand(view: View) -> bool:
    """Whether nothing is promoted unless a person says so."""
    return bool(view.setting(BY_HAND_SETTING, False))


def set_by_hand(transaction: Transaction, is_by_hand: bool) -> None:
    """Let a person decide, or the rule."""
    transaction.set_setting(BY_HAND_SETTING, is_by_hand)


def promote(
    project: Project,
    name: str,
    *,
    by: str,
    reason: str = "",
    instead_of: str | None = None,
    unless_by_hand: bool = False,
) -> bool:
    """Use this detector from now on; False where it is in use already.

    With ``unless_by_hand`` also False where the project leaves it to a person. ``instead_of`` is
    what the caller judged it against: ConflictError where another one is in use by now. OptionError
    where there is no such model, or it is no detector.
    """
    require_detector(project, name)
    with project.write() as transaction:
        in_use = current(transaction)
        if in_use == name or (unless_by_hand and is_by_hand(transaction)):
            return False
        # Who judged when its file was gone already judged against none.
        if instead_of not in (None, in_use, current_here(project, transaction)):
            raise ConflictError(
                f"{name} was judged against {instead_of or 'no detector'}, but "
                f"{in_use or 'none'} is in use by now; judge it again"
            )
        _change(transaction, Promotion(name, by, reason, now()))
    return True


def back(project: Project, *, instead_of: str | None = None) -> str:
    """Use what was in use before; its name, empty where that was none.

    ``instead_of`` is the detector that the caller saw in use: ConflictError where it is another one
    by now. OptionError where there is no way back; StoreError where the model was deleted.
    """
    with project.write() as transaction:
        in_use = current(transaction)
        if instead_of is not None and in_use != instead_of:
            raise ConflictError(
                f"{instead_of or 'no detector'} was in use, but {in_use or 'none'} is by now; "
                "look again before you take it back"
            )
        name = before(transaction)
        if name is None:
            raise OptionError("no detector is in use, so there is nothing to take back")
        if name and name not in {path.stem for path in models.paths(project)}:
            raise StoreError(
                f"the detector that was in use before, {name!r}, is not in the project any more; "
                "promote another one"
            )
        reason = f"instead of {in_use}"
        _change(transaction, Promotion(name, BACK, reason, now()))
    return name


def _change(transaction: Transaction, change: Promotion) -> None:
    kept = [one.as_dict() for one in history(transaction)]
    transaction.set_setting(HISTORY, [*kept, change.as_dict()])
    transaction.set_setting(SETTING, change.model)


def require_detector(project: Project, name: str) -> models.Model:
    """The detector of that name; OptionError where there is none, or it is something else."""
    models.path_of(project, name)  # tells which names there are
    found = next(one for one in models.all_models(project) if one.name == name)
    if found.what != DETECTOR:
        why = found.problem or f"it is a {found.what}"
        raise OptionError(f"{name!r} is no detector that could be used: {why}")
    return found

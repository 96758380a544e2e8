"""Published weights that a detector's training begins with: nobody downloads them unasked.

The trainer fetches them where they are not on this machine, so whoever starts one, or lets it time
a few steps, asks here before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from annotator import trainer
from annotator.training_kinds import DETECTOR, KINDS
from annotator.training_options import AnyOptions, DetectorTrainingOptions
from engine.detectors.published import Published, published_for
from engine.errors import JobError, OptionError

Described = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Model -> preset -> its recipe and network, as `trainer.presets` answers."""


def missing(
    options: AnyOptions, described: Described, *, weights: str, passed_on: Sequence[str] = ()
) -> Published | None:
    """What a training with these options would download; None where nothing.

    ``weights`` is a model that it begins with instead. Without a preset, which begins with nothing,
    only what is passed on to the trainer can ask for some.
    """
    if not isinstance(options, DetectorTrainingOptions) or weights:
        return None
    preset = described.get(options.model, {}).get(options.preset or "", {})
    network = {**preset.get("network", {}), **_passed_on(passed_on)}
    found = published_for(options.model, network)
    return None if found is None or found.is_here else found


def described_for(options: AnyOptions) -> Described:
    """What the trainer says of its presets where that matters; nothing where it does not answer."""
    if not isinstance(options, DetectorTrainingOptions) or options.preset is None:
        return {}
    try:
        return trainer.presets(KINDS[DETECTOR])
    except JobError:
        # Not every command can describe itself (torchrun answers four times); it still says what
        # it lacks when it starts.
        return {}


def consent(
    options: AnyOptions, *, weights: str, passed_on: Sequence[str], may_download: bool, asks: bool
) -> None:
    """Ask in the terminal whether what is missing may be downloaded, where ``asks`` allows it.

    OptionError where it may not, or nobody is there to be asked.
    """
    if may_download:
        return
    found = missing(options, described_for(options), weights=weights, passed_on=passed_on)
    if found is None:
        return
    if asks and sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{sentence(found)}\nDownload them now? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise OptionError(f"{sentence(found)}; allow it with --download, or take --preset small")


def require_consent(found: Published | None, *, may_download: bool) -> None:
    """OptionError where something is missing that nobody allowed to download."""
    if found is not None and not may_download:
        raise OptionError(
            f"{sentence(found)}; allow the download below, or take a preset that begins with "
            "nothing"
        )


def sentence(found: Published) -> str:
    """What is missing, and what happens without a network."""
    return (
        f"the training begins with published weights that are not on this machine: "
        f"{found.described}; without a network it will not start"
    )


def _passed_on(words: Sequence[str]) -> dict[str, str]:
    """Backbone and weights of the network in flags for the trainer."""
    found = {}
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--network-")
        if flag != name and name in ("weights", "backbone"):
            found[name] = value if equals else "".join(words[place + 1 : place + 2])
    return found

"""Image in, coarse map of where the foreground is out: h x w in [0, 1].

`LOCALIZERS` names the networks that can be trained from tags; `build` makes one. Reading this
loads no torch: the networks are imported when one is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import OptionError
from engine.localizers.options import CamOptions, GtformerOptions, SatOptions, TscamOptions
from engine.options import from_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LocalizerKind:
    """One architecture: the class of its options, and what makes a network of them.

    ``build(options, num_classes)`` answers in training mode, without ImageNet weights: those
    come with `engine.localizers.build`.
    """

    options: type[Any]
    build: Callable[[Any, int], nn.Module]


def _build_cam(options: CamOptions, num_classes: int) -> nn.Module:
    from engine.localizers.cam import CamNetwork

    return CamNetwork(options, num_classes)


def _build_tscam(options: TscamOptions, num_classes: int) -> nn.Module:
    from engine.localizers.tscam import Tscam

    return Tscam(options, num_classes)


def _build_sat(options: SatOptions, num_classes: int) -> nn.Module:
    from engine.localizers.sat import Sat

    return Sat(options, num_classes)


def _build_gtformer(options: GtformerOptions, num_classes: int) -> nn.Module:
    from engine.localizers.gtformer import Gtformer

    return Gtformer(options, num_classes)


LOCALIZERS: dict[str, LocalizerKind] = {
    "cam": LocalizerKind(CamOptions, _build_cam),
    "tscam": LocalizerKind(TscamOptions, _build_tscam),
    "sat": LocalizerKind(SatOptions, _build_sat),
    "gtformer": LocalizerKind(GtformerOptions, _build_gtformer),
}


def kind_of(name: str) -> LocalizerKind:
    """The architecture of that name; OptionError where there is none."""
    if name not in LOCALIZERS:
        raise OptionError(
            f"There is no localizer called {name!r}; there are {', '.join(LOCALIZERS)}."
        )
    return LOCALIZERS[name]


def build(name: str, *, num_classes: int, **options: Any) -> nn.Module:
    """A network in training mode with random weights, or ImageNet's where ``pretrained`` asks.

    It is called as ``network(images, return_attentions=False)`` on (b, 3, H, W) normalised floats
    and answers a `LocalizerOutput`. OptionError for an unknown name, option or value;
    WeightsError where ImageNet weights are asked for and cannot be had.
    """
    kind = kind_of(name)
    if num_classes < 1:
        raise OptionError(f"A localizer needs at least one class, got {num_classes}.")
    chosen = from_dict(kind.options, options)
    network = kind.build(chosen, num_classes)
    if chosen.pretrained:
        from engine.localizers.pretrained import load_imagenet

        load_imagenet(network, chosen)
    return network

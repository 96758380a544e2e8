"""ImageNet weights for a localizer: DeiT through timm, convolutional ones through torchvision.

Their classifiers are always thrown away; what the localizers add keeps its own start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import timm
import torchvision
from torch import Tensor, nn

from engine.errors import OptionError, WeightsError
from engine.localizers.cam import CamNetwork
from engine.localizers.options import SIZES, CamOptions, VitOptions
from engine.localizers.vit import VisionTransformer, resampled_positions
from engine.weight_files import fill

logger = logging.getLogger(__name__)

OWN = ("head.", "global_projections.", "glo_embed", "loc_token", "loc_embed", "kernel")
"""What the published classifiers have not, or have for other classes: kept as it is."""


def load_imagenet(network: nn.Module, options: VitOptions | CamOptions) -> None:
    """Download the weights that fit these options (once; then from the cache) and load them.

    OptionError where nothing published fits them; WeightsError where they cannot be had.
    """
    if isinstance(options, CamOptions):
        assert isinstance(network, CamNetwork)
        load_trunk(network, _torchvision_weights(options.backbone))
    else:
        assert isinstance(network, VisionTransformer)
        load_deit(network, _deit_weights(options))


def load_deit(network: VisionTransformer, weights: Mapping[str, Tensor]) -> None:
    """Load the state dict of a timm VisionTransformer, positions resampled to the network's grid.

    WeightsError where it belongs to another shape of transformer.
    """
    taken = dict(weights)
    positions = taken.get("pos_embed")
    if positions is not None and positions.shape[2:] == network.pos_embed.shape[2:]:
        side = round((positions.shape[1] - 1) ** 0.5)
        taken["pos_embed"] = resampled_positions(
            positions, old=(side, side), new=network.trained_grid
        )
    own = {name: value for name, value in network.state_dict().items() if name.startswith(OWN)}
    fill(network, {**taken, **own}, source="The ImageNet checkpoint")


def load_trunk(network: CamNetwork, weights: Mapping[str, Tensor]) -> None:
    """Load the state dict of the torchvision network that the trunk was cut from.

    WeightsError where a layer of the trunk is missing or of another shape; layers behind the
    trunk are left out.
    """
    names = network.trunk.state_dict()
    taken = {name: value for name, value in weights.items() if name in names}
    fill(network.trunk, taken, source="The ImageNet checkpoint")


def _deit_weights(options: VitOptions) -> dict[str, Tensor]:
    if options.shape != SIZES[options.size] or options.patch_size != 16:
        raise OptionError(
            "There are ImageNet weights for the sizes tiny, small and base with patch_size 16 "
            "only; leave out pretrained, or embed_dim, depth, heads and patch_size."
        )
    name = f"deit_{options.size}_patch16_224"
    logger.info("fetching ImageNet weights %s", name)
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise _cannot_be_had(name, "huggingface.co") from error


def _torchvision_weights(backbone: str) -> dict[str, Tensor]:
    logger.info("fetching ImageNet weights of %s", backbone)
    try:
        published = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
        return dict(published.get_state_dict(check_hash=True))
    except (OSError, RuntimeError) as error:
        raise _cannot_be_had(backbone, "download.pytorch.org") from error


def _cannot_be_had(name: str, host: str) -> WeightsError:
    return WeightsError(
        f"The ImageNet weights of {name} cannot be fetched from {host}; connect to the network "
        f"once, copy the cache folder of a machine that has them, or leave out pretrained."
    )

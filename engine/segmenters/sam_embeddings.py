"""SAM's embedding of a photo as half-precision arrays for `embeddings`, and back.

The image encoder gives it in single precision and 4 MB. At half of that the masks of the published
networks keep 99.998 % of their pixels.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from engine.segmenters.embeddings import Arrays
from engine.segmenters.sam import PreparedPhoto, SamSegmenter

MAKING = "1"
"""Goes into the fingerprint; another number when photos are resized or padded another way."""


class SamCodec:
    """What is kept of a photo that this segmenter prepared."""

    def __init__(self, segmenter: SamSegmenter) -> None:
        self._network = segmenter.network

    @property
    def is_slow(self) -> bool:
        """Whether a photo takes seconds; on a GPU it takes tenths of one."""
        return bool(self._network.device.type == "cpu")

    def fingerprint(self) -> str:
        """32 hexadecimal digits of all that the embedding depends on; up to 1 s for vit_b.

        The decoder is not part of it: networks that share the encoder share embeddings.
        """
        encoder = self._network.image_encoder
        digest = hashlib.sha256(f"{MAKING} {encoder.img_size}".encode())
        named = [
            *encoder.state_dict().items(),
            ("mean", self._network.pixel_mean),
            ("std", self._network.pixel_std),
        ]
        for name, tensor in named:
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy())
        return digest.hexdigest()[:32]

    def pack(self, prepared: PreparedPhoto) -> Arrays | None:
        """Half precision; None where a number does not fit into it."""
        features = prepared.features.detach().cpu().to(torch.float16).numpy()
        if not np.isfinite(features).all():
            return None
        return {
            "features": features,
            "original_hw": np.array(prepared.original_hw, dtype=np.int64),
            "input_hw": np.array(prepared.input_hw, dtype=np.int64),
        }

    def unpack(self, arrays: Arrays) -> PreparedPhoto:
        """For `set_prepared`, in the precision and on the device of the network.

        LookupError or ValueError where the arrays are not those of `pack`.
        """
        features = torch.from_numpy(np.asarray(arrays["features"], dtype=np.float16))
        prompts = self._network.prompt_encoder
        if features.shape != (1, prompts.embed_dim, *prompts.image_embedding_size):
            raise ValueError(f"features of {tuple(features.shape)} are not of this network")
        like = prompts.no_mask_embed.weight
        return PreparedPhoto(
            features.to(device=like.device, dtype=like.dtype),
            original_hw=_pair(arrays, "original_hw"),
            input_hw=_pair(arrays, "input_hw"),
        )


def _pair(arrays: Arrays, name: str) -> tuple[int, int]:
    height, width = (int(length) for length in np.asarray(arrays[name]))
    return height, width

"""Which published weights a detector begins with: torchvision's files, their sizes and terms.

Looks whether they are in torch's cache, and never loads torch; `engine.detectors.pretrained`
fetches and loads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADDRESS = "https://download.pytorch.org/models/"

IMAGENET: dict[str, tuple[str, float]] = {  # backbone -> file, megabytes
    "resnet50": ("resnet50-0676ba61.pth", 102.5),
    "resnet50_v2": ("resnet50-0676ba61.pth", 102.5),
    "mobilenet": ("mobilenet_v3_large-8738ca79.pth", 22.1),
    "resnet18": ("resnet18-f37072fd.pth", 46.8),
}
COCO: dict[tuple[str, str], tuple[str, float]] = {  # detector and backbone -> file, megabytes
    ("fasterrcnn", "resnet50"): ("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 167.5),
    ("fasterrcnn", "resnet50_v2"): ("fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 175.2),
    ("fasterrcnn", "mobilenet"): ("fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", 77.8),
    ("maskrcnn", "resnet50"): ("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", 178.1),
    ("maskrcnn", "resnet50_v2"): ("maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth", 185.8),
}


@dataclass(frozen=True)
class Published:
    """One file of weights, as a person is asked about it."""

    file_name: str
    megabytes: float
    learned_from: str  # whose terms may limit the use of the weights

    @property
    def path(self) -> Path:
        """Where torch keeps it once it was fetched."""
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.environ.get("TORCH_HOME") or os.path.join(caches, "torch")
        return Path(home).expanduser() / "hub" / "checkpoints" / self.file_name

    @property
    def is_here(self) -> bool:
        """Whether nothing has to be downloaded."""
        return self.path.is_file()

    @property
    def described(self) -> str:
        """File, size, source and terms in one phrase."""
        return (
            f"{self.file_name}, {self.megabytes:.0f} MB from download.pytorch.org (torchvision, "
            f"BSD-3-Clause; the terms of {self.learned_from} may limit what they are used for)"
        )


def published_for(detector: str, network: Mapping[str, Any]) -> Published | None:
    """What a detector with these options of its network begins with; None where with nothing.

    ``network`` needs ``weights`` and ``backbone``; a combination that is not published is none.
    """
    backbone = str(network.get("backbone"))
    if network.get("weights") == "coco" and (detector, backbone) in COCO:
        return Published(*COCO[detector, backbone], learned_from="COCO")
    if network.get("weights") == "backbone" and backbone in IMAGENET:
        return Published(*IMAGENET[backbone], learned_from="ImageNet")
    return None

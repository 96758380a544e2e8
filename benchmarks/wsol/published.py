"""The tables of the Pro2SAM paper (ECCV 2024), in percent, as printed: what ours stand beside."""

from __future__ import annotations

Row = tuple[float | None, ...]

TABLE_1: dict[str, tuple[Row, Row]] = {
    "CAM": ((36.10, 50.66, 56.00), (42.80, 54.90, 59.00)),
    "TS-CAM": ((71.30, 83.80, 87.70), (53.40, 64.30, 67.60)),
    "SAT": ((80.43, 93.58, 98.19), (59.94, 70.31, 73.08)),
    "GTFormer": ((80.48, 93.84, 98.48), (60.20, 70.00, 73.17)),
    "Pro2SAM": ((84.03, 93.69, 95.67), (66.85, 75.90, 77.79)),
}
"""Top-1 Loc, Top-5 Loc, GT-Known on CUB and on ILSVRC. CAM there is GoogLeNet, Pro2SAM's classes
come from EfficientNet-B7 and its masks from SAM ViT-H."""

TABLE_2: dict[str, tuple[Row, Row]] = {
    "CAM": ((73.30, 19.90, None), (65.70, 41.60, None)),
    "TS-CAM": ((87.70, 50.10, None), (66.10, 44.60, None)),
    "SAT": ((94.88, 58.64, 2.01), (69.77, 51.96, 15.14)),
    "GTFormer": ((97.40, 77.04, 8.70), (70.45, 50.71, 12.36)),
    "Pro2SAM": ((95.67, 86.43, 48.43), (77.79, 66.93, 45.94)),
}
"""Box accuracy at IoU 50, 70, 90 on CUB and on ILSVRC."""

TABLE_3: dict[str, Row] = {
    "SAT": (59.9, 73.0),
    "Self-attention map": (43.0, 54.7),
    "without GTA": (51.1, 63.3),
    "GTFormer": (60.2, 73.2),
}
"""Top-1 Loc and GT-Known on ILSVRC, as in table 4."""

TABLE_4: dict[str, Row] = {
    "1:0": (59.6, 72.1),
    "0:1": (59.4, 71.2),
    "1:1": (43.6, 54.7),
    "0.5:1": (59.3, 72.4),
    "1:0.5": (60.2, 73.2),
}
"""mu : lambda. GT-Known of 1:1 is to the digit that of table 3's self-attention map, and so is
doubtful."""

TABLE_5: dict[str, Row] = {
    "1": (59.4, 69.6, 72.3),
    "4": (60.2, 70.0, 73.2),
    "16": (41.3, 48.1, 50.3),
}
"""Global tokens: Top-1 Loc, Top-5 Loc, GT-Known on ILSVRC."""

TABLE_6: dict[str, Row] = {
    "bbox": (53.3, 47.5, 42.3, 37.3, 29.6),
    "mask and bbox": (67.3, 62.2, 56.8, 51.7, 40.3),
    "mask": (77.8, 72.6, 66.9, 60.0, 45.9),
}
"""What is matched: box accuracy at IoU 50, 60, 70, 80, 90 on ILSVRC."""

"""Task JSON that was just written, read back by Label Studio's own library instead of ours.

Its label interface checks every prediction and annotation against the label config; its own
decoder unpacks the brushes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from engine.errors import FormatError
from engine.geometry import mask_to_rle
from engine.types import Box
from exports.contours import polygon_to_rle
from exports.label_studio import Region, Task
from exports.label_studio_files import CONFIG, tasks_in
from exports.progress import READING, OnProgress, counted, silent
from exports.verify import Seen

SHOWN = 300  # characters of a complaint, which may quote a whole mask


class LabelCheck:
    """The SDK's `LabelInterface` of one label config; it takes seconds to import."""

    def __init__(self, config: str) -> None:
        from label_studio_sdk.label_interface import LabelInterface

        self._interface: Any = LabelInterface(config)

    def check(self, task: Task) -> None:
        """FormatError for the first prediction or annotation that does not fit the config."""
        for one in (*task["predictions"], *task["annotations"]):
            # Its own way for annotations tells that something is wrong, but not what.
            prediction = {key: one[key] for key in ("result", "score") if key in one}
            errors = self._interface.validate_prediction(prediction, return_errors=True)
            if errors:
                name = task["data"].get("file_name")
                raise FormatError(f"photo {name!r}: {str(errors[0])[:SHOWN]}")


def seen_in_label_studio(
    path: Path, *, total: int = 0, on_progress: OnProgress = silent
) -> dict[str, list[Seen]]:
    """What stands in a folder of `write_label_studio`, photo by photo, ordered by our ids.

    ``total`` is the number of tasks that are expected, for ``on_progress`` alone.
    """
    on_progress(READING, 0, total)
    check = LabelCheck((path / CONFIG).read_text(encoding="utf-8"))
    seen: dict[str, list[Seen]] = {}
    for task in counted(READING, _all_tasks(path), total, on_progress):
        check.check(task)
        found: dict[int, Seen] = {}
        for result in (*task["predictions"], *task["annotations"]):
            for region in result["result"]:
                number, one = _seen(region)
                found[number] = _together(found.get(number), one)
        seen[task["data"]["file_name"]] = [found[number] for number in sorted(found)]
    return seen


def _all_tasks(path: Path) -> Iterator[Task]:
    for file in sorted(path.glob("tasks-*.json")):
        yield from tasks_in(file)


def _seen(region: Region) -> tuple[int, Seen]:
    from label_studio_sdk.converter import brush

    width, height = region["original_width"], region["original_height"]
    value, kind = region["value"], region["type"]
    rle, box = None, None
    if "rle" in value:
        alpha = brush.decode_rle(value["rle"]).reshape(height, width, 4)[..., 3]
        rle = mask_to_rle(alpha == 255)
    elif "imageDataURL" in value:
        content = base64.b64decode(value["imageDataURL"].partition(",")[2])
        rle = mask_to_rle(np.asarray(Pillow.open(io.BytesIO(content)))[..., 3] == 255)
    elif "points" in value:
        corners = [side for x, y in value["points"] for side in (x * width / 100, y * height / 100)]
        rle = polygon_to_rle([corners], size=(height, width))
    else:
        box = _corners(value, width, height)
    return int(region["id"].partition("-")[0]), Seen(value[kind][0], box, rle)


def _corners(value: Mapping[str, float], width: int, height: int) -> Box:
    x0, y0 = value["x"] * width / 100, value["y"] * height / 100
    return (x0, y0, x0 + value["width"] * width / 100, y0 + value["height"] * height / 100)


def _together(first: Seen | None, second: Seen) -> Seen:
    if first is None:
        return second
    return Seen(first.category, first.box or second.box, first.rle or second.rle)

"""Label Studio's task JSON as files, both ways: a folder to import by hand, and exports of its own.

Written are the tasks with predictions (proposals) and annotations (what a person stands behind),
the label config and a README. Read is a JSON export, or what was written.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from engine.errors import FormatError
from engine.geometry import clip_box
from engine.types import CURATED, Instance, LabeledImage, Source, Status
from exports.contents import Held, Losses, Reading, check_names, tags_of
from exports.label_studio import OURS, LabelStudioOptions, Task, TaskChoices, task_of
from exports.label_studio_config import label_config
from exports.label_studio_read import Drawn, objects_of, size_in
from exports.photo_names import KnownPhotos, size_of
from exports.progress import WRITING, OnProgress, counted, silent
from exports.whole_files import whole_folder

CONFIG, README, TASKS = "label_config.xml", "README.txt", "tasks-{:03}.json"
LARGEST_FILE = 50_000_000  # bytes; the server takes up to 250 MB at once
LOCAL_FILES = "/data/local-files/?d="
_UPLOADED = re.compile("[0-9a-f]{8}-")  # what the server puts before the name of an upload


@dataclass(frozen=True)
class LabelStudioFileOptions(LabelStudioOptions):
    """What an instance becomes, and where the server will find the photos."""

    photo_base: str = field(
        default=LOCAL_FILES + "photos/",
        metadata={"help": "what stands before the name of a photo: https://… or local files"},
    )


def hold_label_studio(images: Sequence[LabeledImage], options: LabelStudioOptions) -> Held:
    """What stays of the instances: all but the rejected; boxes inside their photo."""
    losses = Losses()
    kept = []
    for image in images:
        instances = []
        for instance in image.instances:
            one, box = instance, clip_box(instance.box, width=image.width, height=image.height)
            if one.status is Status.REJECTED:
                losses.add("rejected objects are not written", image, one)
            elif box is None:
                losses.add("boxes outside their photo are left out", image, one)
            else:
                if box != one.box:
                    losses.add("boxes are cut at the photo's edge", image, one)
                if one.rle is not None and options.masks == "none":
                    losses.add("masks are not written", image, one)
                    one = replace(one, rle=None)
                instances.append(replace(one, box=box))
        kept.append(replace(image, instances=tuple(instances)))
    return Held(tuple(kept), losses.found())


def write_label_studio(
    folder: Path,
    images: Sequence[LabeledImage],
    classes: Sequence[str],
    options: LabelStudioFileOptions,
    *,
    project: str = "",
    stamp: str = "",
    on_progress: OnProgress = silent,
) -> None:
    """Write tasks, config and README, all or nothing; FormatError where the place is taken.

    ``project`` makes the ``ext_id`` of the tasks, by which the command that talks to a server
    knows them again; ``stamp`` is that of `exports.formats.About`, for the way back by file.
    """
    choices = TaskChoices(LabelStudioOptions(options.masks, options.boxes))
    tasks = (
        task_of(
            image,
            address=address_of(options.photo_base, image.file_name),
            ext_id=f"{project}-{image.id}",
            choices=choices,
        )
        for image in counted(WRITING, images, len(images), on_progress)
    )
    check_names([], classes)
    stamped = ({**task, "data": {**task["data"], OURS: stamp}} if stamp else task for task in tasks)
    with whole_folder(folder) as part:
        count = _write_tasks(part, stamped)
        config = label_config(classes, options.kinds)
        (part / CONFIG).write_text(config + "\n", encoding="utf-8", newline="\n")
        readme = _README.format(tasks=count, base=options.photo_base, config=CONFIG)
        (part / README).write_text(readme, encoding="utf-8", newline="\n")


def address_of(base: str, file_name: str) -> str:
    """Where the photo is: the base with the name behind it, quoted."""
    try:
        return base + quote(file_name)
    except UnicodeEncodeError as error:
        raise FormatError(f"the file name {file_name!r} cannot be written; rename it") from error


def _write_tasks(folder: Path, tasks: Iterable[Task]) -> int:
    """Into as many files as needed, one task at a time in memory; how many tasks."""
    count, written = 0, LARGEST_FILE
    file: io.TextIOWrapper | None = None
    numbers = iter(range(1, 1000))
    for task in tasks:
        text = json.dumps(task, ensure_ascii=False, allow_nan=False)
        if file is None or written + len(text) > LARGEST_FILE:
            _end(file)
            path = folder / TASKS.format(next(numbers))
            file, written = path.open("w", encoding="utf-8", newline="\n"), 0
            file.write("[\n")
        file.write((",\n" if written else "") + text)
        written += len(text)
        count += 1
    _end(file)
    return count


def _end(file: io.TextIOWrapper | None) -> None:
    if file is not None:
        file.write("\n]\n")
        file.close()


_README = """Annotations for Label Studio (written for 1.23)
{tasks} tasks; their photos are looked for at {base}

1. Make a project; Settings > Labeling Interface > Code: paste {config}, save.
2. Make the photos reachable. Where the address above begins with /data/local-files/:
   start the server with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT=FOLDER, put
   the photos into the folder named behind ?d= inside FOLDER, and add it under
   Settings > Cloud Storage > Add Source Storage > Local files (no sync).
   With photos on a web server, write the files again with its address as the base.
3. Import all tasks-*.json files. Proposals come as predictions, decisions as annotations.
4. When done: Export > JSON. Not COCO and not Brush to COCO: these lose masks.
"""


# -- reading -------------------------------------------------------------------------------------


def read_label_studio(path: Path, photos: KnownPhotos | None = None) -> Reading:
    """Read a JSON export of Label Studio, or a folder that `write_label_studio` made.

    Of each task the newest annotation that was not skipped counts, and predictions for what it
    does not hold. What makes no sense is left out with a note; FormatError where nothing is good.
    """
    files = sorted(path.glob("tasks-*.json")) if path.is_dir() else [path]
    images: list[LabeledImage] = []
    notes: list[str] = []
    stamps: dict[str, str] = {}
    for file in files:
        for place, task in enumerate(tasks_in(file), start=1):
            try:
                image, oddities = _image_of(task, photos, path.name)
            except FormatError as error:
                notes.append(f"task {task.get('id', place)} was left out: {error}")
                continue
            notes += [f"{image.file_name}: {text}" for text in oddities]
            images.append(replace(image, id=len(images) + 1))
            # Tasks that went to a server have no stamp; their ext_id tells whose they are.
            stamps[image.file_name] = str(task["data"].get(OURS) or task["data"].get("ext_id"))
    if not images:
        reason = f": {notes[0]}" if notes else ""
        raise FormatError(f"{os.fspath(path)!r} holds no task that can be read{reason}")
    classes = dict.fromkeys(name for image in images for name in tags_of(image.instances))
    return Reading(tuple(images), tuple(classes), tuple(notes), stamps=stamps)


def tasks_in(path: Path) -> list[dict[str, Any]]:
    """The tasks of a file; FormatError where it holds no list of them."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{os.fspath(path)!r} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{os.fspath(path)!r} is no JSON ({error})") from error
    if not isinstance(content, list) or not all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content
    ):
        raise FormatError(f"{os.fspath(path)!r} is no list of tasks with their data")
    return content


def _image_of(
    task: Mapping[str, Any], photos: KnownPhotos | None, file: str
) -> tuple[LabeledImage, list[str]]:
    data = task["data"]
    annotation = chosen_annotation(_list(task, "annotations"))
    predictions = [one for one in _list(task, "predictions") if isinstance(one, dict)]
    results = [_list(one, "result") for one in ([annotation] if annotation else []) + predictions]
    name, size = _name_and_size(data, results, photos)
    found, notes = objects_of(_list(annotation or {}, "result"), size_hw=(size[1], size[0]))
    instances = [_instance(one, file, is_proposal=False) for one in found]
    keys = {one.key for one in found}
    if annotation is None or annotation.get("parent_prediction") is None:
        for prediction in predictions:
            proposed, more = objects_of(_list(prediction, "result"), size_hw=(size[1], size[0]))
            notes += more
            origin = str(prediction.get("model_version") or file)
            instances += [
                _instance(one, origin, is_proposal=True) for one in proposed if one.key not in keys
            ]
    notes += [note for one in found for note in one.notes]
    tags = str(data.get("tags", ""))
    image = LabeledImage(
        id=1,
        file_name=name,
        width=size[0],
        height=size[1],
        tags=tuple(tag for tag in tags.split(", ") if tag),
        instances=tuple(instances),
        split=str(data.get("split", "")),
    )
    return image, notes


def chosen_annotation(annotations: Sequence[Any]) -> dict[str, Any] | None:
    """The newest that was not skipped."""
    good = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    return max(good, key=lambda one: str(one.get("updated_at", "")), default=None)


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _name_and_size(
    data: Mapping[str, Any], results: Sequence[Sequence[Any]], photos: KnownPhotos | None
) -> tuple[str, tuple[int, int]]:
    """The photo's name, and its (width, height): as known, as stated, or as drawn on."""
    stated = data.get("file_name")
    name = stated if isinstance(stated, str) and stated else name_in_address(data)
    known = None if photos is None else photos.find(name)
    if photos is not None and known is not None:
        return known, photos.sizes[known]
    if all(type(data.get(side)) is int and data[side] > 0 for side in ("width", "height")):
        return name, (data["width"], data["height"])
    for result in results:
        size = size_in(result)
        if size is not None:
            return name, (size[1], size[0])
    return size_of(name, photos)


def name_in_address(data: Mapping[str, Any]) -> str:
    """The file name in the first address of a picture that the data has; FormatError if none."""
    for value in data.values():
        if isinstance(value, str) and ("/" in value or "." in value) and value[:5] != "data:":
            try:
                parts = urlsplit(value)
            except ValueError:
                continue
            inside = parse_qs(parts.query).get("d")
            if inside:
                return inside[0]
            return _UPLOADED.sub("", PurePosixPath(unquote(parts.path)).name, count=1)
    raise FormatError("its data names no photo")


def _instance(drawn: Drawn, origin: str, *, is_proposal: bool) -> Instance:
    ours = drawn.provenance
    try:
        source = Source.from_dict(ours["source"])
    except (KeyError, TypeError, ValueError):
        source = Source(origin)
    return Instance(
        box=drawn.extent,
        category=drawn.categories[0],
        status=Status.PROPOSED if is_proposal else _status(drawn),
        source=source,
        rle=drawn.rle,
        score=drawn.score,
        edited=bool(ours.get("edited")) or drawn.origin == "prediction-changed",
        id=drawn.number,
    )


def _status(drawn: Drawn) -> Status:
    said = drawn.provenance.get("status")
    if drawn.origin == "prediction-changed" and said != Status.DRAWN:
        return Status.EDITED
    return Status(said) if said in CURATED else Status.ACCEPTED

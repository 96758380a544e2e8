"""Every format by its name: what it can hold, how it is written, proven and read.

`exports.formats.FORMATS` is the one list that the command line and the app go by. Writing takes
three steps: ``hold`` says what will stand in the file and counts what will not, ``write`` writes
that, ``verify`` reads it back by other means and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import FormatError
from engine.types import LabeledImage
from exports import (
    coco,
    cvat,
    label_studio_check,
    label_studio_files,
    labelme,
    openimages,
    png,
    png_read,
    read_back,
    tags,
    verify_coco,
    voc,
    yolo,
    yolo_read,
)
from exports.choices import Selection
from exports.contents import Held, Losses, Reading, tags_of
from exports.photo_names import KnownPhotos
from exports.progress import WRITING, OnProgress, counted
from exports.verify import VerifyReport, broken, compare


@dataclass(frozen=True)
class NoOptions:
    """A format without choices of its own."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What only some formats say of a file as a whole."""

    description: str = ""
    date_created: str = ""  # ISO 8601
    stamp: str = ""  # by which the project knows a file of its own again; empty: nobody does
    project: str = ""  # key of the project, by which it knows tasks on a server again


@dataclass(frozen=True, kw_only=True)
class Writer:
    """How a format is written; each function gets the options of the format."""

    hold: Callable[[Selection, Any], Held]
    write: Callable[[Path, Selection, About, Any, OnProgress], None]  # of what `hold` left
    verify: Callable[[Path, Selection, Any, OnProgress], VerifyReport]
    ending: str = ""  # of the file; empty where the format is a folder


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write annotations down."""

    title: str
    holds: str  # for people: what comes back from such a file
    writer: Writer | None = None
    read: Callable[[Path, KnownPhotos | None, Any], Reading] | None = None
    options: type[Any] = NoOptions  # of writing
    read_options: type[Any] = NoOptions


# -- COCO ----------------------------------------------------------------------------------------


def _hold_coco(selection: Selection, _options: NoOptions) -> Held:
    """Everything; of the tags those of the chosen classes."""
    chosen = set(selection.classes)
    images = (
        replace(image, tags=tuple(tag for tag in image.tags if tag in chosen))
        for image in selection.images
    )
    return Held(tuple(images), ())


def _write_coco(
    path: Path, selection: Selection, about: About, _options: NoOptions, on_progress: OnProgress
) -> None:
    coco.write_coco(
        path,
        selection.images,
        categories=selection.categories,
        description=about.description,
        date_created=about.date_created,
        statuses=_every_status(selection),
        more_info={coco.OURS: {coco.STAMP: about.stamp}} if about.stamp else None,
        on_progress=on_progress,
    )


def _verify_coco(
    path: Path, selection: Selection, _options: NoOptions, on_progress: OnProgress
) -> VerifyReport:
    try:
        return verify_coco.verify_coco(
            path,
            selection.images,
            statuses=_every_status(selection),
            on_progress=on_progress,
        )
    except FormatError as error:
        return broken("pycocotools", error)


def _every_status(selection: Selection) -> frozenset[Any]:
    """The choice has been made already."""
    return frozenset(one.status for image in selection.images for one in image.instances)


def _read_coco(path: Path, photos: KnownPhotos | None, _options: NoOptions) -> Reading:
    found = coco.read_coco(path, photos=photos)
    classes = dict.fromkeys(name for _, name in found.categories)
    images = []
    for image in found.images:
        own = (replace(one, id=one.id if one.id in found.ours else None) for one in image.instances)
        images.append(replace(image, instances=tuple(own)))
    stamps = {image.file_name: found.stamp for image in images if found.stamp}
    return Reading(tuple(images), tuple(classes), found.notes, tags=found.tags, stamps=stamps)


# -- folders of files ----------------------------------------------------------------------------


def _compared(
    selection: Selection,
    reader: str,
    look: Callable[[], read_back.SeenOn],
    on_progress: OnProgress,
) -> VerifyReport:
    """What `look` finds against what was meant; files that cannot be read back are a problem."""
    try:
        return compare(selection.images, look(), reader=reader, on_progress=on_progress)
    except FormatError as error:
        return broken(reader, error)
    except (OSError, ValueError, LookupError, TypeError, SyntaxError) as error:
        return broken(reader, FormatError(f"it cannot be read back ({error!r})"))


def _verify_voc(
    path: Path, selection: Selection, options: voc.VocOptions, on_progress: OnProgress
) -> VerifyReport:
    first = 1.0 if options.corners == "inclusive" else 0.0
    return _compared(
        selection,
        "XML, element by element",
        lambda: read_back.seen_in_voc(path, selection.images, first=first, on_progress=on_progress),
        on_progress,
    )


def _verify_yolo(
    path: Path, selection: Selection, _options: NoOptions, on_progress: OnProgress
) -> VerifyReport:
    return _compared(
        selection,
        "text and pycocotools",
        lambda: read_back.seen_in_yolo(path, selection.images, on_progress=on_progress),
        on_progress,
    )


def _verify_png(
    path: Path, selection: Selection, _options: NoOptions, on_progress: OnProgress
) -> VerifyReport:
    return _compared(
        selection,
        "Pillow",
        lambda: read_back.seen_in_png(
            path, selection.images, selection.classes, on_progress=on_progress
        ),
        on_progress,
    )


def _verify_label_studio(
    path: Path, selection: Selection, _options: Any, on_progress: OnProgress
) -> VerifyReport:
    return _compared(
        selection,
        "label-studio-sdk",
        lambda: label_studio_check.seen_in_label_studio(
            path, total=len(selection.images), on_progress=on_progress
        ),
        on_progress,
    )


# -- tags ----------------------------------------------------------------------------------------


def _hold_tags(selection: Selection, _options: NoOptions) -> Held:
    """The tags of the photos and the classes of the chosen objects on them."""
    losses, kept = Losses(), []
    chosen = set(selection.classes)
    for image in selection.images:
        for instance in image.instances:
            losses.add("objects are written as tags of their photo alone", image, instance)
        names = (*(tag for tag in image.tags if tag in chosen), *tags_of(image.instances))
        kept.append(replace(image, tags=tuple(dict.fromkeys(names)), instances=()))
    return Held(tuple(kept), losses.found())


def _write_tags(
    path: Path, selection: Selection, _about: About, _options: NoOptions, on_progress: OnProgress
) -> None:
    images = counted(WRITING, selection.images, len(selection.images), on_progress)
    tags.write_tags(path, {image.file_name: image.tags for image in images})


def _verify_tags(
    path: Path, selection: Selection, _options: NoOptions, on_progress: OnProgress
) -> VerifyReport:
    report = _compared(
        selection,
        "csv",
        lambda: dict.fromkeys(read_back.tags_in_csv(path), ()),
        on_progress,
    )
    found = read_back.tags_in_csv(path) if report.ok else {}
    wrong = [
        f"photo {image.file_name!r} should have the tags {image.tags}"
        for image in selection.images
        if report.ok and found.get(image.file_name) != image.tags
    ]
    return replace(report, problems=(*report.problems, *wrong))


def _yolo(
    title: str, holds: str, hold: Callable[[Sequence[LabeledImage], Sequence[str]], Held]
) -> Format:
    """Both kinds of YOLO differ in what stays of an object, and in nothing else."""
    return Format(
        title=title,
        holds=holds,
        writer=Writer(
            hold=lambda chosen, options: hold(chosen.images, chosen.classes),
            write=lambda path, chosen, about, options, on_progress: yolo.write_yolo(
                path, chosen.images, chosen.classes, on_progress=on_progress
            ),
            verify=_verify_yolo,
        ),
        read=lambda path, photos, options: yolo_read.read_yolo(path, photos),
    )


FORMATS: dict[str, Format] = {
    "coco": Format(
        title="COCO JSON",
        holds="everything: boxes, masks, classes, scores, status, source and tags",
        writer=Writer(hold=_hold_coco, write=_write_coco, verify=_verify_coco, ending=".json"),
        read=_read_coco,
    ),
    "voc": Format(
        title="Pascal VOC XML",
        holds="boxes, classes and splits; no masks, no scores",
        options=voc.VocOptions,
        read_options=voc.VocOptions,
        writer=Writer(
            hold=lambda chosen, options: voc.hold_voc(chosen.images, chosen.classes, options),
            write=lambda path, chosen, about, options, on_progress: voc.write_voc(
                path, chosen.images, chosen.classes, options, on_progress=on_progress
            ),
            verify=_verify_voc,
        ),
        read=voc.read_voc,
    ),
    "yolo": _yolo(
        "YOLO detection", "boxes, classes and splits; no masks, no scores", yolo.hold_boxes
    ),
    "yolo-seg": _yolo(
        "YOLO segmentation",
        "one polygon an object, classes and splits; no box of its own, no scores",
        yolo.hold_polygons,
    ),
    "png": Format(
        title="PNG masks",
        holds="masks that do not overlap, classes and splits; no boxes without a mask, no scores",
        writer=Writer(
            hold=lambda chosen, options: png.hold_png(chosen.images, chosen.classes),
            write=lambda path, chosen, about, options, on_progress: png.write_png(
                path, chosen.images, chosen.classes, on_progress=on_progress
            ),
            verify=_verify_png,
        ),
        read=lambda path, photos, options: png_read.read_png(path, photos),
    ),
    "tags": Format(
        title="Tags CSV",
        holds="the tags of each photo, with the classes of the chosen objects; nothing else",
        writer=Writer(hold=_hold_tags, write=_write_tags, verify=_verify_tags, ending=".csv"),
    ),
    "labelstudio": Format(
        title="Label Studio JSON",
        holds="everything but rejected objects",
        options=label_studio_files.LabelStudioFileOptions,
        writer=Writer(
            hold=lambda chosen, options: label_studio_files.hold_label_studio(
                chosen.images, options
            ),
            write=lambda path, chosen, about, options, on_progress: (
                label_studio_files.write_label_studio(
                    path,
                    chosen.images,
                    chosen.classes,
                    options,
                    project=about.project,
                    stamp=about.stamp,
                    on_progress=on_progress,
                )
            ),
            verify=_verify_label_studio,
        ),
        read=lambda path, photos, options: label_studio_files.read_label_studio(path, photos),
    ),
    "cvat": Format(
        title="CVAT for images XML",
        holds="boxes, polygons, masks and classes",
        read=lambda path, photos, options: cvat.read_cvat(path, photos),
    ),
    "openimages": Format(
        title="Open Images CSV",
        holds="boxes and classes",
        read=lambda path, photos, options: openimages.read_openimages(path, photos),
    ),
    "imagenet": Format(
        title="ImageNet XML",
        holds="boxes and classes",
        read_options=voc.VocOptions,
        read=voc.read_voc,
    ),
    "labelme": Format(
        title="LabelMe JSON",
        holds="boxes, polygons, circles, masks and classes",
        read=lambda path, photos, options: labelme.read_labelme(path, photos),
    ),
}
"""What can be written (``writer``) and read (``read``), in the order in which it is offered."""


def formats_to_write() -> dict[str, Format]:
    """Those that the program exports to."""
    return {name: one for name, one in FORMATS.items() if one.writer is not None}


def formats_to_read() -> dict[str, Format]:
    """Those that the program imports from."""
    return {name: one for name, one in FORMATS.items() if one.read is not None}

"""Labelled photos for tests of formats: made by hypothesis, written and read back in one call."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.types import Instance, LabeledImage
from exports.choices import Choices, Selection, select
from exports.contents import Held, Reading
from exports.formats import FORMATS, About
from exports.photo_names import KnownPhotos
from exports.progress import OnProgress, silent
from exports.verify import VerifyReport
from tests.builders import make_image, make_instance

CLASSES = ((1, "cat"), (3, "пёс: большой"), (4, "#犬 \u2028 é"))
LETTERS = st.characters(
    codec="utf-8",
    exclude_categories=("Cc", "Cs", "Cn", "Co"),
    exclude_characters="/\\",
)
# Names that no system refuses: short, not only dots, no blanks around.
PARTS = st.text(LETTERS, min_size=1, max_size=8).map(lambda text: f"n{text}x")


def file_names() -> st.SearchStrategy[str]:
    """Unicode names with an ending, some in folders."""
    return st.builds(
        lambda folders, base, ending: "/".join([*(f"{name}-f" for name in folders), base]) + ending,
        st.lists(PARTS, max_size=2),
        PARTS,
        st.sampled_from([".jpg", ".PNG", ".tar.jpeg"]),
    )


@st.composite
def instances(draw: st.DrawFn, width: int, height: int, *, boxes_too: bool) -> Instance:
    """Any mask with a pixel (holes, parts, edges), or a box with fractions of pixels."""
    category = draw(st.sampled_from([name for _, name in CLASSES]))
    if boxes_too and draw(st.booleans()):
        left, top = draw(st.floats(0, width - 0.6)), draw(st.floats(0, height - 0.6))
        right = draw(st.floats(left + 0.5, width))
        bottom = draw(st.floats(top + 0.5, height))
        return make_instance(box=(left, top, right, bottom), category=category)
    mask = draw(arrays.arrays(np.bool_, (height, width)).filter(lambda one: bool(one.any())))
    return make_instance(mask, category=category)


@st.composite
def photo_sets(
    draw: st.DrawFn, *, boxes_too: bool = True, most: int = 4
) -> tuple[LabeledImage, ...]:
    """One to three photos of up to 16 x 16 pixels with different names, some in a split."""
    names = draw(st.lists(file_names(), min_size=1, max_size=3, unique_by=_spelling))
    images = []
    for number, name in enumerate(names, start=1):
        width, height = draw(st.integers(1, 16)), draw(st.integers(1, 16))
        found = draw(st.lists(instances(width, height, boxes_too=boxes_too), max_size=most))
        numbered = [replace(one, id=10 * number + place) for place, one in enumerate(found)]
        split = draw(st.sampled_from(["", "train", "val"]))
        images.append(
            make_image(
                *numbered, id=number, file_name=name, width=width, height=height, split=split
            )
        )
    return tuple(images)


def _spelling(name: str) -> str:
    """Different in this are also different as files, whatever the system."""
    return unicodedata.normalize("NFKC", name.rpartition(".")[0].removesuffix(".tar")).casefold()


def selected(*images: LabeledImage, **choices: Any) -> Selection:
    """The photos with the classes of these tests."""
    return select(images, CLASSES, Choices(**choices))


def known(images: tuple[LabeledImage, ...]) -> KnownPhotos:
    """The photos as a reader may know them."""
    return KnownPhotos({one.file_name: (one.width, one.height) for one in images})


def written(
    path: Path,
    name: str,
    selection: Selection,
    on_progress: OnProgress = silent,
    **options: Any,
) -> tuple[Held, VerifyReport]:
    """Write the format to the path as `annotator export` does: what it holds, and its proof."""
    kind = FORMATS[name]
    assert kind.writer is not None
    own = kind.options(**options)
    held = kind.writer.hold(selection, own)
    left = replace(selection, images=held.images)
    kind.writer.write(path, left, About(date_created="2026-01-02"), own, on_progress)
    return held, kind.writer.verify(path, left, own, on_progress)


def read(path: Path, name: str, photos: KnownPhotos | None = None, **options: Any) -> Reading:
    """Read the format."""
    kind = FORMATS[name]
    assert kind.read is not None
    return kind.read(path, photos, kind.read_options(**options))


PHOTOS = KnownPhotos({"s/a.jpg": (40, 30), "b.jpg": (20, 10)})
"""What the readers of files made by hand know."""


def put(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def only(reading: Reading) -> Instance:
    (image,) = reading.images
    assert (image.file_name, image.width, image.height) == ("s/a.jpg", 40, 30)
    (instance,) = image.instances
    assert image.tags == (instance.category,)
    return instance


def corners(reading: Reading) -> list[tuple[float, ...]]:
    return [one.box for image in reading.images for one in image.instances]

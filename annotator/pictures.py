"""What the browser gets to see of a photo: an upright 8-bit picture, and a thumbnail. Both cached.

A browser turns JPEGs by their EXIF orientation itself but not always the others, and shows no
TIFF; so whatever is not a plain upright RGB file is encoded again, once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from annotator.store import Project
from annotator.views import Photo
from engine import photos
from engine.errors import PhotoError
from engine.types import Image

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
THUMBNAIL_SIDE = 192  # pixels, twice what the filmstrip shows, for dense screens
JPEG_QUALITY = 95


def as_added(path: Path, *, width: int, height: int) -> Image:
    """The photo in the size it had when it was added; PhotoError otherwise, or as `photos.load`.

    Whatever is found on a picture of another size would lie beside its photo, and no mask of it
    could be read again.
    """
    image = photos.load(path)
    if image.shape[:2] != (height, width):
        raise PhotoError(
            f"photo '{path}' is {image.shape[1]} by {image.shape[0]} pixels, and was {width} by "
            f"{height} when it was added: put the file back as it was, or add the new picture "
            "under another name"
        )
    return image


def picture(project: Project, photo: Photo) -> tuple[Path, str]:
    """File and media type of the photo as a browser should show it; PhotoError if it is gone."""
    original = project.photo_path(photo)
    is_plain = photo.orientation == 1 and not photo.notes and photo.format in MEDIA_TYPES
    if is_plain and _has_plain_colours(original):
        return original, MEDIA_TYPES[photo.format]
    return _cached(project, photo, "picture", side=None)


def thumbnail_address(key: str, image_id: int, sha256: str) -> str:
    """Where the server has it, from its root; another one for another photo of the same number.

    Browsers keep what they got, and a project that is made anew counts from 1 again.
    """
    return f"thumbnail/{key}/{image_id}?v={sha256[:12]}"


def thumbnail(project: Project, photo: Photo) -> tuple[Path, str]:
    """File and media type of a small copy, at most `THUMBNAIL_SIDE` pixels on its long side."""
    return _cached(project, photo, "thumbnail", side=THUMBNAIL_SIDE)


def _has_plain_colours(path: Path) -> bool:
    try:
        with Pillow.open(path) as image:  # reads the header only
            return image.mode in ("RGB", "L")
    except (OSError, Pillow.DecompressionBombError) as error:
        raise PhotoError(f"cannot read photo '{path}': {error}") from error


def _cached(project: Project, photo: Photo, kind: str, *, side: int | None) -> tuple[Path, str]:
    folder = project.cache / kind
    target = folder / f"{photo.sha256}.jpg"
    if not target.is_file():
        folder.mkdir(exist_ok=True)
        image = photos.load(project.photo_path(photo))
        beside = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        _shrunk(image, side).save(beside, "JPEG", quality=JPEG_QUALITY)
        os.replace(beside, target)
    return target, MEDIA_TYPES["JPEG"]


def _shrunk(image: Image, side: int | None) -> Pillow.Image:
    result = Pillow.fromarray(np.ascontiguousarray(image))
    if side is not None:
        result.thumbnail((side, side))
    return result


def file_problem(project: Project, photo: Photo) -> str | None:
    """Why the file is not what was added, or None: it is gone, or its content has changed."""
    path = project.photo_path(photo)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"the file {path} cannot be read ({error.strerror}); was it moved?"
    if digest != photo.sha256:
        return f"the file {path} has changed since it was added; boxes and masks may not fit"
    return None

"""How Label Studio gets to see the photos: uploaded, from a folder that it sees too, or by address.

Each way gives the address that stands in the data of a task; whatever is wrong with a photo is
told before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from annotator import pictures
from annotator.labelstudio.client import Upload
from annotator.labelstudio.remote import MOST_FILES, Remote
from annotator.store import Project
from annotator.views import Photo
from engine.errors import OptionError
from exports.label_studio_files import LOCAL_FILES, address_of

UPLOAD, LOCAL = "upload", "local"
MOST_BYTES = 32_000_000  # of one upload request
_SHOWN_BY_BROWSERS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF")
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class PhotoSource(Protocol):
    """One way to give the server the photos."""

    def problem(self, photo: Photo) -> str | None:
        """Why this photo cannot be shown there; None where it can."""

    def prepare(self, remote: Remote, remote_project: int) -> None:
        """What the project there needs once."""

    def addresses(
        self, remote: Remote, remote_project: int, photos: Sequence[Photo]
    ) -> Iterator[Mapping[int, str]]:
        """Photo id -> address, in parts that can be written down one by one."""


def photo_source(project: Project, mode: str, *, document_root: Path | None) -> PhotoSource:
    """`upload`, `local` (needs the server's document root) or an address that photos begin with."""
    if mode == UPLOAD:
        return Uploads(project)
    if mode == LOCAL:
        if document_root is None:
            raise OptionError(
                "local photos need the document root: the folder that the server was started with "
                "as LOCAL_FILES_DOCUMENT_ROOT"
            )
        return LocalFiles(project, document_root.resolve())
    if urlsplit(mode).scheme in ("http", "https", "s3", "gs", "azure-blob"):
        return BaseAddress(mode if mode.endswith(("/", "=")) else mode + "/")
    raise OptionError(
        f"photos get there by {UPLOAD}, {LOCAL} or an address like https://…, got {mode!r}"
    )


@dataclass(frozen=True)
class Uploads:
    """The pictures as a browser should show them, sent to the server."""

    project: Project

    def problem(self, photo: Photo) -> str | None:
        """Gone, or changed beyond opening."""
        path = self.project.photo_path(photo)
        return None if path.is_file() else f"the file {path} is gone"

    def prepare(self, remote: Remote, remote_project: int) -> None:
        """Nothing."""

    def addresses(
        self, remote: Remote, remote_project: int, photos: Sequence[Photo]
    ) -> Iterator[Mapping[int, str]]:
        """Upload them, a few megabytes at a time."""
        part: dict[int, Upload] = {}
        size = 0
        for photo in photos:
            path, media_type = pictures.picture(self.project, photo)
            content = path.read_bytes()
            if part and (len(part) == MOST_FILES or size + len(content) > MOST_BYTES):
                yield remote.upload(remote_project, part)
                part, size = {}, 0
            part[photo.id] = (_name(photo, media_type), content, media_type)
            size += len(content)
        if part:
            yield remote.upload(remote_project, part)


def _name(photo: Photo, media_type: str) -> str:
    """Plain ASCII, for the server rewrites all else; the real name stands in the task."""
    stem = re.sub("[^A-Za-z0-9]+", "_", Path(photo.file_name).stem)[:40].strip("_")
    return f"{photo.id}-{stem or 'photo'}.{_ENDINGS[media_type]}"


@dataclass(frozen=True)
class LocalFiles:
    """The files where they are; the server must see the same folder."""

    project: Project
    root: Path

    def problem(self, photo: Photo) -> str | None:
        """Outside the folder, or of a kind that browsers do not show."""
        path = self.project.photo_path(photo).resolve()
        if not path.is_relative_to(self.root) or path.parent == self.root:
            return f"{path} lies in no folder inside {self.root}"
        return unseen_by_browsers(photo) if path.is_file() else f"the file {path} is gone"

    def prepare(self, remote: Remote, remote_project: int) -> None:
        """Open the folders of the photos for the project there."""
        with self.project.read() as view:
            photos = view.photos()
        folders = {
            path.relative_to(self.root).parts[0]
            for path in (self.project.photo_path(photo).resolve() for photo in photos)
            if path.is_relative_to(self.root) and path.parent != self.root
        }
        for name in sorted(folders):
            remote.add_local_storage(remote_project, str(self.root / name))

    def addresses(
        self, remote: Remote, remote_project: int, photos: Sequence[Photo]
    ) -> Iterator[Mapping[int, str]]:
        """Their places below the root."""
        yield {
            photo.id: LOCAL_FILES
            + quote(self.project.photo_path(photo).resolve().relative_to(self.root).as_posix())
            for photo in photos
        }


@dataclass(frozen=True)
class BaseAddress:
    """Photos that stand on some web server under their file names."""

    base: str

    def problem(self, photo: Photo) -> str | None:
        """Of a kind that browsers do not show."""
        return unseen_by_browsers(photo)

    def prepare(self, remote: Remote, remote_project: int) -> None:
        """Nothing."""

    def addresses(
        self, remote: Remote, remote_project: int, photos: Sequence[Photo]
    ) -> Iterator[Mapping[int, str]]:
        """The base with the names behind it."""
        yield {photo.id: address_of(self.base, photo.file_name) for photo in photos}


def unseen_by_browsers(photo: Photo) -> str | None:
    """Why a browser would not show the file itself as we see it; None where it does.

    An upload is encoded again where needed; the file where it lies cannot be.
    """
    if photo.format not in _SHOWN_BY_BROWSERS:
        return f"browsers do not show {photo.format}; upload it instead"
    if photo.orientation != 1 and photo.format != "JPEG":
        return f"browsers do not turn {photo.format} by EXIF; upload it instead"
    return None

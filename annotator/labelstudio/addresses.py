"""How Label Studio gets to see the photos: uploaded, from a folder that it sees too, or by address.

Each way gives the address that stands in the data of a task; whatever is wrong with a photo is
told before anything is sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from annotator import pictures
from annotator.labelstudio.client import Upload
from annotator.labelstudio.remote import MOST_FILES, Remote
from annotator.store import Project
from annotator.views import Photo
from engine.errors import OptionError, PhotoError
from exports.label_studio_files import LOCAL_FILES, address_of

UPLOAD, LOCAL = "upload", "local"
UPLOADED = "/data/upload/"  # what the address of a photo begins with that was sent
MOST_BYTES = 32_000_000  # of one upload request
_SHOWN_BY_BROWSERS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF")
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


@dataclass(frozen=True)
class Part:
    """Some of the photos that were to be sent, to be written down before the next ones go."""

    addresses: Mapping[int, str]  # by the ids of the photos
    problems: Mapping[int, str] = field(default_factory=dict)  # why others cannot be shown there


class PhotoSource(Protocol):
    """One way to give the server the photos."""

    def problem(self, photo: Photo) -> str | None:
        """Why this photo cannot be shown there; None where it can."""

    def prepare(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> None:
        """What the project there needs once for these photos."""

    def address(self, photo: Photo) -> str | None:
        """Where the photo stands; None where only sending it tells."""

    def send(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> Iterator[Part]:
        """Send those that have no address of their own."""


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
        """Gone, or damaged."""
        try:
            pictures.picture(self.project, photo)
        except PhotoError as error:
            return str(error)
        return None

    def prepare(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> None:
        """Nothing."""

    def address(self, photo: Photo) -> str | None:
        """The server says where it puts it."""
        return None

    def send(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> Iterator[Part]:
        """Upload them, a few megabytes at a time."""
        part: dict[int, Upload] = {}
        problems: dict[int, str] = {}
        size = 0
        for photo in photos:
            try:
                path, media_type = pictures.picture(self.project, photo)
                content = path.read_bytes()
            except PhotoError as error:
                problems[photo.id] = str(error)
                continue
            except OSError as error:
                problems[photo.id] = f"the file cannot be read ({error.strerror})"
                continue
            if part and (len(part) == MOST_FILES or size + len(content) > MOST_BYTES):
                yield Part(remote.upload(remote_project, part))
                part, size = {}, 0
            part[photo.id] = (_name(photo, media_type), content, media_type)
            size += len(content)
        yield Part(remote.upload(remote_project, part) if part else {}, problems)


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

    def prepare(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> None:
        """Open the folders that these photos have in common for the project there."""
        for folder in _common_folders(self._paths(photos)):
            remote.add_local_storage(remote_project, str(folder))

    def address(self, photo: Photo) -> str | None:
        """Its place below the root."""
        path = self.project.photo_path(photo).resolve()
        return LOCAL_FILES + quote(path.relative_to(self.root).as_posix())

    def send(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> Iterator[Part]:
        """Nothing."""
        return iter(())

    def _paths(self, photos: Sequence[Photo]) -> dict[str, list[Path]]:
        """The folders of the photos, by the folder that was added and the first one in the root.

        No two of the latter have a folder inside the root in common.
        """
        groups: dict[str, list[Path]] = {}
        for photo in photos:
            place = self.project.photo_path(photo).resolve().parent
            first = place.relative_to(self.root).parts[0]
            groups.setdefault(f"{first}/{photo.folder}", []).append(place)
        return groups


def _common_folders(groups: Mapping[str, Sequence[Path]]) -> list[Path]:
    """One folder a group, without those that lie in another."""
    common = {Path(os.path.commonpath(places)) for places in groups.values()}
    return sorted(one for one in common if not any(each in common for each in one.parents))


@dataclass(frozen=True)
class BaseAddress:
    """Photos that stand on some web server under their file names."""

    base: str

    def problem(self, photo: Photo) -> str | None:
        """Of a kind that browsers do not show."""
        return unseen_by_browsers(photo)

    def prepare(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> None:
        """Nothing."""

    def address(self, photo: Photo) -> str | None:
        """The base with the name behind it."""
        return address_of(self.base, photo.file_name)

    def send(self, remote: Remote, remote_project: int, photos: Sequence[Photo]) -> Iterator[Part]:
        """Nothing."""
        return iter(())


def unseen_by_browsers(photo: Photo) -> str | None:
    """Why a browser would not show the file itself as we see it; None where it does.

    An upload is encoded again where needed; the file where it lies cannot be.
    """
    if photo.format not in _SHOWN_BY_BROWSERS:
        return f"browsers do not show {photo.format}; upload it instead"
    if photo.orientation != 1 and photo.format != "JPEG":
        return f"browsers do not turn {photo.format} by EXIF; upload it instead"
    return None

"""The door for photos: files come in, oriented (h, w, 3) uint8 RGB arrays or reasons come out.

What a file is, its bytes say, not its name. Everything that Pillow, zlib or the operating system
raise on a broken file becomes a `PhotoError` here; what was mended on the way becomes a note.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import stat
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from engine.errors import PhotoError
from engine.pixels import MANY_BITS, as_rgb
from engine.types import Image

PIXEL_LIMIT = 178_956_970
"""Pillow's own limit (half a gigabyte as RGB); it cannot be raised without touching its globals."""

# An allow list: others of Pillow's formats start programs (EPS), or are drawings and icons. MPO
# comes in through JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
_READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF, PNM, AVIF or JPEG 2000"

# Found by cutting and bit-flipping 100,000 small files, or documented by Pillow's decoders.
_BROKEN_FILE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    AttributeError,
    MemoryError,
    struct.error,
    zlib.error,
    Pillow.DecompressionBombError,
)

_PHOTO_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff"),
    *(".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx"),
    # Not read, but whoever has them should be told: iPhones write HEIC.
    *(".heic", ".heif", ".jxl", ".psd", ".svg"),
)
# TIFF inside: Pillow would open their preview, and the boxes would not fit the photo.
_RAW_ENDINGS = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".srf", ".srw", ".orf"),
    *(".rw2", ".raf", ".pef", ".3fr", ".iiq", ".kdc", ".dcr", ".erf", ".mef", ".mos", ".rwl"),
)
_FIRST_BYTES = (
    b"\xff\xd8\xff",  # JPEG, MPO
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),  # JPEG 2000
)

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
MANY_ENTRIES = 1000  # files and folders that are looked through however long that takes

# `warnings.catch_warnings` swaps the filters of the whole process, so one thread at a time.
_WARNINGS = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class PhotoFacts:
    """What is known of a photo that was opened and decoded once."""

    width: int  # pixels, as shown: after the EXIF orientation
    height: int
    format: str  # Pillow's name of what the bytes are: "JPEG", "PNG", "WEBP", "TIFF" …
    orientation: int  # the EXIF orientation 1 to 8 that `load` undoes; 1 is upright
    frames: int  # pictures in the file; the first one is used
    notes: tuple[str, ...]  # what a person should know: "holds 31 pictures; …"
    sha256: str  # of the file's bytes, in hex


def inspect(path: Path | str, *, pixel_limit: int = PIXEL_LIMIT) -> PhotoFacts:
    """Decode the file once and tell what it is, so that what is listed can also be loaded.

    PhotoError where it is not there, no picture, damaged, cut off or above ``pixel_limit``
    (checked before decoding; a limit above `PIXEL_LIMIT` has no effect).
    """
    with _named(path):
        return _inspect(path, pixel_limit)


def load(path: Path | str, *, pixel_limit: int = PIXEL_LIMIT) -> Image:
    """The oriented picture as (h, w, 3) uint8 RGB; PhotoError as in `inspect`.

    `engine.pixels` says what becomes of transparency, CMYK, Lab and more than 8 bits.
    """
    with _named(path), _opened(path) as file:
        decoded = _decoded(file, pixel_limit)
        try:
            upright = as_rgb(decoded.image)
        except _BROKEN_FILE as error:
            raise _Unreadable(_reason(error)) from error
        if decoded.still_to_turn in _TURNS:
            upright = upright.transpose(_TURNS[decoded.still_to_turn])
        return np.array(upright)


@dataclass(frozen=True)
class FoundPhoto:
    """A photo of a folder that opens."""

    file_name: str  # relative to the folder, POSIX, spelled as on the disk (NFC or NFD)
    facts: PhotoFacts


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that should hold photos and does not open."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class FoundPhotos:
    """All of a folder: what opens, and what does not and why; both sorted by name."""

    photos: tuple[FoundPhoto, ...]
    skipped: tuple[SkippedFile, ...]


def find_photos(
    folder: Path | str,
    *,
    pixel_limit: int = PIXEL_LIMIT,
    on_progress: Callable[[int, int], None] | None = None,
) -> FoundPhotos:
    """Open every photo below the folder; ``on_progress(done, total)`` is called after each file.

    A file counts as a photo by its name (`.jpg`, `.heic` …) or else by its first bytes. Hidden
    files and folders and everything that is no picture are left out silently. Links to folders
    and links that lead outside are not followed. PhotoError where there is no such folder.
    """
    names, skipped = photo_files(folder)
    found = []
    for done, name in enumerate(names, start=1):
        try:
            found.append(FoundPhoto(name, _inspect(Path(folder, name), pixel_limit)))
        except _Unreadable as error:
            skipped.append(SkippedFile(name, str(error)))
        if on_progress:
            on_progress(done, len(names))
    skipped.sort(key=lambda file: file.file_name.split("/"))
    return FoundPhotos(tuple(found), tuple(skipped))


def photo_files(
    folder: Path | str, *, seconds: float = math.inf
) -> tuple[list[str], list[SkippedFile]]:
    """Names of the files that `find_photos` opens, unopened; and what it will not even open.

    PhotoError where there is no such folder, or where there is too much in it for the time. A disk
    that is only slow to answer is waited for.
    """
    if not os.path.isdir(folder):
        raise PhotoError(f"there is no folder {os.fspath(folder)!r}; give the folder of the photos")
    root, inside = Path(folder), Path(folder).resolve()
    names: list[str] = []
    skipped: list[SkippedFile] = []

    def relative(path: str) -> str:
        return os.path.relpath(path, root).replace(os.sep, "/")

    def refuse(path: str, reason: str) -> None:
        shown = os.fsencode(relative(path)).decode("utf-8", "backslashreplace")
        skipped.append(SkippedFile(shown, reason))

    def cannot_list(error: OSError) -> None:
        refuse(str(error.filename), f"the folder cannot be listed ({error.strerror})")

    deadline, seen = time.monotonic() + seconds, 0

    def look_at_one_more() -> None:
        nonlocal seen
        seen += 1
        if seen > MANY_ENTRIES and time.monotonic() > deadline:
            raise PhotoError(f"{os.fspath(folder)!r} holds too much to look through quickly")

    for place, folders, files in os.walk(root, onerror=cannot_list):
        look_at_one_more()
        for name in folders:
            if os.path.islink(os.path.join(place, name)) and not name.startswith("."):
                refuse(os.path.join(place, name), "a link to a folder; these are not followed")
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            look_at_one_more()
            path = os.path.join(place, name)
            if name.startswith(".") or not _looks_like_photo(path):
                continue
            if _is_not_utf8(name):
                refuse(path, "its name is not valid UTF-8; rename it")
            elif Path(name).suffix.lower() in _RAW_ENDINGS:
                refuse(path, "of a raw file only the small preview can be read; export it as JPEG")
            elif os.path.islink(path) and not Path(path).resolve().is_relative_to(inside):
                refuse(path, "a link that leads outside the folder; copy the photo instead")
            else:
                names.append(relative(path))
    names.sort(key=lambda name: name.split("/"))
    return names, skipped


def _looks_like_photo(path: str) -> bool:
    ending = os.path.splitext(path)[1].lower()
    if ending in _PHOTO_ENDINGS or ending in _RAW_ENDINGS:
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:  # without a photo's name, nobody misses it
        return False
    return start.startswith(_FIRST_BYTES) or start[4:] == b"ftypavif" or start[8:] == b"WEBP"


def _is_not_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


class _Unreadable(Exception):
    """A reason, without the name of the file."""


def _inspect(path: Path | str, pixel_limit: int) -> PhotoFacts:
    with _opened(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        decoded = _decoded(file, pixel_limit)
    width, height = decoded.size
    return PhotoFacts(
        width=width,
        height=height,
        format=str(decoded.image.format),
        orientation=decoded.orientation,
        frames=decoded.frames,
        notes=decoded.notes,
        sha256=sha256,
    )


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    image: Pillow.Image  # with its pixels in memory
    orientation: int  # as the file says
    still_to_turn: int  # Pillow turns TIFF by itself while decoding, and nothing else
    frames: int
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        width, height = self.image.size
        return (height, width) if self.still_to_turn >= 5 else (width, height)


@contextlib.contextmanager
def _named(path: Path | str) -> Iterator[None]:
    try:
        yield
    except _Unreadable as error:
        raise PhotoError(f"cannot read photo {os.fspath(path)!r}: {error}") from error


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[BufferedReader]:
    """A regular, non-empty file; everything else is a reason."""
    with contextlib.ExitStack() as stack:
        try:
            # Opening a named pipe would wait for ever, so look before.
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise _Unreadable("it is a folder or a device, not a file")
            if status.st_size == 0:
                raise _Unreadable("the file is empty; copy it again")
            file = stack.enter_context(open(path, "rb"))
        except FileNotFoundError as error:
            raise _Unreadable("the file is not there; it was moved or deleted") from error
        except PermissionError as error:
            raise _Unreadable("no permission to read it; change its rights") from error
        except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
            raise _Unreadable(f"the system cannot open it ({error}); rename it") from error
        yield file


def _decoded(file: BufferedReader, pixel_limit: int) -> _Decoded:
    notes: list[str] = []
    try:
        with _warnings_as(notes):
            image = Pillow.open(file, formats=_FORMATS)
            width, height = image.size
            if width * height > pixel_limit:
                raise _Unreadable(
                    f"it claims {width} x {height} pixels and the limit is {pixel_limit};"
                    " make it smaller"
                )
            frames = int(getattr(image, "n_frames", 1))
            if image.format == "PNG":  # its EXIF block may stand behind the pixels
                image.load()
            orientation = _orientation(image, notes)
            if image.format == "TIFF":  # turns itself upright here and forgets its orientation
                image.load()
        image.load()  # the others warn in their headers only, so they need not wait for each other
    except _BROKEN_FILE as error:
        raise _Unreadable(_reason(error)) from error
    if image.mode in MANY_BITS:
        notes.append("more than 8 bits a pixel; scaled to 8")
    if frames > 1:
        notes.append(f"holds {frames} pictures; the first one is used")
    return _Decoded(
        image=image,
        orientation=orientation,
        still_to_turn=1 if image.format == "TIFF" else orientation,
        frames=frames,
        notes=tuple(notes),
    )


@contextlib.contextmanager
def _warnings_as(notes: list[str]) -> Iterator[None]:
    """Pillow's warnings become notes; those of other threads are warned again."""
    caught: list[warnings.WarningMessage] = []
    try:
        with _WARNINGS, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for warning in caught:
            if Path(warning.filename).parent.name != "PIL":
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
            elif issubclass(warning.category, Pillow.DecompressionBombWarning):
                notes.append("very large; needs much memory")
            elif (note := " ".join(str(warning.message).split())) not in notes:
                notes.append(note)


def _orientation(image: Pillow.Image, notes: list[str]) -> int:
    """The EXIF orientation; 1 where there is none, or where it makes no sense."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _BROKEN_FILE as error:
        notes.append(f"EXIF data is broken and was ignored ({_one_line(error)})")
        return 1
    if isinstance(value, int) and 1 <= value <= 8:
        return value
    notes.append(f"EXIF orientation {value!r} is none of 1 to 8 and was ignored")
    return 1


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"its content is no {_READABLE}; export it as one of these"
    if isinstance(error, Pillow.DecompressionBombError):
        return f"it claims too many pixels ({_one_line(error)}); make it smaller"
    if isinstance(error, MemoryError):
        return "there is not enough memory to open it; make it smaller"
    if "truncated" in str(error).lower():
        return f"the file is cut off ({_one_line(error)}); copy it again"
    return f"the picture is damaged ({_one_line(error)}); export it again"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__

"""Weights of other people's networks: name in, verified file in the cache folder out.

Nothing here runs by itself: the command line and the app call `download` after they asked.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import OptionError, WeightsError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes that there will be; may raise to stop."""

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Weights:
    """One checkpoint: where it lies, how to know it, who may use it, and for what."""

    url: str
    sha256: str
    size: int  # bytes
    arch: str  # the key of the builder that understands it
    licence: str
    used_for: str

    @property
    def file_name(self) -> str:
        """The last part of the address, which is also the name in the cache folder."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"

# The six digits in these file names begin the MD5, not the SHA-256. The SHA-256 and the sizes are
# those that Git LFS records for the copies of these files which several people published.
WEIGHTS: dict[str, Weights] = {
    "sam_vit_b": Weights(
        url=_SAM + "sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size=375_042_383,
        arch="vit_b",
        licence="Apache-2.0",
        used_for="masks from clicks, boxes and grids; fastest of the three",
    ),
    "sam_vit_l": Weights(
        url=_SAM + "sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size=1_249_524_607,
        arch="vit_l",
        licence="Apache-2.0",
        used_for="masks from clicks, boxes and grids; nearly as good as vit_h",
    ),
    "sam_vit_h": Weights(
        url=_SAM + "sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size=2_564_550_879,
        arch="vit_h",
        licence="Apache-2.0",
        used_for="masks from clicks, boxes and grids; the one the papers use",
    ),
}


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/tag2mask/weights``, or the same under ``~/.cache``; may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "tag2mask" / "weights"


def weights_of(name: str) -> Weights:
    """The entry of that name; OptionError where there is none."""
    if name not in WEIGHTS:
        raise OptionError(f"There are no weights called {name!r}; known are {', '.join(WEIGHTS)}.")
    return WEIGHTS[name]


def path_of(name: str, folder: Path | None = None) -> Path:
    """Where the checkpoint lies, or would lie, in the folder (default: `default_folder`)."""
    return (folder or default_folder()) / weights_of(name).file_name


def is_here(name: str, folder: Path | None = None) -> bool:
    """Whether the file is there in full size. The hash was checked when it was downloaded."""
    path = path_of(name, folder)
    return path.is_file() and path.stat().st_size == weights_of(name).size


def verify(name: str, path: Path) -> None:
    """WeightsError unless the file has the size and the SHA-256 of those weights."""
    weights = weights_of(name)
    if not path.is_file():
        raise WeightsError(f"There is no file {path}; get it with `annotator models get {name}`.")
    size = path.stat().st_size
    if size != weights.size:
        raise WeightsError(
            f"{path.name} has {size:,} bytes instead of {weights.size:,}; download it again."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != weights.sha256:
        raise WeightsError(
            f"{path.name} is not what was published as {name}: its SHA-256 is {digest}, not "
            f"{weights.sha256}; download it again, or from another address."
        )


def download(
    name: str,
    folder: Path | None = None,
    *,
    progress: Progress | None = None,
    url: str | None = None,
) -> Path:
    """Fetch, verify and return the checkpoint; at once where it is here already.

    What a broken connection leaves stays as ``<file>.part``, and the next call goes on from
    there. ``url`` names another place to fetch the same file from. WeightsError where the server
    refuses, the bytes are not the published ones (the part is removed then) or the disk is full.
    """
    weights = weights_of(name)
    path = path_of(name, folder)
    if is_here(name, folder):
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url or weights.url, part, weights.size, progress or _ignore)
        try:
            verify(name, part)
        except WeightsError:
            part.unlink(missing_ok=True)
            raise
        os.replace(part, path)
    except OSError as error:
        raise WeightsError(f"Cannot write {part}: {error.strerror or error}.") from error
    logger.info("downloaded %s to %s", name, path)
    return path


def _ignore(done: int, total: int) -> None:
    """The progress that nobody watches."""


def _fetch(url: str, part: Path, size: int, progress: Progress) -> None:
    """Append to the part until it has that many bytes."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"Cannot download from {url!r}; give an http or https address.")
    done = part.stat().st_size if part.exists() else 0
    if done > size:
        part.unlink()
        done = 0
    if done == size:
        return
    _check_space(part.parent, size - done)
    with _open(url, start=done) as response:
        if response.status != 206:  # no Range support: it sends everything again
            done = 0
        offered = response.length
        if offered is not None and done + offered != size:
            raise WeightsError(
                f"{url} offers {done + offered:,} bytes instead of {size:,}, so it is another "
                f"file; check the address and whether a proxy answered with a page of its own."
            )
        with part.open("ab" if done else "wb") as file:
            progress(done, size)
            while done < size and (chunk := _read(response, url, done, size)):
                _write(file.write, chunk, part.parent, size - done)
                done += len(chunk)
                progress(done, size)
    if done < size:
        raise _broke_off(url, done, size)


def _open(url: str, *, start: int) -> HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "tag2mask"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise WeightsError(
            f"{url} answered {error.code} {error.reason}; check the address, or give another one."
        ) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"Cannot reach {url} ({reason}); check the network, or copy the file into the weights "
            f"folder by hand."
        ) from error
    return response


def _read(response: HTTPResponse, url: str, done: int, size: int) -> bytes:
    try:
        return response.read(min(CHUNK_BYTES, size - done))
    except (HTTPException, OSError) as error:
        raise _broke_off(url, done, size) from error


def _broke_off(url: str, done: int, size: int) -> WeightsError:
    return WeightsError(
        f"The connection to {url} broke after {done:,} of {size:,} bytes; start the download "
        f"again and it goes on from there."
    )


def _write(write: Callable[[bytes], int], chunk: bytes, folder: Path, missing: int) -> None:
    try:
        write(chunk)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(folder, missing) from error
        raise


def _check_space(folder: Path, missing: int) -> None:
    if shutil.disk_usage(folder).free < missing:
        raise _disk_full(folder, missing)


def _disk_full(folder: Path, missing: int) -> WeightsError:
    return WeightsError(
        f"The disk of {folder} has no room for {missing / 1e6:,.0f} MB more; free some, or name "
        f"another folder."
    )

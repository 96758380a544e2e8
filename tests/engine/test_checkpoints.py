"""Downloads against a server on this machine that cuts, lies, refuses and knows no ranges."""

from __future__ import annotations

import errno
import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from engine import checkpoints
from engine.checkpoints import WEIGHTS, Weights, download, is_here, path_of, verify
from engine.errors import OptionError, WeightsError

CONTENT = np.random.default_rng(0).bytes(300_000)


@dataclass
class Server:
    """What the server does next, and what it was asked."""

    url: str
    content: bytes = CONTENT
    status: int = 200
    knows_ranges: bool = True
    cut_after: int | None = None
    tells_length: bool = True
    starts: list[int] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "bytes=0-")
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            state.starts.append(start)
            if state.status != 200:
                self.send_error(state.status)
                return
            if not state.knows_ranges:
                start = 0
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if state.tells_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut_after])

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http.server_port}/small_012345.pth")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def small(server: Server, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Weights of 300 kB under the name `small`, at the server's address."""
    weights = Weights(
        url=server.url,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
        arch="small",
        licence="CC0-1.0",
        used_for="tests",
    )
    monkeypatch.setitem(WEIGHTS, "small", weights)
    monkeypatch.setattr(checkpoints, "CHUNK_BYTES", 50_000)
    return weights


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@pytest.mark.usefixtures("small")
def test_a_download_arrives_whole_and_reports_its_progress(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = download("small", tmp_path / "new", progress=lambda *step: steps.append(step))
    assert path == tmp_path / "new" / "small_012345.pth"
    assert path.read_bytes() == CONTENT
    assert steps == [(done, 300_000) for done in range(0, 300_001, 50_000)]
    assert is_here("small", tmp_path / "new")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("small")
def test_what_is_here_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    download("small", tmp_path)
    download("small", tmp_path)
    assert server.starts == [0]


@pytest.mark.usefixtures("small")
def test_a_cut_connection_keeps_its_part_and_the_next_call_goes_on(
    tmp_path: Path, server: Server
) -> None:
    server.cut_after = 120_000
    with pytest.raises(WeightsError, match=r"broke after 120,000 of 300,000 bytes"):
        download("small", tmp_path)
    assert part_of(path_of("small", tmp_path)).stat().st_size == 120_000
    assert not is_here("small", tmp_path)
    server.cut_after = None
    assert download("small", tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 120_000]


@pytest.mark.usefixtures("small")
def test_a_server_without_ranges_sends_everything_again(tmp_path: Path, server: Server) -> None:
    part_of(path_of("small", tmp_path)).write_bytes(b"x" * 1000)
    server.knows_ranges = False
    assert download("small", tmp_path).read_bytes() == CONTENT
    assert server.starts == [1000]


@pytest.mark.usefixtures("small")
def test_a_server_that_tells_no_length_is_read_to_the_expected_end(
    tmp_path: Path, server: Server
) -> None:
    server.tells_length = False
    server.content = CONTENT + b"more than there should be"
    assert download("small", tmp_path).read_bytes() == CONTENT


@pytest.mark.usefixtures("small")
def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path, server: Server) -> None:
    part_of(path_of("small", tmp_path)).write_bytes(CONTENT + b"x")
    assert download("small", tmp_path).read_bytes() == CONTENT
    assert server.starts == [0]


@pytest.mark.usefixtures("small")
def test_a_complete_part_is_verified_without_asking_the_server(
    tmp_path: Path, server: Server
) -> None:
    part_of(path_of("small", tmp_path)).write_bytes(CONTENT)
    assert download("small", tmp_path).read_bytes() == CONTENT
    assert server.starts == []


@pytest.mark.usefixtures("small")
def test_other_bytes_of_the_same_length_are_refused_and_removed(
    tmp_path: Path, server: Server
) -> None:
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(WeightsError, match="SHA-256"):
        download("small", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_a_page_of_a_proxy_is_refused_before_anything_is_written(
    tmp_path: Path, server: Server
) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(WeightsError, match=r"offers 26 bytes instead of 300,000"):
        download("small", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_names_address_and_status(tmp_path: Path, server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(WeightsError, match=rf"small_012345\.pth answered {status}"):
        download("small", tmp_path)


@pytest.mark.usefixtures("small")
def test_a_server_that_is_not_there_is_told_with_what_to_do(tmp_path: Path, server: Server) -> None:
    with pytest.raises(WeightsError, match=r"Cannot reach http://127\.0\.0\.1:9/x .*by hand"):
        download("small", tmp_path, url="http://127.0.0.1:9/x")
    assert server.starts == []


def test_another_address_can_be_given(tmp_path: Path, server: Server, small: Weights) -> None:
    gone = replace(small, url="http://127.0.0.1:9/small_012345.pth")
    WEIGHTS["small"] = gone  # the fixture restores it
    assert download("small", tmp_path, url=server.url).read_bytes() == CONTENT


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "small.pth"])
def test_only_web_addresses_are_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="http or https"):
        download("small", tmp_path, url=url)


@pytest.mark.usefixtures("small")
def test_a_download_stopped_by_its_watcher_keeps_the_part(tmp_path: Path, server: Server) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 100_000:
            raise StoppedError

    with pytest.raises(StoppedError):
        download("small", tmp_path, progress=stop)
    assert part_of(path_of("small", tmp_path)).read_bytes() == CONTENT[:100_000]
    assert download("small", tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 100_000]


@pytest.mark.usefixtures("small")
def test_a_disk_without_room_is_told_before_anything_is_fetched(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=299_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(WeightsError, match="no room"):
        download("small", tmp_path)
    assert server.starts == []


def test_a_disk_that_fills_up_meanwhile_is_told_as_such(tmp_path: Path) -> None:
    def full(chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WeightsError, match="no room for 2 MB"):
        checkpoints._write(full, b"x", tmp_path, 2_000_000)


@pytest.mark.usefixtures("small")
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WeightsError, match="Cannot write"):
        download("small", tmp_path / "taken")


@pytest.mark.usefixtures("small")
def test_verify_tells_missing_short_and_changed_files_apart(tmp_path: Path) -> None:
    path = path_of("small", tmp_path)
    with pytest.raises(WeightsError, match="models get small"):
        verify("small", path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=r"299,999 bytes instead of 300,000"):
        verify("small", path)
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(WeightsError, match="SHA-256"):
        verify("small", path)
    path.write_bytes(CONTENT)
    verify("small", path)


def test_unknown_weights_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'sam_vit_x'; known are sam_vit_b, sam_vit_l"):
        download("sam_vit_x", tmp_path)


def test_the_cache_folder_follows_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert path_of("sam_vit_b") == tmp_path / "tag2mask" / "weights" / "sam_vit_b_01ec64.pth"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert checkpoints.default_folder() == tmp_path / "home" / ".cache" / "tag2mask" / "weights"


def test_every_entry_is_complete() -> None:
    for name, weights in WEIGHTS.items():
        assert weights.url.startswith("https://"), name
        assert len(bytes.fromhex(weights.sha256)) == 32, name
        assert weights.size > 1_000_000, name
        assert weights.licence, name
    assert len({weights.file_name for weights in WEIGHTS.values()}) == len(WEIGHTS)

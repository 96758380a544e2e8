"""Arrays of photos on disk: whole or gone, bounded, shared by processes, never in the way."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.errors import OptionError
from engine.segmenters.embeddings import (
    LIMIT_BYTES,
    LIMIT_FILE,
    EmbeddingStore,
    Usage,
    default_folder,
)

NETWORK, OTHER_NETWORK = "a" * 32, "b" * 32


def photo(number: int) -> str:
    return f"{number:064x}"


def content(number: int = 0, *, size: int = 1000) -> dict[str, np.ndarray[Any, Any]]:
    return {"features": np.full((1, size), number, dtype=np.float16), "size": np.array([3, 4])}


ONE_FILE = 2500  # bytes, a little more than one takes


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "embeddings", spare_bytes=0)


def path_of(store: EmbeddingStore, number: int, network: str = NETWORK) -> Path:
    return store.folder / network / f"{photo(number)}.safetensors"


def used_at(store: EmbeddingStore, number: int, seconds: float) -> None:
    os.utime(path_of(store, number), (seconds, seconds))


def kept(store: EmbeddingStore) -> set[int]:
    return {int(path.stem, 16) for path in store.folder.rglob("*.safetensors")}


@given(
    features=arrays(np.float16, array_shapes(max_dims=4, max_side=5)),
    name=st.text(min_size=1, max_size=5),
)
def test_arrays_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, features: np.ndarray[Any, Any], name: str
) -> None:
    store = EmbeddingStore(tmp_path_factory.mktemp("store"), spare_bytes=0)
    given_arrays = {f"x{name}": features, "shape": np.array([7, 2**40])}
    assert store.put(photo(1), NETWORK, given_arrays)
    found = store.get(photo(1), NETWORK)
    assert found is not None
    assert found.keys() == given_arrays.keys()
    for key, array in given_arrays.items():
        assert found[key].dtype == array.dtype
        assert found[key].shape == array.shape
        assert found[key].tobytes() == array.tobytes()


def test_a_view_into_a_larger_array_is_kept_as_it_looks(store: EmbeddingStore) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-1].T
    store.put(photo(1), NETWORK, {"x": array})
    found = store.get(photo(1), NETWORK)
    assert found is not None
    assert np.array_equal(found["x"], array)


def test_another_photo_and_another_network_are_not_found(store: EmbeddingStore) -> None:
    assert store.get(photo(1), NETWORK) is None
    store.put(photo(1), NETWORK, content())
    assert store.get(photo(2), NETWORK) is None
    assert store.get(photo(1), OTHER_NETWORK) is None
    assert store.get(photo(1), NETWORK) is not None


def test_a_store_opened_later_has_what_was_put_before(store: EmbeddingStore) -> None:
    store.put(photo(1), NETWORK, content(5))
    found = EmbeddingStore(store.folder).get(photo(1), NETWORK)
    assert found is not None
    assert np.array_equal(found["features"], content(5)["features"])


@pytest.mark.parametrize("name", ["", "../secret", "ABC", "x" * 64, "a/b"])
def test_names_that_are_no_hashes_reach_no_file(store: EmbeddingStore, name: str) -> None:
    with pytest.raises(ValueError, match="no hash"):
        store.get(name, NETWORK)
    with pytest.raises(ValueError, match="no hash"):
        store.put(photo(1), name, content())


# -- damage --------------------------------------------------------------------------------------


def spoiled(whole: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "three bytes": whole[:3],
        "one bit": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "zeros": bytes(len(whole)),
        "zeros behind the header": whole[:600] + bytes(len(whole) - 600),
        "longer": whole + b"x",
        "text": b"hello, this is no embedding at all",
        "nested": (100_000).to_bytes(8, "little") + b"[" * 100_000,
        "no table": (2).to_bytes(8, "little") + b"[]",
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        *("empty", "cut", "three bytes", "one bit", "zeros", "zeros behind the header"),
        *("longer", "text", "nested", "no table"),
    ],
)
def test_a_damaged_file_is_no_hit_is_removed_and_told(
    store: EmbeddingStore, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    store.put(photo(1), NETWORK, content(5))
    path = path_of(store, 1)
    path.write_bytes(spoiled(path.read_bytes(), how))
    with caplog.at_level(logging.WARNING):
        assert store.get(photo(1), NETWORK) is None
    assert not path.exists()
    assert "is damaged and was removed" in caplog.text
    assert store.put(photo(1), NETWORK, content(5))
    assert store.get(photo(1), NETWORK) is not None


def test_a_file_under_the_name_of_another_photo_or_network_is_no_hit(
    store: EmbeddingStore,
) -> None:
    store.put(photo(1), NETWORK, content())
    for path in (path_of(store, 2), path_of(store, 1, OTHER_NETWORK)):
        path.parent.mkdir(exist_ok=True)
        shutil.copy(path_of(store, 1), path)
        number, network = int(path.stem, 16), path.parent.name
        assert store.get(photo(number), network) is None
        assert not path.exists()
    assert kept(store) == {1}


def test_files_of_other_people_in_the_folder_stay(store: EmbeddingStore, tmp_path: Path) -> None:
    store.put(photo(1), NETWORK, content())
    others = [
        store.folder / "notes.txt",
        store.folder / "model.safetensors",
        store.folder / f"{photo(9)}.safetensors",
        store.folder / "photos" / f"{photo(9)}.safetensors",
        store.folder / NETWORK / "model.safetensors",
        store.folder / NETWORK / "draft.part",
    ]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{photo(8)}.safetensors").write_bytes(b"mine")
    (store.folder / OTHER_NETWORK).symlink_to(outside, target_is_directory=True)
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    assert store.usage().files == 1
    store.clean()
    assert store.clear().files == 1
    assert all(path.read_bytes() == b"mine" for path in others)
    assert (outside / f"{photo(8)}.safetensors").exists()


# -- the bound -----------------------------------------------------------------------------------


def test_the_photos_used_longest_ago_go_first(store: EmbeddingStore) -> None:
    for number in range(4):
        store.put(photo(number), NETWORK, content(number))
        used_at(store, number, 1000.0 + number)
    assert store.get(photo(0), NETWORK) is not None  # used just now
    small = EmbeddingStore(store.folder, limit_bytes=3 * ONE_FILE, spare_bytes=0)
    assert small.put(photo(4), NETWORK, content(4))
    assert kept(store) == {0, 3, 4}


def test_the_bound_counts_all_networks(store: EmbeddingStore) -> None:
    store.put(photo(1), NETWORK, content())
    used_at(store, 1, 1000.0)
    small = EmbeddingStore(store.folder, limit_bytes=ONE_FILE, spare_bytes=0)
    small.put(photo(2), OTHER_NETWORK, content())
    assert small.get(photo(1), NETWORK) is None
    assert small.get(photo(2), OTHER_NETWORK) is not None


def test_what_is_larger_than_the_bound_is_not_kept_and_pushes_nothing_out(
    store: EmbeddingStore,
) -> None:
    store.put(photo(1), NETWORK, content())
    small = EmbeddingStore(store.folder, limit_bytes=ONE_FILE, spare_bytes=0)
    assert not small.put(photo(2), NETWORK, content(size=10_000))
    assert kept(store) == {1}


def test_the_same_photo_again_takes_no_more_room(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, limit_bytes=10 * ONE_FILE, spare_bytes=0)
    for _ in range(3):
        store.put(photo(1), NETWORK, content())
    assert store.usage().files == 1


def test_a_smaller_limit_holds_at_once_and_for_all_who_come_later(store: EmbeddingStore) -> None:
    for number in range(5):
        store.put(photo(number), NETWORK, content(number))
        used_at(store, number, 1000.0 + number)
    store.set_limit(2 * ONE_FILE)
    assert kept(store) == {3, 4}
    assert EmbeddingStore(store.folder).limit_bytes == 2 * ONE_FILE
    store.set_limit(0)
    assert store.usage() == Usage(0, 0)
    assert not EmbeddingStore(store.folder, spare_bytes=0).put(photo(1), NETWORK, content())
    with pytest.raises(OptionError, match="-1 bytes"):
        store.set_limit(-1)


@pytest.mark.parametrize("text", ["", "12", '{"bytes": -5}', '{"bytes": "many"}', '{"a": 1}', "\0"])
def test_a_limit_that_cannot_be_read_is_the_usual_one_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / LIMIT_FILE).write_text(text)
    with caplog.at_level(logging.WARNING):
        assert EmbeddingStore(tmp_path).limit_bytes == LIMIT_BYTES
    assert "is ignored" in caplog.text


def test_what_killed_writers_left_goes_and_what_is_being_written_stays(
    store: EmbeddingStore,
) -> None:
    store.put(photo(1), NETWORK, content())
    old, new = (store.folder / NETWORK / f".{name * 32}.part" for name in "ab")
    old.write_bytes(b"x" * 100)
    new.write_bytes(b"x" * 100)
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    assert store.clean() == Usage(1, 100)
    assert not old.exists()
    assert new.exists()
    assert kept(store) == {1}


def fill(folder: Path, first: int, limit_bytes: int) -> None:
    """In another process."""
    store = EmbeddingStore(folder, limit_bytes=limit_bytes, spare_bytes=0)
    for number in range(first, first + 60):
        assert store.put(photo(number), NETWORK, content(number))
        found = store.get(photo(number), NETWORK)
        assert found is None or found["features"][0, 0] == number


def test_two_processes_that_write_at_once_keep_the_bound_and_whole_files(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    limit = 10 * ONE_FILE
    writers = [context.Process(target=fill, args=(tmp_path, start, limit)) for start in (0, 500)]
    for writer in writers:
        writer.start()
    store = EmbeddingStore(tmp_path, spare_bytes=0)
    most = 0
    while any(writer.is_alive() for writer in writers):
        most = max(most, store.usage().bytes)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert most <= limit + ONE_FILE  # one file more while both write
    assert store.usage().bytes <= limit
    assert store.usage().files >= 8
    assert not list(tmp_path.rglob("*.part"))
    for number in kept(store):
        found = store.get(photo(number), NETWORK)
        assert found is not None
        assert (found["features"] == number).all()


# -- disks ---------------------------------------------------------------------------------------


def test_a_nearly_full_disk_is_left_some_room(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        store.put(photo(number), NETWORK, content(number))
        used_at(store, number, 1000.0 + number)
    usage = shutil.disk_usage(store.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    careful = EmbeddingStore(store.folder, spare_bytes=10_000 + ONE_FILE)
    careful.clean()
    assert kept(store) == {2, 3}


def test_a_full_disk_is_told_once_and_stops_nobody(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(photo(1), NETWORK, content())

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with caplog.at_level(logging.WARNING):
        assert not store.put(photo(2), NETWORK, content())
        assert not store.put(photo(3), NETWORK, content())
    assert caplog.text.count("No space left") == 1
    assert not list(store.folder.rglob("*.part"))
    assert store.get(photo(1), NETWORK) is not None
    assert store.get(photo(2), NETWORK) is None


def test_a_folder_that_cannot_be_is_no_cache_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    store = EmbeddingStore(tmp_path / "taken" / "below", spare_bytes=0)
    assert not store.put(photo(1), NETWORK, content())
    assert store.get(photo(1), NETWORK) is None
    assert store.usage() == store.clean() == store.clear() == Usage(0, 0)
    with pytest.raises(OptionError, match="cannot be kept"):
        store.set_limit(5)


def test_a_store_that_is_not_there_yet_is_empty_and_looking_makes_no_folder(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "none")
    assert store.usage() == store.clean() == Usage(0, 0)
    assert not store.folder.exists()


def test_the_usual_folder_lies_in_the_cache_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EmbeddingStore().folder == default_folder() == tmp_path / "tag2mask" / "embeddings"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "tag2mask" / "embeddings"

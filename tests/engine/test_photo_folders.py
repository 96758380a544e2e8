from __future__ import annotations

import csv
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from engine import photos
from engine.errors import PhotoError
from engine.photos import find_photos, load, photo_files
from tests.builders import encoded, saved

ODD_FILES = Path(__file__).parents[3] / "shared" / "data" / "odd_files"

PIXELS = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)


def test_a_folder_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    png = encoded(PIXELS, "PNG")
    for name in ("b.png", "a/z.png", "a/b/c.jpg", "a.png", "UPPER.JPG", "no_extension"):
        saved(tmp_path, png, name)
    found = find_photos(tmp_path)
    names = [photo.file_name for photo in found.photos]
    assert names == ["UPPER.JPG", "a/b/c.jpg", "a/z.png", "a.png", "b.png", "no_extension"]
    assert found.photos[0].facts.width == 6
    assert found.skipped == ()


def test_names_keep_the_spelling_of_the_disk(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "čerešňa") + ".png" for form in ("NFC", "NFD")]
    names += ["写真 01.png", "a,b;c.png", "100% #1.png"]
    for name in names:
        saved(tmp_path, encoded(PIXELS, "PNG"), name)
    assert {photo.file_name for photo in find_photos(tmp_path).photos} == set(names)


def test_hidden_files_and_other_files_are_left_out_silently(tmp_path: Path) -> None:
    png = encoded(PIXELS, "PNG")
    for name in (".hidden.png", ".cache/a.png", "._a.png"):
        saved(tmp_path, png, name)
    for name in ("labels.csv", "notes.txt", "BM", "Makefile", "empty"):
        saved(tmp_path, b"BM, not a photo" if name != "empty" else b"", name)
    found = find_photos(tmp_path)
    assert (found.photos, found.skipped) == ((), ())


def test_files_that_should_open_and_do_not_are_listed_with_the_reason(tmp_path: Path) -> None:
    saved(tmp_path, encoded(PIXELS, "PNG"), "good.png")
    saved(tmp_path, b"", "sub/zero.jpg")
    saved(tmp_path, b"\0\0\0\x18ftypheic", "phone.HEIC")
    saved(tmp_path, encoded(PIXELS, "TIFF"), "camera.NEF")
    saved(tmp_path, encoded(PIXELS, "PNG")[:60], "cut_off_without_extension")
    found = find_photos(tmp_path)
    assert [photo.file_name for photo in found.photos] == ["good.png"]
    reasons = {file.file_name: file.reason for file in found.skipped}
    assert list(reasons) == [
        "camera.NEF",
        "cut_off_without_extension",
        "phone.HEIC",
        "sub/zero.jpg",
    ]
    assert "small preview" in reasons["camera.NEF"]
    assert "no JPEG" in reasons["phone.HEIC"]
    assert reasons["sub/zero.jpg"] == "the file is empty; copy it again"


def test_links_out_of_the_folder_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    outside = saved(tmp_path / "elsewhere", encoded(PIXELS, "PNG"), "secret.png")
    folder = tmp_path / "photos"
    inside = saved(folder, encoded(PIXELS, "PNG"), "a.png")
    (folder / "out.png").symlink_to(outside)
    (folder / "again.png").symlink_to(inside)
    (folder / "loop").symlink_to(folder)
    (folder / "dead.png").symlink_to(folder / "gone.png")
    found = find_photos(folder)
    assert [photo.file_name for photo in found.photos] == ["a.png", "again.png"]
    reasons = {file.file_name: file.reason for file in found.skipped}
    assert "leads outside" in reasons["out.png"]
    assert "link to a folder" in reasons["loop"]
    assert "not there" in reasons["dead.png"]


def test_a_name_that_is_no_text_is_listed_and_not_opened(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded(PIXELS, "PNG"))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    found = find_photos(tmp_path)
    assert found.photos == ()
    assert found.skipped[0].file_name == "caf\\xe9.png"
    assert "UTF-8" in found.skipped[0].reason


def test_progress_counts_every_file_that_is_opened(tmp_path: Path) -> None:
    saved(tmp_path, encoded(PIXELS, "PNG"), "a.png")
    saved(tmp_path, b"broken", "b.png")
    steps: list[tuple[int, int]] = []
    find_photos(tmp_path, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="there is no folder"):
        find_photos(tmp_path / "gone")


@pytest.mark.shared
@pytest.mark.skipif(not ODD_FILES.is_dir(), reason="odd_files is not beside the checkout")
def test_every_odd_file_opens_as_its_manifest_says_or_is_refused() -> None:
    with (ODD_FILES / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = find_photos(ODD_FILES / "images")
    opened = {photo.file_name: photo.facts for photo in found.photos}
    refused = {file.file_name: file.reason for file in found.skipped}
    assert len(rows) == len(opened) + len(refused) > 60
    for row in rows:
        name = row["file"]
        if row["loads"] == "no":
            assert refused[name]
            continue
        facts = opened[name]
        assert f"{facts.width}x{facts.height}" == row["shown_size"], name
        assert facts.format == row["format"]
        assert facts.sha256 == row["sha256"]
        assert (facts.orientation, facts.frames) == (
            int(row["exif_orientation"]),
            int(row["frames"]),
        )
        assert load(ODD_FILES / "images" / name).shape == (facts.height, facts.width, 3)


def test_only_a_large_folder_is_given_up_for_the_time_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, encoded(np.zeros((4, 4, 3), np.uint8), "PNG"), "a.png")
    # A disk that stands still for a while has answered in the end.
    assert photo_files(tmp_path, seconds=-1.0)[0] == ["a.png"]
    monkeypatch.setattr(photos, "MANY_ENTRIES", 20)
    for number in range(30):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(PhotoError, match="too much to look through quickly"):
        photo_files(tmp_path, seconds=-1.0)
    assert photo_files(tmp_path)[0] == ["a.png"]

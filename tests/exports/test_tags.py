from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import FormatError, TagsError
from exports.tags import TagsReport, read_tags, tags_from_folders, write_tags

NFC, NFD = (unicodedata.normalize(form, "čerešňa.jpg") for form in ("NFC", "NFD"))


def read(folder: Path, content: str | bytes, **options: list[str]) -> TagsReport:
    path = folder / "tags.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_tags(path, **options)  # type: ignore[arg-type]


def problems(report: TagsReport) -> list[tuple[int, str]]:
    return [(problem.line, problem.text) for problem in report.problems]


def test_labels_are_joined_by_semicolons(tmp_path: Path) -> None:
    report = read(tmp_path, "file,labels\na.jpg,cat;dog\nsub/b.jpg,cat\n")
    assert report.labels_of == {"a.jpg": ("cat", "dog"), "sub/b.jpg": ("cat",)}
    assert [entry.line for entry in report.entries] == [2, 3]
    assert report.problems == ()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_mark_make_no_difference(
    tmp_path: Path, line_end: str, mark: bytes
) -> None:
    lines = ["file,labels", "写真.jpg,猫", '"a,b;c.jpg","cat; dog "', ""]
    report = read(tmp_path, mark + line_end.join(lines).encode())
    assert report.labels_of == {"写真.jpg": ("猫",), "a,b;c.jpg": ("cat", "dog")}
    assert report.problems == ()


def test_a_photo_may_have_no_tags(tmp_path: Path) -> None:
    report = read(tmp_path, "file,labels\na.jpg,\nb.jpg,  \n")
    assert report.labels_of == {"a.jpg": (), "b.jpg": ()}
    assert report.problems == ()


def test_a_label_twice_and_an_empty_label_are_told_with_their_line(tmp_path: Path) -> None:
    report = read(tmp_path, "file,labels\n\na.jpg,cat;;dog;cat\n")
    assert report.labels_of == {"a.jpg": ("cat", "dog")}
    assert problems(report) == [
        (3, "an empty label in 'cat;;dog;cat'; left out"),
        (3, "label 'cat' twice; it counts once"),
    ]


def test_a_photo_in_two_lines_gets_the_tags_of_both(tmp_path: Path) -> None:
    report = read(tmp_path, "file,labels\na.jpg,cat\nb.jpg,\na.jpg,dog;cat\n")
    assert report.labels_of == {"a.jpg": ("cat", "dog"), "b.jpg": ()}
    assert problems(report) == [(4, "'a.jpg' stands already in line 2; the tags of both count")]


def test_unknown_photos_are_told_with_the_nearest_name(tmp_path: Path) -> None:
    known = ["Sub/A.jpg", "b.jpg", "x/c.jpg"]
    lines = "file,labels\nsub/a.jpg,cat\nc.jpg,cat\nnothing.jpg,cat\nb.jpg,dog\n"
    report = read(tmp_path, lines, known_files=known)
    assert report.labels_of == {"b.jpg": ("dog",)}
    assert problems(report) == [
        (2, "no photo 'sub/a.jpg'; the line was left out; did you mean 'Sub/A.jpg'?"),
        (3, "no photo 'c.jpg'; the line was left out; did you mean 'x/c.jpg'?"),
        (4, "no photo 'nothing.jpg'; the line was left out"),
    ]


@pytest.mark.parametrize(("written", "on_disk"), [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
def test_names_match_however_their_accents_are_composed(
    tmp_path: Path, written: str, on_disk: str
) -> None:
    report = read(tmp_path, f"file,labels\n{written},cat\n", known_files=[on_disk])
    assert report.labels_of == {on_disk: ("cat",)}
    assert report.problems == ()


def test_when_both_spellings_are_photos_each_gets_its_own_tags(tmp_path: Path) -> None:
    lines = f"file,labels\n{NFC},cat\n{NFD},dog\n"
    report = read(tmp_path, lines, known_files=[NFC, NFD])
    assert report.labels_of == {NFC: ("cat",), NFD: ("dog",)}


def test_a_name_that_could_be_two_photos_is_not_guessed(tmp_path: Path) -> None:
    report = read(tmp_path, f"file,labels\n./{NFC},cat\n", known_files=[NFC, NFD])
    assert report.labels_of == {}
    assert "did you mean" in report.problems[0].text


def test_names_written_on_windows_match(tmp_path: Path) -> None:
    report = read(
        tmp_path, "file,labels\nsub\\a.jpg,cat\n./b.jpg,dog\n", known_files=["sub/a.jpg", "b.jpg"]
    )
    assert report.labels_of == {"sub/a.jpg": ("cat",), "b.jpg": ("dog",)}


def test_one_label_in_two_compositions_is_one_class(tmp_path: Path) -> None:
    both = ";".join(unicodedata.normalize(form, "čerešňa") for form in ("NFC", "NFD"))
    report = read(tmp_path, f"file,labels\na.jpg,{both}\n")
    assert report.labels_of == {"a.jpg": (unicodedata.normalize("NFC", "čerešňa"),)}


def test_labels_that_differ_in_case_are_two_classes_and_told_once(tmp_path: Path) -> None:
    report = read(tmp_path, "file,labels\na.jpg,cat\nb.jpg,Cat\nc.jpg,Cat\n")
    assert report.labels_of["b.jpg"] == ("Cat",)
    assert problems(report) == [
        (3, "labels 'cat' and 'Cat' differ only in case; they are two classes")
    ]


def test_an_unquoted_comma_is_told_with_its_line(tmp_path: Path) -> None:
    report = read(tmp_path, "file,labels\na,b.jpg,cat\nc.jpg\n,cat\nd.jpg,dog\n")
    assert report.labels_of == {"d.jpg": ("dog",)}
    assert [problem.line for problem in report.problems] == [2, 3, 4]
    assert "3 cells" in report.problems[0].text
    assert "double quotes" in report.problems[0].text


def test_lines_are_counted_across_quoted_line_ends(tmp_path: Path) -> None:
    report = read(tmp_path, 'file,labels\n"two\nlines.jpg",cat\nb.jpg,cat;cat\n')
    assert report.labels_of["two\nlines.jpg"] == ("cat",)
    assert [problem.line for problem in report.problems] == [4]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n\n", "is empty", id="blank lines"),
        pytest.param(b"a.jpg,cat\n", "must be 'file,labels', got 'a.jpg,cat'", id="no header"),
        pytest.param(b"file;labels\na.jpg;cat\n", "put a comma", id="semicolons"),
        pytest.param("file,labels\na.jpg,češ\n".encode("cp1250"), "line 2 is not UTF-8", id="ansi"),
        pytest.param("file,labels\n".encode("utf-16"), "line 1 is not UTF-8", id="utf-16"),
        pytest.param(b'file,labels\na.jpg,cat\n"b.jpg,dog\n', "line 3.*quotes", id="open quote"),
    ],
)
def test_a_file_that_is_no_tags_file_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(TagsError, match=reason):
        read(tmp_path, content)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TagsError, match=r"gone\.csv.*No such file"):
        read_tags(tmp_path / "gone.csv")


def test_the_first_folder_is_the_class() -> None:
    assert tags_from_folders(["cat/a.jpg", "dog/old/b.jpg", "loose.jpg"]) == {
        "cat/a.jpg": ("cat",),
        "dog/old/b.jpg": ("dog",),
        "loose.jpg": (),
    }


def test_a_folder_with_the_separator_in_its_name_is_no_class() -> None:
    with pytest.raises(TagsError, match=r"'cat;dog'.*rename"):
        tags_from_folders(["cat;dog/a.jpg"])


# Without surrogates (no text) and NUL (no file name, and no CSV).
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
FILE_NAMES = TEXT.filter(str.strip)
LABELS = TEXT.map(lambda text: unicodedata.normalize("NFC", text)).filter(
    lambda text: ";" not in text and text == text.strip()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tags=st.dictionaries(FILE_NAMES, st.lists(LABELS, unique=True).map(tuple)))
def test_what_is_written_is_read_again(tmp_path: Path, tags: dict[str, tuple[str, ...]]) -> None:
    write_tags(tmp_path / "tags.csv", tags)
    assert read_tags(tmp_path / "tags.csv").labels_of == tags
    assert read_tags(tmp_path / "tags.csv", known_files=tags).labels_of == tags


@pytest.mark.parametrize("label", ["cat;dog", "", " cat", "cat\n", "\udc80"])
def test_a_label_that_could_not_be_read_back_is_not_written(tmp_path: Path, label: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("old")
    with pytest.raises(TagsError, match="cannot be written"):
        write_tags(path, {"a.jpg": ["cat", label]})
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["", "  ", "caf\udce9.jpg"])
def test_a_name_that_could_not_be_read_back_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(TagsError, match="rename the photo"):
        write_tags(tmp_path / "tags.csv", {name: ["cat"]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(FormatError, match="No space left"):
        write_tags(path, {"a.jpg": ["cat"]})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

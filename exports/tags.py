"""Tags, both ways: a CSV `file,labels` (labels joined by ";"), or a folder for each class.

In comes the file and the names of the photos, out come the tags of each photo and what was odd
in which line. What can be mended is mended and reported; only an unreadable file is an error.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import TagsError
from exports.whole_files import write_whole

HEADER = ("file", "labels")
SEPARATOR = ";"


@dataclass(frozen=True)
class TagEntry:
    """The tags of one photo."""

    file_name: str  # spelled as in ``known_files`` where these were given
    labels: tuple[str, ...]  # NFC, in the order of the file, each once; empty: no tags
    line: int  # where it stands first, from 1


@dataclass(frozen=True)
class TagProblem:
    """Something odd, and what was made of it."""

    line: int
    text: str


@dataclass(frozen=True)
class TagsReport:
    """What a tags file says: one entry a photo, and everything odd in the order of its lines."""

    entries: tuple[TagEntry, ...]
    problems: tuple[TagProblem, ...]

    @property
    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """File name to labels."""
        return {entry.file_name: entry.labels for entry in self.entries}


def read_tags(path: Path | str, *, known_files: Iterable[str] | None = None) -> TagsReport:
    """Read the CSV; with ``known_files``, names are matched to them and unknown ones reported.

    Names match whatever their Unicode composition (NFC, NFD), with ``\\`` for ``/`` and a leading
    ``./``. A photo that stands in several lines gets the tags of all. TagsError where the file is
    missing, not UTF-8, without the header `file,labels`, or with a quote that never closes.
    """
    names = None if known_files is None else _Names(known_files)
    labels_of: dict[str, list[str]] = {}
    first_line: dict[str, int] = {}
    problems: list[TagProblem] = []
    for line, cells in _rows(path):
        if len(cells) != 2:
            problems.append(TagProblem(line, _wrong_cells(cells)))
            continue
        if not cells[0].strip():
            problems.append(TagProblem(line, "no file name; the line was left out"))
            continue
        name = cells[0] if names is None else names.find(cells[0])
        if name is None:
            assert names is not None
            problems.append(TagProblem(line, names.unknown(cells[0])))
            continue
        labels, oddities = _split(cells[1])
        problems += [TagProblem(line, text) for text in oddities]
        if name in first_line:
            text = f"{name!r} stands already in line {first_line[name]}; the tags of both count"
            problems.append(TagProblem(line, text))
        first_line.setdefault(name, line)
        merged = labels_of.setdefault(name, [])
        merged += [label for label in labels if label not in merged]
    entries = tuple(
        TagEntry(name, tuple(labels), first_line[name]) for name, labels in labels_of.items()
    )
    problems += _same_but_case(entries)
    return TagsReport(entries, tuple(sorted(problems, key=lambda problem: problem.line)))


def tags_from_folders(file_names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The first folder of each name is its class; a photo outside any folder has no tags.

    TagsError where a folder's name cannot be a label.
    """
    tags: dict[str, tuple[str, ...]] = {}
    for name in file_names:
        folder, slash, _ = name.partition("/")
        tags[name] = (_checked_label(folder, name),) if slash else ()
    return tags


def write_tags(path: Path | str, tags: Mapping[str, Sequence[str]]) -> None:
    """Write the CSV whole or not at all; `read_tags` gives the same tags back.

    TagsError for a label that cannot be read back: empty, with ";" or with blanks around it.
    FormatError where the file cannot be written.
    """
    text = io.StringIO(newline="")
    # RFC 4180; and csv quotes carriage returns in names only if the line ends with one.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADER)
    for name, labels in tags.items():
        if not name.strip() or _is_not_utf8(name):
            raise TagsError(f"cannot write the file name {name!r} as text; rename the photo")
        checked = dict.fromkeys(_checked_label(label, name) for label in labels)
        writer.writerow((name, SEPARATOR.join(checked)))
    write_whole(path, text.getvalue())


def _rows(path: Path | str) -> Iterator[tuple[int, list[str]]]:
    """Line number (of its first line, from 1) and cells of every record below the header."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    line, header_seen = 1, False
    try:
        for cells in reader:
            if header_seen and cells:
                yield line, cells
            elif cells:
                _check_header(path, cells)
                header_seen = True
            line = reader.line_num + 1
    except csv.Error as error:
        raise TagsError(f"{_shown(path)}, line {line}: {error}; check its quotes") from error
    if not header_seen:
        raise TagsError(f"{_shown(path)} is empty; its first line must be 'file,labels'")


def _text(path: Path | str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TagsError(f"cannot read {_shown(path)}: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TagsError(
            f"{_shown(path)}, line {line} is not UTF-8; save it as 'CSV UTF-8'"
        ) from error


def _check_header(path: Path | str, cells: list[str]) -> None:
    if tuple(cell.strip().lower() for cell in cells) != HEADER:
        got = ",".join(cells)[:80]
        raise TagsError(
            f"{_shown(path)}: the first line must be 'file,labels', got {got!r};"
            " put a comma between the columns and ';' between labels"
        )


def _wrong_cells(cells: list[str]) -> str:
    return (
        f"expected a file name and labels, got {len(cells)} cells ({cells[0]!r} …);"
        " put names with a comma in double quotes; the line was left out"
    )


def _split(cell: str) -> tuple[list[str], list[str]]:
    """Labels of a cell, each once, and what was odd."""
    if not cell.strip():
        return [], []
    labels: list[str] = []
    oddities = []
    for part in cell.split(SEPARATOR):
        label = _normal(part.strip())
        if not label:
            oddities.append(f"an empty label in {cell!r}; left out")
        elif label in labels:
            oddities.append(f"label {label!r} twice; it counts once")
        else:
            labels.append(label)
    return labels, oddities


def _same_but_case(entries: Iterable[TagEntry]) -> list[TagProblem]:
    """Labels like 'Cat' and 'cat', which are probably one class; told once, where it begins."""
    first: dict[str, str] = {}
    told: set[str] = set()
    problems = []
    for entry in entries:
        for label in entry.labels:
            other = first.setdefault(label.casefold(), label)
            if other != label and label not in told:
                told.add(label)
                text = f"labels {other!r} and {label!r} differ only in case; they are two classes"
                problems.append(TagProblem(entry.line, text))
    return problems


class _Names:
    """The names of the photos, to find one that was spelled a little differently."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = dict.fromkeys(known)
        self._by_spelling = _grouped(self._known, _plain)
        self._by_case = _grouped(self._known, _caseless)
        self._by_base = _grouped(self._known, lambda name: _caseless(name).rpartition("/")[2])

    def find(self, name: str) -> str | None:
        """The known name that is meant; None where there is none or more than one."""
        if name in self._known:
            return name
        meant = self._by_spelling.get(_plain(name), [])
        return meant[0] if len(meant) == 1 else None

    def unknown(self, name: str) -> str:
        """Why `find` gave None, with the nearest name."""
        key = _caseless(name)
        near = (
            self._by_spelling.get(_plain(name))
            or self._by_case.get(key)
            or self._by_base.get(key.rpartition("/")[2])
        )
        hint = f"; did you mean {' or '.join(map(repr, near[:2]))}?" if near else ""
        return f"no photo {name!r}; the line was left out{hint}"


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def _plain(name: str) -> str:
    return _normal(name.strip().replace("\\", "/").removeprefix("./"))


def _caseless(name: str) -> str:
    return _plain(name).casefold()


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _checked_label(label: str, name: str) -> str:
    if not label or SEPARATOR in label or label != label.strip() or _is_not_utf8(label):
        raise TagsError(
            f"{label!r}, a tag of {name!r}, cannot be written: a tag is text without"
            f" {SEPARATOR!r} and without blanks around it; rename the class"
        )
    return _normal(label)


def _is_not_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _shown(path: Path | str) -> str:
    return f"tags file {os.fspath(path)!r}"

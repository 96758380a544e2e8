from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.photo_names import KnownPhotos, stem
from tests.exports.labelled import file_names


def found(names: list[str], asked: str, *, has_ending: bool = True) -> str | None:
    return KnownPhotos(dict.fromkeys(names, (4, 3))).find(asked, has_ending=has_ending)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("b\\c.jpg", "b/c.jpg"),
        ("C:\\photos\\b\\c.jpg", "b/c.jpg"),
        ("http://example.org/x/a.jpg", "a.jpg"),
        ("c.jpg", "b/c.jpg"),
        (unicodedata.normalize("NFD", "é.jpg"), "é.jpg"),
        ("A.jpg", None),
        ("a.png", None),
        ("", None),
    ],
)
def test_a_photo_is_found_however_its_name_is_spelled(asked: str, name: str | None) -> None:
    assert found(["a.jpg", "b/c.jpg", "é.jpg"], asked) == name


def test_where_several_photos_could_be_meant_none_is() -> None:
    assert found(["x/a.jpg", "y/a.jpg"], "a.jpg") is None
    assert found(["x/a.jpg", "y/a.jpg"], "z/a.jpg") is None
    assert found(["é.jpg", unicodedata.normalize("NFD", "é.jpg")], "./é.jpg") is None
    # The whole name comes before its last part.
    assert found(["a.jpg", "y/a.jpg"], "a.jpg") == "a.jpg"


def test_other_folders_are_passed_over_only_where_base_names_tell_photos_apart() -> None:
    assert found(["x/a.jpg", "x/b.jpg"], "images/a.jpg") == "x/a.jpg"
    assert found(["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"], "cat/2.jpg") is None
    # One name is the end of the other: nothing is passed over.
    assert found(["cat/1.jpg", "dog/1.jpg"], "all/cat/1.jpg") == "cat/1.jpg"


def test_without_an_ending_the_stem_tells_unless_two_photos_share_it() -> None:
    assert found(["s/a.b.jpg"], "a.b", has_ending=False) == "s/a.b.jpg"
    assert found(["a.jpg", "a.png"], "a", has_ending=False) is None
    assert found(["a.jpg"], "a.jpg", has_ending=False) is None


@given(st.lists(file_names(), min_size=1, max_size=4, unique=True))
def test_every_photo_is_found_by_its_own_name(names: list[str]) -> None:
    photos = KnownPhotos(dict.fromkeys(names, (1, 1)))
    assert [photos.find(name) for name in names] == names
    for name in names:
        alone = [other for other in names if stem(other) == stem(name)] == [name]
        assert photos.find(stem(name), has_ending=False) == (name if alone else None)

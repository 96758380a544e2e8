"""Photos and tags into a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator.intake import add_photos, set_tags_from_file
from annotator.pictures import file_problem
from annotator.store import Project
from engine.errors import PhotoError, StoreError, TagsError
from tests.conftest import save_scene


def names(project: Project) -> list[str]:
    with project.read() as view:
        return [photo.file_name for photo in view.photos()]


def tags(project: Project) -> dict[str, tuple[str, ...]]:
    with project.read() as view:
        return {photo.file_name: view.tags(photo.id) for photo in view.photos()}


def test_photos_of_sub_folders_and_their_tags_come_in(project: Project) -> None:
    assert tags(project) == {
        "a.png": ("cat",),
        "b.png": ("cat", "dog"),
        "c.png": (),
        "été/写真.png": ("dog",),
    }


def test_adding_the_same_folder_again_adds_nothing(project: Project, photo_folder: Path) -> None:
    report = add_photos(project, photo_folder, actor="tester")
    assert (report.added, report.known) == (0, 4)
    save_scene(photo_folder / "new.png", seed=9)
    assert add_photos(project, photo_folder, actor="tester").added == 1


def test_two_folders_with_the_same_names_keep_their_photos_apart(
    project: Project, tmp_path: Path
) -> None:
    save_scene(tmp_path / "more" / "a.png", seed=7)
    save_scene(tmp_path / "deep" / "more" / "a.png", seed=8)
    add_photos(project, tmp_path / "more", actor="tester")
    add_photos(project, tmp_path / "deep" / "more", actor="tester")
    assert names(project)[4:] == ["more/a.png", "more-2/a.png"]


def test_what_does_not_open_is_listed_and_taken_off_when_it_opens(
    project: Project, photo_folder: Path
) -> None:
    broken = photo_folder / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    report = add_photos(project, photo_folder, actor="tester")
    assert [file.file_name for file in report.refused] == ["broken.jpg"]
    with project.read() as view:
        assert view.refused() == [("broken.jpg", report.refused[0].reason)]
    save_scene(photo_folder / "good.png")
    (photo_folder / "good.png").rename(broken)
    assert add_photos(project, photo_folder, actor="tester").added == 1
    with project.read() as view:
        assert view.refused() == []
    project.check_journal()


def test_folders_give_tags(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "loose.png"):
        save_scene(tmp_path / "photos" / name)
    project = Project.create(tmp_path / "project")
    report = add_photos(project, tmp_path / "photos", actor="tester", from_folders=True)
    assert (report.tagged, report.untagged, report.classes) == (3, 1, 2)
    assert tags(project)["dog/1.png"] == ("dog",)
    project.close()


def test_new_tags_replace_the_old_ones_of_the_photos_they_name(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "more.csv").write_text("file,labels\nb.png,owl\nc.png,owl;cat\nx.png,owl\n")
    report = set_tags_from_file(project, tmp_path / "more.csv", actor="tester")
    assert tags(project)["b.png"] == ("owl",)
    assert tags(project)["c.png"] == ("owl", "cat")
    assert tags(project)["a.png"] == ("cat",)
    assert [problem.line for problem in report.tag_problems] == [4]
    project.check_journal()


def test_two_sources_of_tags_are_one_too_many(
    project: Project, photo_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(TagsError, match="choose one source"):
        add_photos(
            project,
            photo_folder,
            actor="tester",
            tags_file=tmp_path / "tags.csv",
            from_folders=True,
        )


def test_a_folder_without_photos_or_that_is_not_there_is_refused(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no photo"):
        add_photos(project, tmp_path / "empty", actor="tester")
    with pytest.raises(PhotoError, match="nowhere"):
        add_photos(project, tmp_path / "nowhere", actor="tester")


def test_unreadable_tags_add_no_photo(tmp_path: Path, photo_folder: Path) -> None:
    project = Project.create(tmp_path / "other")
    (tmp_path / "bad.csv").write_text("name,tag\na.png,cat\n")
    with pytest.raises(TagsError, match="file,labels"):
        add_photos(project, photo_folder, actor="tester", tags_file=tmp_path / "bad.csv")
    assert names(project) == []
    project.close()


def test_a_project_that_holds_its_photos_can_be_moved(tmp_path: Path) -> None:
    save_scene(tmp_path / "project" / "photos" / "a.png")
    project = Project.create(tmp_path / "project")
    add_photos(project, tmp_path / "project" / "photos", actor="tester")
    project.close()
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = Project.open(tmp_path / "moved")
    with moved.read() as view:
        assert file_problem(moved, view.photo(1)) is None
    moved.close()


def test_a_photo_that_changed_or_went_away_is_noticed(project: Project, photo_folder: Path) -> None:
    with project.read() as view:
        photo = view.photo(1)
    assert file_problem(project, photo) is None
    save_scene(photo_folder / "a.png", seed=99)
    assert "has changed" in str(file_problem(project, photo))
    (photo_folder / "a.png").unlink()
    assert "was it moved?" in str(file_problem(project, photo))

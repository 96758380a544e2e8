"""The list of projects, and the sample."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotator import sample
from annotator.store import DATABASE, Project
from annotator.workspace import Workspace, key_of
from engine.errors import StoreError
from exports.whole_files import write_whole


def test_the_last_used_project_comes_first_and_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "state")
    for name in ("a", "b", "a"):
        if not (tmp_path / name).exists():
            Project.create(tmp_path / name).close()
        workspace.remember(tmp_path / name)
    assert [folder.name for folder in workspace.folders()] == ["a", "b"]


def test_projects_that_are_gone_or_cannot_be_looked_at_are_left_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "state")
    Project.create(tmp_path / "a").close()
    workspace.remember(tmp_path / "a")
    workspace.remember(tmp_path / "never")
    workspace.remember(tmp_path / ("x" * 300))  # pathlib raises where it asks for such a name
    assert [folder.name for folder in workspace.folders()] == ["a"]


def test_a_list_that_is_no_json_says_which_file_to_delete(tmp_path: Path) -> None:
    (tmp_path / "projects.json").write_text("{")
    with pytest.raises(StoreError, match=r"projects\.json.*delete"):
        Workspace(tmp_path).folders()


def test_a_state_folder_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=r"Permission denied.*XDG_STATE_HOME"):
        Workspace(tmp_path / "state").remember(tmp_path)


def test_a_project_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "state")
    Project.create(tmp_path / "a", name="first").close()
    key = workspace.remember(tmp_path / "a")
    old = workspace.get(key)
    shutil.rmtree(tmp_path / "a")
    Project.create(tmp_path / "a", name="second").close()
    with workspace.get(key).read() as view:
        assert view.setting("name") == "second"
    assert workspace.get(key) is not old
    workspace.close()


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not on the list"):
        Workspace(tmp_path).get(key_of(tmp_path))


def test_the_sample_is_never_made_in_somebody_elses_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tags.csv").write_text("file,labels\n")
    with pytest.raises(StoreError, match="not empty"):
        sample.make_sample(tmp_path / "mine", actor="tester")
    assert (tmp_path / "mine" / "tags.csv").read_text() == "file,labels\n"
    Project.create(tmp_path / "pets").close()
    with pytest.raises(StoreError, match="holds the project 'pets'"):
        sample.make_sample(tmp_path / "pets", actor="tester")


def test_a_sample_that_was_interrupted_before_its_photos_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "TAGS", {"horse.png": ("horse",)})
    Project.create(tmp_path / "s", name=sample.NAME).close()
    sample.make_sample(tmp_path / "s", actor="tester")
    assert (tmp_path / "s" / DATABASE).exists()
    made = Project.open(tmp_path / "s")
    with made.read() as view:
        assert [one.category for one in view.instances(1)] == ["horse"]
    made.close()


def test_programs_that_put_projects_on_the_list_at_once_lose_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path, text: str) -> None:
        time.sleep(0.05)
        write_whole(path, text)

    monkeypatch.setattr("annotator.workspace.write_whole", slowly)
    names = [f"project {number}" for number in range(6)]
    for name in names:
        Project.create(tmp_path / name).close()

    def remember(name: str) -> None:
        Workspace(tmp_path / "state").remember(tmp_path / name)  # a list of its own, as elsewhere

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(remember, names))
    assert sorted(folder.name for folder in Workspace(tmp_path / "state").folders()) == names

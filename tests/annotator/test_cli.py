"""Every command as a person types it: answers, exit codes, one line for every mistake."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from annotator import answers, commands
from annotator.__main__ import DONE, INTERRUPTED, LEFT_OUT, build_parser, main
from annotator.store import DATABASE, Project
from annotator.workspace import Workspace
from engine import checkpoints
from tests.annotator.command_line import Captured, answer, complaint, decide
from tests.conftest import save_scene

COMMANDS = (
    "new",
    "add",
    "suggest",
    "check",
    "accept",
    "serve",
    "export",
    "import",
    "train",
    "cache",
    "evaluate",
    "status",
    "models",
    "sample",
)

# -- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == DONE
    text = capsys.readouterr().out
    example = re.search(rf"Example:  annotator ({command}\b.*)", text)
    assert example is not None
    # The example is a command line that the program understands; the rest is the trainer's.
    ours, _, _ = example[1].partition(" -- ")
    assert build_parser().parse_args(ours.split()).command == command


def test_the_help_lists_every_command_and_there_is_no_other(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    (\w+) ", capsys.readouterr().out, flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("words", [[], ["fly"], ["new"], ["new", "x"], ["export", "x", "doc", "y"]])
def test_a_command_line_that_makes_no_sense_is_exit_code_2(
    words: list[str], capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage: annotator" in capsys.readouterr().err


def test_help_waits_for_no_deep_learning_and_no_web_framework() -> None:
    code = (
        "import sys; from annotator.__main__ import build_parser; build_parser().format_help(); "
        "print({'torch', 'torchvision', 'gradio', 'fastapi', 'pandas'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_ctrl_c_is_one_line_and_exit_code_130(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.listing, "counts", interrupted)
    assert main(["status", str(project.folder)]) == INTERRUPTED
    assert capsys.readouterr().err == "annotator: stopped\n"


# -- new and add ---------------------------------------------------------------------------------


def test_new_with_a_tags_file(tmp_path: Path, photo_folder: Path, capsys: Captured) -> None:
    home = tmp_path / "été"
    code, value = answer(
        capsys, "new", home, "--images", photo_folder, "--tags", tmp_path / "tags.csv"
    )
    assert code == DONE
    assert (value["added"], value["tagged"], value["untagged"], value["classes"]) == (4, 3, 1, 2)
    assert Workspace().folders() == [home]
    assert answer(capsys, "status", home)[1]["name"] == "été"


def test_new_with_tags_from_folders_or_none(
    tmp_path: Path, photo_folder: Path, capsys: Captured
) -> None:
    images = ("--images", photo_folder)
    _, value = answer(capsys, "new", tmp_path / "one", *images, "--tags-from-folders")
    assert (value["tagged"], value["classes"]) == (1, 1)
    _, value = answer(capsys, "new", tmp_path / "two", *images, "--name", "Cats & dogs")
    assert (value["tagged"], value["classes"]) == (0, 0)
    assert answer(capsys, "status", tmp_path / "two")[1]["name"] == "Cats & dogs"


def test_two_sources_of_tags_make_no_sense(tmp_path: Path, photo_folder: Path) -> None:
    words = ["new", str(tmp_path / "p"), "--images", str(photo_folder)]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--tags", "tags.csv", "--tags-from-folders"])
    assert stop.value.code == 2


@pytest.mark.parametrize("mistake", ["header", "no tags file", "no folder", "no photo"])
def test_a_new_project_that_fails_leaves_nothing_behind(
    mistake: str, tmp_path: Path, photo_folder: Path, capsys: Captured
) -> None:
    images, tags = photo_folder, tmp_path / "tags.csv"
    if mistake == "header":
        tags.write_text("name;label\na.png;cat\n")
    elif mistake == "no tags file":
        tags.unlink()
    elif mistake == "no folder":
        images = tmp_path / "nowhere"
    else:
        images = tmp_path / "empty"
        images.mkdir()
    home = tmp_path / "home"
    line = complaint(capsys, "new", home, "--images", images, "--tags", tags)
    named = {"header": "file,labels", "no tags file": "tags.csv", "no folder": "nowhere"}
    assert named.get(mistake, "holds no photo") in line
    assert not home.exists()
    assert Workspace().folders() == []


def test_a_failed_new_project_keeps_what_else_is_in_its_folder(
    tmp_path: Path, photo_folder: Path, capsys: Captured
) -> None:
    tags = tmp_path / "bad.csv"
    tags.write_text("name;label\n")
    complaint(capsys, "new", photo_folder, "--images", photo_folder, "--tags", tags)
    assert (photo_folder / "a.png").is_file()
    assert not (photo_folder / DATABASE).exists()


def test_a_new_project_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.intake, "add_photos", interrupted)
    words = ["new", str(tmp_path / "home"), "--images", str(photo_folder)]
    assert main(words) == INTERRUPTED
    monkeypatch.undo()
    assert main([*words, "--json"]) == DONE


def test_a_project_is_not_made_over_another(
    project: Project, photo_folder: Path, capsys: Captured
) -> None:
    line = complaint(capsys, "new", project.folder, "--images", photo_folder)
    assert "already holds a project" in line
    assert (project.folder / DATABASE).is_file()


def test_refused_files_are_listed_by_their_names_and_change_the_exit_code(
    tmp_path: Path, photo_folder: Path, capsys: Captured
) -> None:
    # Not to be mistaken for colours or emoji.
    for name in (":cat:.jpg", "[red]x[/red].jpg"):
        target = photo_folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    assert main(["new", str(tmp_path / "home"), "--images", str(photo_folder)]) == LEFT_OUT
    out = capsys.readouterr().out
    assert "4 photos added" in out
    assert "2 files refused" in out
    assert "refused :cat:.jpg: " in out
    assert "refused [red]x[/red].jpg: " in out
    _, value = answer(capsys, "status", tmp_path / "home")
    assert set(value["refused"]) == {":cat:.jpg", "[red]x[/red].jpg"}


def test_tags_of_unknown_photos_are_listed_with_their_line(
    tmp_path: Path, photo_folder: Path, capsys: Captured
) -> None:
    tags = tmp_path / "tags.csv"
    tags.write_text("file,labels\na.png,cat\nzebra.png,zebra\n")
    words = ["new", str(tmp_path / "home"), "--images", str(photo_folder), "--tags", str(tags)]
    assert main(words) == LEFT_OUT
    assert re.search(r"tags, line 3: .*zebra\.png", capsys.readouterr().out)


def test_a_long_list_of_oddities_is_cut_and_counted(
    tmp_path: Path, photo_folder: Path, capsys: Captured
) -> None:
    for number in range(answers.LISTED + 5):
        (photo_folder / f"{number:02}.jpg").write_bytes(b"no picture")
    assert main(["new", str(tmp_path / "home"), "--images", str(photo_folder)]) == LEFT_OUT
    out = capsys.readouterr().out
    assert out.count("refused ") == answers.LISTED
    assert "… and 5 more" in out


def test_add_brings_photos_then_tags(project: Project, tmp_path: Path, capsys: Captured) -> None:
    save_scene(tmp_path / "more" / "owl" / "1.png", seed=9)
    code, value = answer(
        capsys, "add", project.folder, "--images", tmp_path / "more", "--tags-from-folders"
    )
    assert (code, value["added"], value["classes"]) == (DONE, 1, 3)
    (tmp_path / "new.csv").write_text("file,labels\nc.png,cat\n")
    code, value = answer(capsys, "add", project.folder, "--tags", tmp_path / "new.csv")
    assert (code, value["tagged"], value["untagged"]) == (DONE, 1, 0)


def test_add_without_anything_to_add_says_what_to_give(project: Project, capsys: Captured) -> None:
    assert "--images FOLDER" in complaint(capsys, "add", project.folder)


def test_a_folder_without_a_project_is_an_error_of_every_command(
    tmp_path: Path, capsys: Captured
) -> None:
    for words in (["status"], ["suggest"], ["serve"], ["add", "--images", "x"]):
        line = complaint(capsys, words[0], tmp_path / "nothing", *words[1:])
        assert "annotator new" in line


# -- status, models, sample, serve ---------------------------------------------------------------


def test_status_counts_and_checks(project: Project, photo_folder: Path, capsys: Captured) -> None:
    decide(project, 1)
    code, value = answer(capsys, "status", project.folder)
    assert code == DONE
    assert (value["photos"]["all"], value["photos"]["done"], value["photos"]["empty"]) == (4, 1, 3)
    assert value["instances"]["accepted"] == 1
    assert "events_replayed" not in value
    code, value = answer(capsys, "status", project.folder, "--check")
    assert (code, value["file_problems"]) == (DONE, {})
    assert value["events_replayed"] == project.check_journal()
    save_scene(photo_folder / "a.png", seed=99)
    (photo_folder / "b.png").unlink()
    code, value = answer(capsys, "status", project.folder, "--check")
    assert code == LEFT_OUT
    assert set(value["file_problems"]) == {"a.png", "b.png"}
    assert main(["status", str(project.folder), "--check"]) == LEFT_OUT
    out = capsys.readouterr().out
    assert "has changed since it was added" in out
    assert "events replay to the same state" in out


def test_status_check_finds_a_journal_that_does_not_fit(project: Project, capsys: Captured) -> None:
    decide(project, 1)
    with project.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE instance SET score = 0.25")
    line = complaint(capsys, "status", project.folder, "--check")
    assert "'instance' differs from the journal" in line


def test_models_are_listed_with_size_and_licence_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def fetch(*_: object, **__: object) -> Path:
        raise AssertionError("nobody asked for a download")

    monkeypatch.setattr(checkpoints, "download", fetch)
    code, value = answer(capsys, "models")
    assert code == DONE
    assert [row["name"] for row in value["models"]] == list(checkpoints.WEIGHTS)
    assert {row["is_here"] for row in value["models"]} == {False}
    assert all(row["megabytes"] > 1 and row["licence"] for row in value["models"])
    assert main(["models", "list"]) == DONE
    listed = capsys.readouterr().out
    assert all(name in listed for name in checkpoints.WEIGHTS)
    assert "choose from" in complaint(capsys, "models", "get", "sam_vit_z")
    line = complaint(capsys, "models", "get")
    assert "None" not in line
    assert all(name in line for name in checkpoints.WEIGHTS)


def test_models_get_tells_where_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    asked = []

    def fetch(name: str, *, progress: checkpoints.Progress) -> Path:
        asked.append(name)
        progress(1, 2)
        return tmp_path / name

    monkeypatch.setattr(checkpoints, "download", fetch)
    code, value = answer(capsys, "models", "get", "sam_vit_b")
    assert (code, value) == (DONE, {"name": "sam_vit_b", "path": str(tmp_path / "sam_vit_b")})
    assert asked == ["sam_vit_b"]


def test_the_sample_is_made_once_and_finished_if_it_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    few = {"chelsea.png": ("cat",), "coffee.png": ("cup",), "rocket.jpg": ()}
    monkeypatch.setattr("annotator.sample.TAGS", few)
    code, value = answer(capsys, "sample", tmp_path / "sample")
    assert (code, value) == (DONE, {"project": str(tmp_path / "sample")})
    _, status = answer(capsys, "status", tmp_path / "sample", "--check")
    assert (status["name"], status["photos"]["all"]) == ("Sample", 3)
    assert status["photos"]["todo"] == 3
    assert status["classes"] == ["cat", "cup"]
    assert answer(capsys, "sample", tmp_path / "sample")[0] == DONE
    _, after = answer(capsys, "status", tmp_path / "sample", "--check")
    assert after["events_replayed"] == status["events_replayed"]


def test_serve_on_a_port_that_is_taken_is_one_line(project: Project, capsys: Captured) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = complaint(capsys, "serve", project.folder, "--port", port, "--no-browser")
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "choose another --port or --host" in line


@pytest.mark.parametrize("flags", [["--port", "99999"], ["--port", "-1"], ["--host", "300.1.1.1"]])
def test_serve_at_an_impossible_address_is_one_line(
    project: Project, flags: list[str], capsys: Captured
) -> None:
    line = complaint(capsys, "serve", project.folder, "--no-browser", *flags)
    assert flags[1] in line

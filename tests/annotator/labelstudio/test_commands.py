"""`annotator labelstudio`: one line for what goes wrong, JSON where asked, the token nowhere."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from annotator.__main__ import DONE, ERROR, LEFT_OUT, main
from annotator.labelstudio import pull
from annotator.labelstudio.remote import Remote
from annotator.store import Project
from exports.label_studio_files import read_label_studio
from tests.annotator.labelstudio.conftest import proposed, store
from tests.annotator.labelstudio.fake_server import LEGACY, FakeLabelStudio
from tests.annotator.labelstudio.test_pull import submitted, take
from tests.annotator.labelstudio.test_push import send


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY)


def test_push_and_pull_answer_in_json(
    filled: Project, fake: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    for action, count in (("push", "sent"), ("pull", "tasks")):
        words = ["labelstudio", action, str(filled.folder), "--url", fake.url, "--json"]
        assert main([*words, "--project", "my birds"]) == DONE
        assert json.loads(capsys.readouterr().out)[count] == 4
    assert [one["title"] for one in fake.state.projects.values()] == ["my birds"]


def test_what_was_left_out_is_told_by_the_exit_code(
    filled: Project, fake: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    store(filled, 4, proposed(category=None))
    assert main(["labelstudio", "push", str(filled.folder), "--url", fake.url]) == LEFT_OUT
    assert "1 instances that have no class yet" in capsys.readouterr().out


def test_the_token_is_kept_nowhere(
    filled: Project, fake: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["labelstudio", "push", str(filled.folder), "--url", fake.url])
    answers = capsys.readouterr()
    assert LEGACY not in answers.out + answers.err
    for file in filled.folder.rglob("*"):
        assert not file.is_file() or LEGACY.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["push"], "--url"),
        (["push", "--url", "http://127.0.0.1:1"], "no Label Studio answers"),
        (["pull", "--url", "here"], "no address"),
        (["file"], "--out"),
        (
            ["push", "--url", "http://127.0.0.1:1", "--masks", "none", "--no-boxes"],
            "nothing to write",
        ),
    ],
)
def test_mistakes_are_one_line(
    filled: Project, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["labelstudio", words[0], str(filled.folder), *words[1:]]) == ERROR
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_an_export_may_go_to_a_server(
    filled: Project, fake: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(filled.folder), "labelstudio", "--url", fake.url, "--json"]
    assert main([*words, "--dry-run"]) == DONE
    assert json.loads(capsys.readouterr().out)["instances"] == 4
    assert fake.requests == []
    assert main([*words, "--class", "dog", "--project", "dogs"]) == DONE
    assert json.loads(capsys.readouterr().out)["sent"] == 4
    (project,) = fake.state.projects.values()
    assert project["title"] == "dogs"
    assert "cat" not in project["label_config"]
    results = [one for task in fake.tasks for one in task["annotations"] + task["predictions"]]
    assert len(results) == 3  # two proposals and a box, and nothing of the cat
    assert main([*words, "--class", "dog", "--project", "dogs", "--status", "curated"]) == DONE
    assert json.loads(capsys.readouterr().out)["updated"] == 2
    assert [one["predictions"] for one in fake.tasks] == [[]] * 4


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["coco", "--url", "http://127.0.0.1:1"], "only the format labelstudio"),
        (["labelstudio", "out", "--url", "http://127.0.0.1:1"], "leave out 'out'"),
        (["labelstudio", "--url", "http://127.0.0.1:1", "--photo-base", "x"], "--photos ADDRESS"),
        (["labelstudio", "out", "--photos", "local"], "--photos is about a server"),
        (["coco", "out", "--token", "secret"], "--token is about a server"),
        (["coco"], "say where to write"),
        (["labelstudio", "--url", "http://127.0.0.1:1"], "no Label Studio answers"),
    ],
)
def test_an_export_goes_to_a_file_or_to_a_server(
    filled: Project, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(filled.folder), *words]) == ERROR
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert "secret" not in error


def test_an_export_to_a_folder_comes_back_by_import(
    filled: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    words = ["export", str(filled.folder), "labelstudio", out, "--status", "all"]
    assert main([*words, "--masks", "bitmask", "--photo-base", "https://p.example/"]) == DONE
    assert "read back by label-studio-sdk: 4 photos, 4 instances" in capsys.readouterr().out
    assert "https://p.example/" in (tmp_path / "out" / "tasks-001.json").read_text()
    assert main(["import", str(filled.folder), "labelstudio", out, "--json"]) == DONE
    report = json.loads(capsys.readouterr().out)
    assert (report["instances"], report["added"], report["known"]) == (4, 0, 4)


def test_without_a_token_and_nobody_to_ask_it_says_so(
    filled: Project,
    fake: FakeLabelStudio,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    assert main(["labelstudio", "push", str(filled.folder), "--url", fake.url]) == ERROR
    assert "no token: set LABEL_STUDIO_API_KEY" in capsys.readouterr().err
    assert (
        main(["labelstudio", "push", str(filled.folder), "--url", fake.url, "--token", LEGACY])
        == DONE
    )


def test_an_untried_version_gets_a_note(
    filled: Project, fake: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.release = "2.0.0"
    assert main(["labelstudio", "push", str(filled.folder), "--url", fake.url]) == DONE
    assert "Label Studio 2.0.0" in capsys.readouterr().err


def test_files_for_an_import_by_hand_are_written_and_proven(
    filled: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["labelstudio", "file", str(filled.folder), "--out", str(out)]) == DONE
    assert "read back by label-studio-sdk: 4 photos, 4 instances" in capsys.readouterr().out
    assert len(read_label_studio(out).images) == 4
    report = json.loads((tmp_path / "out.report.json").read_text(encoding="utf-8"))
    assert (report["path"], report["instances"]) == (str(out), 4)


@pytest.mark.parametrize("command", ["labelstudio", "export"])
def test_what_was_imported_by_hand_is_known_to_push_and_pull(
    filled: Project, fake: FakeLabelStudio, remote: Remote, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    if command == "labelstudio":
        words = ["labelstudio", "file", str(filled.folder), "--out", str(out)]
    else:
        words = ["export", str(filled.folder), "labelstudio", str(out)]
        words += ["--status", "curated", "--status", "proposed"]
    assert main(words) == DONE
    there = remote.create_project("birds", (out / "label_config.xml").read_text(encoding="utf-8"))
    remote.import_tasks(there.id, (out / "tasks-001.json").read_bytes(), count=4)
    result = submitted(fake, "b.png")
    assert take(filled, remote).accepted == 1
    report = send(filled, remote)
    assert (report.sent, report.waiting, len(fake.tasks)) == (0, (), 4)
    assert fake.task_of("b.png")["annotations"][0]["result"] == result


def test_what_the_app_says_too_names_no_flags() -> None:
    """Its fields have other names; the modules that only the command line uses may name them."""
    folder = Path(inspect.getfile(pull)).parent
    shared = {file.stem: file for file in folder.glob("*.py")}
    for name in ("flags", "commands", "backend"):
        del shared[name]
    assert {"client", "push", "remote", "addresses", "reporting"} < shared.keys()
    for name, file in shared.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"(^|[ (])--[a-z]", node.value), (name, node.value)


def test_the_command_line_starts_without_httpx_and_the_sdk() -> None:
    code = "import sys, annotator.__main__; print([n for n in ('httpx', 'label_studio_sdk', "
    code += "'fastapi') if n in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"

"""Every command as a person types it: answers, exit codes, one line for every mistake."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotator import commands, runs
from annotator.__main__ import DONE, ERROR, INTERRUPTED, LEFT_OUT, build_parser, main
from annotator.assist import Assistant
from annotator.session import Context, ReviewSession
from annotator.store import DATABASE, Project
from annotator.workspace import Workspace
from engine import checkpoints
from engine.types import PERSON, Instance, LabeledImage, Status
from exports.coco import read_coco, write_coco
from tests.conftest import save_scene
from tests.fakes import SquareSegmenter, proposal

COMMANDS = ("new", "add", "suggest", "serve", "export", "evaluate", "status", "models", "sample")

Captured = pytest.CaptureFixture[str]


def answer(capsys: Captured, *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and the JSON that the command answers with."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    out = capsys.readouterr().out
    value: dict[str, Any] = json.loads(out, parse_constant=_no_constant) if out else {}
    return code, value


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def complaint(capsys: Captured, *words: object) -> str:
    """What a command that fails says: exactly one line on stderr, nothing on stdout."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("annotator: ")
    assert "Traceback" not in line
    return line


def decide(project: Project, image_id: int, *, status: Status | None = Status.ACCEPTED) -> int:
    """One proposal on a photo, as a run makes it, and a decision about it; its id."""
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="other", options={}, photos=[image_id])
    runs.record_photo(project, run_id, image_id, instances=[proposal((1, 1, 40, 30))], seconds=0.1)
    runs.finish(project, run_id, status=runs.DONE)
    with project.read() as view:
        number = view.instances(image_id)[-1].id
    assert number is not None
    if status is not None:
        assistant = Assistant(SquareSegmenter)
        ReviewSession(project, assistant).set_status(Context(image_id, "tester"), number, status)
        assistant.close()
    return number


# -- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == DONE
    text = capsys.readouterr().out
    example = re.search(rf"Example:  annotator ({command}\b.*)", text)
    assert example is not None
    # The example is a command line that the program understands.
    assert build_parser().parse_args(example[1].split()).command == command


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
    for number in range(commands.LISTED + 5):
        (photo_folder / f"{number:02}.jpg").write_bytes(b"no picture")
    assert main(["new", str(tmp_path / "home"), "--images", str(photo_folder)]) == LEFT_OUT
    out = capsys.readouterr().out
    assert out.count("refused ") == commands.LISTED
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


# -- suggest -------------------------------------------------------------------------------------


def test_suggest_proposes_once_and_again_when_told(project: Project, capsys: Captured) -> None:
    code, value = answer(capsys, "suggest", project.folder)
    assert code == DONE
    assert (value["status"], value["done"], value["total"]) == ("done", 4, 4)
    assert value["seconds_a_photo"] == pytest.approx(value["seconds"] / 4)
    assert value["seconds_a_photo"] > 0
    assert value["instances"] >= 4
    assert "nothing to do" in complaint(capsys, "suggest", project.folder)
    code, again = answer(capsys, "suggest", project.folder, "--again")
    assert (code, again["done"], again["instances"]) == (DONE, 4, value["instances"])
    assert again["id"] > value["id"]
    project.check_journal()


def test_suggest_tells_a_person_in_one_line(project: Project, capsys: Captured) -> None:
    assert main(["suggest", str(project.folder), "--quiet"]) == DONE
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"run 1 \(classical\) done: 4 of 4 photos, \d+ proposals, "
        r"\d+\.\d\d s a photo on one core, 0 problems",
        line,
    )


def test_option_flags_reach_the_stored_run(project: Project, capsys: Captured) -> None:
    flags = ["--working-side", "64", "--matching", "iou", "--tau-b", "0.3"]
    answer(capsys, "suggest", project.folder, *flags)
    with project.read() as view:
        (run,) = runs.all_runs(view)
        (source,) = {repr(one.source.options) for one in view.instances(1)}
    assert (run.options["working_side"], run.options["matching"], run.options["tau_b"]) == (
        64,
        "iou",
        0.3,
    )
    assert source == repr(run.options)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--tau-b", "7"], "tau_b must lie in [0, 1), got 7"),
        (["--working-side", "1"], "working_side must be at least 32"),
        (["--processes", "0"], "--processes must be at least 1, got 0"),
        (["--run", "99"], "no run number 99"),
        (["--run", "0"], "no run number 0"),
    ],
)
def test_a_bad_option_is_one_line_and_starts_no_run(
    project: Project, flags: list[str], says: str, capsys: Captured
) -> None:
    assert says in complaint(capsys, "suggest", project.folder, "--quiet", *flags)
    with project.read() as view:
        assert runs.all_runs(view) == []


def test_a_photo_without_proposals_is_told_and_changes_the_exit_code(
    project: Project, photo_folder: Path, capsys: Captured
) -> None:
    (photo_folder / "b.png").unlink()
    code, value = answer(capsys, "suggest", project.folder)
    assert code == LEFT_OUT
    assert list(value["problems"]) == ["b.png"]
    assert value["done"] == 4


# -- export and evaluate -------------------------------------------------------------------------


def test_export_writes_what_a_person_stands_behind_unless_told_otherwise(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    accepted = decide(project, 1)
    rejected = decide(project, 2, status=Status.REJECTED)
    proposed = decide(project, 3, status=None)
    out = tmp_path / "out.json"

    def written(*flags: str) -> set[int | None]:
        code, value = answer(capsys, "export", project.folder, "coco", out, *flags)
        assert code == DONE
        assert value["verified"]["ok"] is True
        found = {one.id for image in read_coco(out).images for one in image.instances}
        assert value["instances"] == len(found)
        return found

    assert written() == {accepted}
    assert written("--status", "all") == {accepted, proposed}
    assert written("--status", "rejected") == {rejected}
    assert written("--status", "rejected", "--status", "curated") == {accepted, rejected}


def test_export_tells_that_it_was_verified(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    assert main(["export", str(project.folder), "coco", str(tmp_path / "out.json")]) == DONE
    out = capsys.readouterr().out
    assert "1 instances on 1 of 4 photos" in out
    assert "read back: " in out


def test_objects_without_a_class_are_left_out_and_change_the_exit_code(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    with project.write() as transaction:
        run_id = runs.start(transaction, pipeline="other", options={}, photos=[1])
    found = [proposal((1, 1, 40, 30)), proposal((50, 1, 90, 30), category=None)]
    runs.record_photo(project, run_id, 1, instances=found, seconds=0.1)
    out = tmp_path / "out.json"
    code, value = answer(capsys, "export", project.folder, "coco", out, "--status", "proposed")
    assert (code, value["instances"], value["unclassed"]) == (LEFT_OUT, 1, 1)


@pytest.mark.parametrize("place", ["", "nowhere/out.json"])
def test_a_place_that_cannot_be_written_is_one_line(
    project: Project, tmp_path: Path, place: str, capsys: Captured
) -> None:
    line = complaint(capsys, "export", project.folder, "coco", tmp_path / place)
    assert "cannot write" in line


def write_truth(project: Project, path: Path) -> None:
    """The accepted boxes of photos 1 and 2 as the truth, one in each split."""
    with project.read() as view:
        images = [one for one in view.labeled() if one.instances]
        categories = list(view.category_names().items())
    split = [replace(one, split=name) for one, name in zip(images, ["train", "val"], strict=True)]
    write_coco(path, split, categories=categories, date_created="2026-01-01")


def test_evaluate_compares_with_the_truth_and_with_doing_nothing(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    decide(project, 2)
    truth = tmp_path / "truth.json"
    write_truth(project, truth)
    code, value = answer(capsys, "evaluate", project.folder, "--truth", truth)
    assert (code, value["photos"], value["photos_missing"]) == (DONE, 2, 0)
    assert value["ours"]["mean_box_iou"] == pytest.approx(1.0)
    # The boxes are 39x29 of 120x90 pixels: a box of the whole photo scores their share.
    assert value["whole_photo"]["mean_box_iou"] == pytest.approx(39 * 29 / (120 * 90))
    code, value = answer(capsys, "evaluate", project.folder, "--truth", truth, "--split", "val")
    assert (code, value["photos"]) == (DONE, 1)
    assert main(["evaluate", str(project.folder), "--truth", str(truth)]) == DONE
    table = capsys.readouterr().out
    assert "whole photo" in table
    assert "box IoU ≥ 0.5" in table


def test_evaluate_of_proposals_that_cover_nothing_scores_nothing(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    decide(project, 2)
    truth = tmp_path / "truth.json"
    write_truth(project, truth)
    code, value = answer(
        capsys, "evaluate", project.folder, "--truth", truth, "--status", "rejected"
    )
    assert code == DONE
    assert value["pairs_without_prediction"] == value["pairs"] == 2


def test_an_unknown_split_names_those_that_there_are(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    decide(project, 2)
    truth = tmp_path / "truth.json"
    write_truth(project, truth)
    line = complaint(capsys, "evaluate", project.folder, "--truth", truth, "--split", "test")
    assert "no photo of split 'test'; it has train, val" in line


def test_truth_of_other_photos_is_refused_or_counted(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    cat = Instance(box=(1, 1, 9, 9), category="cat", status=Status.DRAWN, source=PERSON)
    elsewhere = LabeledImage(id=1, file_name="z.png", width=9, height=9, instances=(cat,))
    truth = tmp_path / "truth.json"
    write_coco(truth, [elsewhere], categories=[(1, "cat")], date_created="2026-01-01")
    line = complaint(capsys, "evaluate", project.folder, "--truth", truth)
    assert "the first is 'z.png'" in line
    here = replace(elsewhere, id=2, file_name="a.png", width=120, height=90, instances=())
    both = [elsewhere, replace(here, instances=(cat,))]
    write_coco(truth, both, categories=[(1, "cat")], date_created="2026-01-01")
    code, value = answer(capsys, "evaluate", project.folder, "--truth", truth)
    assert (code, value["photos_missing"]) == (LEFT_OUT, 1)
    write_coco(
        truth, [replace(here, width=121)], categories=[(1, "cat")], date_created="2026-01-01"
    )
    line = complaint(capsys, "evaluate", project.folder, "--truth", truth)
    assert "120x90 here and 121x90 in the truth" in line


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
    for name in checkpoints.WEIGHTS:
        assert name in capsys.readouterr().out or name != next(iter(checkpoints.WEIGHTS))
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
    assert "choose another --port" in line


@pytest.mark.parametrize("flags", [["--port", "99999"], ["--port", "-1"], ["--host", "300.1.1.1"]])
def test_serve_at_an_impossible_address_is_one_line(
    project: Project, flags: list[str], capsys: Captured
) -> None:
    line = complaint(capsys, "serve", project.folder, "--no-browser", *flags)
    assert flags[1] in line

"""Proposals, exports and comparisons with the truth, as commands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from annotator import runs
from annotator.__main__ import DONE, LEFT_OUT, main
from annotator.store import Project
from engine.types import PERSON, Instance, LabeledImage, Status
from exports.coco import read_coco, write_coco
from tests.annotator.command_line import Captured, answer, complaint, decide
from tests.fakes import proposal

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


@pytest.mark.parametrize("quiet", [False, True])
def test_where_somebody_looks_export_shows_a_bar_for_each_step(
    project: Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    quiet: bool,
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes the captured stderr for a terminal
    out = tmp_path / "out"
    main(["export", str(project.folder), "voc", str(out), *["--quiet"] * quiet])
    shown = capsys.readouterr().err
    # It ends with its last step; the one before may have been too short to be seen.
    assert ("comparing" in shown) != quiet
    assert ("4/4" in shown) != quiet


def test_export_tells_that_it_was_verified(
    project: Project, tmp_path: Path, capsys: Captured
) -> None:
    decide(project, 1)
    assert main(["export", str(project.folder), "coco", str(tmp_path / "out.json")]) == DONE
    out = capsys.readouterr().out
    assert "1 instances on 1 of 4 photos" in out
    assert "read back by pycocotools: " in out


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

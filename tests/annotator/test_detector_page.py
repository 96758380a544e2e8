"""What the Train page shows of detectors, without a browser; and what its samples give away."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from annotator import (
    detector_material,
    estimates,
    holdback,
    judgements,
    models,
    promotion,
    trainer,
    training,
)
from annotator import training_files as files
from annotator.judgements import Judging
from annotator.judging import Figure, Judgement
from annotator.store import Project
from annotator.training import Trainings
from annotator.training_log import TrainingLog
from annotator.ui import render_detector, render_training
from annotator.ui.detector_form import DetectorForm
from annotator.ui.server import build_app
from annotator.ui.training_looks import TrainingLooks, sample_path
from annotator.workspace import Workspace, key_of
from engine.detectors import build
from engine.detectors.saved import read_card, save_detector
from engine.errors import JobError
from engine.types import Status
from tests.annotator.reviewed import put, reviewed_project, sorted_photos
from tests.annotator.trainers import (
    FAKE_DETECTOR_TRAINER,
    PATIENCE,
    begin_detector,
    wait_for_end,
)


@pytest.fixture
def hens(tmp_path: Path) -> Iterator[Project]:
    """Twelve reviewed photos of a class that wants to be markup."""
    project = reviewed_project(tmp_path, photos=12, classes=("egg", "<b>hen"))
    yield project
    project.close()


@pytest.fixture
def looks(hens: Project, tmp_path: Path) -> Iterator[TrainingLooks]:
    workspace = Workspace(tmp_path / "state")
    workspace.remember(hens.folder)
    yield TrainingLooks(workspace)
    workspace.close()


def judged(**changes: object) -> Judgement:
    half = Figure(0.5, 0.4, 0.6)
    fields: dict[str, object] = {
        "candidate": "<new>",
        "present": "",
        "fingerprint": "",
        "photos": 12,
        "objects": 30,
        "left_out": 0,
        "figures": {"ap50": half, "ap": half, "corloc": half},
        "present_figures": {},
        "differences": {},
        "per_class": {},
        "present_per_class": {},
        "is_better": True,
        "reason": "it is better",
        "seconds": 1.0,
    }
    return Judgement(**{**fields, **changes})  # type: ignore[arg-type]


# -- before the start ------------------------------------------------------------------------------


def test_readiness_counts_what_trains_and_what_judges(hens: Project) -> None:
    train, held_back = sorted_photos(hens)
    put(hens, train[0], status=Status.REJECTED)
    put(hens, held_back[0], status=Status.PROPOSED, score=0.4)
    with hens.read() as view:
        found = detector_material.material(view)
        shown = render_detector.readiness(found, share=holdback.share_of(view))
    assert f"{len(train)} objects on {len(train)} photos to learn from" in shown
    assert f"{len(held_back) - 1} photo" in shown
    assert "1 rejected object taught as what it is not" in shown
    assert "1 more is not reviewed in full yet" in shown
    assert "20% of all photos are held back" in shown
    assert "it takes about 10 for a judgement that holds" in shown
    assert "Fewer than 10 objects, hardly learned" in shown
    assert "&lt;b&gt;hen" in shown
    assert "<b>hen" not in shown


def test_what_stands_in_the_way_is_said_instead_of_small_classes(tmp_path: Path) -> None:
    empty = reviewed_project(tmp_path, photos=1)
    with empty.write() as transaction:
        holdback.set_share(transaction, 0.0)
    with empty.read() as view:
        shown = render_detector.readiness(detector_material.material(view), share=0.0)
    assert "it takes at least 2: review more photos." in shown
    assert "hardly learned" not in shown
    empty.close()


@pytest.mark.parametrize(
    ("weights", "said"),
    [("none", "from nothing"), ("backbone", "seen ImageNet"), ("coco", "everyday things")],
)
def test_a_preset_promises_what_its_start_allows(weights: str, said: str) -> None:
    recipe = {"epochs": 60, "least_steps": 3000, "batch": 8}
    network = {"backbone": "resnet18", "min_size": 320, "weights": weights}
    shown = render_detector.preset_facts({"recipe": recipe, "network": network})
    assert "60 epochs, at least 3000 steps, 8 photos a step, resnet18, photos at 320 px" in shown
    assert said in shown
    assert render_detector.preset_facts(None) == ""


# -- while it runs ---------------------------------------------------------------------------------


def test_classes_stand_in_a_table_worst_first() -> None:
    shown = render_detector.class_table({"egg": 0.75, "<b>hen": 0.25}, {"egg": 30})
    assert shown.index("&lt;b&gt;hen") < shown.index("egg</td><td>30</td>")
    assert "75.0%" in shown
    assert render_detector.class_table({}, {}) == ""
    assert "AP50 where it learned" in render_detector.class_table({"a": 1.0}, {}, is_of_taught=True)


def test_the_log_of_a_detector_gives_its_curves(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        '{"event": "start", "steps": 20, "step": 0, "epochs": 2}\n'
        '{"event": "step", "step": 1, "loss": 2.0, "terms": {"classifier": 1.0, "box": 0.5,'
        ' "objectness": 0.2, "rpn_box": 0.2, "mask": 0.1}, "dropped": {"fg": 0.1, "bg": null}}\n'
        '{"event": "step", "step": 2, "loss": 1.0, "terms": {"classifier": 1.0},'
        ' "dropped": {"fg": 0.2, "bg": 0.05}}\n'
        '{"event": "validation", "step": 2, "metrics": {"ap": 0.2, "ap50": 0.4,'
        ' "per_class": {"egg": 0.4, "hen": null}}}\n'
    )
    log = TrainingLog(tmp_path / "log.jsonl").refresh()
    assert log.class_figures == {"egg": 0.4}
    assert log.metrics == {"ap": 0.2, "ap50": 0.4}
    shown = render_training.curves(log, area_prior=None)
    for name in ("classifier", "rpn_box", "mask", "Regions left out", "AP50", "Held-out photos"):
        assert name in shown
    assert "Coarse map" not in shown
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "validation", "step": 4, "of": "training", "metrics": {"ap50": 1}}\n')
    log.refresh()
    assert log.metrics == {}  # nothing is known of other photos
    assert "Photos that train, as there are none to spare" in render_training.curves(
        log, area_prior=None
    )
    assert shown.count("t2-line-6") > 0  # every term has a colour of its own


@pytest.mark.usefixtures("fake_trainer")
def test_samples_are_shown_and_nothing_else_is_handed_out(
    hens: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(hens)
    found = wait_for_end(trainings, begin_detector(trainings, epochs=1))
    monkeypatch.setattr(judgements, "see_to", lambda project, trainings: None)
    workspace = Workspace(tmp_path / "state")
    key = workspace.remember(hens.folder)
    detail = TrainingLooks(workspace).look(key, None).parts["detail"]
    names = sorted(path.name for path in (found.folder / files.SAMPLES).iterdir())
    assert names
    assert all(f'src="sample/{key}/1/{name}?v=' in detail for name in names)
    (found.folder / files.SAMPLES / "notes.txt").write_text("private")

    async def build() -> FastAPI:
        return build_app(workspace, actor="tester")

    with TestClient(asyncio.run(build()), base_url="http://127.0.0.1:7860") as client:
        answer = client.get(f"/sample/{key}/1/{names[0]}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        others = ("notes.txt", "..%2Flog.jsonl", "..%2F..%2F..%2Fproject.sqlite", "no.jpg")
        for name in others:
            assert client.get(f"/sample/{key}/1/{name}").status_code == 404
        assert client.get(f"/sample/{key}/2/{names[0]}").status_code == 404
        assert client.get(f"/sample/{key_of(tmp_path)}/1/{names[0]}").status_code == 404
    assert sample_path(hens, 1, "../request.json") is None
    workspace.close()


# -- what it is worth ------------------------------------------------------------------------------


def test_a_judgement_names_both_and_how_sure_it_is() -> None:
    figures = {"ap50": Figure(0.6, 0.55, 0.7)}
    found = judged(
        present="old",
        present_figures=figures,
        differences={"ap50": Figure(-0.1, -0.2, 0.0)},
        photos=3,
        left_out=2,
    )
    shown = render_detector.judgement(
        Judging("<new>", training.DONE, "", 3, 3, found), in_use="old"
    )
    assert "&lt;new&gt; against old" in shown
    assert "<new>" not in shown
    assert "50.0%</b> <i>(40.0% … 60.0%)" in shown
    assert "-10.0%</b> <i>(-20.0% … +0.0%)" in shown
    assert "2 photos left out" in shown
    assert "3 photos with objects judge, and it takes about 10" in shown
    assert "now in use" not in shown


def test_a_judgement_that_runs_failed_or_was_killed_says_so() -> None:
    running = Judging("new", training.RUNNING, "", 4, 16, None)
    assert 'aria-valuenow="25"' in render_detector.judgement(running, in_use="")
    failed = Judging("new", training.FAILED, "no photo is held <back>", 0, 0, None)
    assert "No photo is held &lt;back&gt;." in render_detector.judgement(failed, in_use="")
    done = Judging("<new>", training.DONE, "", 1, 1, judged())
    assert "now in use" in render_detector.judgement(done, in_use="<new>")
    assert render_detector.judgement(None, in_use="") == ""


@pytest.mark.usefixtures("fake_trainer")
def test_a_finished_detector_is_judged_once_in_a_process_whoever_looks(
    hens: Project, looks: TrainingLooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hens.write() as transaction:
        holdback.set_share(transaction, 0.0)  # nobody can judge, so no network is loaded
    trainings = Trainings(hens)
    wait_for_end(trainings, begin_detector(trainings, epochs=1))
    held, python = tmp_path / "held", tmp_path / "python"
    held.touch()
    wait = f"while [ -e {shlex.quote(str(held))} ]; do sleep 0.05; done"
    python.write_text(f'#!/bin/sh\n{wait}\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    key = key_of(hens.folder)
    seen = looks.look(key, None)
    assert seen.is_busy
    note = files.read_note(judgements.folder_of(hens, "maskrcnn-1"), files.PROCESS)
    with pytest.raises(JobError, match="is being judged already"):
        judgements.start(hens, "maskrcnn-1", by_rule=False)
    held.unlink()
    deadline = time.monotonic() + PATIENCE
    while (seen := looks.look(key, None)).is_busy:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert seen.judging is not None
    assert seen.judging.status == training.FAILED
    assert "hold back a larger share" in seen.parts["judgement"]
    assert (seen.in_use, seen.before) == ("", None)
    folder = judgements.folder_of(hens, "maskrcnn-1")
    assert files.read_note(folder, files.PROCESS)["process"] == note["process"]  # not again


@pytest.mark.usefixtures("fake_trainer")
def test_a_judging_that_was_killed_is_shown_as_interrupted(hens: Project) -> None:
    trainings = Trainings(hens)
    wait_for_end(trainings, begin_detector(trainings, epochs=1))
    folder = judgements.folder_of(hens, "maskrcnn-1")
    folder.mkdir(parents=True)
    gone = {"process": 2**22 + 1, "identity": "nobody", "at": "2999", "output_offset": 0}
    files.write_note(folder, files.PROCESS, gone)
    found = judgements.look(hens, "maskrcnn-1")
    assert found is not None
    assert (found.status, found.message) == (training.INTERRUPTED, "the process is gone")
    assert "is not judged" in render_detector.judgement(found, in_use="")


@pytest.mark.slow
@pytest.mark.usefixtures("fake_trainer")
def test_real_networks_judge_in_a_process_of_their_own_and_the_rule_decides(
    hens: Project, looks: TrainingLooks
) -> None:
    trainings = Trainings(hens)
    wait_for_end(trainings, begin_detector(trainings, epochs=1, model="fasterrcnn"))
    path = models.path_of(hens, "fasterrcnn-1")
    card = read_card(path)
    network = build(card.arch, num_classes=len(card.classes), **card.options)
    save_detector(path, network, card)
    key, deadline = key_of(hens.folder), time.monotonic() + 500  # it steps back behind others
    while (seen := looks.look(key, None)).is_busy:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert seen.judging is not None
    assert seen.judging.judgement is not None, seen.judging
    found = seen.judging.judgement
    assert found.photos == len(sorted_photos(hens)[1])
    with hens.read() as view:
        assert promotion.current(view) == ("fasterrcnn-1" if found.is_better else "")


# -- the estimate ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("fake_trainer")
def test_the_form_asks_for_the_time_once_and_anew_when_a_setting_changes(
    hens: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = tmp_path / "go-on"  # once for each estimate
    gated = f"{FAKE_DETECTOR_TRAINER} --answer-at {shlex.quote(str(go_on))}"
    monkeypatch.setenv(trainer.DETECTOR_TRAINER, gated)
    monkeypatch.setattr(estimates, "FORGOTTEN_SECONDS", PATIENCE)  # however slowly this test asks

    async def build() -> DetectorForm:
        # In a running loop, because Gradio would make one and leave it open.
        with gr.Blocks():
            return DetectorForm()

    form = asyncio.run(build())
    values = ["maskrcnn", "small", "3", "", False, 0.8, False, "", "", "as the preset says", ""]
    text, is_pending = form.look_at_estimate(hens, values)
    assert is_pending
    assert "Timing a few steps" in text
    under_way = form._timed[str(hens.folder)]
    put(hens, sorted_photos(hens)[0][0])  # somebody goes on reviewing
    form.look_at_estimate(hens, values)
    assert form._timed[str(hens.folder)] is under_way
    go_on.touch()
    deadline = time.monotonic() + PATIENCE
    while is_pending:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        text, is_pending = form.look_at_estimate(hens, values)
    assert "about 12 min</strong>: 30 steps" in text
    text, is_pending = form.look_at_estimate(hens, values)
    assert is_pending  # of the objects that there are by now
    go_on.touch()
    while is_pending:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        text, is_pending = form.look_at_estimate(hens, values)
    monkeypatch.setenv(trainer.DETECTOR_TRAINER, "no-such-program-anywhere")
    assert form.look_at_estimate(hens, values) == (text, False)  # nobody is asked again
    values[2] = "4"
    text, is_pending = form.look_at_estimate(hens, values)
    assert not is_pending
    assert "No estimate: the trainer cannot start" in text
    values[2] = "many"
    assert form.look_at_estimate(hens, values) == ("", False)
    form.leave(hens)

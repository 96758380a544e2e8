"""The bench of localizers: all of it once in tiny, and its measures on maps and masks made up."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic import SceneOptions, make_scene
from benchmarks.wsol import published
from benchmarks.wsol.__main__ import bench
from benchmarks.wsol.answers import Answers
from benchmarks.wsol.choosing import BEST_MASK, TRUE_MAP, chosen_masks
from benchmarks.wsol.measures import chosen_threshold, measure_maps, measure_masks
from benchmarks.wsol.photo_sets import TruePhoto
from benchmarks.wsol.plan import QUICK, RATIOS, RUNS, TOKENS, Run, network_of, recipe_of
from engine import matching
from engine.geometry import mask_to_box
from training.settings import settings_for

TINY = dataclasses.replace(
    QUICK, photos=40, classes=2, photo_size=32, starting_photos=32, embed_dim=8, dear_photos=3
)
FEW = RUNS[:4]


@pytest.fixture(scope="module")
def photos() -> list[TruePhoto]:
    made = []
    options = SceneOptions(classes=6, size=64, occlusion=0.0, clutter=0)
    for number in range(12):
        scene = make_scene(options, seed=(4, number), category=number % 6)
        mask = scene.objects[0][1]
        box = mask_to_box(mask)
        assert box is not None
        made.append(TruePhoto(scene.image, number % 6, box, mask))
    return made


def answers_with(maps: list[np.ndarray], photos: list[TruePhoto], *, right: int) -> Answers:
    """Class scores that are right on the first ``right`` photos, and last on the others."""
    scores = np.zeros((len(photos), 6), dtype=np.float32)
    for number, photo in enumerate(photos):
        scores[number, photo.true_class] = 1.0 if number < right else -1.0
    return Answers(scores, np.array(maps, dtype=np.float32), None)


# --------------------------------------------------------------------------------- the plan


def test_every_table_is_trained_for() -> None:
    names = [run.name for run in RUNS]
    assert len(set(names)) == len(names) == 11
    assert {*RATIOS.values(), *TOKENS.values()} < set(names)
    assert set(RATIOS) == set(published.TABLE_4)
    assert set(TOKENS) == set(published.TABLE_5)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_asks_only_for_options_that_exist(run: Run) -> None:
    settings = settings_for(
        run.model,
        "small",
        photos=Path(),
        tags=Path(),
        out=Path(),
        recipe=recipe_of(QUICK, run),
        network=network_of(QUICK, run),
    )
    assert settings.recipe.epochs == QUICK.epochs
    assert settings.network["image_size"] == QUICK.image_size


def test_published_rows_are_the_papers() -> None:
    # Pro2SAM's masks have one box at any threshold: table 1's GT-Known is table 2's IoU 50.
    for place in (0, 1):
        assert published.TABLE_1["Pro2SAM"][place][2] == published.TABLE_2["Pro2SAM"][place][0]
    assert published.TABLE_3["GTFormer"] == published.TABLE_4["1:0.5"]
    assert published.TABLE_5["4"][::2] == published.TABLE_3["GTFormer"]


# ------------------------------------------------------------------------------- the measures


def test_the_true_mask_as_map_finds_every_object(photos: list[TruePhoto]) -> None:
    answers = answers_with([photo.mask.astype(float) for photo in photos], photos, right=9)
    found = measure_maps(answers, photos, threshold=0.5)
    assert found.gt_known == 100.0
    assert found.top1 == found.top1_loc == 75.0
    assert found.top5 == found.top5_loc == 75.0
    assert found.max_box_acc[70] == 100.0
    assert found.pxap > 90.0


def test_the_true_masks_score_as_well_as_they_are(photos: list[TruePhoto]) -> None:
    answers = answers_with([photo.mask for photo in photos], photos, right=6)
    found = measure_masks(answers.scores, [photo.mask for photo in photos], photos)
    assert found.box_acc == {50: 100.0, 60: 100.0, 70: 100.0, 80: 100.0, 90: 100.0}
    assert found.pxap == pytest.approx(100.0)
    assert found.top1_loc == 50.0


def test_the_whole_photo_finds_only_what_fills_it(photos: list[TruePhoto]) -> None:
    everything = [np.ones_like(photo.mask) for photo in photos]
    answers = answers_with([photo.mask for photo in photos], photos, right=12)
    found = measure_masks(answers.scores, everything, photos)
    large = [(photo.box[2] - photo.box[0]) * (photo.box[3] - photo.box[1]) for photo in photos]
    share = 100 * np.mean(np.array(large) / 64**2 >= 0.5)
    assert found.gt_known == pytest.approx(share, abs=9)
    assert found.box_acc[90] == 0.0


def test_a_threshold_is_chosen_where_most_are_found(photos: list[TruePhoto]) -> None:
    # 0.6 on the object and 0.3 on everything else but one corner: right from 0.3 to 0.6.
    maps = [np.where(photo.mask, 0.6, 0.3) for photo in photos]
    for values in maps:
        values[0, 0], values[0, 1] = 0.0, 0.0
    threshold = chosen_threshold(answers_with(maps, photos, right=12), photos)
    assert 0.45 <= threshold < 1.0


# --------------------------------------------------------------------------------- the masks


def test_each_rule_answers_for_each_photo_and_a_faultless_map_is_the_best(
    photos: list[TruePhoto],
) -> None:
    perfect = np.array([matching.coverage(photo.mask, 8) for photo in photos])
    rules = {"true": ("mask", "mask, areas (ours)"), "empty": ("mask", "bbox")}
    maps = {"true": perfect, "empty": np.zeros_like(perfect)}
    chosen = chosen_masks(maps, photos[:4], rules_of=rules, dear_photos=2)
    assert set(chosen) == {
        *("true / mask", "true / mask, areas (ours)", "empty / mask", "empty / bbox"),
        *(TRUE_MAP, BEST_MASK),
    }
    assert {name for name, masks in chosen.items() if len(masks) == 2} == {"empty / bbox"}
    assert {len(masks) for masks in chosen.values()} == {2, 4}
    for one, other in zip(chosen["true / mask, areas (ours)"], chosen[TRUE_MAP], strict=True):
        assert np.array_equal(one, other)


# --------------------------------------------------------------------------------- all of it


def test_the_bench_trains_once_and_writes_every_table(tmp_path: Path) -> None:
    text = bench(tmp_path, TINY, runs=FEW)
    assert (tmp_path / "tables.md").read_text("utf-8") == text
    assert "results are of 6 others" in text
    for number in range(1, 7):
        assert f"### Table {number}." in text
    assert "66.8 / 75.9 / 77.8" in text  # Pro2SAM's, beside ours
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert set(results["training"]) == {run.name for run in FEW}
    checkpoints = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert len(checkpoints) == len(FEW)
    shutil.rmtree(tmp_path / "sat")
    assert bench(tmp_path, TINY, runs=FEW) == text
    changed = [path for path, was in checkpoints.items() if path.stat().st_mtime_ns != was]
    assert [path.parent.name for path in changed] == ["sat"]


def test_a_folder_of_another_budget_is_refused(tmp_path: Path) -> None:
    (tmp_path / "budget.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="another budget"):
        bench(tmp_path, TINY)

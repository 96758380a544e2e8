"""Fitting the judge: made-up photos in, weights and a report out; the regression by itself."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.fit_judge import Judged, fit, shares, write
from engine.geometry import mask_to_box
from engine.judging import CUES
from tests.engine.scenes import on_texture

ROOT = Path(__file__).parent.parent


@pytest.fixture
def photo_set(tmp_path: Path) -> Path:
    """Two photos with an object to fit on, one of another split, and their truth."""
    folder = tmp_path / "made_up"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for seed, split in enumerate(["train", "train", "val"], start=1):
        pixels, mask = on_texture(seed=seed, height=48, width=64)
        Image.fromarray(pixels).save(folder / "images" / f"{seed}.png")
        box = mask_to_box(mask)
        assert box is not None
        x0, y0, x1, y1 = box
        image = {"id": seed, "file_name": f"{seed}.png", "width": 64, "height": 48, "split": split}
        images.append(image)
        annotations.append(
            {
                "id": seed,
                "image_id": seed,
                "category_id": 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "segmentation": [],
                "iscrowd": 0,
            }
        )
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "pot"}],
    }
    (folder / "annotations.json").write_text(json.dumps(truth), encoding="utf-8")
    return folder


def made_up(*, photos: int, seed: int) -> list[Judged]:
    """Candidates whose IoU is a line of their first cue; the other cues are noise."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(photos):
        cues = generator.normal(0.0, [1.0, 5.0, 0.1], (12, 3))
        found.append(Judged(cues, np.clip(0.5 + 0.1 * cues[:, 0], 0.0, 1.0)))
    return found


def test_a_photo_set_gives_a_report_and_a_file_of_weights_that_fit_the_cues(
    photo_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "weights.py"
    command = [sys.executable, "-m", "benchmarks.fit_judge", str(photo_set), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("made_up")
    # Easy photos: among the candidates of each is one that is nearly the object.
    assert line.split("best ")[1].split()[:2] == ["1.000", "1.000"]
    values = runpy.run_path(str(out))
    assert len(values["MEANS"]) == len(values["SCALES"]) == len(values["WEIGHTS"]) - 1 == len(CUES)
    assert (values["SCALES"] > 0).all()
    assert np.isfinite(values["WEIGHTS"]).all()
    assert "made_up" in out.read_text(encoding="utf-8")


def test_the_regression_finds_the_cue_that_matters() -> None:
    sets = [made_up(photos=20, seed=0), made_up(photos=5, seed=1)]
    means, scales, weights = fit(sets)
    assert means.shape == scales.shape == (3,)
    slopes = weights[:-1] / scales
    assert slopes == pytest.approx([0.1, 0.0, 0.0], abs=0.005)
    assert weights[-1] == pytest.approx(0.5, abs=0.02)
    chosen, best = (shares(sets[0], model).split() for model in ((means, scales, weights), None))
    assert chosen == best


def test_every_set_weighs_the_same_however_many_photos_it_has() -> None:
    low, high = made_up(photos=30, seed=0), made_up(photos=2, seed=1)
    low = [Judged(one.cues, np.zeros(12)) for one in low]
    high = [Judged(one.cues, np.ones(12)) for one in high]
    means, _, weights = fit([low, high])
    expected = [np.concatenate([one.cues for one in part]).mean(axis=0) for part in (low, high)]
    assert means == pytest.approx((expected[0] + expected[1]) / 2)
    assert weights[-1] == pytest.approx(0.5)


def test_a_cue_that_is_always_the_same_does_no_harm() -> None:
    sets = [[Judged(np.c_[one.cues, np.ones(12)], one.ious) for one in made_up(photos=5, seed=0)]]
    _, scales, weights = fit(sets)
    assert scales[-1] > 0
    assert np.isfinite(weights).all()


def test_the_weights_file_says_the_same_numbers_and_passes_the_linter(tmp_path: Path) -> None:
    out = tmp_path / "judge_weights.py"
    model = (np.array([0.5, -14105.25]), np.array([1e-6, 2.0]), np.array([0.1, 1 / 3, -2e-7]))
    write(out, model, [f"some_photo_set_{index}" for index in range(5)])
    values = runpy.run_path(str(out))
    for name, expected in zip(("MEANS", "SCALES", "WEIGHTS"), model, strict=True):
        assert values[name] == pytest.approx(expected, rel=1e-5)
    assert max(map(len, out.read_text(encoding="utf-8").splitlines())) <= 100

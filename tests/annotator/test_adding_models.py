"""Weights that were trained elsewhere, brought into a project by `annotator models add`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch import Tensor

from annotator import models
from annotator.store import Project
from engine.classifiers import build_classifier, load_classifier
from engine.localizers import build
from engine.localizers.predictor import Localizer
from tests.annotator.command_line import Captured, answer, complaint

VIT: dict[str, Any] = {"embed_dim": 64, "depth": 3, "heads": 1, "image_size": 32, "patch_size": 8}
SMALL_CLASSIFIER = "test_efficientnet"
BIRDS = "Kohlmeise\n  jay \n\ncrow\n"


def published_gtformer(path: Path) -> dict[str, Tensor]:
    """As training on several GPUs leaves it, under the names of the published code."""
    torch.manual_seed(0)
    network = build("gtformer", num_classes=3, proj_mode="reference", **VIT)
    weights = {}
    for name, value in network.state_dict().items():
        name = "weight" if name == "kernel" else name
        name = name.replace("global_projections.", "patch_merging.proj")
        weights[f"module.{name}"] = value
    torch.save({"state_dict": weights}, path)
    return weights


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "birds.txt"
    path.write_text(BIRDS, encoding="utf-8")
    return path


def test_a_published_checkpoint_becomes_a_model_that_proposals_can_use(
    project: Project, tmp_path: Path, names: Path, capsys: Captured
) -> None:
    published_gtformer(tmp_path / "official.pth")
    code, value = answer(
        capsys, "models", "add", tmp_path / "official.pth", "--project", project.folder,
        "--arch", "gtformer", "--classes", names,
    )  # fmt: skip
    assert (code, value["name"], value["what"]) == (0, "official", "localizer")
    assert tuple(value["card"]["classes"]) == ("Kohlmeise", "jay", "crow")
    assert value["card"]["training"] == {"published": "official.pth"}
    look = Localizer.load(Path(value["path"])).look(np.zeros((40, 30, 3), np.uint8))
    assert look.coarse is not None
    code, value = answer(capsys, "suggest", project.folder, "--pipeline", "pro2sam:official")
    assert (code, value["problems"]) == (0, {})


def test_a_classifier_of_timm_names_photos_without_tags(
    project: Project, tmp_path: Path, names: Path, capsys: Captured
) -> None:
    torch.manual_seed(1)
    trained = build_classifier(["a", "b", "c"], arch=SMALL_CLASSIFIER)
    photo = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    lines = ["Kohlmeise", "jay", "crow"]
    seen = int(np.argmax(trained.probabilities(photo)))
    lines[seen] = "dog"  # which the project knows
    names.write_text("\n".join(lines), encoding="utf-8")
    torch.save(trained.network.state_dict(), tmp_path / "b7.pth")
    code, value = answer(
        capsys, "models", "add", tmp_path / "b7.pth", "--project", project.folder,
        "--arch", SMALL_CLASSIFIER, "--classes", names, "--name", "birds",
    )  # fmt: skip
    assert (code, value["what"], value["card"]["classes"][0]) == (0, "classifier", lines[0])
    loaded = load_classifier(models.path_of(project, "birds"))
    assert np.array_equal(loaded.probabilities(photo), trained.probabilities(photo))
    bare = tmp_path / "untagged"
    bare.mkdir()
    PillowImage.fromarray(photo).save(bare / "one.png")
    answer(capsys, "add", project.folder, "--images", bare)
    published_gtformer(tmp_path / "official.pth")
    answer(
        capsys, "models", "add", tmp_path / "official.pth", "--project", project.folder,
        "--arch", "gtformer", "--classes", names,
    )  # fmt: skip
    code, _ = answer(
        capsys, "suggest", project.folder, "--pipeline", "pro2sam", "--classifier", "birds"
    )
    assert code == 0
    with project.read() as view:
        (number,) = (one.id for one in view.photos() if one.file_name == "one.png")
        assert {one.category for one in view.instances(number)} == {"dog"}


def test_a_model_of_another_project_is_copied_as_it_is(
    project: Project, tmp_path: Path, names: Path, capsys: Captured
) -> None:
    published_gtformer(tmp_path / "official.pth")
    flags = ("--project", project.folder)
    answer(
        capsys, "models", "add", tmp_path / "official.pth", *flags, "--arch", "gtformer",
        "--classes", names,
    )  # fmt: skip
    source = models.path_of(project, "official")
    code, value = answer(capsys, "models", "add", source, *flags, "--name", "again")
    assert code == 0
    assert Path(value["path"]).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--arch", "gtformer"], "tells 3 classes apart and does not say which"),
        (["--arch", "gtformer", "--classes", "two.txt"], "3 classes apart, 2 names were given"),
        (["--arch", "sat", "--classes", "birds.txt"], "The sat checkpoint does not fit"),
        (["--arch", "no_such_network", "--classes", "birds.txt"], "timm has no network called"),
        (["--arch", "gtformer", "--classes", "empty.txt"], "names no class"),
        (["--arch", "gtformer", "--classes", "gone.txt"], "cannot be read"),
        (["--arch", "gtformer", "--classes", "birds.txt", "--name", "../x"], "cannot be called"),
        ([], "say which network it is: --arch"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    project: Project,
    tmp_path: Path,
    names: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    says: str,
) -> None:
    published_gtformer(tmp_path / "official.pth")
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "empty.txt").write_text("\n")
    monkeypatch.chdir(tmp_path)
    line = complaint(capsys, "models", "add", "official.pth", "--project", project.folder, *flags)
    assert says in line
    assert models.paths(project) == []


def test_nothing_that_is_there_is_replaced(
    project: Project, tmp_path: Path, names: Path, capsys: Captured
) -> None:
    published_gtformer(tmp_path / "official.pth")
    words = (
        "models", "add", tmp_path / "official.pth", "--project", project.folder,
        "--arch", "gtformer", "--classes", names,
    )  # fmt: skip
    answer(capsys, *words)
    before = models.path_of(project, "official").read_bytes()
    assert "has a model 'official'" in complaint(capsys, *words)
    assert models.path_of(project, "official").read_bytes() == before


def test_files_that_run_code_are_not_opened(
    project: Project, tmp_path: Path, names: Path, capsys: Captured
) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "odd.pth")
    line = complaint(
        capsys, "models", "add", tmp_path / "odd.pth", "--project", project.folder,
        "--arch", "gtformer", "--classes", names,
    )  # fmt: skip
    assert "cannot read weights" in line

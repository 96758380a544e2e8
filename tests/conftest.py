"""Fixtures that several packages use; images are made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from annotator import processes
from annotator.intake import add_photos
from annotator.store import Project

# Time limits of single examples measure the machine, not the code.
settings.register_profile("tag2mask", deadline=None)
settings.load_profile("tag2mask")


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the projects and checkpoints of whoever runs it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _nobody_steps_back() -> Iterator[None]:
    """While tests keep every core busy, a process that steps back would hardly get on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(processes.VARIABLE, "0")
        yield


def save_scene(path: Path, *, seed: int = 0, width: int = 120, height: int = 90) -> None:
    """A textured background with one bright ellipse, so that there is something to find."""
    generator = np.random.default_rng(seed)
    image = generator.integers(40, 90, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    x, y = width * (0.4 + 0.2 * generator.random()), height * (0.4 + 0.2 * generator.random())
    inside = ((columns - x) / (width / 5)) ** 2 + ((rows - y) / (height / 4)) ** 2 < 1
    image[inside] = (220, 160, 60)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Four photos, one of them in a sub-folder with a name that is not ASCII, and their tags."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(["a.png", "b.png", "c.png", "été/写真.png"]):
        save_scene(folder / name, seed=seed)
    tags = "file,labels\na.png,cat\nb.png,cat;dog\nc.png,\nété/写真.png,dog\n"
    (tmp_path / "tags.csv").write_text(tags, encoding="utf-8")
    return folder


@pytest.fixture
def project(tmp_path: Path, photo_folder: Path) -> Iterator[Project]:
    """A project with the four photos, tagged, and nothing proposed yet."""
    made = Project.create(tmp_path / "project")
    add_photos(made, photo_folder, actor="tester", tags_file=tmp_path / "tags.csv")
    yield made
    made.close()

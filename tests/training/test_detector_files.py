"""What a detector's training writes into its folder, and how often."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.detector_runs import some_photos, tiny_detector, written
from training.detector import train
from training.log import Event, read_log
from training.loop import Stopped
from training.tally import Tally


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    return written(folder, some_photos(folder))


def epochs_told(out: Path) -> list[int]:
    """The epochs of which instances.json has losses."""
    content = json.loads((out / "instances.json").read_text(encoding="utf-8"))["instances"]
    return sorted({epoch for one in content.values() for epoch, _ in one["loss"]})


def test_epochs_that_nobody_judges_do_not_write_all_objects_anew(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_after: list[list[int]] = []
    write = Tally.write

    def counted(self: Tally, folder: Path) -> None:
        write(self, folder)
        written_after.append(epochs_told(folder))

    monkeypatch.setattr(Tally, "write", counted)
    recipe = {"epochs": 5, "validate_steps": 4}  # two steps an epoch, and the last is judged too
    train(tiny_detector(photos, tmp_path / "run", recipe=recipe))
    assert written_after == [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5]]


def test_a_stopped_training_tells_of_its_objects_up_to_the_last_epoch(
    photos: Path, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if event["event"] == "step" and event["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    recipe = {"epochs": 5, "validate_steps": 1000}
    with pytest.raises(Stopped):
        train(tiny_detector(photos, tmp_path / "run", recipe=recipe), on_event=stop)
    assert epochs_told(tmp_path / "run") == [1]


def test_a_photo_with_the_longest_name_is_drawn_under_a_shorter_one(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    *others, last = some_photos(folder)
    name = "x" + 125 * "ф" + ".png"
    assert len(name.encode("utf-8")) == 255
    (folder / last.image.file_name).rename(folder / name)
    longest = replace(last, image=replace(last.image, file_name=name))
    photos = written(folder, [*others[:4], longest])
    train(tiny_detector(photos, tmp_path / "run", recipe={"epochs": 1}))
    (picture,) = (tmp_path / "run" / "samples").iterdir()
    assert picture.name == "x" + 99 * "ф" + "_1.jpg"


def test_pictures_that_cannot_be_written_are_noted_and_end_nothing(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "samples").write_bytes(b"in the way of the folder")
    path = train(tiny_detector(photos, out, recipe={"epochs": 1}))
    events = read_log(out / "log.jsonl")
    assert [one["event"] for one in events][-3:] == ["note", "checkpoint", "done"]
    assert "samples" in events[-3]["text"]
    assert path.exists()

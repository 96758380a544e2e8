"""A trainer that learns nothing but speaks like `python -m training.wsol`: a script for tests.

It finds and opens the photos as the real one does, logs a step every `--pace` seconds, validates
every tenth, keeps `last.pt`, and stops on SIGTERM after its step. Told `--data` instead of
`--tags` it speaks like `training.detector`. A test that needs it in the middle of its work lets it
hold there: what comes next then depends on no clock.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

from engine.photos import photo_files
from exports.detection_data import read_detection_data
from exports.tags import read_tags
from exports.whole_files import write_whole

EPOCH = 10  # steps
LONGEST_HOLD = 1800.0  # seconds; whoever is left behind by a test that failed ends then
GO_ON = "go-on"  # a file in the folder of a training that lets a held trainer go on, once


def wait_to_go_on(file: Path, *, is_over: Callable[[], bool] = lambda: False) -> None:
    """Until the file is there, which is taken away, or something else ends the waiting."""
    deadline = time.monotonic() + LONGEST_HOLD
    while not is_over():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody made {file}")
        try:
            file.unlink()
        except FileNotFoundError:
            time.sleep(0.02)
        else:
            return


class FakeTrainer:
    """One run; `main` parses its flags."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out: Path = arguments.out
        self.is_asked_to_stop = False

    def log(self, event: str, **fields: Any) -> None:
        line = {"event": event, "at": datetime.now(UTC).isoformat(), **fields}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def run(self) -> int:
        if not self.arguments.deaf:
            signal.signal(signal.SIGTERM, self._ask)
        names, classes = self.read()
        for name in names:
            Image.open(self.arguments.photos / name).load()
        first, last = 0, self.out / "last.pt"
        if self.arguments.resume and last.exists():
            first = json.loads(last.read_text())["step"]
        total = self.arguments.epochs * EPOCH
        self.log(
            "start",
            process=os.getpid(),
            model=self.arguments.model,
            preset=self.arguments.preset or "small",
            photos=len(names),
            validation_photos=1,
            classes=classes,
            multi_label=True,
            epochs=self.arguments.epochs,
            steps=total,
            step=first,
            device="cpu",
            parameters=1234,
            seed=0,
        )
        for step in range(first + 1, total + 1):
            time.sleep(self.arguments.pace)
            self._step(step, total)
            if step == self.arguments.fail_at:
                terms = {"classification": float("nan"), "edge": 0.1, "area": 0.2}
                message = f"the loss of step {step} is not finite: classification is nan"
                self.log("failed", step=step, message=message, terms=terms)
                return 1
            if step in self.arguments.hold_at:
                self._hold(step)
            if step % EPOCH == 0 or self.is_asked_to_stop:
                write_whole(last, json.dumps({"step": step}))
            if self.is_asked_to_stop:
                self.log("stopped", step=step)
                return 3
        self._save(classes)
        self.log("done", step=total, metrics=self.metrics(1.0), seconds=1.0)
        return 0

    def read(self) -> tuple[list[str], list[str]]:
        """The photos that take part, and the classes."""
        known, _ = photo_files(self.arguments.photos)
        tags = read_tags(self.arguments.tags, known_files=known).labels_of
        return list(tags), sorted({label for labels in tags.values() for label in labels})

    def terms(self, step: int, settled: float) -> dict[str, float]:
        return {
            "classification": 0.7 - 0.6 * settled + 0.04 * math.sin(7 * step),
            "edge": 0.25 - 0.2 * settled,
            "area": 0.25 * (1 - settled),
        }

    def more(self, settled: float) -> dict[str, Any]:
        """What else a step tells."""
        return {"area": 0.5 - 0.25 * settled, "edge": 0.25 - 0.2 * settled}

    def metrics(self, settled: float) -> dict[str, Any]:
        if settled == 1.0:
            return {"top1": 0.75, "gt_known": 0.5}
        return {"top1": 0.2 + 0.55 * settled, "top5": 0.9, "gt_known": 0.5 * settled}

    def _ask(self, *_: Any) -> None:
        self.is_asked_to_stop = True

    def _hold(self, step: int) -> None:
        """Until it is stopped, killed or let go; only once there, also where it is resumed."""
        mark = self.out / f"held-{step}"
        if not mark.exists():
            mark.touch()
            wait_to_go_on(self.out / GO_ON, is_over=lambda: self.is_asked_to_stop)

    def _step(self, step: int, total: int) -> None:
        settled = 1 - math.exp(-4 * step / total)
        terms = self.terms(step, settled)
        self.log(
            "step",
            step=step,
            epoch=(step - 1) // EPOCH + 1,
            loss=sum(terms.values()),
            terms=terms,
            **self.more(settled),
            lr=1e-4,
            seconds=self.arguments.pace,
            photos_a_second=12.0,
        )
        if step % EPOCH == 0:
            self.log("validation", step=step, epoch=step // EPOCH, metrics=self.metrics(settled))
            self.close_epoch(step // EPOCH)

    def close_epoch(self, epoch: int) -> None:
        """What else is written at the end of an epoch."""

    def _save(self, classes: list[str]) -> None:
        card = {
            "kind": "localizer",
            "arch": self.arguments.model,
            "options": {},
            "classes": classes,
            "image_size": 64,
            "multi_label": True,
            "metrics": {"top1": 0.75, "gt_known": 0.5},
            "training": {"epochs": self.arguments.epochs},
        }
        self.write(card)

    def write(self, card: dict[str, Any]) -> None:
        path = self.out / "model.safetensors"
        # Two trainings do not end with the same weights.
        weights = {"weight": np.full((2, 3), zlib.crc32(str(path).encode()) % 1000, np.float32)}
        save_file(weights, path, metadata={"tag2mask": json.dumps(card)})


class FakeDetectorTrainer(FakeTrainer):
    """One run of `training.detector`."""

    def read(self) -> tuple[list[str], list[str]]:
        data = read_detection_data(self.arguments.data)
        self.data = data
        return [photo.image.file_name for photo in data.photos], list(data.classes)

    def terms(self, step: int, settled: float) -> dict[str, float]:
        names = ("classifier", "box", "objectness", "rpn_box", "mask")
        return {
            name: 0.5 / place * (1 - 0.8 * settled) + 0.02 * math.sin(7 * step + place) ** 2
            for place, name in enumerate(names, start=1)
        }

    def more(self, settled: float) -> dict[str, Any]:
        is_dropping = settled > 0.6
        return {"dropped": {"fg": 0.12 * settled * is_dropping, "bg": 0.03 * is_dropping}}

    def metrics(self, settled: float) -> dict[str, Any]:
        per_class = {
            name: min(0.9, 0.35 + 0.2 * place) * settled
            for place, name in enumerate(self.data.classes)
        }
        ap50 = sum(per_class.values()) / len(per_class)
        figures = {"ap": 0.5 * ap50, "ap50": ap50, "ap75": 0.4 * ap50, "corloc": 0.9 * settled}
        return {**figures, "per_class": per_class}

    def close_epoch(self, epoch: int) -> None:
        (self.out / "samples").mkdir(exist_ok=True)
        for old in (self.out / "samples").iterdir():
            old.unlink()
        for photo in (self.data.part("validation") or self.data.part("train"))[:4]:
            name = photo.image.file_name
            picture = Image.open(self.arguments.photos / name).convert("RGB")
            ImageDraw.Draw(picture).rectangle((20, 20, 70, 60), outline=(255, 80, 0), width=2)
            picture.save(self.out / "samples" / f"{Path(name).stem}_{epoch}.jpg")
        write_whole(self.out / "instances.json", json.dumps({"instances": {}}))

    def _save(self, classes: list[str]) -> None:
        card = {
            "kind": "detector",
            "arch": self.arguments.model,
            "options": SMALLEST,
            "classes": classes,
            "metrics": self.metrics(1.0),
            "training": {"parent": self.data.parent, "photos": len(self.data.part("train"))},
        }
        self.write(card)


SMALLEST = {
    "backbone": "resnet18",
    "fpn_channels": 8,
    "head_width": 16,
    "min_size": 64,
    "max_size": 96,
}


PRESETS = {
    model: {
        name: {
            "recipe": {"epochs": 9, "image_size": 64, "resize": 72, "batch": 4},
            "network": network,
        }
        for name, network in (("small", {}), ("finetune", {"pretrained": True}))
    }
    for model in ("cam", "tscam", "sat", "gtformer")
}
DETECTOR_PRESETS = {
    model: {
        name: {
            "recipe": {"epochs": 9, "least_steps": 300, "batch": 2},
            "network": {"backbone": backbone, "weights": weights, "min_size": 320},
        }
        for name, weights, backbone in (
            ("small", "none", "resnet18"),
            ("finetune", "coco", "resnet50"),
        )
    }
    for model in ("fasterrcnn", "maskrcnn")
}


def main() -> int:
    if "--describe" in sys.argv:
        sys.stdout.write(json.dumps(DETECTOR_PRESETS if "--detectors" in sys.argv else PRESETS))
        return 0
    parser = argparse.ArgumentParser()
    for name in ("photos", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tags", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--detectors", action="store_true", help="describe those")
    parser.add_argument("--model", required=True)
    parser.add_argument("--preset")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds a step")
    parser.add_argument("--fail-at", type=int, default=0, help="the loss of this step is NaN")
    parser.add_argument("--deaf", action="store_true", help="SIGTERM kills it")
    parser.add_argument(
        "--hold-at", type=int, action="append", default=[], help="sit there after this step"
    )
    parser.add_argument("--answer-at", type=Path, help="estimate when this file is there")
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--least-steps", type=int)
    parser.add_argument("--drop", action=argparse.BooleanOptionalAction)
    arguments = parser.parse_args()
    if arguments.data is None:
        return FakeTrainer(arguments).run()
    if arguments.estimate:
        return estimate(arguments)
    return FakeDetectorTrainer(arguments).run()


def estimate(arguments: argparse.Namespace) -> int:
    """As `training.detector --estimate` answers."""
    time.sleep(arguments.pace)
    if arguments.answer_at is not None:
        wait_to_go_on(arguments.answer_at)
    data = read_detection_data(arguments.data)
    value = {
        "seconds": 750.0,
        "steps": arguments.epochs * EPOCH,
        "seconds_a_step": 0.5,
        "photos": len(data.part("train")),
        "instances": sum(len(photo.image.instances) for photo in data.part("train")),
    }
    sys.stdout.write("loading\n" + json.dumps(value) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

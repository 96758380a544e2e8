"""A trainer that learns nothing but speaks like `python -m training.wsol`: a script for tests.

It finds and opens the photos as the real one does, logs a step every `--pace` seconds, validates
every tenth, keeps `last.pt`, and stops on SIGTERM after its step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from engine.photos import photo_files
from exports.tags import read_tags
from exports.whole_files import write_whole

EPOCH = 10  # steps


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
        names, _ = photo_files(self.arguments.photos)
        tags = read_tags(self.arguments.tags, known_files=names).labels_of
        for name in tags:
            Image.open(self.arguments.photos / name).load()
        classes = sorted({label for labels in tags.values() for label in labels})
        first, last = 0, self.out / "last.pt"
        if self.arguments.resume and last.exists():
            first = json.loads(last.read_text())["step"]
        total = self.arguments.epochs * EPOCH
        self.log(
            "start",
            process=os.getpid(),
            model=self.arguments.model,
            preset=self.arguments.preset or "small",
            photos=len(tags),
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
            if step % EPOCH == 0 or self.is_asked_to_stop:
                write_whole(last, json.dumps({"step": step}))
            if self.is_asked_to_stop:
                self.log("stopped", step=step)
                return 3
        self._save(classes)
        self.log("done", step=total, metrics={"top1": 0.75, "gt_known": 0.5}, seconds=1.0)
        return 0

    def _ask(self, *_: Any) -> None:
        self.is_asked_to_stop = True

    def _step(self, step: int, total: int) -> None:
        settled = 1 - math.exp(-4 * step / total)
        terms = {
            "classification": 0.7 - 0.6 * settled + 0.04 * math.sin(7 * step),
            "edge": 0.25 - 0.2 * settled,
            "area": 0.25 * (1 - settled),
        }
        self.log(
            "step",
            step=step,
            epoch=(step - 1) // EPOCH + 1,
            loss=sum(terms.values()),
            terms=terms,
            area=0.5 - 0.25 * settled,
            edge=0.25 - 0.2 * settled,
            lr=1e-4,
            seconds=self.arguments.pace,
            photos_a_second=12.0,
        )
        if step % EPOCH == 0:
            metrics = {"top1": 0.2 + 0.55 * settled, "top5": 0.9, "gt_known": 0.5 * settled}
            self.log("validation", step=step, epoch=step // EPOCH, metrics=metrics)

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
        path = self.out / "model.safetensors"
        weights = {"weight": np.zeros((2, 3), np.float32)}
        save_file(weights, path, metadata={"tag2mask": json.dumps(card)})


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


def main() -> int:
    if "--describe" in sys.argv:
        sys.stdout.write(json.dumps(PRESETS))
        return 0
    parser = argparse.ArgumentParser()
    for name in ("photos", "tags", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
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
    return FakeTrainer(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())

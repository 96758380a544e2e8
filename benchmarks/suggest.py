"""How fast SAM's galleries are against the published generator: a folder in COCO layout in.

    python -m benchmarks.suggest FOLDER [FOLDER ...] [--photos N] [--arch vit_b] [--json FILE]

FOLDER holds annotations.json and images/. On each photo, in one process and in changing order:
the generator with its defaults and eq. 11, the exact gallery and eq. 11, the fast gallery and
eq. 11. Weights are seeded, masks are staged (see `staged_sam`). Coarse maps: saliency, and the
coverage of one true object (or of one region) with noise. Only ratios within a run mean anything.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path

import cv2
import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

from benchmarks.photo_sets import labeled_photos
from benchmarks.staged_sam import StagedSam
from engine import judging, matching, selection
from engine.gallery import Gallery, build_gallery
from engine.geometry import iou_masks, rle_to_mask
from engine.localizers.saliency import saliency_maps
from engine.segmenters.sam import SamSegmenter
from engine.smoothing import shrunk
from engine.types import CoarseMap, Image, LabeledImage, Mask

CELLS = 14
SMALL = 256  # pixels: long side of the copy that saliency sees
SAME = 0.95  # IoU from which on two winners count as one


@dataclass(frozen=True)
class Cost:
    """What one path took on one photo."""

    wall: float  # seconds
    processor: float  # seconds of all threads together
    peak: float  # MB over what was there before


@dataclass(frozen=True)
class Pick:
    """What one coarse map picked on one photo; overlaps are IoUs, None without a mask."""

    target: str
    exact_is_official: bool
    fast_with_official: float
    official_with_truth: float | None
    official_by_area_with_truth: float | None
    fast_with_truth: float | None
    fast_by_area_with_truth: float | None
    prompts: int


@dataclass(frozen=True)
class PhotoResult:
    """One photo."""

    file: str
    size: tuple[int, int]
    masks: int  # of the official gallery
    same_masks: bool  # whether exact's are those, in that order
    official: Cost
    exact: Cost
    fast: tuple[Cost, ...]  # one a target
    picks: tuple[Pick, ...]


def main() -> None:
    """Read the flags, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--photos", type=int, default=16, help="taken in turns from the folders")
    parser.add_argument("--arch", default="vit_b", choices=["vit_b", "vit_l", "vit_h"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all of it here, after every photo")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    staged = StagedSam(sam_model_registry[arguments.arch])
    results = []
    for number, (name, image, truths) in enumerate(_photos(arguments.folders, arguments.photos)):
        staged.stage(image, truths)
        results.append(_measured(staged, name, image, truths, turn=number))
        sys.stderr.write(f"{number + 1}: {_photo_line(results[-1])}\n")
        if arguments.json is not None:
            report = {"arch": arguments.arch, "photos": [asdict(one) for one in results]}
            arguments.json.write_text(json.dumps({**report, **_summary(results)}, indent=1))
    for key, value in _summary(results).items():
        sys.stdout.write(f"{key:42} {value}\n")


def _photos(folders: list[Path], count: int) -> Iterator[tuple[str, Image, list[Mask]]]:
    """Evenly spread over each folder, folder by folder in turns."""
    sets = [_spread(folder, -(-count // len(folders))) for folder in folders]
    turns = [one for turn in zip_longest(*sets) for one in turn if one is not None]
    for name, image, truth in turns[:count]:
        masks = [rle_to_mask(one.rle) for one in truth.instances if one.rle is not None]
        yield name, image, masks


def _spread(folder: Path, share: int) -> Iterator[tuple[str, Image, LabeledImage]]:
    total = sum(1 for _ in (folder / "images").iterdir())
    photos = labeled_photos(folder, split=None, every=max(1, total // share))
    for image, truth in islice(photos, share):
        yield f"{folder.name}/{truth.file_name}", image, truth


def _targets(image: Image, truths: list[Mask]) -> dict[str, CoarseMap]:
    """Coarse maps of the kind that localizers make: (CELLS, CELLS) in [0, 1]."""
    generator = np.random.default_rng(int(image.sum()))
    small, _ = shrunk(image, SMALL)
    if truths:
        name, thing = "object", matching.coverage(max(truths, key=np.sum), CELLS)
    else:
        coverage = build_gallery(image).coverage(CELLS)
        areas = coverage.mean(axis=(1, 2))
        name = "region"
        thing = coverage[generator.choice(np.flatnonzero((areas > 0.03) & (areas < 0.4)))]
    blurred = cv2.GaussianBlur(np.asarray(thing), (0, 0), 0.7)
    noisy = np.clip(blurred + generator.normal(0.0, 0.08, thing.shape), 0.0, 1.0)
    return {
        "saliency": judging.on_grid(saliency_maps(small).saliency),
        name: noisy.astype(np.float32),
    }


def _fast(staged: StagedSam, image: Image, coarse: CoarseMap) -> Gallery:
    return SamSegmenter(staged.network, name="staged").gallery(image, coarse=coarse, mode="fast")


def _measured(
    staged: StagedSam, name: str, image: Image, truths: list[Mask], *, turn: int
) -> PhotoResult:
    targets = _targets(image, truths)
    paths: dict[str, Callable[[], Gallery]] = {
        "official": lambda: _official(staged, image),
        "exact": lambda: SamSegmenter(staged.network, name="staged").gallery(image),
    }
    for target, coarse in targets.items():
        # A new segmenter each time: its copies of the weights count for time and memory.
        paths[target] = partial(_fast, staged, image, coarse)
    order = list(paths)
    galleries: dict[str, Gallery] = {}
    costs: dict[str, Cost] = {}
    for path in order[turn % len(order) :] + order[: turn % len(order)]:
        coarse = targets.get(path, targets["saliency"])
        galleries[path], costs[path] = _timed(paths[path], coarse)
    return PhotoResult(
        file=name,
        size=(image.shape[1], image.shape[0]),
        masks=len(galleries["official"]),
        same_masks=_same(galleries["official"], galleries["exact"]),
        official=costs["official"],
        exact=costs["exact"],
        fast=tuple(costs[target] for target in targets),
        picks=tuple(_picked(target, targets[target], galleries, truths) for target in targets),
    )


def _official(staged: StagedSam, image: Image) -> Gallery:
    found = SamAutomaticMaskGenerator(staged.network).generate(image)
    scores = [min(max(float(entry["predicted_iou"]), 0.0), 1.0) for entry in found]
    return Gallery.from_masks((entry["segmentation"] for entry in found), scores)


def _timed(path: Callable[[], Gallery], coarse: CoarseMap) -> tuple[Gallery, Cost]:
    """The gallery and the winner by eq. 11, with what both took."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak starts again
    before = _memory("VmRSS")
    wall, processor = time.perf_counter(), time.process_time()
    gallery = path()
    _winner(gallery, coarse, selection.PAPER)
    cost = Cost(
        wall=time.perf_counter() - wall,
        processor=time.process_time() - processor,
        peak=_memory("VmHWM") - before,
    )
    return gallery, cost


def _memory(what: str) -> float:
    """MB of this process, as the kernel counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return float(line.split()[1]) / 1024
    raise LookupError(what)


def _winner(gallery: Gallery, coarse: CoarseMap, options: selection.MatchOptions) -> Mask | None:
    values = selection.match(coarse, gallery, options)
    best = next(selection.ranking(values, gallery, options), None)
    return None if best is None else gallery.mask(best)


def _same(first: Gallery, second: Gallery) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(first.mask(index), second.mask(index)) for index in range(len(first))
    )


def _picked(
    target: str, coarse: CoarseMap, galleries: dict[str, Gallery], truths: list[Mask]
) -> Pick:
    by_area = selection.MatchOptions()
    official = _winner(galleries["official"], coarse, selection.PAPER)
    exact = _winner(galleries["exact"], coarse, selection.PAPER)
    fast = _winner(galleries[target], coarse, selection.PAPER)
    return Pick(
        target=target,
        exact_is_official=_overlap(exact, official) == 1.0,
        fast_with_official=_overlap(fast, official),
        official_with_truth=_with_truth(official, truths),
        official_by_area_with_truth=_with_truth(
            _winner(galleries["official"], coarse, by_area), truths
        ),
        fast_with_truth=_with_truth(fast, truths),
        fast_by_area_with_truth=_with_truth(_winner(galleries[target], coarse, by_area), truths),
        prompts=len(galleries[target].prompts),
    )


def _overlap(first: Mask | None, second: Mask | None) -> float:
    """IoU; two missing winners are the same."""
    if first is None or second is None:
        return float(first is second)
    return iou_masks(first, second)


def _with_truth(mask: Mask | None, truths: list[Mask]) -> float | None:
    if not truths:
        return None
    return 0.0 if mask is None else max(iou_masks(mask, truth) for truth in truths)


def _summary(results: list[PhotoResult]) -> dict[str, str]:
    picks = [pick for one in results for pick in one.picks]
    overlaps = np.array([pick.fast_with_official for pick in picks])
    summary = {
        "photos": f"{len(results)}, {np.median([one.masks for one in results]):.0f} masks each",
        "exact: same masks in the same order": _share([one.same_masks for one in results]),
        "exact: same winner": _share([pick.exact_is_official for pick in picks]),
        "fast: prompts of 1024, median": f"{np.median([pick.prompts for pick in picks]):.0f}",
        f"fast: winner's IoU >= {SAME}": _share(list(overlaps >= SAME)),
        "fast: winner's IoU, mean and least": f"{overlaps.mean():.3f} {overlaps.min():.3f}",
    }
    for path in ("exact", "fast"):
        for measure in ("wall", "processor", "peak"):
            summary[f"official / {path}, {measure}"] = _ratios(results, path, measure)
    for other in ("fast_with_truth", "fast_by_area_with_truth", "official_by_area_with_truth"):
        summary[f"{other} against official"] = _against(picks, other)
    return summary


def _share(right: list[bool]) -> str:
    return f"{sum(right)} of {len(right)}"


def _ratios(results: list[PhotoResult], path: str, measure: str) -> str:
    official, ours = [], []
    for one in results:
        for cost in one.fast if path == "fast" else (one.exact,):
            official.append(getattr(one.official, measure))
            ours.append(getattr(cost, measure))
    each = np.array(official) / np.array(ours)
    return (
        f"{np.median(each):.2f} median, {each.min():.2f} to {each.max():.2f}, "
        f"{sum(official) / sum(ours):.2f} of the totals"
    )


def _against(picks: list[Pick], other: str) -> str:
    """How often another pick is nearer to the true mask than the official winner."""
    known = [pick for pick in picks if pick.official_with_truth is not None]
    if not known:
        return "no true masks"
    first = np.array([pick.official_with_truth for pick in known], dtype=float)
    second = np.array([getattr(pick, other) for pick in known], dtype=float)
    return (
        f"mean IoU {first.mean():.3f} -> {second.mean():.3f}; better {(second > first).sum()}, "
        f"equal {(second == first).sum()}, worse {(second < first).sum()} of {len(known)}"
    )


def _photo_line(one: PhotoResult) -> str:
    fast = ", ".join(
        f"{one.official.wall / cost.wall:.1f}x ({cost.wall:.0f} s, {cost.peak:.0f} MB, "
        f"{pick.prompts} prompts, IoU {pick.fast_with_official:.3f})"
        for cost, pick in zip(one.fast, one.picks, strict=True)
    )
    return (
        f"{one.file}: {one.masks} masks, official {one.official.wall:.0f} s "
        f"{one.official.peak:.0f} MB, exact {one.official.wall / one.exact.wall:.1f}x "
        f"{one.exact.peak:.0f} MB {'same' if one.same_masks else 'DIFFERENT'}, fast {fast}"
    )


if __name__ == "__main__":
    main()

"""The tables as Markdown: measures by name in, ours beside the published numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.wsol.measures import DELTAS, V2_DELTAS, Measures
from benchmarks.wsol.plan import RATIOS, TOKENS, Budget
from benchmarks.wsol.published import (
    TABLE_1,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    Row,
)

METHODS = {
    "CAM": "cam",
    "TS-CAM": "tscam",
    "SAT": "sat",
    "GTFormer": "gtformer",
    "Pro2SAM": "gtformer / mask",
    "Pro2SAM, our rule": "gtformer / mask, areas (ours)",
}
"""Names in the tables, and whose measures stand there."""

SELF_ATTENTION = "self-attention"
WHOLE_PHOTO = "whole photo"
OF_GTFORMER = "gtformer / "
OF_TABLE_6 = "table 6 / "  # these are of the first photos only
STRETCHED = ", stretched"  # of a map: its least value is 0, its greatest 1
OWN_BOX = "the box of the map itself"

Table = Mapping[str, Measures]
Training = Mapping[str, Mapping[str, Any]]
Cells = Sequence[str]


def report(
    measures: Table, *, budget: Budget, photos: Mapping[str, int], training: Training
) -> str:
    """Everything; ``measures`` by the names of `METHODS` and the plan, ``training`` by run."""
    parameters = {name: summary["parameters"] for name, summary in training.items()}
    parts = [
        _about(budget, photos, training),
        _table_1(measures),
        _table_2(measures),
        _table_3(measures),
        _table_4(measures),
        _table_5(measures, parameters),
        _table_6(measures),
        _other_maps(measures),
        _pxap(measures),
        _trainings(training),
    ]
    return "\n\n".join(parts) + "\n"


def _about(budget: Budget, photos: Mapping[str, int], training: Training) -> str:
    learned = max(summary["photos"] for summary in training.values())
    error = 100 * 0.5 / photos["test"] ** 0.5
    return f"""\
# Localizers on made-up photos

`make bench-wsol`, or `python -m benchmarks.wsol OUT_FOLDER`, makes {budget.photos:,} photos of
{budget.photo_size} x {budget.photo_size} pixels with one object each of {budget.classes} classes
(`benchmarks/synthetic.py`), trains every network from tags alone, and measures on photos that it
has not seen. The published numbers beside ours are of CUB and ILSVRC with DeiT-S and SAM: orders
and ratios can be compared, heights cannot.

- The networks see {budget.image_size} x {budget.image_size} pixels. The transformers have
  {budget.depth} blocks of width {budget.embed_dim} and cells of {budget.patch_size} pixels; CAM is
  a convolutional network with as large cells. All start from classifiers that learned from
  {budget.starting_photos:,} other made-up photos with tags in {budget.starting_epochs} epochs, in
  place of ImageNet's weights; then each sees {learned:,} photos {budget.epochs} times, by one
  recipe.
- Thresholds are chosen on {photos["val"]} photos, results are of {photos["test"]} others: one
  standard deviation is up to {error:.1f} points. Protocol `wsol` at 224 pixels, largest contour;
  the column MaxBoxAccV2 takes all contours and, by its definition, the best threshold of each IoU
  on the {photos["test"]} photos themselves.
- Masks come from merged regions (`engine.gallery`), which needs no weights, not from SAM; classes
  from GTFormer's own head, not from EfficientNet-B7. The paper's rule cuts the map at 0.2.
- Maps of CAM and TS-CAM are those of the true class.
- Table 6 is of the first {min(budget.dear_photos, photos["test"])} of these photos."""


def _table_1(measures: Table) -> str:
    head = (
        *("Method", "Top-1 Loc", "Top-5 Loc", "GT-Known", "Top-1 class", "threshold"),
        *("published, CUB", "published, ILSVRC"),
    )
    rows = [
        (
            name,
            *_numbers((one.top1_loc, one.top5_loc, one.gt_known, one.top1)),
            "–" if one.threshold is None else f"{one.threshold:.2f}",
            *(_joined(row) for row in TABLE_1.get(name, ((), ()))),
        )
        for name, one in _named(measures, METHODS)
    ]
    return _markdown("Table 1. Localisation and classification", head, rows)


def _table_2(measures: Table) -> str:
    head = (
        *("Method", *(f"IoU {delta}" for delta in V2_DELTAS), "mean"),
        *("MaxBoxAccV2 50 / 70 / 90", "published, CUB", "published, ILSVRC"),
    )
    chosen = {**METHODS, "Whole photo": WHOLE_PHOTO}
    rows = []
    for name, one in _named(measures, chosen):
        fixed = [one.box_acc[delta] for delta in V2_DELTAS]
        rows.append(
            (
                name,
                *_numbers((*fixed, sum(fixed) / len(fixed))),
                _joined(tuple(one.max_box_acc.values())),
                *(_joined(row) for row in TABLE_2.get(name, ((), ()))),
            )
        )
    return _markdown("Table 2. Boxes at IoU 50, 70 and 90", head, rows)


def _table_3(measures: Table) -> str:
    chosen = {
        "SAT": "sat",
        "Self-attention map": SELF_ATTENTION,
        "without GTA": "gtformer-without-gta",
        "GTFormer": "gtformer",
    }
    head = ("Variant", "Top-1 Loc", "GT-Known", "IoU 70", "published, ILSVRC")
    rows = [
        (
            name,
            *_numbers((one.top1_loc, one.gt_known, one.box_acc[70])),
            _joined(TABLE_3[name]),
        )
        for name, one in _named(measures, chosen)
    ]
    return _markdown("Table 3. What the global tokens' attention does", head, rows)


def _table_4(measures: Table) -> str:
    head = ("mu : lambda", "Top-1 Loc", "GT-Known", "IoU 70", "published, ILSVRC")
    rows = [
        (
            name,
            *_numbers((one.top1_loc, one.gt_known, one.box_acc[70])),
            _joined(TABLE_4[name]),
        )
        for name, one in _named(measures, RATIOS)
    ]
    return _markdown("Table 4. Weights of the losses", head, rows)


def _table_5(measures: Table, parameters: Mapping[str, int]) -> str:
    head = (
        *("Global tokens", "Parameters", "Top-1 Loc", "Top-5 Loc", "GT-Known"),
        "published, ILSVRC",
    )
    rows = [
        (
            name,
            f"{parameters[TOKENS[name]]:,}",
            *_numbers((one.top1_loc, one.top5_loc, one.gt_known)),
            _joined(TABLE_5[name]),
        )
        for name, one in _named(measures, TOKENS)
    ]
    return _markdown("Table 5. How many global tokens", head, rows)


def _table_6(measures: Table) -> str:
    head = ("Matching", *(f"IoU {delta}" for delta in DELTAS), "published, ILSVRC")
    rows = [
        (name, *_numbers(tuple(one.box_acc.values())), _joined(TABLE_6.get(name, ())))
        for key, one in measures.items()
        for name in [key.removeprefix(OF_TABLE_6)]
        if key.startswith(OF_TABLE_6)
    ]
    return _markdown("Table 6. What is matched", head, rows)


def _other_maps(measures: Table) -> str:
    head = ("Map of", "its own box", "mask", "mask, areas (ours)")
    networks = list(METHODS.items())[:4]
    stretched = [(name + STRETCHED, network + STRETCHED) for name, network in networks]
    rows = [
        (
            name,
            *(
                _joined(tuple(measures[key].box_acc[delta] for delta in V2_DELTAS))
                if key in measures
                else "–"
                for key in (network, f"{network} / mask", f"{network} / mask, areas (ours)")
            ),
        )
        for name, network in [*networks, *stretched]
        if f"{network} / mask" in measures
    ]
    return _markdown("Masks chosen by other maps. IoU 50 / 70 / 90", head, rows)


def _pxap(measures: Table) -> str:
    chosen = {**METHODS, "Whole photo": WHOLE_PHOTO}
    rows = [(name, *_numbers((one.pxap,))) for name, one in _named(measures, chosen)]
    return _markdown("PxAP. Pixels instead of boxes", ("Method", "PxAP"), rows)


def _trainings(training: Training) -> str:
    head = ("Network", "Parameters", "Seconds", "Class loss", "Mean of the map", "Edge loss")
    rows = [
        (
            name,
            f"{one['parameters']:,}",
            f"{one['seconds']:.0f}",
            f"{one['terms']['classification']:.2f}",
            *(f"{one[key]:.3f}" if one.get(key) is not None else "–" for key in ("area", "edge")),
        )
        for name, one in training.items()
    ]
    return _markdown("What was trained, on one core", head, rows)


def _named(measures: Table, names: Mapping[str, str]) -> list[tuple[str, Measures]]:
    return [(name, measures[key]) for name, key in names.items() if key in measures]


def _numbers(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in values)


def _joined(values: Row) -> str:
    return " / ".join("–" if value is None else f"{value:.1f}" for value in values) or "–"


def _markdown(title: str, head: Cells, rows: Sequence[Cells]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join([f"### {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])

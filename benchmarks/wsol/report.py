"""The tables as Markdown: measures by name in, ours beside the published numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.wsol.choosing import BEST_MASK, TRUE_MAP
from benchmarks.wsol.measures import DELTAS, V2_DELTAS, Measures
from benchmarks.wsol.plan import RATIOS, TOKENS
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

Table = Mapping[str, Measures]
Cells = Sequence[str]


def tables(measures: Table, parameters: Mapping[str, int]) -> str:
    """All tables of the paper and PxAP; ``measures`` by the names of `METHODS` and the plan."""
    parts = [
        _table_1(measures),
        _table_2(measures),
        _table_3(measures),
        _table_4(measures),
        _table_5(measures, parameters),
        _table_6(measures),
        _pxap(measures),
    ]
    return "\n\n".join(parts) + "\n"


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
    prefix = "gtformer / "
    chosen = {name.removeprefix(prefix): name for name in measures if name.startswith(prefix)}
    chosen |= {"the box of the map itself": "gtformer"}
    chosen |= {name: name for name in (TRUE_MAP, BEST_MASK)}
    rows = [
        (name, *_numbers(tuple(one.box_acc.values())), _joined(TABLE_6.get(name, ())))
        for name, one in _named(measures, chosen)
    ]
    return _markdown("Table 6. What is matched", head, rows)


def _pxap(measures: Table) -> str:
    chosen = {**METHODS, "Whole photo": WHOLE_PHOTO}
    rows = [(name, *_numbers((one.pxap,))) for name, one in _named(measures, chosen)]
    return _markdown("PxAP. Pixels instead of boxes", ("Method", "PxAP"), rows)


def _named(measures: Table, names: Mapping[str, str]) -> list[tuple[str, Measures]]:
    return [(name, measures[key]) for name, key in names.items() if key in measures]


def _numbers(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in values)


def _joined(values: Row) -> str:
    return " / ".join("–" if value is None else f"{value:.1f}" for value in values) or "–"


def _markdown(title: str, head: Cells, rows: Sequence[Cells]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join([f"### {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])

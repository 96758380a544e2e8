"""Pieces of the Train page as HTML: trainings, curves and models in, escaped markup out."""

from __future__ import annotations

from html import escape
from typing import Any

from annotator.estimates import duration
from annotator.models import Model
from annotator.training import (
    DONE,
    FAILED,
    INTERRUPTED,
    RUNNING,
    STOPPED,
    STOPPING,
    WAITING,
    Training,
)
from annotator.training_log import Step, TrainingLog
from annotator.training_options import Material
from annotator.ui.curves import Line, chart
from annotator.ui.render import count
from engine.detectors.saved import DetectorCard

TITLES = {
    WAITING: "Starting",
    RUNNING: "Training",
    STOPPING: "Stopping",
    DONE: "Done",
    STOPPED: "Stopped",
    FAILED: "Failed",
    INTERRUPTED: "Interrupted",
}
CLASSES_SHOWN = 16
FIGURES = {"top1": "top-1", "map": "mean AP", "gt_known": "GT-Known", "ap50": "AP50", "ap": "AP"}
TERMS_SHOWN = 5  # of the loss; there are colours for six lines
DROPPED = {"fg": "on objects", "bg": "on background"}
FROM_NOTHING = (
    "Starts from nothing unless it begins with a model: from a few hundred photos it learns roughly"
    " where things are, not their outlines, and may do no better than proposing without it. Compare"
    " before you rely on it."
)
FROM_IMAGENET = (
    "Starts from ImageNet weights, as the published figures do; they are downloaded once if they"
    " are not on this machine."
)


def readiness(found: Material) -> str:
    """What there is to train on, and what stands in the way."""
    shown = ", ".join(
        f"{escape(name)} <i>{number}</i>"
        for name, number in list(found.classes.items())[:CLASSES_SHOWN]
    )
    more = len(found.classes) - CLASSES_SHOWN
    lines = [
        '<div class="t2-check">',
        f"<strong>{found.tagged} of {count(found.photos, 'photo')} tagged,"
        f" {count(len(found.classes), 'class')}</strong>",
        f'<p class="t2-classes">{shown}{f" and {more} more" if more > 0 else ""}</p>',
    ]
    if len(found.classes) < 2:
        lines.append(
            '<p class="t2-warn">A localizer learns what tells classes apart, so it needs photos'
            " with at least two different tags.</p>"
        )
    elif found.small_classes:
        names = ", ".join(escape(name) for name in found.small_classes[:8])
        rest = f" and {len(found.small_classes) - 8} more" if len(found.small_classes) > 8 else ""
        lines.append(f'<p class="t2-warn">Fewer than 5 photos, hardly learned: {names}{rest}</p>')
    return "".join(lines) + "</div>"


def preset_facts(described: dict[str, Any] | None) -> str:
    """What a preset does, in words; empty as long as the trainer has not been asked."""
    if described is None:
        return ""
    recipe, network = described.get("recipe", {}), described.get("network", {})
    facts = [
        f"{recipe[name]} {text}"
        for name, text in (("epochs", "epochs"), ("image_size", "px"), ("batch", "photos a step"))
        if name in recipe
    ]
    promise = FROM_IMAGENET if network.get("pretrained") else FROM_NOTHING
    return f'<div class="t2-check"><p>{escape(", ".join(facts))}. {promise}</p></div>'


def progress(training: Training | None) -> str:
    """How the shown training stands, in words and as a bar."""
    if training is None:
        return (
            '<div class="t2-run"><strong>Nothing trained yet</strong><p>A localizer learns from'
            " tags alone where things are; its map then chooses among the segmenter's masks. A"
            " detector learns from what you accepted, and proposes on the rest.</p></div>"
        )
    share = 100 * training.step / training.steps if training.steps else 0
    lines = [
        f'<div class="t2-run" data-status="{training.status}">'
        f"<strong>{TITLES[training.status]}{_of(training)}</strong>",
        f'<div class="t2-bar" role="progressbar" aria-valuenow="{share:.0f}" aria-valuemin="0"'
        f' aria-valuemax="100"><i style="width:{share:.1f}%"></i></div>',
        f"<p>{' · '.join(_facts(training))}</p>",
    ]
    if training.message:
        kind = "t2-warn" if training.status in (FAILED, INTERRUPTED, DONE) else ""
        lines.append(f'<p class="{kind}">{escape(training.message)}</p>')
    return "".join(lines) + "</div>"


def _of(training: Training) -> str:
    return f" · {training.number} {escape(training.name)}"


def _facts(training: Training) -> list[str]:
    if not training.steps:
        return [f"{count(training.photos, 'photo')}", "the trainer is reading the photos"][
            : 2 if training.is_active else 1
        ]
    facts = [f"step {training.step} of {training.steps}"]
    if training.epoch is not None and training.epochs is not None:
        facts.append(f"epoch {training.epoch} of {training.epochs}")
    if training.status == DONE and training.step < training.steps:
        facts.append("ended early, as it got no better")
    if training.is_active and training.seconds_a_step is not None:
        facts.append(f"{training.seconds_a_step:.2g} s a step")
    if training.seconds_left is not None:
        facts.append(f"about {duration(training.seconds_left)} left")
    return facts + figures(training.metrics)


def figures(metrics: dict[str, Any]) -> list[str]:
    """The figures that people compare, in percent."""
    return [
        f"{text} {metrics[name]:.1%}"
        for name, text in FIGURES.items()
        if isinstance(metrics.get(name), float)
    ]


def curves(log: TrainingLog, *, area_prior: float | None) -> str:
    """Loss, map or dropped regions, and held-out photos, a chart each; empty before a step."""
    steps = list(log.steps.values())
    if not steps:
        return ""
    end = float(log.total_steps)
    charts = [_loss(steps, end), _coarse_map(steps, end, area_prior), _dropped(steps, end)]
    charts.append(_held_out(log, end))
    return f'<div class="t2-charts">{"".join(charts)}</div>'


def _loss(steps: list[Step], end: float) -> str:
    names = list(dict.fromkeys(name for step in steps for name in step.terms))
    lines = [Line("all", [(one.step, one.loss) for one in steps if one.loss is not None], 1)]
    if len(names) > 1:
        lines += [
            Line(name, [(one.step, one.terms[name]) for one in steps if name in one.terms], colour)
            for colour, name in enumerate(names[:TERMS_SHOWN], start=2)
        ]
    return chart("Loss", lines, x_end=end)


def _coarse_map(steps: list[Step], end: float, area_prior: float | None) -> str:
    area = [(one.step, one.area) for one in steps if one.area is not None]
    edge = [(one.step, one.edge) for one in steps if one.edge is not None]
    if not area:
        return ""
    guide = None if area_prior is None else (f"expected {area_prior:g}", area_prior)
    return chart(
        "Coarse map", [Line("area", area, 4), Line("edge", edge, 3)], x_end=end, guide=guide
    )


def _dropped(steps: list[Step], end: float) -> str:
    """What a detector took for wrong labels and did not learn from."""
    lines = [
        Line(
            text,
            [(one.step, one.dropped[name]) for one in steps if name in one.dropped],
            colour,
        )
        for colour, (name, text) in enumerate(DROPPED.items(), start=3)
    ]
    if not any(line.points for line in lines):
        return ""
    return chart("Regions left out as doubtful", lines, x_end=end, is_share=True)


def _held_out(log: TrainingLog, end: float) -> str:
    lines = [
        Line(
            text,
            [(at, found[name]) for at, found in log.validations.items() if name in found],
            colour,
            dotted=len(log.validations) <= 40,
        )
        for colour, (name, text) in enumerate(FIGURES.items(), start=1)
    ]
    if not any(line.points for line in lines):
        return ""
    title = (
        "Photos that train, as there are none to spare" if log.is_of_taught else "Held-out photos"
    )
    return chart(title, lines, x_end=end, y_end=1.0, is_share=True)


def trainings(found: list[Training], *, key: str, shown: int | None) -> str:
    """The list of trainings, each one a link."""
    if not found:
        return ""
    rows = ['<h2 class="t2-title">Trainings</h2>']
    for one in found:
        here = ' aria-current="true"' if one.number == shown else ""
        facts = " · ".join(
            [f"{count(one.photos, 'photo')}", *_progress_in_short(one), *figures(one.metrics)]
        )
        rows.append(
            f'<a class="t2-row" href="?project={key}&tab=train&training={one.number}"{here}>'
            f'<span class="t2-badge" data-status="{one.status}">{TITLES[one.status]}</span>'
            f"<span><strong>{one.number} {escape(one.name)}</strong> <i>{facts}</i></span></a>"
        )
    return f'<div class="t2-rows">{"".join(rows)}</div>'


def _progress_in_short(one: Training) -> list[str]:
    return [f"step {one.step} of {one.steps}"] if one.steps else []


def models(found: list[Model], *, in_use: str) -> str:
    """The models of the project, newest first, as their cards tell them; one detector in use."""
    shown = "".join(_model(one, is_in_use=one.name == in_use) for one in found)
    empty = '<p class="t2-path">A finished training puts its model here.</p>'
    return f'<div class="t2-rows"><h2 class="t2-title">Models</h2>{shown or empty}</div>'


def _model(model: Model, *, is_in_use: bool) -> str:
    if model.card is None:
        return (
            f'<div class="t2-row"><span><strong>{escape(model.name)}</strong>'
            f' <i class="t2-warn">{escape(model.problem)}</i></span></div>'
        )
    card = model.card
    names = ", ".join(card.classes[:CLASSES_SHOWN])
    more = f" and {len(card.classes) - CLASSES_SHOWN} more" * (len(card.classes) > CLASSES_SHOWN)
    facts = [
        card.arch,
        *figures(card.metrics),
        *([] if isinstance(card, DetectorCard) else [f"{card.image_size} px"]),
        f"{model.bytes / 1e6:.1f} MB",
        f"{model.made_at.astimezone():%Y-%m-%d %H:%M}",
    ]
    if isinstance(card.training.get("photos"), int):
        facts.insert(1, f"from {count(card.training['photos'], 'photo')}")
    if parent := card.training.get("parent"):
        facts.append(f"from proposals of {parent}")
    badge = '<span class="t2-badge" data-status="done">In use</span>' if is_in_use else ""
    current = ' aria-current="true"' if is_in_use else ""
    return (
        f'<div class="t2-row" data-model="{escape(model.name)}"{current}>{badge}<span>'
        f"<strong>{escape(model.name)}</strong> <i>{escape(' · '.join(facts))}</i><br>"
        f'<span class="t2-path">{count(len(card.classes), "class")}: {escape(names + more)}</span>'
        "</span></div>"
    )

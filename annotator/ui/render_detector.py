"""Pieces of the Train page that are about detectors, as HTML: facts in, escaped markup out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from annotator import holdback, pretrained
from annotator.detector_material import SMALL_CLASS, DetectorMaterial
from annotator.estimates import Estimate, duration
from annotator.judgements import Judging
from annotator.judging import Figure, Judgement
from annotator.training import FAILED, INTERRUPTED
from annotator.ui.render import count
from engine.detectors.published import published_for

CLASSES_SHOWN = 16
MEASURES = {"ap50": "AP50", "ap": "AP", "corloc": "CorLoc"}

PROMISES = {
    "none": "Starts from nothing unless it begins with a detector: it takes many hundred objects of"
    " a class before it is of use, and with fewer it mostly learns where such things tend to be.",
    "backbone": "Starts from a network that has seen ImageNet: some hundred objects of a class"
    " make it useful.",
    "coco": "Starts from a detector of everyday things (COCO): some dozen objects of a class"
    " already help.",
}


@dataclass(frozen=True)
class Sample:
    """A picture with boxes that the training drew."""

    address: str
    title: str


# -- before the start ------------------------------------------------------------------------------


def readiness(found: DetectorMaterial, *, share: float) -> str:
    """What there is to learn from and to judge by, and what stands in the way."""
    objects = sum(found.classes.values())
    lines = [
        '<div class="t2-check">',
        f"<strong>{count(objects, 'object')} on {count(len(found.train), 'photo')} to learn from"
        f" · {count(len(found.judges), 'photo')} to judge by</strong>",
        _classes(found),
        f"<p>{_of_what(found)}</p>",
    ]
    if problem := found.problem():
        lines.append(f'<p class="t2-warn">{escape(_sentence(problem))}</p>')
    elif small := found.small_classes:
        names = ", ".join(map(escape, small[:8])) + _more(len(small) - 8)
        lines.append(
            f'<p class="t2-warn">Fewer than {SMALL_CLASS} objects, hardly learned: {names}</p>'
        )
    lines.append(f"<p>{_held_back(found, share)}</p>")
    for hint in (holdback.weakness(found.judging), holdback.unseen_hint(found.unseen)):
        if hint:
            lines.append(f'<p class="t2-warn">{escape(_sentence(hint))}</p>')
    return "".join(lines) + "</div>"


def _classes(found: DetectorMaterial) -> str:
    judged = found.judged_classes
    names = list(dict.fromkeys([*found.classes, *judged]))
    shown = ", ".join(
        f"{escape(name)} <i>{found.classes.get(name, 0)} + {judged.get(name, 0)}</i>"
        for name in names[:CLASSES_SHOWN]
    )
    title = "objects to learn from + objects to judge by"
    return (
        f'<p class="t2-classes" title="{title}">{shown}{_more(len(names) - CLASSES_SHOWN)}</p>'
        if names
        else ""
    )


def _of_what(found: DetectorMaterial) -> str:
    facts = [f"{len(found.complete)} of these photos are reviewed in full"]
    if found.validation:
        facts.append(f"{len(found.validation)} more choose among the networks on the way")
    if found.unseen_train:
        facts.append(
            f"{found.unseen_train} more hold objects accepted above a score and not looked at:"
            " these teach, but what is unmarked beside them is not called background"
        )
    if found.rejected:
        facts.append(f"{count(found.rejected, 'rejected object')} taught as what it is not")
    if found.proposed:
        facts.append(f"{count(found.proposed, 'proposal')} taken as if accepted")
    return "; ".join(facts) + "."


def _held_back(found: DetectorMaterial, share: float) -> str:
    is_one = found.unfinished == 1
    waiting = f"; {found.unfinished} more {'is' if is_one else 'are'} not reviewed in full yet"
    waiting = waiting if found.unfinished else ""
    return f"{share:.0%} of all photos are held back: they judge, and never train{waiting}."


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def preset_facts(described: dict[str, Any] | None) -> str:
    """What a preset does and what to expect of it; empty until the trainer was asked."""
    if described is None:
        return ""
    recipe, network = described.get("recipe", {}), described.get("network", {})
    facts = [
        f"{recipe[name]} {text}"
        for name, text in (("epochs", "epochs"), ("batch", "photos a step"))
        if name in recipe
    ]
    if recipe.get("least_steps"):
        facts.insert(1, f"at least {recipe['least_steps']} steps")
    if network.get("backbone"):
        facts.append(str(network["backbone"]))
    if network.get("min_size"):
        facts.append(f"photos at {network['min_size']} px")
    promise = PROMISES.get(str(network.get("weights", "none")), "")
    lines = [f"<p>{escape(', '.join(facts))}. {promise}</p>"]
    published = published_for(str(described.get("model")), network)
    if published is not None and published.is_here:
        lines.append("<p>Its weights are on this machine.</p>")
    elif published is not None:
        lines.append(f'<p class="t2-warn">{escape(_sentence(pretrained.sentence(published)))}</p>')
    return f'<div class="t2-check">{"".join(lines)}</div>'


def estimate(answer: Estimate | str | None, *, seconds: float) -> str:
    """How long it will take, as far as that is known; ``seconds`` is how long that was asked."""
    if answer is None:
        text = f"Timing a few steps to say how long it takes … {seconds:.0f} s"
        return f'<div class="t2-check"><p>{text}</p></div>'
    if isinstance(answer, str):
        return f'<div class="t2-check"><p>No estimate: {escape(answer)}</p></div>'
    return (
        f'<div class="t2-check"><p>Takes <strong>about {duration(answer.seconds)}</strong>:'
        f" {count(answer.steps, 'step')} of {answer.seconds_a_step:.2g} s here.</p></div>"
    )


# -- while it runs ---------------------------------------------------------------------------------


def class_table(
    found: Mapping[str, float], objects: Mapping[str, int], *, is_of_taught: bool = False
) -> str:
    """AP50 of each class, worst first, with the objects it learned from.

    Of the photos that validate; with ``is_of_taught``, which is said, of some that train.
    """
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{objects.get(name, 0)}</td>"
        f'<td><span class="t2-meter"><i style="width:{100 * value:.0f}%"></i></span></td>'
        f"<td>{value:.1%}</td></tr>"
        for name, value in sorted(found.items(), key=lambda one: (one[1], one[0]))
    )
    figure = "AP50 where it learned" if is_of_taught else "AP50"
    return (
        '<table class="t2-table" id="class-table"><thead><tr><th>Class</th><th>Objects</th>'
        f"<th></th><th>{figure}</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def samples(found: Sequence[Sample]) -> str:
    """Photos with what the detector finds on them now."""
    shown = "".join(
        f'<a href="{one.address}" target="_blank" title="{escape(one.title)}">'
        f'<img src="{one.address}" alt="{escape(one.title)}" loading="lazy"></a>'
        for one in found
    )
    return f'<div class="t2-samples">{shown}</div>' if shown else ""


def sample_address(key: str, number: int, name: str, *, version: int) -> str:
    """Where a page finds a sample; ``version`` changes with the picture."""
    return f"sample/{key}/{number}/{quote(name)}?v={version}"


# -- what it is worth ------------------------------------------------------------------------------


def judgement(judging: Judging | None, *, in_use: str) -> str:
    """How the judgement stands, and what came out."""
    if judging is None:
        return ""
    lines = ['<div class="t2-run" id="judgement">']
    if judging.is_active:
        share = 100 * judging.done / judging.total if judging.total else 0
        lines.append(
            f"<strong>Judging {escape(judging.name)}</strong>"
            f'<div class="t2-bar" role="progressbar" aria-valuenow="{share:.0f}" aria-valuemin="0"'
            f' aria-valuemax="100"><i style="width:{share:.1f}%"></i></div>'
            f"<p>{f'{judging.done} of {judging.total} photos' if judging.total else 'Starting'}</p>"
        )
    elif judging.status in (FAILED, INTERRUPTED):
        lines.append(
            f"<strong>{escape(judging.name)} is not judged</strong>"
            f'<p class="t2-warn">{escape(_sentence(judging.message))}</p>'
        )
    if judging.judgement is not None and not judging.is_active:
        lines.append(_judged(judging.judgement, in_use=in_use))
    return "".join(lines) + "</div>"


def _judged(found: Judgement, *, in_use: str) -> str:
    against = f" against {escape(found.present)}" if found.present else ""
    state = ", now in use" if in_use == found.candidate else ""
    lines = [
        f"<strong>{escape(found.candidate)}{against}{state}</strong>",
        f"<p>On {count(found.photos, 'photo')} held back, with {count(found.objects, 'object')}"
        f"{_empty(found)}; in brackets what it may as well be on other photos (95 %).</p>",
        _figures(found),
        f"<p>{escape(_sentence(found.reason))}</p>",
    ]
    if found.refusal and in_use != found.candidate:
        lines.append(f'<p class="t2-warn">{escape(_sentence(found.refusal))}</p>')
    if found.left_out:
        lines.append(
            f"<p>{count(found.left_out, 'photo')} left out: learned from, or they do not open.</p>"
        )
    if found.weakness:
        lines.append(f'<p class="t2-warn">{escape(_sentence(found.weakness))}</p>')
    return "".join(lines)


def _empty(found: Judgement) -> str:
    return f" and nothing on {found.empty} of them" if found.empty else ""


def _figures(found: Judgement) -> str:
    heads = ["", escape(found.candidate)]
    heads += [escape(found.present), "Difference"] if found.present else []
    rows = []
    for name, title in MEASURES.items():
        if name not in found.figures:
            continue
        cells = [title, _figure(found.figures[name])]
        if found.present:
            cells += [_figure(found.present_figures.get(name))]
            cells += [_figure(found.differences.get(name), sign="+")]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{text}</th>" for text in heads)
    return (
        f'<table class="t2-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _figure(figure: Figure | None, *, sign: str = "") -> str:
    if figure is None:
        return ""
    form = f"{sign}.1%"
    return f"<b>{figure.value:{form}}</b> <i>({figure.low:{form}} … {figure.high:{form}})</i>"

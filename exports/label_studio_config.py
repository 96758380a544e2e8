"""The label config of a Label Studio project: classes in, XML out; and an existing one, fitted.

What a config has already stays as it is, comments included: controls and labels are added, never
taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from engine.errors import FormatError
from exports.contents import check_names
from exports.label_studio import BITMASK, BRUSH, POLYGON, RECTANGLE, Controls

Element = ElementTree.Element

_AROUND = re.compile(r"((?:\s*<!--.*?-->)*)", re.DOTALL)  # comments outside of the root

TAGS = {
    RECTANGLE: "RectangleLabels",
    BRUSH: "BrushLabels",
    POLYGON: "PolygonLabels",
    BITMASK: "BitmaskLabels",
}


@dataclass(frozen=True)
class FittedConfig:
    """A label config that has what we need, and how its tags are called."""

    xml: str
    controls: Controls
    added: tuple[str, ...]  # what it did not have, in words; empty where it is as it was


def label_config(
    classes: Sequence[str],
    kinds: Sequence[str],
    *,
    colours: Mapping[str, str] | None = None,
) -> str:
    """A config with one control for each kind of region and a label for each class.

    ``colours`` are ``#rrggbb`` by class; Label Studio chooses where there is none. FormatError
    for a class name that XML cannot hold.
    """
    root = ElementTree.Element("View")
    picture = {"name": "image", "value": "$image", "zoom": "true", "zoomControl": "true"}
    if BITMASK in kinds:
        picture["smoothing"] = "false"  # the bitmask control works on whole pixels
    ElementTree.SubElement(root, "Image", picture)
    return fitted_config(_text(root), classes, kinds, colours=colours).xml


def fitted_config(
    xml: str,
    classes: Sequence[str],
    kinds: Sequence[str],
    *,
    colours: Mapping[str, str] | None = None,
) -> FittedConfig:
    """The config with the controls and labels that it lacks; FormatError where that cannot be."""
    check_names([], classes)
    root = _parsed(xml)
    picture = _picture(root)
    name = picture.get("name", "")
    added: list[str] = []
    controls: dict[str, str] = {}
    for kind in kinds:
        control = _control(root, kind, name)
        if control is None:
            control = _new_control(root, kind, name)
            added.append(f"control {TAGS[kind]}")
        controls[kind] = control.get("name", "")
        known = {one.get("value") for one in _tags(control) if one.tag.lower() == "label"}
        for label in classes:
            if label not in known:
                shown = {"value": label, "background": (colours or {}).get(label, "")}
                ElementTree.SubElement(control, "Label", {k: v for k, v in shown.items() if v})
                added.append(f"label {label!r} of {TAGS[kind]}")
    return FittedConfig(
        xml=_around(xml, _text(root)) if added else xml,
        controls=Controls(
            image=name, value=picture.get("value", "")[1:], names=tuple(controls.items())
        ),
        added=tuple(added),
    )


def labels_of(xml: str) -> tuple[str, ...]:
    """Every label of the config that regions may have, each once."""
    root = _parsed(xml)
    tags = {tag.lower() for tag in TAGS.values()}
    labels = [
        one.get("value", "")
        for control in _tags(root)
        if control.tag.lower() in tags
        for one in _tags(control)
        if one.tag.lower() == "label"
    ]
    return tuple(dict.fromkeys(labels))


def _parsed(xml: str) -> Element:
    # Text, whatever encoding it claims to be in: these are the only ways to write it.
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise FormatError("the label config declares a document type or entities; take them out")
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    try:
        return ElementTree.fromstring(xml, ElementTree.XMLParser(target=builder))
    except ElementTree.ParseError as error:
        raise FormatError(f"the label config is no XML ({error})") from error


def _tags(root: Element) -> Iterator[Element]:
    """The element and all in it, without comments and instructions."""
    return (one for one in root.iter() if isinstance(one.tag, str))


def _around(xml: str, text: str) -> str:
    """The text of the root, with the comments that stand before and behind it in the XML."""
    start = xml.find("?>") + 2 if xml.lstrip().startswith("<?xml") else 0
    before = _AROUND.match(xml, start)
    behind = xml[xml.rfind("</") :].partition(">")[2].strip()
    head = before.group(1).strip() if before is not None else ""
    return "\n".join(part for part in (head, text, behind) if part)


def _picture(root: Element) -> Element:
    """The Image tag; what it shows must stand in the data of a task under one plain key."""
    for element in _tags(root):
        key = element.get("value", "")
        if element.tag.lower() == "image" and element.get("name") and key.startswith("$"):
            if key[1:].isidentifier():
                return element
            raise FormatError(f"the label config shows {key!r}; only a plain key can be filled")
    raise FormatError("the label config shows no image; choose another project")


def _control(root: Element, kind: str, picture: str) -> Element | None:
    for element in _tags(root):
        if element.tag.lower() == kind and element.get("toName") == picture and element.get("name"):
            return element
    return None


def _new_control(root: Element, kind: str, picture: str) -> Element:
    taken = {element.get("name") for element in _tags(root)}
    own = Controls().of(kind)
    name = next(one for one in (own, *(f"{own}{n}" for n in range(2, 99))) if one not in taken)
    return ElementTree.SubElement(root, TAGS[kind], {"name": name, "toName": picture})


def _text(root: Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")
